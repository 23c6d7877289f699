"""The bytes of image files, read once and whole: for their hash, their header and their pixels."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from residiff.errors import ImageDecodeError


@dataclass(frozen=True)
class ImageFile:
    """The bytes of an image file, and what messages call it."""

    name: str
    data: bytes


def fetch(path: Path, most: int | None = None) -> ImageFile:
    """The bytes of a file, or at most the first `most` of them.

    Raises
    ------
    ImageDecodeError
        If there is no such file (pipes, sockets and devices are none), it cannot be opened, or it is being written to.
    """
    # Opening a pipe would block for ever
    if not path.is_file():
        raise ImageDecodeError(f"{path}: there is no such file; check the name")
    try:
        with path.open("rb") as file:
            before = os.fstat(file.fileno())
            # Not more than there was: one that grows on and on would never end
            data = file.read(before.st_size if most is None else min(most, before.st_size))
            after = os.fstat(file.fileno())
    except OSError as error:
        raise ImageDecodeError(f"{path}: cannot be opened ({error.strerror}); check its permissions") from error
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise ImageDecodeError(f"{path}: is being written to; restore it when that is done")
    return ImageFile(str(path), data)
