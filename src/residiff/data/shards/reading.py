"""Pictures in tar archives ("shards") in webdataset's layout, each read where it lies.

The members of a sample share their name up to its first dot, and the rest says the kind: `000017.clean.png`,
`000017.degraded.png`, `000017.mask.png`, or other sets' words for these: gt, hq and target; lq and input. A picture
without a word (`000017.jpg`) is a clean one. What is no picture (`.json`, `.cls`, `.txt`) is left out.

The shards of a split are the archives in the folder of its name (`train/*.tar`); or else those that have it as a word
of their names (`set-train-000000.tar`); or else the same for another word of that split (`val`); or else, for the split
"train" and where no name has such a word, all archives of the folder. They must be plain: in a compressed archive
nothing can be found without unpacking all before.
"""

from __future__ import annotations

import functools
import os
import re
import threading
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from residiff.data import images
from residiff.data.images import Picture
from residiff.data.parts import Part
from residiff.data.shards.index import KINDS, Archive, Column, contents_of, joined
from residiff.errors import ConfigError, ImageDecodeError, ImageError, ImageUnsupportedError

# Fewer than the least limit on open files of any system
OPEN_ARCHIVES = 64


@dataclass(frozen=True)
class ShardPart:
    """A picture in a shard: member `member`, whose `size` bytes stand at `offset`."""

    archive: Archive
    member: str
    offset: int
    size: int

    @property
    def name(self) -> str:
        """The archive, and the member as if it lay in a folder of that name."""
        return f"{self.archive.path}/{self.member}"

    def data(self, most: int | None = None) -> bytes:
        """Its bytes, the first `most` of them.

        Raises
        ------
        ImageDecodeError
            Where the shard is missing or has changed since it was indexed.
        """
        wanted = self.size if most is None else min(most, self.size)
        try:
            data = _opened(self.archive).read(self.offset, wanted)
        except OSError as error:
            raise ImageDecodeError(f"{self.name}: cannot be read ({error.strerror}); check the shard") from error
        if len(data) < wanted:
            raise ImageDecodeError(f"{self.name}: the shard has been cut short; get it again")
        return data

    def read(self) -> Picture:
        """The picture; an `ImageError` where its shard is missing or changed, or it is damaged or no picture."""
        data = self.data()
        try:
            return images.read(data)
        except ImageError as error:
            raise type(error)(f"{self.name}: {error}") from error


class ShardParts(Sequence[Part]):
    """The pictures of one kind in shards, some 40 bytes for each in memory; no part is made before it is asked for."""

    def __init__(self, archives: Sequence[Archive], shard: NDArray[np.int32], column: Column) -> None:
        self.archives, self.shard = tuple(archives), shard
        self.offset, self.size, self.names = column.offset, column.size.astype(np.int32), column.names
        self.ends = np.cumsum(column.length)

    def __len__(self) -> int:
        """How many."""
        return len(self.shard)

    def __getitem__(self, index: int) -> ShardPart:  # type: ignore[override]
        """Part number `index`."""
        place = range(len(self))[index]
        start = int(self.ends[place - 1]) if place else 0
        member = self.names[start : int(self.ends[place])].tobytes().decode("utf-8", "replace")
        return ShardPart(self.archives[self.shard[place]], member, int(self.offset[place]), int(self.size[place]))


def open_shards(folder: Path, split: str) -> dict[str, Sequence[Part]]:
    """The pictures of a split by kind, those of a sample at the same place of each; sorted by shard, then as they lie.

    A file `residiff-index-SPLIT.safetensors` is kept beside the shards, where that can be written.

    Raises
    ------
    ConfigError
        If there are no shards or no clean pictures, or samples lack a kind that others have; the first few are named.
    ImageUnsupportedError, ImageDecodeError
        If a shard is compressed or damaged, or holds what no set of pictures should.
    """
    archives = [_stamped(path) for path in shards_of(folder, split)]
    if not archives:
        raise ConfigError(f"{folder} has no shards to {split} on; they are {split}/*.tar or *-{split}-*.tar")
    contents = contents_of(archives, archives[0].path.parent / f"residiff-index-{split}.safetensors")
    columns = {kind: joined(contents, kind) for kind in KINDS}
    columns = {kind: column for kind, column in columns.items() if (column.offset >= 0).any()}
    if "clean" not in columns:
        raise ConfigError(f"{folder}: the shards hold no clean pictures; name them NAME.clean.png or NAME.png")
    counts = [one.samples for one in contents]
    shard = np.repeat(np.arange(len(archives), dtype=np.int32), counts)
    found = {kind: ShardParts(archives, shard, column) for kind, column in columns.items()}
    _refuse_gaps(folder, found)
    return dict(found)


def shards_of(folder: Path, split: str) -> list[Path]:
    """The shards of a split, sorted, as the module says; none if there are none.

    Raises
    ------
    ImageUnsupportedError
        If one of them is compressed.
    """
    beside = _archives_in(folder)
    found = next(filter(None, (_called(word, folder, beside) for word in _WORDS.get(split, (split,)))), [])
    words = {word for words in _WORDS.values() for word in words}
    if not found and split == "train" and not any(words.intersection(_words(path)) for path in beside):
        found = beside
    for path in found:
        if path.suffix.lower() != ".tar":
            raise ImageUnsupportedError(
                f"{path}: a compressed archive, where nothing can be found; make it a plain .tar"
            )
    return found


def _archives_in(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if _ARCHIVE.search(path.name) and not path.name.startswith("."))


def _called(word: str, folder: Path, beside: list[Path]) -> list[Path]:
    return _archives_in(folder / word) or [path for path in beside if word in _words(path)]


def _words(path: Path) -> list[str]:
    return re.split(r"[-_.]", path.name.lower())


def _stamped(path: Path) -> Archive:
    # Opening a pipe would block for ever
    if not path.is_file():
        raise ImageDecodeError(f"{path}: no such file; a shard is a plain tar archive")
    facts = path.stat()
    return Archive(path, facts.st_size, facts.st_mtime_ns)


def _refuse_gaps(folder: Path, found: dict[str, ShardParts]) -> None:
    """Raise `ConfigError` if a sample lacks a kind that others have."""
    absent = {kind: np.flatnonzero(parts.offset < 0) for kind, parts in found.items()}
    count = sum(map(len, absent.values()))
    if not count:
        return
    first = [f"{kind} for {_any_name(found, int(place))}" for kind, places in absent.items() for place in places[:5]]
    more = f" and {count - 5} more" if count > 5 else ""
    raise ConfigError(f"{folder}: no picture {', '.join(first[:5])}{more}; add them, or leave the samples out")


def _any_name(found: dict[str, ShardParts], place: int) -> str:
    return next(parts[place].name for parts in found.values() if parts.offset[place] >= 0)


class _Descriptor:
    """An open archive. It is closed when the last who holds it lets go, so that no other thread loses it midway."""

    def __init__(self, path: Path) -> None:
        # O_BINARY is Windows's
        self.number = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        self.lock = threading.Lock()
        weakref.finalize(self, os.close, self.number)

    def read(self, offset: int, size: int) -> bytes:
        """`size` bytes at `offset`, fewer where the file ends."""
        parts: list[bytes] = []
        while size and (part := self._read(offset, size)):
            parts.append(part)
            offset, size = offset + len(part), size - len(part)
        return b"".join(parts)

    def _read(self, offset: int, size: int) -> bytes:
        # Shared with forked processes: no one may move the place at which the others read
        if os.name != "nt":
            return os.pread(self.number, size, offset)
        with self.lock:
            os.lseek(self.number, offset, os.SEEK_SET)
            return os.read(self.number, size)


@functools.lru_cache(maxsize=OPEN_ARCHIVES)
def _opened(archive: Archive) -> _Descriptor:
    """The archive, open; an `ImageDecodeError` if it is not what was indexed."""
    descriptor = _Descriptor(archive.path)
    facts = os.fstat(descriptor.number)
    if (facts.st_size, facts.st_mtime_ns) != archive[1:]:
        raise ImageDecodeError(f"{archive.path} has changed since the set was opened; open it again")
    return descriptor


_WORDS = {"train": ("train", "training"), "test": ("test", "testing", "val", "valid", "validation")}
_ARCHIVE = re.compile(r"\.(tar(\.(gz|bz2|xz|zst|lz4|z))?|tgz|tbz2?|txz|tzst)$", re.IGNORECASE)
