"""Which pictures are compared with which: those of one name, never those at equal places of two lists."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from residiff.data import images
from residiff.data.catalog import AUTO, SPLIT_FOLDERS, detect, open_set
from residiff.data.parts import FilePart, Part, PictureSet
from residiff.errors import ConfigError
from residiff.nearest import path_hint

_MOST_NAMED = 5
Named = Mapping[str, Part]


@dataclass(frozen=True)
class Item:
    """What is compared under one `name`, not yet read; `truth` is None where a protocol needs none."""

    name: str
    predicted: Part
    truth: Part | None = None
    mask: Part | None = None


@dataclass(frozen=True)
class Paired:
    """All that has partners, sorted by name, and by place the names that are missing there."""

    items: tuple[Item, ...]
    missing: Mapping[str, tuple[str, ...]]

    def told(self) -> str:
        """What is missing, for people; empty where nothing is."""
        return "; ".join(f"{place} lacks {listed(names)}" for place, names in self.missing.items() if names)


def pair(
    predicted: Path,
    truth: Path | None,
    mask: Path | None = None,
    *,
    layout: str | None = None,
    recursive: bool = False,
    partial: bool = False,
) -> Paired:
    """Pair pictures by their names without suffix.

    Parameters
    ----------
    predicted : a folder of results, or one picture
    truth
        Likewise; or the folder of a data set, whose test part is meant: then results have the names of its degraded
        pictures, as `restore` gives them. None where nothing is compared with.
    mask : likewise; a data set brings its own
    layout : of the data set; "auto" finds it out. None takes `truth` for one where no pictures lie in it directly
    recursive : whether pictures in sub-folders are meant, too, named by their paths
    partial : leave out what has no partner, in place of refusing it

    Raises
    ------
    ConfigError
        If a path is not there, files meet folders, no pictures are found, two have one name, or a name has no partner
        (the first few are named; with `partial`, where none has one).
    """
    sides = {"predicted": predicted} | ({} if truth is None else {"truth": truth})
    sides |= {} if mask is None else {"mask": mask}
    absent = [path for path in sides.values() if not path.exists()]
    if absent:
        listed = ", no ".join(map(str, absent))
        raise ConfigError(f"there is no {listed}; give two files or two folders; {path_hint(absent[0])}")
    if not predicted.is_dir():
        return _single(sides)
    _refuse_files(sides)
    found: dict[str, Named] = {"predicted": _pictures(predicted, recursive)}
    if truth is not None and _is_set(truth, layout, recursive):
        found |= _of_set(truth, layout or AUTO, wants_mask=mask is None)
        sides.setdefault("mask", truth)
    elif truth is not None:
        found["truth"] = _pictures(truth, recursive)
    if mask is not None:
        found["mask"] = _pictures(mask, recursive)
    return _joined(found, sides, partial)


def _single(sides: Mapping[str, Path]) -> Paired:
    for path in sides.values():
        if path.is_dir():
            raise ConfigError(f"{path} is a folder, and {sides['predicted']} is a file; give files or folders alone")
    parts = {side: FilePart(path) for side, path in sides.items()}
    item = Item(sides["predicted"].stem, parts["predicted"], parts.get("truth"), parts.get("mask"))
    return Paired((item,), {})


def _refuse_files(sides: Mapping[str, Path]) -> None:
    for path in sides.values():
        if not path.is_dir():
            raise ConfigError(f"{path} is a file, and {sides['predicted']} is a folder; give files or folders alone")


def _pictures(path: Path, recursive: bool) -> Named:
    return named((str(found.relative_to(path).with_suffix("")), found) for found in images.list_images(path, recursive))


def named(files: Iterable[tuple[str, Path]]) -> dict[str, Part]:
    """Files by their names; `ConfigError` if two have one."""
    found: dict[str, Part] = {}
    taken: dict[str, Path] = {}
    for name, path in files:
        if name in found:
            raise ConfigError(f"{taken[name]} and {path.name} have the same name; keep one of them")
        found[name], taken[name] = FilePart(path), path
    return found


def _is_set(truth: Path, layout: str | None, recursive: bool) -> bool:
    if layout is not None:
        return True
    if recursive or not truth.is_dir() or images.list_images(truth) or not any(truth.iterdir()):
        return False
    return bool(detect(truth))


def tested(root: Path, layout: str = AUTO) -> PictureSet:
    """The test part of a data set; all of a folder of one's own that has no parts, but `clean/` and `degraded/` alone.

    Raises
    ------
    ConfigError
        If it is no folder, or not as its layout says.
    """
    if not root.is_dir():
        raise ConfigError(f"{root} is no folder; give that of a data set; {path_hint(root)}")
    parts = {name for names in SPLIT_FOLDERS.values() for name in names}
    whole = layout in (AUTO, "paired") and (root / "degraded").is_dir() and not any((root / x).is_dir() for x in parts)
    return open_set(root, layout, "train" if whole else "test")


def degraded_of(truth: Path, *, layout: str | None = None, recursive: bool = False) -> Named:
    """The degraded pictures of a data set that is given for the truth, by name; none of a folder of true pictures.

    Raises
    ------
    ConfigError
        If the set holds no pairs, or is not as its layout says.
    """
    if not _is_set(truth, layout, recursive):
        return {}
    chosen = tested(truth, layout or AUTO)
    return dict(zip(_names(chosen), chosen.columns["degraded"], strict=True))


def _of_set(root: Path, layout: str, *, wants_mask: bool) -> dict[str, Named]:
    """The true pictures of a set's test part, and its masks, by the names of the degraded ones."""
    chosen = tested(root, layout)
    names, columns = _names(chosen), chosen.columns
    kinds = {"truth": "clean"} | ({"mask": "mask"} if wants_mask and "mask" in columns else {})
    return {side: dict(zip(names, columns[kind], strict=True)) for side, kind in kinds.items()}


def _names(chosen: PictureSet) -> list[str]:
    """Those of a set's degraded pictures, without suffix."""
    if "degraded" not in chosen.columns:
        raise ConfigError(f"{chosen.source} holds no pairs; give the folder of true pictures")
    names = [Path(part.name).stem for part in chosen.columns["degraded"]]
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        raise ConfigError(f"{chosen.source}: {listed(twice)} stand for several pictures; score each folder by itself")
    return names


def _joined(found: Mapping[str, Named], sides: Mapping[str, Path], partial: bool) -> Paired:
    names = sorted(set().union(*found.values()))
    if not names:
        raise ConfigError(f"{' and '.join(str(sides[side]) for side in found)} hold no pictures")
    lacking = {str(sides[side]): tuple(name for name in names if name not in files) for side, files in found.items()}
    whole = [name for name in names if all(name in files for files in found.values())]
    missing = {place: lacks for place, lacks in lacking.items() if lacks}
    paired = Paired(tuple(_item(name, found) for name in whole), missing)
    if missing and not partial:
        raise ConfigError(f"pictures are paired by name, but {paired.told()}; --partial scores the others")
    if not whole:
        raise ConfigError(f"no picture has a partner of its name: {paired.told()}")
    return paired


def _item(name: str, found: Mapping[str, Named]) -> Item:
    partners = (found[side][name] if side in found else None for side in ("truth", "mask"))
    return Item(name, found["predicted"][name], *partners)


def listed(names: Iterable[str]) -> str:
    """The first few names, and how many more there are."""
    every = list(names)
    more = len(every) - _MOST_NAMED
    return ", ".join(every[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
