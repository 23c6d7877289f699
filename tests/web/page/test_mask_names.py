"""The masks of a batch find their pictures by name."""

import pytest

from residiff.errors import ConfigError, ImageTooLargeError
from residiff.web.page.archives import Member
from residiff.web.page.pairing import Masks
from residiff.web.page.shelf import Shelf


@pytest.fixture
def masks():
    shelf = Shelf()
    large = ImageTooLargeError("d.png: more than 32 MiB")
    found = [Member("in/a.png", b"in-a"), Member("other/a.png", b"other-a"), Member("white/b.bmp", b"b")]
    yield Masks([*found, Member("d.png", error=large)], shelf)
    shelf.close()


def test_by_path_first_then_by_a_name_that_is_there_once(masks):
    assert masks.of("in/a.jpg") == b"in-a" and masks.of("other/a.tiff") == b"other-a"
    assert masks.of("photos/b.webp") == masks.of("b.png") == b"b"


def test_what_has_none_is_told_which_it_wants(masks):
    with pytest.raises(ConfigError, match=r"photos/c\.png: there is no mask named c; give one named photos/c"):
        masks.of("photos/c.png")
    with pytest.raises(ConfigError, match="there are several masks named a"):
        masks.of("a.png")
    with pytest.raises(ImageTooLargeError, match="32 MiB"):
        masks.of("d.jpg")
