"""Shared by the tests of imports: small networks under their published names, wrapped as their trainers save them."""

import pytest

from residiff.adapters import archive, unpickle


@pytest.fixture
def reader_here(monkeypatch):
    """Reads pickles in this process, without limits, which no process can take back: a new one costs seconds."""

    def read(path, folder, seconds):
        return unpickle.extract(str(path), str(folder), lambda size: None)

    monkeypatch.setattr(archive, "run_reader", read)
