"""Shared by all tests: small deterministic models that nobody trained, pictures, and the program in this process."""

import io
import logging
import os
import signal
import subprocess
import sys
import sysconfig
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from residiff import recipe
from residiff.checkpoint import ModelFile, load_model, save_model
from residiff.restore import Restorer

SMALL = ["network.backbone.width=8", "network.backbone.middle=1", "sampling.steps=2", "sampling.eta=1.0"]


def _untrained(*settings, seed=0):
    """A model file's contents: the recipe `tiny` made smaller, with weights that change every picture."""
    chosen = recipe.override(recipe.read("tiny"), [*SMALL, *settings])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        weights = chosen.backbone().state_dict()
    source = torch.Generator().manual_seed(seed + 1)
    moved = {key: value + 0.05 * torch.randn(value.shape, generator=source) for key, value in weights.items()}
    return ModelFile(chosen, moved, {"data": "none"})


def _draw(shape, dtype=np.uint8, seed=0):
    """Random pixels of any kind; floats are in [0, 1]."""
    source = np.random.default_rng(seed)
    if np.issubdtype(dtype, np.floating):
        return source.random(shape).astype(dtype)
    return source.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


@pytest.fixture(scope="session")
def draw():
    """`draw(shape, dtype=np.uint8, seed=0)`: random pixels."""
    return _draw


@pytest.fixture(scope="session")
def untrained():
    """`untrained(*settings, seed=0)`: a `ModelFile` of the small model with changes to its recipe."""
    return _untrained


@pytest.fixture(scope="session")
def tiny_file(tmp_path_factory):
    """A model file that takes no mask."""
    path = tmp_path_factory.mktemp("models") / "model.safetensors"
    save_model(path, _untrained())
    return path


@pytest.fixture(scope="session")
def masked_file(tmp_path_factory):
    """A model file that needs a mask."""
    path = tmp_path_factory.mktemp("models") / "masked.safetensors"
    save_model(path, _untrained("network.mask=true", "name=masked"))
    return path


@pytest.fixture(scope="session")
def tiny(tiny_file):
    return Restorer(load_model(tiny_file), "cpu")


@pytest.fixture(scope="session")
def masked(masked_file):
    return Restorer(load_model(masked_file), "cpu")


@pytest.fixture
def picture_file(tmp_path):
    """Writes a picture of random pixels by Pillow: `picture_file("in/a.png", (H, W, 3), seed=0)` gives its path."""

    def write(name, shape=(9, 11, 3), seed=0, **options):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(_draw(shape, seed=seed)).save(path, **options)
        return path

    return write


@pytest.fixture
def cli(monkeypatch, capsysbinary):
    """Runs the program in this process: `cli("restore", ..., stdin=b"")` gives code, out (bytes) and err (text)."""
    from residiff.cli import app

    for name in ("FORCE_COLOR", "GITHUB_ACTIONS", "PY_COLORS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "240")
    logger = logging.getLogger("residiff")
    handlers, level = list(logger.handlers), logger.level
    signals = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}

    def run(*arguments, stdin=b""):
        monkeypatch.setattr(sys, "argv", ["residiff", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        capsysbinary.readouterr()
        with warnings.catch_warnings(), pytest.raises(SystemExit) as end:
            warnings.simplefilter("default")
            app.main()
        said = capsysbinary.readouterr()
        return SimpleNamespace(code=end.value.code or 0, out=said.out, err=said.err.decode())

    yield run
    logger.handlers[:] = handlers
    logger.setLevel(level)
    for number, handler in signals.items():
        signal.signal(number, handler)


def _environment():
    """Of a child process: as many threads as here, for the bytes of a result depend on them."""
    return os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads()), "COLUMNS": "240"}


@pytest.fixture(scope="session")
def program():
    """Starts the installed program as a process of its own: `program("restore", ...)` gives a Popen with pipes."""
    path = Path(sysconfig.get_path("scripts")) / "residiff"

    def start(*arguments):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        # A suite that a shell runs in the background is told to ignore SIGINT, and so would the program be
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            return subprocess.Popen([path, *map(str, arguments)], env=_environment(), **pipes)
        finally:
            signal.signal(signal.SIGINT, before)

    return start


@pytest.fixture(scope="session")
def python():
    """Runs a script in a fresh interpreter; gives the completed process, its output as text."""

    def run(script, *arguments, before=()):
        command = [*before, sys.executable, "-W", "error", "-c", script, *map(str, arguments)]
        return subprocess.run(command, env=_environment(), capture_output=True, text=True, timeout=120)

    return run
