"""What tests of the server share: a few small models, some of them odd, and a queue over them with a worker."""

import io
import shutil

import odd_models
import pytest
import torch
from PIL import Image

from residiff.web import Jobs, Settings

NAMES = ("tiny", "slow", "stuck", "deadly")


@pytest.fixture(scope="session")
def models(tmp_path_factory, tiny_file, masked_file):
    """Model files of the small model by the names that `odd_models` knows, and `masked`, which needs a mask."""
    folder = tmp_path_factory.mktemp("served")
    for name in NAMES:
        shutil.copy(tiny_file, folder / f"{name}.safetensors")
    shutil.copy(masked_file, folder / "masked.safetensors")
    return {name: folder / f"{name}.safetensors" for name in (*NAMES, "masked")}


@pytest.fixture(scope="session")
def settings(models):
    """`settings(**changes)`: of a queue over them."""

    def make(**changes):
        chosen = {"models": tuple(map(str, models.values())), "device": "cpu", "queue": 4, "loaded": 5}
        # As many threads as here, for the bytes of a result name them
        chosen |= {"threads": torch.get_num_threads()}
        return Settings(**{**chosen, "grace": 2.0, "deadline": 30.0, "max_pixels": 100_000, "max_work": 3.0, **changes})

    return make


@pytest.fixture(scope="session")
def jobs(settings):
    """A queue that is ready; whoever leaves jobs in it spoils it for others."""
    with Jobs(settings(), odd_models.load) as queue:
        assert queue.wait_ready(120)
        yield queue


@pytest.fixture(scope="session")
def photo(draw):
    """`photo(height=32, width=48, format="PNG", seed=0)`: the bytes of a file of random pixels."""

    def make(height=32, width=48, format="PNG", seed=0, bands=3, **options):
        data = io.BytesIO()
        Image.fromarray(draw((height, width, bands) if bands > 1 else (height, width), seed=seed)).save(
            data, format, **options
        )
        return data.getvalue()

    return make
