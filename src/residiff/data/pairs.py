"""Pairs of clean and degraded images to train on, each a pure function of its number.

`SyntheticPairs` needs no files: procedural pictures, a degradation, a crop. `PairedFolder` reads `clean/` and
`degraded/` (and `mask/`) of a folder. Both pair a picture with its own degraded version, or, for translation, with
another's.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset

from residiff.data import images
from residiff.data.degrade import degrade
from residiff.data.holes import without
from residiff.data.pair import Pair, Pairs
from residiff.data.picture import Picture
from residiff.data.settings import Augment, DataSettings, Degrade, Pairing
from residiff.data.synthetic import clean_image
from residiff.errors import ConfigError
from residiff.seeds import generator


def check_degradation(chosen: Degrade) -> None:
    """Raise `ConfigError`, with the nearest name, where a degradation or its parameters do not exist as said."""
    # A dry run finds what is wrong
    degrade(chosen.name, torch.full((3, 8, 8), 0.5), generator(0), chosen.parameters)


def _draw(below: int, source: torch.Generator) -> int:
    return int(torch.randint(below, (1,), generator=source))


def _shuffled(count: int, index: int, *stream: int) -> int:
    """Place `index` of an endless list that holds each number below `count` once an epoch, in an order of its own."""
    order = torch.randperm(count, generator=generator(*stream, index // count))
    return int(order[index % count])


class _Window(NamedTuple):
    """Which part of a picture is shown, and how: its corner, its side, and one of eight turns."""

    top: int
    left: int
    side: int
    turn: int

    def cut(self, image: Tensor) -> Tensor:
        """The part (C, side, side), mirrored from turn 4 on, after that number of quarter turns."""
        part = image[:, self.top : self.top + self.side, self.left : self.left + self.side]
        part = part.rot90(self.turn % 4, (1, 2))
        return (part.flip(2) if self.turn >= 4 else part).contiguous()


def _draw_window(image: Tensor, data: DataSettings, source: torch.Generator) -> _Window:
    (height, width), side, turns = image.shape[1:], data.crop, TURNS[data.augment]
    top, left = _draw(height - side + 1, source), _draw(width - side + 1, source)
    return _Window(top, left, side, turns[_draw(len(turns), source)])


def _rgb(picture: Picture) -> Tensor:
    return picture.pixels.expand(3, -1, -1)


def _grey(picture: Picture) -> Tensor:
    return picture.pixels.mean(0, keepdim=True)


class SyntheticPairs:
    """Crops of procedural pictures, degraded on the fly.

    Pair i shows one of the last `window` pictures at the time when pair i is due, so that a picture is drawn once and
    used about `reuse` times. Unless they are paired by name, it is another one of them that is degraded.
    """

    def __init__(self, data: DataSettings, seed: int) -> None:
        check_degradation(data.degrade)
        if data.from_masks:
            raise ConfigError("data.from_masks needs a folder of pictures and masks; give one with --data")
        self.source = f"procedural, {data.degrade.name}" + ("" if data.pairing is Pairing.NAME else ", unpaired")
        self.data = data
        self.seed = seed
        self.size = 0
        self.pictures: dict[int, Tensor] = {}

    def __reduce__(self) -> tuple[type[SyntheticPairs], tuple[DataSettings, int]]:
        """To a loader's worker that is not a fork, what it is made of; the cache stays behind."""
        return SyntheticPairs, (self.data, self.seed)

    def _picture(self, index: int, live: range) -> Tensor:
        if index not in self.pictures:
            self.pictures = {key: value for key, value in self.pictures.items() if key in live}
            self.pictures[index] = clean_image(index, self.data.picture, self.seed)
        return self.pictures[index]

    def _crop(self, index: int, source: torch.Generator) -> Tensor:
        first = index // self.data.reuse
        picture = self._picture(first + _draw(self.data.window, source), range(first, first + self.data.window))
        return _draw_window(picture, self.data, source).cut(picture)

    def name(self, index: int) -> str:
        """The number of the pair."""
        return f"procedural {index}"

    def __call__(self, index: int) -> Pair:
        """The pair, (3, crop, crop)."""
        source, chosen = generator(self.seed, 1, index), self.data.degrade
        clean = self._crop(index, source)
        origin = clean if self.data.pairing is Pairing.NAME else self._crop(index, source)
        result = degrade(chosen.name, origin, source, chosen.parameters)
        return Pair(clean, result.image, clean[:0] if result.mask is None else result.mask)


def paired_files(folder: Path) -> list[dict[str, Path]]:
    """The pairs of a folder, sorted by name: of each its files in `clean/`, `degraded/` and maybe `mask/`.

    Raises
    ------
    ConfigError
        If a part is missing, a name has no partner, or two files have one name; the first few are named.
    """
    return _matched(folder, ["clean", "degraded", *(["mask"] if (folder / "mask").is_dir() else [])])


def _matched(folder: Path, kinds: list[str]) -> list[dict[str, Path]]:
    parts = _listed(folder, kinds)
    everything = sorted(set().union(*parts.values()))
    alone = [f"{kind}/{name}" for kind in kinds for name in everything if name not in parts[kind]]
    if alone:
        more = f" and {len(alone) - 5} more" if len(alone) > 5 else ""
        raise ConfigError(f"{folder}: no file for {', '.join(alone[:5])}{more}")
    if not everything:
        raise ConfigError(f"{folder} holds no images")
    return [{kind: parts[kind][name] for kind in kinds} for name in everything]


def _listed(folder: Path, kinds: list[str]) -> dict[str, dict[str, Path]]:
    """The pictures in each of the folders `kinds` of `folder`, by name."""
    parts = {kind: images.images_by_name(folder / kind) for kind in kinds if (folder / kind).is_dir()}
    absent = [kind for kind in kinds if kind not in parts]
    if absent:
        needed = "/ and ".join(kinds)
        raise ConfigError(f"{folder} has no folder {absent[0]!r}; a paired folder holds {needed}/")
    return parts


def _files(folder: Path, data: DataSettings) -> dict[str, list[Path]]:
    """The files of each kind; with pairing by name, those at the same place belong together."""
    kinds = ["clean", "mask" if data.from_masks else "degraded"]
    if data.pairing is Pairing.NAME:
        entries = _matched(folder, kinds) if data.from_masks else paired_files(folder)
        return {kind: [entry[kind] for entry in entries] for kind in entries[0]}
    parts = _listed(folder, kinds)
    for kind in kinds:
        if not parts[kind]:
            raise ConfigError(f"{folder / kind} holds no images")
    return {kind: [found[name] for name in sorted(found)] for kind, found in parts.items()}


class PairedFolder:
    """Crops of the pictures of a folder, each clean one once an epoch in an order drawn anew for each.

    Pairs by name are cropped and turned alike, others each in its own way. With `data.from_masks` only `clean/` and
    `mask/` are read, and what is white in the mask is 0.5 in the degraded picture.
    """

    def __init__(self, folder: Path, data: DataSettings, seed: int, *, mask: bool) -> None:
        if mask and not data.from_masks and data.pairing is not Pairing.NAME:
            raise ConfigError(f"data.pairing is {data.pairing.value}, and the recipe needs masks; pair by name")
        self.files = _files(folder, data)
        if mask and "mask" not in self.files:
            raise ConfigError(f"{folder} has no folder 'mask', which the recipe needs")
        self.data, self.seed, self.mask = data, seed, mask
        self.source = f"folder {folder.resolve().name}, {len(self.files['clean'])} pairs"

    def _path(self, kind: str, index: int) -> Path:
        files = self.files[kind]
        if kind != "clean" and self.data.pairing is Pairing.UNPAIRED:
            return files[_shuffled(len(files), index, self.seed, 6)]
        return files[_shuffled(len(self.files["clean"]), index, self.seed, 2) % len(files)]

    @property
    def size(self) -> int:
        """How many clean pictures there are."""
        return len(self.files["clean"])

    def name(self, index: int) -> str:
        """The clean picture's file."""
        return str(self._path("clean", index))

    def __call__(self, index: int) -> Pair:
        """The pair, (3, crop, crop)."""
        kinds = [kind for kind in self.files if kind != "mask" or self.mask or self.data.from_masks]
        paths = {kind: self._path(kind, index) for kind in kinds}
        parts = self._cropped(paths, generator(self.seed, 3, index))
        clean, nothing = parts["clean"], parts["clean"][:0]
        if self.data.from_masks:
            hole = parts["mask"] > 0.5
            return Pair(clean, without(clean, hole).image, hole.float() if self.mask else nothing)
        return Pair(clean, parts["degraded"], parts.get("mask", nothing))

    def _cropped(self, paths: dict[str, Path], source: torch.Generator) -> dict[str, Tensor]:
        """A crop of each of the files."""
        parts = {kind: _READERS[kind](images.read(path)) for kind, path in paths.items()}
        alike, crop = self.data.pairing is Pairing.NAME, self.data.crop
        if alike and len({part.shape[1:] for part in parts.values()}) > 1:
            raise ConfigError(f"{paths['clean']} and its partners differ in size; make them equal")
        for kind, part in parts.items():
            height, width = part.shape[1:]
            if min(height, width) < crop:
                size = f"{width} x {height}, smaller than the crop of {crop}"
                raise ConfigError(f"{paths[kind]} is {size}; set a smaller data.crop")
        windows = {kind: _draw_window(part, self.data, source) for kind, part in parts.items()}
        return {kind: windows["clean" if alike else kind].cut(part) for kind, part in parts.items()}


# Quarter turns, from 4 on mirrored before
TURNS: dict[Augment, range] = {
    Augment.TURNS: range(8),
    Augment.MIRROR: range(0, 8, 4),
    Augment.ALWAYS_MIRROR: range(4, 5),
    Augment.NONE: range(1),
}
_READERS: dict[str, Callable[[Picture], Tensor]] = {"clean": _rgb, "degraded": _rgb, "mask": _grey}


class Stretch(Dataset[Pair]):
    """Pairs number `first` to `last` - 1 in order, for torch's loader."""

    def __init__(self, pairs: Pairs, first: int, last: int) -> None:
        self.pairs, self.first, self.last = pairs, first, last

    def __len__(self) -> int:
        """How many."""
        return self.last - self.first

    def __getitem__(self, index: int) -> Pair:
        """Pair number first + index."""
        return self.pairs(self.first + index)
