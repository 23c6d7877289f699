"""CIFAR-10 in its binary version: records of a label and 32 x 32 pixels, each read where it lies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np

from residiff.data.catalog.layouts import Columns, Request, by_domain
from residiff.data.catalog.matching import Joined, refuse_missing
from residiff.data.catalog.tree import Tree, joined
from residiff.data.images import Picture, from_array
from residiff.data.parts import Part
from residiff.errors import ConfigError, ImageDecodeError

SIDE = 32
PIXELS = 3 * SIDE * SIDE
RECORD = 1 + PIXELS
FOLDERS = ("", "cifar-10-batches-bin")
PYTHON_FOLDERS = ("", "cifar-10-batches-py")
FILES = {"train": tuple(f"data_batch_{number}.bin" for number in range(1, 6)), "test": ("test_batch.bin",)}


@dataclass(frozen=True)
class RecordPart:
    """Picture number `index` of a file of records."""

    path: Path
    index: int

    @property
    def name(self) -> str:
        """The file, and the record's number from 0."""
        return f"{self.path}, record {self.index}"

    @property
    def size(self) -> int:
        """Of the pixels, 3 planes row by row."""
        return PIXELS

    def data(self, most: int | None = None) -> bytes:
        """The pixels, the first `most` of them; an `ImageDecodeError` where they cannot be read."""
        wanted = PIXELS if most is None else min(most, PIXELS)
        try:
            with self.path.open("rb") as file:
                # The label comes first
                file.seek(self.index * RECORD + 1)
                data = file.read(wanted)
        except OSError as error:
            raise ImageDecodeError(f"{self.name}: cannot be read ({error.strerror}); check the file") from error
        if len(data) < wanted:
            raise ImageDecodeError(f"{self.name}: the file has been cut short; get it again")
        return data

    def read(self) -> Picture:
        """The picture; an `ImageDecodeError` where it cannot be read."""
        return from_array(np.frombuffer(self.data(), np.uint8).reshape(3, SIDE, SIDE).transpose(1, 2, 0))


class Records(Sequence[Part]):
    """The pictures of a file of records.

    Raises
    ------
    ConfigError
        If the file does not hold a whole number of records, or none.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.length, rest = divmod(path.stat().st_size, RECORD)
        if rest or not self.length:
            raise ConfigError(f"{path} is no whole number of records of {RECORD} bytes; get it again")

    def __len__(self) -> int:
        """How many."""
        return self.length

    def __getitem__(self, index: int) -> RecordPart:  # type: ignore[override]
        """Part number `index`."""
        return RecordPart(self.path, range(self.length)[index])


@final
@dataclass(frozen=True)
class Cifar10:
    """The five files to train on and the one to test on, in the folder itself or in cifar-10-batches-bin/."""

    domains: tuple[str, ...] = ()

    def fits(self, tree: Tree) -> bool:
        """Whether one of the files is there, of this version or of that for Python."""
        return _folder(tree) is not None or _is_python(tree)

    def open(self, request: Request) -> Columns:
        """The pictures, in the files' order; a `ConfigError` where a file is missing, or of the version for Python."""
        tree = request.tree
        folder = _folder(tree)
        if folder is None:
            version = "the version for Python, whose pickles could run code, and are not read"
            raise ConfigError(f"{request.root} holds {version}; get the binary version, cifar-10-binary.tar.gz")
        places = [joined(folder, name) for name in FILES[request.split]]
        refuse_missing(request.root, [place for place in places if not tree.holds(place)])
        pictures = Joined([Records(request.root / place) for place in places])
        return by_domain(request, (), lambda _: pictures, exclusive=False)


def _folder(tree: Tree) -> str | None:
    names = [name for files in FILES.values() for name in files]
    return next((at for at in FOLDERS if any(tree.holds(joined(at, name)) for name in names)), None)


def _is_python(tree: Tree) -> bool:
    return any(tree.holds(joined(at, "data_batch_1")) for at in PYTHON_FOLDERS)
