"""What the names of a set's pictures tell before any is read: partners that miss, clashes, what is no picture."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from residiff.data.check.findings import Fault, Finding, finding
from residiff.data.check.listing import Split
from residiff.data.parts import Part


class Entry(NamedTuple):
    """The pictures of one key, by kind; some kinds may be missing."""

    split: str
    key: str
    parts: Mapping[str, Part]


def entries(split: Split) -> list[Entry]:
    """The pictures of a split by key, in order. Of several in one kind the first is taken, unless many may be there."""
    found: dict[str, dict[str, list[Part]]] = {}
    for kind, (keys, parts) in split.kinds.items():
        for key, part in zip(keys, parts, strict=True):
            found.setdefault(key, {}).setdefault(kind, []).append(part)
    return [entry for key in sorted(found) for entry in _entries(split, key, found[key])]


def _entries(split: Split, key: str, parts: Mapping[str, list[Part]]) -> list[Entry]:
    first = {kind: each[0] for kind, each in parts.items()}
    if not split.many or "degraded" not in parts:
        return [Entry(split.name, key, first)]
    return [Entry(split.name, key, first | {"degraded": each}) for each in parts["degraded"]]


def check_names(split: Split, *, paired: bool) -> list[Finding]:
    """The faults of a split's names; partners are missed where the kinds are `paired` by name."""
    strays = [finding(Fault.STRAY, (name,), "it is not named as a picture") for name in split.strays]
    text = "it has none of the names that pictures have in this folder"
    strays += [finding(Fault.MISNAMED, (name,), text) for name in split.misnamed]
    found = [one for kind in split.kinds for one in _clashes(split, kind)]
    return _too_few(split) + found + (_unpaired(split) if paired else []) + strays


def check_paths(splits: Sequence[Split]) -> list[Finding]:
    """Files that are in several splits, as tables of paths can have it; those of a pair are told together."""
    where: dict[str, dict[str, None]] = defaultdict(dict)
    pairs = [(split.name, _paths(entry)) for split in splits for entry in entries(split)] if len(splits) > 1 else []
    for name, paths in pairs:
        for path in paths:
            where[path][name] = None
    shared = dict.fromkeys(tuple(path for path in paths if len(where[path]) > 1) for _, paths in pairs)
    return [
        finding(Fault.LEAK, paths, f"the same file is in the splits {' and '.join(where[paths[0]])}")
        for paths in shared
        if paths
    ]


def _paths(entry: Entry) -> list[str]:
    """Where the pictures of an entry are, written one way; masks may serve several."""
    return [os.path.normpath(part.name) for kind, part in entry.parts.items() if kind != "mask"]


def _too_few(split: Split) -> list[Finding]:
    """A split of nothing, and one to train on that nothing can be held out of."""
    counts = [len(keys) for keys, _ in split.kinds.values()]
    if not any(counts):
        text = f"there are no pictures for the {split.name} split, which would be here"
        return [finding(Fault.NOTHING, split.folders or (split.name,), text)]
    if split.name == "train" and (split.size if split.many else min(counts)) == 1:
        names = tuple(parts[0].name for _, parts in split.kinds.values() if len(parts))
        return [finding(Fault.SINGLE, names, "training holds one out, which leaves none")]
    return []


def _clashes(split: Split, kind: str) -> list[Finding]:
    """Files of one kind whose keys are the same, or the same but for case."""
    keys, parts = split.kinds[kind]
    same = _grouped((key, part.name) for key, part in zip(keys, parts, strict=True))
    may_repeat = split.many and kind == "degraded"
    found = [
        finding(Fault.SAME_NAME, tuple(names), f"{len(names)} files of one kind are called {key!r}")
        for key, names in same.items()
        if len(names) > 1 and not may_repeat
    ]
    alike = _grouped((key.casefold(), names[0]) for key, names in same.items())
    text = "their names are the same but for capital letters"
    return found + [finding(Fault.CASE_TWINS, tuple(names), text) for names in alike.values() if len(names) > 1]


def _unpaired(split: Split) -> list[Finding]:
    """Pictures without a partner of the same key, and those whose partner is written in another case."""
    whole = set(split.kinds)
    alone = [entry for entry in entries(split) if set(entry.parts) != whole]
    alike: dict[str, list[Entry]] = defaultdict(list)
    for entry in alone:
        alike[entry.key.casefold()].append(entry)
    return [one for group in alike.values() for one in _unmatched(group, whole)]


def _unmatched(group: list[Entry], whole: set[str]) -> list[Finding]:
    """Findings of entries that lack a partner, whose keys are the same but for case."""
    kinds = [kind for entry in group for kind in entry.parts]
    if len(group) > 1 and len(kinds) == len(set(kinds)):
        files = tuple(part.name for entry in group for part in entry.parts.values())
        return [finding(Fault.CASE, files, "they belong together, but for capital letters in their names")]
    return [_alone(entry, sorted(whole - set(entry.parts))) for entry in group]


def _alone(entry: Entry, lacking: list[str]) -> Finding:
    files = tuple(part.name for part in entry.parts.values())
    if "clean" in lacking:
        return finding(Fault.EXTRA, files, f"there is no clean picture called {entry.key!r}")
    return finding(Fault.MISSING, files, f"there is no {' and no '.join(lacking)} picture called {entry.key!r}")


def _grouped(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = defaultdict(list)
    for key, value in pairs:
        groups[key].append(value)
    return groups
