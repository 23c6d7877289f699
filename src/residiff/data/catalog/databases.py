"""Pictures in LMDB databases, as LSUN is published and FFHQ is often kept: an encoded picture to a key.

Keys and sizes alone are read when a database is opened. The optional package lmdb is needed.
"""

from __future__ import annotations

import os
import re
import threading
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from residiff.data import images
from residiff.data.catalog.layouts import Columns, Request, by_domain
from residiff.data.catalog.matching import Joined
from residiff.data.catalog.tree import Tree, joined
from residiff.data.images import Picture
from residiff.data.parts import Part
from residiff.errors import ConfigError, ImageDecodeError, ImageError

FILE = "data.mdb"
# What FFHQ's authors appointed for training, the others being for validation
FFHQ_TRAIN = 60_000
# "bedroom_train_lmdb"; the sets of objects have no split, and are called "cat"
_LSUN = re.compile(r"(?P<domain>(?!ffhq).+?)(?:_(?P<split>train|val|test))?(?:[_.]lmdb)?", re.IGNORECASE)
_FFHQ = re.compile(r"ffhq.*", re.IGNORECASE)
_FFHQ_KEY = re.compile(rb"(?:(?P<domain>[0-9]+)-)?(?P<number>[0-9]{5})(?:\.\w+)?")
_COUNT_KEY = b"length"


@dataclass(frozen=True)
class EntryPart:
    """The picture of a key of a database, `size` bytes."""

    path: Path
    key: bytes
    size: int

    @property
    def name(self) -> str:
        """The database, and the key as if it were a file in it."""
        return f"{self.path}/{self.key.decode('utf-8', 'replace')}"

    def data(self, most: int | None = None) -> bytes:
        """Its bytes, the first `most` of them; an `ImageDecodeError` where it is gone."""
        with _DATABASES.at(self.path).begin() as transaction:
            data: bytes | None = transaction.get(self.key)
        if data is None:
            raise ImageDecodeError(f"{self.name}: no longer in the database; open it again")
        return data[:most]

    def read(self) -> Picture:
        """The picture; an `ImageError` where it is gone or damaged, or no picture."""
        data = self.data()
        try:
            return images.read(data)
        except ImageError as error:
            raise type(error)(f"{self.name}: {error}") from error


class Entries(Sequence[Part]):
    """The pictures of `keys` of a database, in that order, and the size of each in bytes."""

    def __init__(self, path: Path, keys: NDArray[np.bytes_], sizes: NDArray[np.int64]) -> None:
        self.path, self.keys, self.sizes = path, keys, sizes

    def __len__(self) -> int:
        """How many."""
        return len(self.keys)

    def __getitem__(self, index: int) -> EntryPart:  # type: ignore[override]
        """Part number `index`."""
        return EntryPart(self.path, bytes(self.keys[index]), int(self.sizes[index]))

    def those(self, places: Sequence[int]) -> Entries:
        """The pictures at `places`."""
        return Entries(self.path, self.keys[list(places)], self.sizes[list(places)])


@final
@dataclass(frozen=True)
class LsunDatabases:
    """A database for each category and split, "bedroom_train_lmdb", or for each category alone, "cat"."""

    domains: tuple[str, ...] = ()

    def fits(self, tree: Tree) -> bool:
        """Whether there is a database that is not named as FFHQ's."""
        return bool(_lsun(tree))

    def open(self, request: Request) -> Columns:
        """The pictures of a category, or of all."""
        there = _lsun(request.tree)
        chosen = {domain: places[request.split] for domain, places in there.items() if request.split in places}
        if not chosen:
            names = "*_train_lmdb" if request.split == "train" else "*_val_lmdb"
            raise ConfigError(f"{request.root} has no database of {request.split} pictures, {names}")

        def column(domain: str | None) -> Sequence[Part]:
            places = list(chosen.values()) if domain is None else [chosen[domain]]
            return Joined([_entries(request.root / place) for place in places])

        return by_domain(request, sorted(chosen), column, exclusive=False)


def _lsun(tree: Tree) -> dict[str, dict[str, str]]:
    """Where the databases are, by category and split."""
    there: dict[str, dict[str, str]] = {}
    for name in tree.folders():
        match = _LSUN.fullmatch(name)
        if match and tree.holds(joined(name, FILE)):
            split = "train" if match["split"] in (None, "train") else "test"
            there.setdefault(match["domain"], {})[split] = name
    return there


@final
@dataclass(frozen=True)
class FfhqDatabase:
    """One database, the folder itself or one in it, with keys such as "256-00000"; each resolution is a domain."""

    domains: tuple[str, ...] = ()

    def fits(self, tree: Tree) -> bool:
        """Whether there is a database of such a name."""
        return _ffhq(tree) is not None

    def open(self, request: Request) -> Columns:
        """The pictures of a split, the first 60,000 or the others, at one resolution."""
        place = _ffhq(request.tree)
        if place is None:
            raise ConfigError(f"{request.root} holds no database of FFHQ")
        path = request.root / place
        entries = _entries(path)
        numbered = [match for match in map(_FFHQ_KEY.fullmatch, entries.keys.tolist()) if match]
        if len(numbered) < len(entries):
            raise ConfigError(f"{path}: keys are not like 256-00000; FFHQ's number says what is for training")
        resolutions = sorted({(match["domain"] or b"").decode() for match in numbered} - {""})
        chosen = [
            (match["domain"] or b"", at)
            for at, match in enumerate(numbered)
            if (int(match["number"]) < FFHQ_TRAIN) == (request.split == "train")
        ]

        def column(domain: str | None) -> Sequence[Part]:
            return entries.those([at for own, at in chosen if domain in (None, own.decode())])

        return by_domain(request, resolutions, column, exclusive=True)


def _ffhq(tree: Tree) -> str | None:
    is_category = re.search(r"_(train|val|test)_lmdb$", tree.root.resolve().name)
    if FILE in tree.files() and not is_category:
        return ""
    return next((name for name in tree.folders() if _FFHQ.fullmatch(name) and tree.holds(joined(name, FILE))), None)


class _Databases:
    """Those that are open, each once in a process, as lmdb has it; a fork opens those of its parent anew."""

    def __init__(self) -> None:
        self.opened: dict[str, tuple[int, Any]] = {}
        # A fork may come while its parent's is held
        self.locks: dict[int, threading.Lock] = {}

    def at(self, path: Path) -> Any:  # noqa: ANN401  (lmdb has no types)
        """The database at `path`; a `ConfigError` where it cannot be opened."""
        real, own = os.path.realpath(path), os.getpid()
        with self.locks.setdefault(own, threading.Lock()):
            process, database = self.opened.get(real, (own, None))
            if process != own:
                database.close()
            if process != own or database is None:
                database = _open(path)
                self.opened[real] = (own, database)
            return database


_DATABASES = _Databases()


def _open(path: Path) -> Any:  # noqa: ANN401  (lmdb has no types)
    try:
        import lmdb
    except ImportError as error:
        raise ConfigError(f'{path} is an LMDB database; to read it: pip install "residiff[lmdb]"') from error
    try:
        return lmdb.open(str(path), readonly=True, lock=False, readahead=False, meminit=False)
    except lmdb.Error as error:
        raise ConfigError(f"{path} is no LMDB database that can be opened ({error}); get it again") from error


def _entries(path: Path) -> Entries:
    """All pictures of a database, sorted by key."""
    keys, sizes = [], array("q")
    # As buffers, values are not read
    with _DATABASES.at(path).begin(buffers=True) as transaction:
        for key, value in transaction.cursor():
            if key != _COUNT_KEY:
                keys.append(bytes(key))
                sizes.append(len(value))
    if not keys:
        raise ConfigError(f"{path} holds no images")
    return Entries(path, np.array(keys, np.bytes_), np.array(sizes, np.int64))
