"""Sets of pictures before any of them is read: what stands where, in a folder, an archive or a database."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from residiff.data import images
from residiff.data.images import Picture


class Part(Protocol):
    """One picture of a set, not yet read."""

    @property
    def name(self) -> str:
        """Where it stands, for people: a file, or an archive and a member of it."""
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
    be of different lengths. `source` says what the set is, for people and for the record.
    """

    source: str
    columns: Mapping[str, Sequence[Part]]

    def __len__(self) -> int:
        """How many clean pictures there are."""
        return len(self.columns["clean"])

    @property
    def fingerprint(self) -> str:
        """Eight digits that change with the names of the files, their number, order, and sizes."""
        digest = hashlib.sha256()
        for kind, parts in self.columns.items():
            for part in parts:
                size = part.path.stat().st_size if isinstance(part, FilePart) else 0
                digest.update(f"{kind}/{Path(part.name).name}/{size}\n".encode("utf-8", "surrogateescape"))
        return digest.hexdigest()[:8]

    def select(self, places: Sequence[int], which: str) -> PictureSet:
        """The pictures at `places` of every kind; `which` is added to the source, "without 24 held out" say."""
        columns = {kind: Chosen(parts, places) for kind, parts in self.columns.items()}
        return PictureSet(f"{self.source}, {which}", columns)
