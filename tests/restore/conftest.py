"""What tests of folders share: a stub for a model, and the program started quickly."""

import pytest
from stubs import Server, Stub


@pytest.fixture
def stub():
    """A new stub, which inverts pictures at once; `stub.seconds` and `stub.each` make it slower."""
    return Stub()


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """Starts the program with the model "stub" or "stub:0.1", which takes so many seconds a picture."""
    started = Server(tmp_path_factory.mktemp("said"))
    yield started
    started.close()
