"""Which pictures of a set belong together: those of equal keys, never those at equal places of two lists."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from residiff.data.catalog.tree import Found
from residiff.data.parts import FilePart, Part
from residiff.errors import ConfigError

_SHOWN = 5


class Files(Sequence[Part]):
    """Pictures in files of their own, below `root`; no part is made before it is asked for."""

    def __init__(self, root: Path, paths: Sequence[str]) -> None:
        self.root, self.paths = root, paths

    def __len__(self) -> int:
        """How many."""
        return len(self.paths)

    def __getitem__(self, index: int) -> FilePart:  # type: ignore[override]
        """Part number `index`."""
        return FilePart(self.root / self.paths[index])


class Joined(Sequence[Part]):
    """Several sequences one after the other."""

    def __init__(self, members: Sequence[Sequence[Part]]) -> None:
        self.members = members

    def __len__(self) -> int:
        """How many."""
        return sum(len(member) for member in self.members)

    def __getitem__(self, index: int) -> Part:  # type: ignore[override]
        """Part number `index`."""
        place = range(len(self))[index]
        for member in self.members:
            if place < len(member):
                return member[place]
            place -= len(member)
        raise IndexError(index)


def some(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(names[:_SHOWN])}{more}"


def refuse_missing(root: Path, places: Sequence[str]) -> None:
    """Raise `ConfigError`, naming the first few, if there are `places` in the set `root` where no file is."""
    if places:
        raise ConfigError(f"{root}: no file for {some(places)}")


def by_key(root: Path, files: Sequence[Found]) -> dict[tuple[str, ...], str]:
    """The files by their keys, sorted; `ConfigError` if two have one."""
    keyed: dict[tuple[str, ...], str] = {}
    for key, path in sorted(files, key=lambda each: each.path):
        if key in keyed:
            both = f"{root / keyed[key]} and {_beside(keyed[key], path)}"
            raise ConfigError(f"{both} have the same name; keep one of them")
        keyed[key] = path
    return dict(sorted(keyed.items()))


def _beside(one: str, other: str) -> str:
    """What `other` is called where `one` has been named: by its name alone if they share a folder."""
    same_folder = os.path.dirname(one) == os.path.dirname(other)
    return os.path.basename(other) if same_folder else other


def matched(
    root: Path, found: Mapping[str, Sequence[Found]], expected: Callable[[str, tuple[str, ...]], str], many: bool
) -> dict[str, list[str]]:
    """The files of each kind, those of equal keys at equal places, sorted by key.

    With `many`, several degraded ones may have the key of one clean one, which then comes again. `expected` says of a
    kind and a key where its file would be.

    Raises
    ------
    ConfigError
        If a file has no partner, or two of a kind have one key; the first few are named.
    """
    repeated = {"degraded"} if many else set()
    keyed = {kind: by_key(root, files) for kind, files in found.items() if kind not in repeated}
    keys = {kind: {each.key for each in files} for kind, files in found.items()}
    everything = sorted(set().union(*keys.values()))
    refuse_missing(root, [expected(kind, key) for kind in found for key in everything if key not in keys[kind]])
    if many and "degraded" in found:
        order = sorted(found["degraded"])
        return {kind: [each.path if kind in repeated else keyed[kind][each.key] for each in order] for kind in found}
    return {kind: list(paths.values()) for kind, paths in keyed.items()}
