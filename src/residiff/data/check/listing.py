"""What lies in a set before anything is matched: every picture of every kind under its key, faults and all.

`catalog.open_set` refuses a set at its first fault; here each is kept, to be named.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from residiff.data.catalog import (
    AUTO,
    LAYOUTS,
    SPLIT_FOLDERS,
    Files,
    PairedFiles,
    Rule,
    Tree,
    detect,
    expression,
    found,
    is_picture,
    joined,
    known,
    open_set,
    places,
)
from residiff.data.check.findings import Fault, Finding, Severity, finding
from residiff.data.parts import Part
from residiff.data.settings import Pairing
from residiff.errors import ConfigError


@dataclass(frozen=True)
class Wanted:
    """What a set is looked at for: which of its domains, how they are paired, whether with masks (None: if any)."""

    pairing: Pairing = Pairing.NAME
    domains: tuple[str, ...] = ()
    masks: bool | None = None


@dataclass(frozen=True)
class Split:
    """A part of a set, "train" say.

    `kinds` holds for each kind of picture the keys and the parts of all that were found, in order; those of one key
    belong together. With `many`, several degraded ones may have the key of one clean one. `folders` are those that were
    looked into; `strays` files in them that are no pictures by their names, `misnamed` pictures whose names are not
    such a set's, which refuses them.
    """

    name: str
    kinds: Mapping[str, tuple[Sequence[str], Sequence[Part]]]
    many: bool = False
    folders: tuple[str, ...] = ()
    strays: tuple[str, ...] = ()
    misnamed: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """How many pairs it has, or pictures, going by the clean ones, or the degraded ones where they are more."""
        return len(self.kinds["degraded" if self.many and "degraded" in self.kinds else "clean"][0])


@dataclass(frozen=True)
class Listing:
    """A set: what it is called, its splits, how many pairs of each are published, and what could not be listed."""

    title: str
    splits: tuple[Split, ...]
    published: Mapping[str, int]
    findings: tuple[Finding, ...] = ()

    @property
    def size(self) -> int:
        """How many pairs there are, or pictures, about, if some have no partner."""
        return sum(split.size for split in self.splits)


def list_set(path: Path, layout: str = AUTO, wanted: Wanted | None = None) -> Listing:
    """All that lies in the set at `path`, of whatever split.

    Raises
    ------
    ConfigError
        If the layout or a domain does not exist or `path` is no set of it, or none of its splits can be listed.
    """
    wanted = wanted or Wanted()
    name = detect(path) if layout == AUTO else layout
    if name not in LAYOUTS:
        raise ConfigError(f"no layout {name!r}; there are {', '.join([AUTO, *LAYOUTS])}")
    row, tree = LAYOUTS[name], Tree(path)
    finder = next((each for each in row.finders if each.fits(tree)), row.finders[0])
    counts = {} if wanted.domains else row.counts
    if isinstance(finder, PairedFiles):
        files = tuple(_files(tree, finder, wanted))
        if not files:
            raise ConfigError(f"{path} is no set of the layout {name}: {row.naming}; choose another with data.layout")
        return Listing(row.title, files, counts)
    splits, findings = _opened(path, name, wanted)
    return Listing(row.title, splits, counts, findings)


def _files(tree: Tree, finder: PairedFiles, wanted: Wanted) -> Iterable[Split]:
    """The splits of a set in files, as far as they are there."""
    every = dict(finder.rules)
    for domain in wanted.domains:
        every |= finder.variants[known(domain, finder.domains, str(tree.root))]
    for name, rules in every.items():
        rule = _rule(tree, rules)
        if rule is not None:
            kinds = _kinds(tree, rule, wanted)
            columns = {kind: _column(tree, rule[kind]) for kind in kinds}
            folders = sorted({at for kind in kinds for at, _ in places(tree, rule[kind])})
            strays = _strays(tree, rule, folders)
            yield Split(name, columns, finder.many, tuple(str(tree.root / at) for at in folders), *strays)


def _rule(tree: Tree, rules: Sequence[Rule]) -> Rule | None:
    """The rule that the catalogue follows: a whole one before one that lacks a kind, and that before mere folders."""
    steps: tuple[tuple[Callable[[Tree, str], bool], Callable[[Iterable[bool]], bool]], ...]
    steps = ((_has_file, all), (_has_file, any), (_has_folder, any))
    for there, enough in steps:
        for rule in rules:
            if enough(there(tree, rule[kind]) for kind in ("clean", "degraded")):
                return rule
    return None


def _has_folder(tree: Tree, pattern: str) -> bool:
    return any(True for _ in places(tree, pattern))


def _has_file(tree: Tree, pattern: str) -> bool:
    """Whether a file fits the pattern, whatever its suffix."""
    last = [expression(pattern.split("/")[-1])]
    return any(_fits(name, last) for at, _ in places(tree, pattern) for name in tree.files(at))


def _kinds(tree: Tree, rule: Rule, wanted: Wanted) -> list[str]:
    """The kinds to look at: those there are, and those needed even if their folders are not there."""
    if wanted.masks and "mask" not in rule:
        raise ConfigError(f"{tree.root}: this layout has no masks, which are wanted; choose another, or no masks")
    there = [kind for kind in rule if _has_folder(tree, rule[kind])]
    masks = "mask" in there if wanted.masks is None else wanted.masks
    # Pairs may be made of clean pictures and masks
    degraded = "degraded" in there or not masks
    return ["clean", *(["degraded"] if degraded else []), *(["mask"] if masks else [])]


def _column(tree: Tree, pattern: str) -> tuple[Sequence[str], Sequence[Part]]:
    files = sorted(found(tree, pattern))
    return ["/".join(each.key) for each in files], Files(tree.root, [each.path for each in files])


def _strays(tree: Tree, rule: Rule, folders: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Files in the folders of a set that are no pictures, and pictures that have none of the names of their folder."""
    patterns: dict[str, list[re.Pattern[str]]] = {}
    for pattern in rule.values():
        for at, _ in places(tree, pattern):
            patterns.setdefault(at, []).append(expression(pattern.split("/")[-1]))
    names = [(at, name) for at in folders for name in tree.files(at)]
    strays = [joined(at, name) for at, name in names if not is_picture(name)]
    misnamed = [joined(at, name) for at, name in names if is_picture(name) and not _fits(name, patterns[at])]
    return tuple(str(tree.root / one) for one in strays), tuple(str(tree.root / one) for one in misnamed)


def _fits(name: str, patterns: Iterable[re.Pattern[str]]) -> bool:
    stem = os.path.splitext(name)[0]
    return any(each.fullmatch(stem) for each in patterns)


def _opened(path: Path, layout: str, wanted: Wanted) -> tuple[tuple[Split, ...], tuple[Finding, ...]]:
    """The splits of a set that is not in files of one name, as the catalogue opens them."""
    splits: list[Split] = []
    refused: dict[str, ConfigError] = {}
    for split in SPLIT_FOLDERS:
        try:
            pictures = open_set(path, layout, split, pairing=wanted.pairing, domains=wanted.domains)
        except ConfigError as error:
            refused[split] = error
            continue
        kinds = [kind for kind in pictures.columns if kind != "mask" or wanted.masks is not False]
        splits.append(Split(split, {kind: _numbered(pictures.columns[kind]) for kind in kinds}))
    if not splits:
        raise refused["train"]
    return tuple(splits), tuple(_not_opened(path, split, error) for split, error in refused.items())


def _not_opened(path: Path, split: str, error: ConfigError) -> Finding:
    """A split that is not there, or not as it should be; without that to train on, no training begins."""
    if split == "train":
        mend = "mend it; without it there is nothing to train on"
        return finding(Fault.NOT_OPENED, (str(path),), str(error), mend=mend, severity=Severity.ERROR)
    return finding(Fault.NOT_OPENED, (str(path),), str(error))


def _numbered(parts: Sequence[Part]) -> tuple[Sequence[str], Sequence[Part]]:
    """The parts of a kind, those at the same place of each belonging together."""
    return [f"{place:09d}" for place in range(len(parts))], parts
