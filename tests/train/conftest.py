"""What tests of training share."""

import pytest
from runs import finished


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of an uninterrupted run, not validated."""
    folder = tmp_path_factory.mktemp("whole")
    finished(folder)
    return folder
