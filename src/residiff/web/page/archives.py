"""Many pictures in, as files or in ZIP archives, and one ZIP archive out.

Nothing of an archive is ever unpacked to the disk: its members are read into memory, one by one, and their names serve
as names in the archive of results alone. What an archive says of its sizes is checked before, and while it is read.
"""

from __future__ import annotations

import io
import json
import re
import stat
import unicodedata
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Self, TypeAlias

from residiff.errors import ConfigError, ImageError, ImageTooLargeError, ImageUnsupportedError

MIB = 1 << 20
# What systems leave in folders and archives, and nobody asked to have restored
LITTER = frozenset({"thumbs.db", "desktop.ini"})
LONGEST_NAME = 120
FAILURES = "failures.jsonl"
_CHUNK = 1 << 16


@dataclass(frozen=True)
class Limits:
    """How much is taken at once.

    Attributes
    ----------
    files : how many pictures
    file_bytes : the most that one picture's file holds
    all_bytes : and all together, unpacked
    """

    files: int = 200
    file_bytes: int = 32 * MIB
    all_bytes: int = 512 * MIB


@dataclass(frozen=True)
class Member:
    """A file by its name, with slashes, or why it is not taken: one of `data` and `error` is there."""

    name: str
    data: bytes = b""
    error: ImageError | ConfigError | None = None


def members(paths: Iterable[Path], limits: Limits = Limits()) -> Iterator[Member]:  # noqa: B008
    """The pictures of some files, those in ZIP archives too, each read when it is asked for; litter is left out.

    Names are safe and differ from each other. Members that are links, locked or too large, and all after the limits
    are reached, come with an error; an archive that is damaged does so itself, after what could be read of it.
    """
    taken: set[str] = set()
    count = total = 0
    for name, load in _loaders(paths, limits):
        if _is_litter(name):
            continue
        count += 1
        safe = distinct(safe_name(name), taken)
        try:
            if count > limits.files:
                raise ImageTooLargeError(f"{safe}: more than {limits.files} files at once; send the rest afterwards")
            data = load()
            total += len(data)
            if total > limits.all_bytes:
                most = f"{limits.all_bytes // MIB} MiB"
                raise ImageTooLargeError(f"{safe}: more than {most} in all; send the rest afterwards")
            yield Member(safe, data)
        except ImageError as error:
            yield Member(safe, error=error)
        if count > limits.files or total > limits.all_bytes:
            return


_Inside: TypeAlias = tuple[zipfile.ZipFile, zipfile.ZipInfo]


class _Load:
    """Reads a file, or a member of an archive, up to the limit of a single one."""

    def __init__(self, name: str, limits: Limits, path: Path, inside: _Inside | None = None) -> None:
        self._name, self._limits, self._path, self._inside = name, limits, path, inside

    def __call__(self) -> bytes:
        size = self._path.stat().st_size if self._inside is None else self._checked(self._inside[1])
        if size > self._limits.file_bytes:
            self._refuse_size()
        return self._path.read_bytes() if self._inside is None else self._unpacked(*self._inside)

    def _checked(self, info: zipfile.ZipInfo) -> int:
        if stat.S_ISLNK(info.external_attr >> 16):
            raise ImageUnsupportedError(f"{self._name}: is a link; put the picture itself into the archive")
        if info.flag_bits & 1:
            raise ImageUnsupportedError(f"{self._name}: is locked by a password; send the archive without one")
        return info.file_size

    def _unpacked(self, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
        found = io.BytesIO()
        try:
            with archive.open(info) as file:
                while part := file.read(_CHUNK):
                    found.write(part)
                    # What it says of its size need not be so
                    if found.tell() > self._limits.file_bytes:
                        self._refuse_size()
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError, ValueError) as error:
            raise ImageUnsupportedError(f"{self._name}: is damaged in the archive; pack it again") from error
        return found.getvalue()

    def _refuse_size(self) -> None:
        raise ImageTooLargeError(f"{self._name}: more than {self._limits.file_bytes // MIB} MiB; send a smaller file")


def _loaders(paths: Iterable[Path], limits: Limits) -> Iterator[tuple[str, _Load]]:
    for path in paths:
        if not zipfile.is_zipfile(path):
            yield path.name, _Load(path.name, limits, path)
            continue
        try:
            with zipfile.ZipFile(path) as archive:
                for info in archive.infolist():
                    if not info.is_dir():
                        yield info.filename, _Load(info.filename, limits, path, (archive, info))
        except (zipfile.BadZipFile, OSError, ValueError):
            # As a picture it is refused, by name
            yield path.name, _Load(path.name, limits, path)


def _is_litter(name: str) -> bool:
    parts = PurePosixPath(name.replace("\\", "/")).parts
    hidden = any(part.startswith(".") and part not in (".", "..") for part in parts)
    return hidden or "__MACOSX" in parts or bool(parts) and parts[-1].lower() in LITTER


def safe_name(name: str) -> str:
    """A relative path without dots that lead anywhere, drives, control characters or too long parts, never empty."""
    text = unicodedata.normalize("NFC", name).replace("\\", "/")
    parts = [_safe_part(part) for part in text.split("/") if part.strip(". ")]
    return "/".join(part for part in parts[-8:] if part) or "picture"


def _safe_part(part: str) -> str:
    kept = re.sub(r'[<>:"|?*]', "_", "".join(mark for mark in part if mark.isprintable())).strip().rstrip(".")
    if len(kept) <= LONGEST_NAME:
        return kept
    suffix = PurePosixPath(kept).suffix[:12]
    return kept[: LONGEST_NAME - len(suffix)] + suffix


def distinct(name: str, taken: set[str]) -> str:
    """`name`, with a number before its suffix if some file system could take it for one in `taken`; noted there."""
    path, tried, number = PurePosixPath(name), name, 2
    while tried.casefold() in taken:
        tried = str(path.with_name(f"{path.stem}-{number}{path.suffix}"))
        number += 1
    taken.add(tried.casefold())
    return tried


class Pack:
    """An archive of results that is written to `path`, with `failures.jsonl`, a JSON object a line, where some failed.

    The same results give the same bytes. Pictures are packed already, and so are stored as they are.
    """

    def __init__(self, path: Path) -> None:
        self._archive = zipfile.ZipFile(path, "w")
        self._taken = {FAILURES}
        self._failed: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._failed:
            self._archive.writestr(zipfile.ZipInfo(FAILURES), "\n".join([*self._failed, ""]))
        self._archive.close()

    def add(self, name: str, data: bytes) -> None:
        """Put a result into it, under another name if that is taken."""
        self._archive.writestr(zipfile.ZipInfo(distinct(name, self._taken)), data)

    def fail(self, name: str, message: str) -> None:
        """Note that there is no result for `name`, and why."""
        self._failed.append(json.dumps({"source": name, "message": message}, ensure_ascii=False))
