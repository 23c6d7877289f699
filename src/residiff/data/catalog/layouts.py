"""How sets lie on a disk: pairs in files, files by kinds of pictures, and pictures of whatever names."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, final, get_args

from residiff.data.catalog.matching import Files, by_key, matched, some
from residiff.data.catalog.tree import (
    Found,
    Tree,
    expression,
    fields_of,
    filled,
    folder_of,
    found,
    is_picture,
    joined,
    places,
    plain,
)
from residiff.data.parts import Part
from residiff.data.settings import Pairing
from residiff.data.shards import open_shards, shards_of
from residiff.errors import ConfigError, ImageUnsupportedError

Kind = Literal["clean", "degraded", "mask"]
Split = Literal["train", "test"]
Columns = Mapping[str, Sequence[Part]]
# Patterns by kind
Rule = Mapping[str, str]

# A folder that has no test/ calls val/ or valid/ what is not trained on
SPLIT_FOLDERS: dict[Split, tuple[str, ...]] = {"train": ("train",), "test": ("test", "val", "valid")}
_MEND = "copy them there, or give the folder that they are in"


@dataclass(frozen=True)
class Request:
    """What is wanted of a set; `title` is what to call it to people. No `kinds` are those that there are."""

    tree: Tree
    title: str
    split: Split = "train"
    pairing: Pairing = Pairing.NAME
    domains: tuple[str, ...] = ()
    kinds: tuple[Kind, ...] = ()

    @property
    def root(self) -> Path:
        """The set's folder."""
        return self.tree.root


class Finder(Protocol):
    """A way in which a set lies on the disk."""

    @property
    def domains(self) -> tuple[str, ...]:
        """The published names to choose among, if any."""
        ...

    def fits(self, tree: Tree) -> bool:
        """Whether a folder looks so, from the names in it alone."""
        ...

    def open(self, request: Request) -> Columns:
        """The pictures by kind; a `ConfigError` where they are not as they should be."""
        ...


@final
@dataclass(frozen=True)
class PairedFiles:
    """Pairs in files that belong together by their names.

    For each split there are `rules`, patterns by kind; the first that the folder has the pictures of is followed. A
    name of `variants`, chosen as a domain, brings others. With `many`, several degraded pictures may go with one clean
    one. With `by_folder`, a set is known by its folders alone, even where they are empty.
    """

    rules: Mapping[Split, Sequence[Rule]]
    variants: Mapping[str, Mapping[Split, Sequence[Rule]]] = field(default_factory=dict)
    many: bool = False
    by_folder: bool = False

    @property
    def domains(self) -> tuple[str, ...]:
        """The names of the variants."""
        return tuple(self.variants)

    def fits(self, tree: Tree) -> bool:
        """Whether there is a rule of which clean and degraded files are there, pictures or not."""
        every = [rule for rules in [self.rules, *self.variants.values()] for each in rules.values() for rule in each]
        if self.by_folder:
            return any(_has_folder(tree, rule[kind]) for rule in every for kind in ("clean", "degraded"))
        return any(_has_file(tree, rule["clean"]) and _has_file(tree, rule["degraded"]) for rule in every)

    def open(self, request: Request) -> Columns:
        """The pictures by kind, those of a pair at the same place unless they are not paired by name."""
        rule = self._rule(request)
        kinds = _kinds(request, rule)
        _refuse_absent(request, rule, kinds)
        _refuse_strays(request.tree, rule, kinds)
        files = {kind: list(found(request.tree, rule[kind])) for kind in kinds}
        if request.pairing is Pairing.NAME:
            if not any(files.values()):
                raise _no_images(request, [rule[kind] for kind in kinds])
            paths = matched(request.root, files, lambda kind, key: _expected(rule[kind], key), self.many)
        else:
            paths = {
                kind: _listed(request, rule[kind], files[kind], self.many and kind == "degraded") for kind in kinds
            }
        return {kind: Files(request.root, each) for kind, each in paths.items()}

    def _rule(self, request: Request) -> Rule:
        rules = dict(self.rules)
        for domain in request.domains:
            rules |= self.variants[known(domain, self.domains, request.title)]
        if len(request.domains) > 1:
            raise ConfigError(f"{request.title} is not translated; data.domains chooses one of {some(self.domains)}")
        if request.split not in rules:
            raise ConfigError(f"{request.title} has no {request.split} pictures; hold some out of training")
        # A whole one comes before one that lacks a kind, and that before one that only has folders: the lack is told
        for there, enough in ((_has_file, all), (_has_file, any), (_has_folder, any)):
            for rule in rules[request.split]:
                if enough(there(request.tree, rule[kind]) for kind in ("clean", "degraded")):
                    return rule
        return rules[request.split][0]


def _kinds(request: Request, rule: Rule) -> list[str]:
    if request.kinds:
        return list(request.kinds)
    has_mask = "mask" in rule and _has_folder(request.tree, rule["mask"])
    return ["clean", "degraded", *(["mask"] if has_mask else [])]


def _refuse_absent(request: Request, rule: Rule, kinds: Iterable[str]) -> None:
    for kind in kinds:
        if kind not in rule:
            raise ConfigError(f"{request.title} has no {kind} pictures")
    folders = list(dict.fromkeys(folder_of(rule[kind]) for kind in kinds))
    for kind in kinds:
        if not _has_folder(request.tree, rule[kind]):
            needed = "/ and ".join(folders)
            absent = folder_of(rule[kind])
            raise ConfigError(f"{request.root} has no folder {absent!r}; {request.title} holds {needed}/")


def _refuse_strays(tree: Tree, rule: Rule, kinds: Iterable[str]) -> None:
    """Raise `ConfigError` if pictures lie among those of a set that have none of the names of their folder."""
    names: dict[str, list[re.Pattern[str]]] = {}
    for pattern in rule.values():
        for at, _ in places(tree, pattern):
            names.setdefault(at, []).append(expression(pattern.split("/")[-1]))
    strays = [
        joined(at, name)
        for at in sorted({at for kind in kinds for at, _ in places(tree, rule[kind])})
        for name in tree.pictures(at)
        if not any(each.fullmatch(os.path.splitext(name)[0]) for each in names[at])
    ]
    if strays:
        expected = " and ".join(plain(rule[kind]) for kind in kinds)
        raise ConfigError(f"{tree.root}: {some(strays)} not named like {expected}; rename or remove them")


def _listed(request: Request, pattern: str, files: Sequence[Found], repeated: bool = False) -> list[str]:
    """The paths of pictures without partners, sorted by key; keys may come again where they are `repeated`."""
    if not files:
        raise _no_images(request, [pattern])
    return [each.path for each in sorted(files)] if repeated else list(by_key(request.root, files).values())


def _no_images(request: Request, patterns: Sequence[str]) -> ConfigError:
    """What to say of folders without pictures; of what else there is, the suffixes."""
    folder = request.root / folder_of(patterns[0]) if len(patterns) == 1 else request.root
    names = [name for pattern in patterns for at, _ in places(request.tree, pattern) for name in request.tree.files(at)]
    if any(is_picture(name) for name in names):
        return ConfigError(f"{folder} holds no {request.split} images, which are named like {plain(patterns[0])}")
    suffixes = sorted({os.path.splitext(name)[1].lower() for name in names} - {""})
    other = f" but {', '.join(suffixes)} files, which are not read; save them as PNG" if suffixes else f"; {_MEND}"
    return ConfigError(f"{folder} holds no images{other}")


def _expected(pattern: str, key: tuple[str, ...]) -> str:
    return filled(pattern, dict(zip(fields_of(pattern), key, strict=True)))


def _has_folder(tree: Tree, pattern: str) -> bool:
    return any(True for _ in places(tree, pattern))


def _has_file(tree: Tree, pattern: str) -> bool:
    """Whether a file fits the pattern, whatever its suffix."""
    rule = expression(pattern.split("/")[-1])
    return any(rule.fullmatch(os.path.splitext(name)[0]) for at, _ in places(tree, pattern) for name in tree.files(at))


@final
@dataclass(frozen=True)
class DomainFiles:
    """Pictures of one kind or several ("domains"), each in a folder that the field {domain} of `rules` stands for.

    With `names`, a folder with other ones is another set's. Where they are `exclusive`, one must be chosen if there are
    several; else all are taken where none is.
    """

    rules: Mapping[Split, Sequence[str]]
    names: tuple[str, ...] = ()
    least: int = 1
    exclusive: bool = False

    @property
    def domains(self) -> tuple[str, ...]:
        """The published names."""
        return self.names

    def available(self, tree: Tree) -> list[str]:
        """The domains that there are, sorted."""
        every = {fields["domain"] for each in self.rules.values() for one in each for _, fields in places(tree, one)}
        return sorted(every)

    def fits(self, tree: Tree) -> bool:
        """Whether there are domains enough, none but those published, with pictures."""
        there = self.available(tree)
        if len(there) < self.least or not (set(there) <= set(self.names) or not self.names):
            return False
        return any(_has_file(tree, pattern) for each in self.rules.values() for pattern in each)

    def open(self, request: Request) -> Columns:
        """The pictures of a domain, or of one as clean and of another as degraded."""
        tree = request.tree
        pattern = next((each for each in self.rules[request.split] if _has_folder(tree, each)), None)
        if pattern is None:
            folders = folder_of(self.rules[request.split][0])
            raise ConfigError(f"{request.root} has no folder {folders!r}, where {request.split} pictures would be")

        def column(domain: str | None) -> Sequence[Part]:
            chosen = _of_domain(pattern, domain)
            return Files(tree.root, _listed(request, chosen, list(found(tree, chosen))))

        return by_domain(request, self.available(tree), column, exclusive=self.exclusive)


def _of_domain(pattern: str, domain: str | None) -> str:
    """The pattern with a domain's name in place of its field; without one, as it is."""
    parts = pattern.split("/")
    return "/".join(filled(part, {"domain": domain}) if domain and "{domain" in part else part for part in parts)


def by_domain(
    request: Request, available: Sequence[str], column: Callable[[str | None], Sequence[Part]], *, exclusive: bool
) -> Columns:
    """The pictures of the domains that are asked for: of one, or translated from the first to the second.

    Raises
    ------
    ConfigError
        If a domain is not there, there are more than two, or one must be chosen or pairs by name are wanted.
    """
    chosen = [known(domain, available, request.title) for domain in request.domains]
    if len(chosen) > 2:
        raise ConfigError(f"data.domains names {len(chosen)}; give one to generate, or two to translate between")
    if len(chosen) == 2:
        if request.pairing is Pairing.NAME:
            raise ConfigError(
                f"pictures of {chosen[0]} and {chosen[1]} are no pairs; set data.pairing to order or unpaired"
            )
        return {"clean": column(chosen[1]), "degraded": column(chosen[0])}
    if exclusive and not chosen and len(available) > 1:
        raise ConfigError(f"{request.root} holds {' and '.join(available)}; choose one with data.domains")
    return {"clean": column(chosen[0] if chosen else None)}


def known(name: str, names: Sequence[str], title: str) -> str:
    """`name` if it is one of `names`; else a `ConfigError` with the nearest of them."""
    if name in names:
        return name
    if not names:
        raise ConfigError(f"{title} has no domains to choose among; leave out data.domains")
    near = difflib.get_close_matches(name, names, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {some(names)}"
    raise ConfigError(f"no domain {name!r}; {hint}")


@final
@dataclass(frozen=True)
class AnyPictures:
    """All pictures of a folder and those below it; those of test/, val/ or valid/ in it are for testing alone."""

    domains: tuple[str, ...] = ()

    def fits(self, tree: Tree) -> bool:
        """Whether pictures lie in the folder itself."""
        return any(tree.pictures())

    def open(self, request: Request) -> Columns:
        """The pictures, sorted by their paths."""
        tree = request.tree
        for domain in request.domains:
            known(domain, (), request.title)
        inside = [name for name in SPLIT_FOLDERS[request.split] if name in tree.folders()]
        if request.split == "test" and not inside:
            raise ConfigError(f"{request.root} has no folder 'test', where test pictures would be")
        folders = tree.walk(inside[0]) if inside else tree.walk("", without=SPLIT_FOLDERS["test"])
        paths = [joined(at, name) for at in folders for name in tree.pictures(at)]
        if not paths:
            raise ConfigError(f"{request.root} holds no images; {_MEND}")
        return {"clean": Files(request.root, sorted(paths))}


@final
@dataclass(frozen=True)
class Shards:
    """Tar archives."""

    domains: tuple[str, ...] = ()

    def fits(self, tree: Tree) -> bool:
        """Whether there are archives of either split, which may be such as cannot be read."""
        try:
            return any(shards_of(tree.root, split) for split in get_args(Split))
        except ImageUnsupportedError:
            return True

    def open(self, request: Request) -> Columns:
        """The pictures by kind, or those kinds of them that are wanted."""
        for domain in request.domains:
            known(domain, (), request.title)
        columns = open_shards(request.root, request.split)
        return {kind: parts for kind, parts in columns.items() if not request.kinds or kind in request.kinds}
