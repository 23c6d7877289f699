"""The golden arrays, and a cache folder of the tests' own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from safetensors.torch import load_file


@pytest.fixture
def golden_arrays():
    """Opens `<name>.safetensors` of the golden folder."""
    folder = Path(os.environ.get("RESIDIFF_GOLDEN") or Path(__file__).parent.parent / "golden")
    return lambda name: load_file(folder / f"{name}.safetensors")


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory):
    """So that nothing of the user's is read or written."""
    with pytest.MonkeyPatch.context() as patch:
        place = tmp_path_factory.mktemp("cache")
        patch.setenv("XDG_CACHE_HOME", str(place))
        yield place / "residiff"
