"""Which picture stands where in tar archives of pictures, found from their headers and kept in a file beside them.

Nothing is ever unpacked: a picture is some bytes at a place of an archive. Absolute names, names with "..", links,
devices, pipes, sparse members, members that end beyond the archive or are over 1 GiB, and headers over 256 KiB are
refused. The file of the index is safetensors, and holds each archive's size and time of change: what has changed since
is read anew, and so is everything if the file is damaged.
"""

from __future__ import annotations

import io
import json
import logging
import re
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from residiff.data.images import READABLE_SUFFIXES
from residiff.errors import ConfigError, ImageDecodeError, ImageUnsupportedError, ResourceError
from residiff.files import sha256, write_bytes

KINDS = ("clean", "degraded", "mask")
MAX_MEMBER = 1 << 30
MAX_HEADER = 1 << 18
FORMAT_VERSION = 1

Places = NDArray[np.int64]
logger = logging.getLogger(__name__)


class Archive(NamedTuple):
    """A tar archive as it was when it was indexed: its size in bytes and its time of change in nanoseconds."""

    path: Path
    size: int
    changed: int


class Column(NamedTuple):
    """Of each sample its picture of one kind: offset (-1: it has none) and size in bytes, and the member's name.

    `names` holds all names, end to end, in UTF-8, and `length` how long each is.
    """

    offset: Places
    size: Places
    length: Places
    names: NDArray[np.uint8]


class Contents(NamedTuple):
    """What one archive, or several, hold: how many samples, and of each kind of picture a column of that length."""

    samples: int
    columns: dict[str, Column]


def contents_of(archives: Sequence[Archive], index: Path) -> list[Contents]:
    """What each of the archives holds, from the file `index` where that is right, which is otherwise written anew.

    Raises
    ------
    ConfigError, ImageUnsupportedError, ImageDecodeError
        As `scan` does.
    """
    known = _load(index)
    found = {archive: known.get(archive) or scan(archive) for archive in archives}
    if found.keys() != known.keys():
        _save(index, found)
    return list(found.values())


def scan(archive: Archive) -> Contents:
    """Find the pictures of an archive by its headers; no picture is read.

    Raises
    ------
    ConfigError
        If a picture's name says no known kind, or two pictures are of the same sample and kind.
    ImageUnsupportedError
        If a member is one of those that the module refuses; it is named.
    ImageDecodeError
        If the archive is damaged, cut short or compressed.
    """
    keys: dict[str, int] = {}
    cells: dict[str, dict[int, tuple[int, int, bytes]]] = {kind: {} for kind in KINDS}
    for member in _members(archive):
        place = _place(archive, member.name) if member.isreg() else None
        if place is None:
            continue
        row = keys.setdefault(place[0], len(keys))
        if row in cells[place[1]]:
            raise ConfigError(f"{archive.path}: {member.name!r} is a second {place[1]} picture of its sample; keep one")
        cells[place[1]][row] = (member.offset_data, member.size, member.name.encode("utf-8", "backslashreplace"))
    return Contents(len(keys), {kind: _column(found, len(keys)) for kind, found in cells.items()})


def joined(contents: Sequence[Contents], kind: str) -> Column:
    """The column of one kind through all the archives."""
    return Column(*(np.concatenate(arrays) for arrays in zip(*(one.columns[kind] for one in contents), strict=True)))


def _column(found: dict[int, tuple[int, int, bytes]], samples: int) -> Column:
    cells = [found.get(row, (-1, 0, b"")) for row in range(samples)]
    numbers = np.array([(offset, size, len(name)) for offset, size, name in cells], np.int64).reshape(-1, 3)
    names = np.frombuffer(b"".join(name for _, _, name in cells), np.uint8)
    offset, size, length = np.ascontiguousarray(numbers.T)
    return Column(offset, size, length, names)


def _place(archive: Archive, name: str) -> tuple[str, str] | None:
    """The sample and the kind that a member's name says; None if it is hidden or no picture."""
    folder, _, base = name.rpartition("/")
    sample, _, rest = base.partition(".")
    word, _, suffix = rest.rpartition(".")
    if not sample or f".{suffix.lower()}" not in READABLE_SUFFIXES:
        return None
    if word.lower() not in _KINDS_BY_WORD:
        known = ", ".join(sorted(_KINDS_BY_WORD)[1:])
        raise ConfigError(f"{archive.path}: {name!r} has {word!r} between its first dot and its last; known: {known}")
    return f"{folder}/{sample}", _KINDS_BY_WORD[word.lower()]


class _HeaderFile(io.FileIO):
    """A file of which no more is read at once than a header may have; whoever reads sets `left`, in bytes."""

    left = MAX_HEADER

    def read(self, size: int | None = -1, /) -> bytes:
        """`size` bytes, fewer at the end."""
        wanted = -1 if size is None else size
        self.left -= wanted
        if wanted < 0 or self.left < 0:
            raise tarfile.ReadError(f"a header of over {MAX_HEADER} bytes")
        return super().read(wanted) or b""


def _members(archive: Archive) -> Iterator[tarfile.TarInfo]:
    """The members of an archive, each checked."""
    try:
        with _HeaderFile(archive.path) as file, tarfile.open(fileobj=file, mode="r:") as tar:
            tar.offset = 0
            while (member := _next(tar, file)) is not None:
                _check(archive, member)
                yield member
    except OSError as error:
        raise ImageDecodeError(f"{archive.path}: cannot be read ({error.strerror}); check its permissions") from error
    # tarfile lets through what numbers and deeply nested headers of hostile archives raise
    except (tarfile.TarError, ArithmeticError, RecursionError, UnicodeError) as error:
        cause = f"no plain tar archive, damaged or cut short ({error})"
        raise ImageDecodeError(f"{archive.path}: {cause}; get it again, or unpack it if it is compressed") from error


def _next(tar: tarfile.TarFile, file: _HeaderFile) -> tarfile.TarInfo | None:
    """The next member, None at the mark of the archive's end. TarFile.next takes damage for the end, and keeps all."""
    start, file.left = tar.offset, MAX_HEADER
    file.seek(start)
    try:
        member = tarfile.TarInfo.fromtarfile(tar)
    except tarfile.HeaderError:
        file.seek(start)
        if file.read(tarfile.BLOCKSIZE) == bytes(tarfile.BLOCKSIZE):
            return None
        raise
    if tar.offset <= start:
        raise tarfile.ReadError(f"a member that ends before it starts, at byte {start}")
    return member


def _check(archive: Archive, member: tarfile.TarInfo) -> None:
    problem = _problem(archive, member)
    if not problem and _beyond(archive, member):
        if not _is_ended(archive):
            cause = f"{archive.path}: cut short at byte {archive.size}, within the member {member.name!r}"
            raise ImageDecodeError(f"{cause}; copy or download the archive again")
        problem = f"claims {member.size} bytes, more than the archive has"
    if problem:
        cause = f"{archive.path}: the member {member.name!r} {problem}"
        raise ImageUnsupportedError(f"{cause}; no archive of pictures needs that: do not trust it, or pack it anew")


def _problem(archive: Archive, member: tarfile.TarInfo) -> str:
    """What is wrong with a member, "" if nothing is."""
    if re.match(r"[/\\]|[A-Za-z]:", member.name):
        return "has an absolute name"
    if ".." in re.split(r"[/\\]", member.name):
        return "has '..' in its name"
    if member.issparse() or not (member.isreg() or member.isdir()):
        return f"is {_TYPES.get(member.type, 'of a special type')}"
    if not 0 <= member.size <= MAX_MEMBER:
        return f"claims {member.size} bytes; at most {MAX_MEMBER} are read"
    return ""


def _beyond(archive: Archive, member: tarfile.TarInfo) -> bool:
    return member.isreg() and member.offset_data + member.size > archive.size


def _is_ended(archive: Archive) -> bool:
    """Whether it has the mark of an archive's end, two blocks of zeros: what contradicts it then is not cut short."""
    mark = bytes(2 * tarfile.BLOCKSIZE)
    with archive.path.open("rb") as file:
        file.seek(-min(len(mark), archive.size), io.SEEK_END)
        return file.read() == mark


def _save(index: Path, found: dict[Archive, Contents]) -> None:
    rows = [[archive.path.name, archive.size, archive.changed, one.samples] for archive, one in found.items()]
    about = json.dumps({"format_version": FORMAT_VERSION, "archives": rows}).encode()
    tensors = {"about": np.frombuffer(about, np.uint8)}
    for kind in KINDS:
        columns = joined(list(found.values()), kind)._asdict()
        tensors |= {f"{kind}.{name}": array for name, array in columns.items()}
    tensors["sha256"] = np.frombuffer(_hash(tensors), np.uint8)
    try:
        write_bytes(index, save(tensors))
    except ResourceError as error:
        logger.info("%s; the index is made anew each time", error)


def _load(index: Path) -> dict[Archive, Contents]:
    """What an index knows; nothing if there is none, or, with a warning, if it is damaged or of another version."""
    if not index.is_file():
        return {}
    try:
        tensors = load(index.read_bytes())
        if tensors.pop("sha256").tobytes() != _hash(tensors):
            raise ValueError("its SHA-256 does not match")
        return _parsed(tensors, index.parent)
    except (OSError, SafetensorError, ValueError, LookupError, TypeError, RecursionError) as error:
        logger.warning("%s: the index is damaged or not of this version (%s); it is made anew", index, error)
        return {}


def _hash(tensors: Mapping[str, NDArray[np.generic]]) -> bytes:
    arrays = sorted(tensors.items())
    parts = [f"{key} {array.dtype} {array.shape}".encode() + array.tobytes() for key, array in arrays]
    return bytes.fromhex(sha256(b"".join(parts)))


def _parsed(tensors: dict[str, NDArray[np.generic]], folder: Path) -> dict[Archive, Contents]:
    """The archives of an index and what each holds; `ValueError` or `LookupError` where that cannot be."""
    about = json.loads(tensors["about"].tobytes())
    if about["format_version"] != FORMAT_VERSION:
        raise ValueError(f"format version {about['format_version']}")
    archives = [Archive(folder / name, size, changed) for name, size, changed, _ in about["archives"]]
    samples = [int(row[3]) for row in about["archives"]]
    columns = {kind: _split(tensors, kind, samples) for kind in KINDS}
    found = {
        archive: Contents(count, {kind: columns[kind][number] for kind in KINDS})
        for number, (archive, count) in enumerate(zip(archives, samples, strict=True))
    }
    if not all(_fits(column, archive) for archive, one in found.items() for column in one.columns.values()):
        raise ValueError("it names places outside the archives")
    return found


def _split(tensors: dict[str, NDArray[np.generic]], kind: str, samples: list[int]) -> list[Column]:
    """A kind's column through all archives as one for each."""
    offset, size, length = (tensors[f"{kind}.{name}"].astype(np.int64) for name in ("offset", "size", "length"))
    names = tensors[f"{kind}.names"].astype(np.uint8)
    shapes = {offset.shape, size.shape, length.shape, (sum(samples),)}
    if len(shapes) != 1 or min(samples) < 0 or length.sum() != len(names):
        raise ValueError("its columns differ in length")
    cuts = np.cumsum(samples)[:-1]
    bounds = np.concatenate([[0], np.cumsum(length)])[cuts]
    parts = (np.split(offset, cuts), np.split(size, cuts), np.split(length, cuts), np.split(names, bounds))
    return [Column(*arrays) for arrays in zip(*parts, strict=True)]


def _fits(column: Column, archive: Archive) -> bool:
    """Whether every place is within the archive, so that no index can have anything else read."""
    offset, size, length, _ = column
    inside = (offset >= -1) & (size >= 0) & (size <= MAX_MEMBER) & (offset <= archive.size - size) & (length >= 0)
    return bool(inside.all())


# The word between the first dot of a name and its last: ours, and those of other sets
_KINDS_BY_WORD = {
    "": "clean",
    "clean": "clean",
    "gt": "clean",
    "hq": "clean",
    "target": "clean",
    "degraded": "degraded",
    "input": "degraded",
    "lq": "degraded",
    "mask": "mask",
}
_TYPES = {
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.LNKTYPE: "a hard link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a pipe",
    tarfile.GNUTYPE_SPARSE: "sparse",
}
