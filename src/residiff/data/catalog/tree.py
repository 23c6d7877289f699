"""Finding pictures by what a set calls them, in words such as "train/data/{k}_rain".

Such a pattern says the folders below the set's, and the name of a picture without its suffix. A field in braces stands
for any text, or for that of a regular expression after a colon: "{k:[0-9]+}". Pictures whose fields are equal, in
order, belong together; what "{*}" stands for does not count. "**" stands for folders at any depth, or none. Upper and
lower case are one in what is written out, not in fields.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from residiff.data.images import READABLE_SUFFIXES
from residiff.errors import ConfigError

Fields = Mapping[str, str]


class Found(NamedTuple):
    """A file of a set: the texts of its pattern's fields, in order, and where it is below the set's folder."""

    key: tuple[str, ...]
    path: str


class Tree:
    """A folder that is looked into again and again; each folder in it is listed once.

    Links are followed. Hidden names are left out. Raises `ConfigError` where a folder cannot be opened.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._listed: dict[str, tuple[list[str], list[str]]] = {}

    def folders(self, at: str = "") -> list[str]:
        """The names of the folders in folder `at`, sorted."""
        return self._list(at)[0]

    def files(self, at: str = "") -> list[str]:
        """The names of all that is no folder in folder `at`, sorted."""
        return self._list(at)[1]

    def pictures(self, at: str = "") -> list[str]:
        """The names in folder `at` of files that are named like pictures, sorted."""
        return [name for name in self.files(at) if is_picture(name)]

    def holds(self, path: str) -> bool:
        """Whether there is a file or folder at `path`."""
        return os.path.exists(self.root / path)

    def walk(self, at: str = "", without: Collection[str] = ()) -> Iterator[str]:
        """Folder `at` and all below it, each once whatever links there are; in `at` itself, not those of `without`."""
        met = {os.path.realpath(self.root / at)}
        yield at
        for name in self.folders(at):
            if name not in without:
                yield from self._walk(joined(at, name), met)

    def _walk(self, at: str, met: set[str]) -> Iterator[str]:
        real = os.path.realpath(self.root / at)
        if real in met:
            return
        met.add(real)
        yield at
        for name in self.folders(at):
            yield from self._walk(joined(at, name), met)

    def _list(self, at: str) -> tuple[list[str], list[str]]:
        if at not in self._listed:
            folders: list[str] = []
            files: list[str] = []
            for name, is_folder in _entries(self.root / at):
                (folders if is_folder else files).append(name)
            self._listed[at] = (sorted(folders), sorted(files))
        return self._listed[at]


def _entries(folder: Path) -> Iterator[tuple[str, bool]]:
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if not entry.name.startswith((".", "__MACOSX")):
                    # Of a link to itself, is_dir() would raise
                    is_link = entry.is_symlink()
                    yield entry.name, os.path.isdir(entry.path) if is_link else entry.is_dir()
    except OSError as error:
        raise ConfigError(f"{folder} cannot be opened ({error.strerror}); check its permissions") from error


def joined(at: str, name: str) -> str:
    """`name` in folder `at`, "" being the set's own."""
    return f"{at}/{name}" if at else name


def is_picture(name: str) -> bool:
    """Whether a file's name says that it is a picture, in upper or lower case."""
    return os.path.splitext(name)[1].lower() in READABLE_SUFFIXES


def places(tree: Tree, pattern: str) -> Iterator[tuple[str, Fields]]:
    """The folders that fit all but the last part of `pattern`, and the texts of its fields."""
    yield from _places(tree, "", {}, pattern.split("/")[:-1])


def _places(tree: Tree, at: str, fields: Fields, parts: list[str]) -> Iterator[tuple[str, Fields]]:
    if not parts:
        yield at, fields
    elif parts[0] == "**":
        for folder in tree.walk(at):
            yield from _places(tree, folder, {**fields, "**": folder.removeprefix(at)}, parts[1:])
    else:
        rule = expression(parts[0])
        for name in tree.folders(at):
            if match := rule.fullmatch(name):
                yield from _places(tree, joined(at, name), {**fields, **match.groupdict()}, parts[1:])


def found(tree: Tree, pattern: str) -> Iterator[Found]:
    """The pictures that fit `pattern`, folder by folder."""
    rule = expression(pattern.split("/")[-1])
    for at, fields in places(tree, pattern):
        for name in tree.pictures(at):
            if match := rule.fullmatch(os.path.splitext(name)[0]):
                yield Found((*fields.values(), *match.groupdict().values()), joined(at, name))


def folder_of(pattern: str) -> str:
    """The folders of a pattern, for people: "train/*/blur"."""
    return filled(pattern.rpartition("/")[0], {})


def filled(pattern: str, fields: Fields) -> str:
    """The pattern with `fields` in it, and "*" for those that are not told."""
    return _FIELD.sub(lambda match: fields.get(match[1], "*"), pattern)


def plain(pattern: str) -> str:
    """The pattern without regular expressions, for people: "{split}/{k}_rain"."""
    return _FIELD.sub(lambda match: "*" if match[1] == "*" else f"{{{match[1]}}}", pattern)


def fields_of(pattern: str) -> list[str]:
    """The fields that count, in order."""
    return [match[1] or match[0] for match in _COUNTED.finditer(pattern)]


@lru_cache(maxsize=1024)
def expression(part: str) -> re.Pattern[str]:
    """The regular expression of one part of a pattern."""
    pieces, end = [], 0
    for match in _FIELD.finditer(part):
        name, rule = match[1], match[2] or ".+"
        group = f"(?:{rule})" if name == "*" else f"(?P<{name}>{rule})"
        pieces += [re.escape(part[end : match.start()]), group]
        end = match.end()
    return re.compile("".join([*pieces, re.escape(part[end:])]), re.IGNORECASE)


_COUNTED = re.compile(r"\{(\w+)(?::[^{}]*)?\}|\*\*")
_FIELD = re.compile(r"\{(\*|\w+)(?::([^{}]*))?\}")
