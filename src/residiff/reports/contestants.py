"""Folders of results that are to be compared: where their pictures lie, what is told of them, what they are called."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from residiff.data.images import list_images
from residiff.errors import ConfigError
from residiff.evaluate import RESULT, Result, load_result

LEAST = 2
_SEED = re.compile(r"seed-(\d+)")


@dataclass(frozen=True)
class Contestant:
    """Results that are to be compared with others.

    Attributes
    ----------
    label : what to call them
    place : the folder that was given
    folders : those that their pictures lie in, one for each seed
    saved : what `evaluate` told of them, if it wrote them
    """

    label: str
    place: Path
    folders: tuple[Path, ...]
    saved: Result | None = None


def open_contestants(
    places: Sequence[Path], labels: Sequence[str] = (), *, recursive: bool = False
) -> tuple[Contestant, ...]:
    """Look into folders of pictures, and folders that `evaluate --save` wrote; no picture is read yet.

    Those without a label are called as `evaluate --label` said, or else after their folder.

    Raises
    ------
    ConfigError
        If there are fewer than two, one is no folder or holds no pictures, its result.json is damaged, there are more
        or fewer labels than results, or two have one label.
    """
    if len(places) < LEAST:
        raise ConfigError(f"compare lays results side by side, and here are {len(places)}; give two folders or more")
    if labels and len(labels) != len(places):
        raise ConfigError(
            f"there are {len(labels)} labels for {len(places)} results; give one --label for each, or none"
        )
    found = tuple(
        _contestant(place, label, recursive) for place, label in zip(places, labels or [""] * len(places), strict=True)
    )
    _check_labels(found)
    return found


def _check_labels(found: Sequence[Contestant]) -> None:
    for label, count in Counter(each.label for each in found).items():
        if count > 1:
            places = " and ".join(str(each.place) for each in found if each.label == label)
            raise ConfigError(f"{places} are all called {label!r}; give each its own --label")


def _contestant(place: Path, label: str, recursive: bool) -> Contestant:
    if not place.is_dir():
        what = "is a file" if place.exists() else "is not there"
        raise ConfigError(f"{place} {what}; give folders of results")
    saved = load_result(place) if (place / RESULT).is_file() else None
    return Contestant(label or _label(place, saved), place, _folders(place, saved, recursive), saved)


def _label(place: Path, saved: Result | None) -> str:
    """The name of the model is no label: it is the same for any number of steps."""
    told = "" if saved is None or saved.label == saved.facts.get("model") else saved.label
    return told or place.resolve().name or str(place)


def _folders(place: Path, saved: Result | None, recursive: bool) -> tuple[Path, ...]:
    seeds = _seeds(place, saved)
    if seeds:
        return seeds
    if not list_images(place, recursive):
        mend = "`residiff evaluate --save` writes them" if saved is not None else "give a folder of results"
        raise ConfigError(f"{place} holds no pictures; {mend}")
    return (place,)


def _seeds(place: Path, saved: Result | None) -> tuple[Path, ...]:
    """The folders of the seeds that are told of, or of all; none where pictures lie in the folder itself."""
    if list_images(place):
        return ()
    found = {int(match[1]): path for path in place.iterdir() if (match := _SEED.fullmatch(path.name)) and path.is_dir()}
    told = [] if saved is None else saved.facts.get("seeds", [])
    whole = isinstance(told, list) and all(seed in [*found] for seed in told)
    return tuple(found[seed] for seed in told or sorted(found)) if whole else tuple(found[key] for key in sorted(found))
