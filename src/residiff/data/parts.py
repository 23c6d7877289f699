"""Sets of pictures before any of them is read: what stands where, in a folder, an archive or a database."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from residiff.data import images
from residiff.data.images import Picture
from residiff.errors import ImageDecodeError, ImageError

# Of each kind so many pictures, and of each so many bytes, tell a set from another of the same names and sizes
TELLING = 16
HEAD = 1 << 16


class Part(Protocol):
    """One picture of a set, not yet read."""

    @property
    def name(self) -> str:
        """Where it stands, for people: a file, or an archive and a member of it."""
        ...

    @property
    def size(self) -> int:
        """How many bytes it has as it is stored; 0 where it is gone."""
        ...

    def data(self, most: int | None = None) -> bytes:
        """These bytes, the first `most` of them; an `ImageError` where they cannot be had."""
        ...

    def read(self) -> Picture:
        """The picture; an `ImageError` where it cannot be had."""
        ...


@dataclass(frozen=True)
class FilePart:
    """A picture in a file of its own."""

    path: Path

    @property
    def name(self) -> str:
        """The file."""
        return str(self.path)

    @property
    def size(self) -> int:
        """The file's."""
        with contextlib.suppress(OSError):
            return self.path.stat().st_size
        return 0

    def data(self, most: int | None = None) -> bytes:
        """The file's bytes, the first `most` of them; an `ImageDecodeError` where they cannot be read."""
        try:
            # Opening a pipe would block for ever
            if self.path.is_file():
                with self.path.open("rb") as file:
                    return file.read(-1 if most is None else most)
        except OSError as error:
            raise ImageDecodeError(
                f"{self.path}: cannot be opened ({error.strerror}); check its permissions"
            ) from error
        raise ImageDecodeError(f"{self.path}: there is no such file; check the name")

    def read(self) -> Picture:
        """The picture; an `ImageError` where the file is missing, damaged or no picture."""
        return images.read(self.path)


class Chosen(Sequence[Part]):
    """Those of `parts` that stand at `places`, in that order; no part is made before it is asked for."""

    def __init__(self, parts: Sequence[Part], places: Sequence[int]) -> None:
        self.parts, self.places = parts, places

    def __len__(self) -> int:
        """How many."""
        return len(self.places)

    def __getitem__(self, index: int) -> Part:  # type: ignore[override]
        """Part number `index`."""
        return self.parts[self.places[index]]


@dataclass(frozen=True)
class PictureSet:
    """Pictures by kind: "clean", and where there are any "degraded" and "mask".

    Where they are paired by name, what stands at the same place of each kind belongs together; otherwise the kinds may
    be of different lengths. `source` says what the set is, for people and for the record. `scene` is a regular
    expression that finds in a picture's name, with "/" between folders, by its groups which scene it shows; empty where
    names do not say.
    """

    source: str
    columns: Mapping[str, Sequence[Part]]
    scene: str = ""

    def __len__(self) -> int:
        """How many clean pictures there are."""
        return len(self.columns["clean"])

    @property
    def fingerprint(self) -> str:
        """Eight digits that change with the pictures' names, number, order and sizes, and what a few of them hold."""
        digest = hashlib.sha256()
        for kind, parts in self.columns.items():
            for part in parts:
                line = f"{kind}/{Path(part.name).name}/{part.size}\n"
                digest.update(line.encode("utf-8", "surrogateescape"))
            for begin in _telling(parts):
                digest.update(begin)
        return digest.hexdigest()[:8]

    def select(self, places: Sequence[int], which: str) -> PictureSet:
        """The pictures at `places` of every kind; `which` is added to the source, "without 24 held out" say."""
        columns = {kind: Chosen(parts, places) for kind, parts in self.columns.items()}
        return PictureSet(f"{self.source}, {which}", columns, self.scene)


def spread(total: int, count: int) -> list[int]:
    """`count` places of `total`, each in the middle of as long a stretch as the others."""
    return [(2 * number + 1) * total // (2 * count) for number in range(count)]


def _telling(parts: Sequence[Part]) -> Iterator[bytes]:
    """How a few of the pictures begin; nothing of those that cannot be had."""
    for place in spread(len(parts), min(TELLING, len(parts))):
        with contextlib.suppress(ImageError):
            yield hashlib.sha256(parts[place].data(HEAD)).digest()
