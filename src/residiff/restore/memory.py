"""Memory that runs out while a picture is restored, told as what it is."""

from __future__ import annotations

from contextlib import AbstractContextManager

from residiff import errors

TOO_LARGE = "the picture does not fit into memory; restore it in tiles (--tile 256), or at a smaller size"


def memory_errors() -> AbstractContextManager[None]:
    """Turn what the allocators raise when memory runs out into a `ResourceError`."""
    return errors.memory_errors(TOO_LARGE)
