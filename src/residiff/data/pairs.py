"""Pairs of clean and degraded images to train on, each a pure function of its number.

`SyntheticPairs` needs no files: procedural pictures, a degradation, a crop. `PairedFolder` reads `clean/` and
`degraded/` (and `mask/`) of a folder, paired by name.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.utils.data import Dataset

from residiff.data import images
from residiff.data.degrade import degrade
from residiff.data.picture import Picture
from residiff.data.settings import DataSettings, Degrade
from residiff.data.synthetic import clean_image
from residiff.errors import ConfigError
from residiff.seeds import generator


class Pair(NamedTuple):
    """A clean image and its degraded version, (3, H, W) in [0, 1], and a mask (K, H, W), K = 0 where there is none."""

    clean: Tensor
    degraded: Tensor
    mask: Tensor


class Pairs(Protocol):
    """Training data: pair number `index`, the same in every process and at every time; `source` says where from."""

    source: str

    def __call__(self, index: int) -> Pair:
        """The pair, cropped for training."""
        ...


def check_degradation(chosen: Degrade) -> None:
    """Raise `ConfigError`, with the nearest name, where a degradation or its parameters do not exist as said."""
    # A dry run finds what is wrong
    degrade(chosen.name, torch.full((3, 8, 8), 0.5), generator(0), chosen.parameters)


def _draw(below: int, source: torch.Generator) -> int:
    return int(torch.randint(below, (1,), generator=source))


def _turned(image: Tensor, turn: int) -> Tensor:
    """One of the eight mirror images and quarter turns of a square image."""
    image = image.rot90(turn % 4, (1, 2))
    return image.flip(2) if turn >= 4 else image


def _rgb(picture: Picture) -> Tensor:
    return picture.pixels.expand(3, -1, -1)


def _grey(picture: Picture) -> Tensor:
    return picture.pixels.mean(0, keepdim=True)


class SyntheticPairs:
    """Crops of procedural pictures, degraded on the fly.

    Pair i shows one of the last `window` pictures at the time when pair i is due, so that a picture is drawn once and
    used about `reuse` times.
    """

    def __init__(self, data: DataSettings, seed: int) -> None:
        check_degradation(data.degrade)
        self.source = f"procedural, {data.degrade.name}"
        self.data = data
        self.seed = seed
        self.pictures: dict[int, Tensor] = {}

    def __reduce__(self) -> tuple[type[SyntheticPairs], tuple[DataSettings, int]]:
        """To a loader's worker that is not a fork, what it is made of; the cache stays behind."""
        return SyntheticPairs, (self.data, self.seed)

    def _picture(self, index: int, live: range) -> Tensor:
        if index not in self.pictures:
            self.pictures = {key: value for key, value in self.pictures.items() if key in live}
            self.pictures[index] = clean_image(index, self.data.picture, self.seed)
        return self.pictures[index]

    def __call__(self, index: int) -> Pair:
        """The pair, (3, crop, crop)."""
        source, data = generator(self.seed, 1, index), self.data
        first = index // data.reuse
        picture = self._picture(first + _draw(data.window, source), range(first, first + data.window))
        room = data.picture - data.crop + 1
        top, left = _draw(room, source), _draw(room, source)
        clean = _turned(picture[:, top : top + data.crop, left : left + data.crop], _draw(8, source)).contiguous()
        result = degrade(data.degrade.name, clean, source, data.degrade.parameters)
        return Pair(clean, result.image, clean[:0] if result.mask is None else result.mask)


def paired_files(folder: Path) -> list[dict[str, Path]]:
    """The pairs of a folder, sorted by name: of each its files in `clean/`, `degraded/` and maybe `mask/`.

    Raises
    ------
    ConfigError
        If a part is missing, a name has no partner, or two files have one name; the first few are named.
    """
    kinds = ["clean", "degraded", *(["mask"] if (folder / "mask").is_dir() else [])]
    parts = {kind: images.images_by_name(folder / kind) for kind in kinds if (folder / kind).is_dir()}
    absent = [kind for kind in kinds if kind not in parts]
    if absent:
        needed = "a paired folder holds clean/ and degraded/, and mask/ if need be"
        raise ConfigError(f"{folder} has no folder {absent[0]!r}; {needed}")
    everything = sorted(set().union(*parts.values()))
    alone = [f"{kind}/{name}" for kind in kinds for name in everything if name not in parts[kind]]
    if alone:
        more = f" and {len(alone) - 5} more" if len(alone) > 5 else ""
        raise ConfigError(f"{folder}: no file for {', '.join(alone[:5])}{more}")
    if not everything:
        raise ConfigError(f"{folder} holds no images")
    return [{kind: parts[kind][name] for kind in kinds} for name in everything]


class PairedFolder:
    """Crops of the pairs of a folder, each picture once an epoch in an order drawn anew for each."""

    def __init__(self, folder: Path, data: DataSettings, seed: int, *, mask: bool) -> None:
        self.files = paired_files(folder)
        self.source = f"folder {folder.resolve().name}, {len(self.files)} pairs"
        if mask and "mask" not in self.files[0]:
            raise ConfigError(f"{folder} has no folder 'mask', which the recipe needs")
        self.data, self.seed, self.mask = data, seed, mask

    def __call__(self, index: int) -> Pair:
        """The pair, (3, crop, crop)."""
        count = len(self.files)
        order = torch.randperm(count, generator=generator(self.seed, 2, index // count))
        entry, source = self.files[int(order[index % count])], generator(self.seed, 3, index)
        clean, degraded = (_rgb(images.read(entry[kind])) for kind in ("clean", "degraded"))
        mask = _grey(images.read(entry["mask"])) if self.mask else clean[:0]
        if not clean.shape[1:] == degraded.shape[1:] == mask.shape[1:]:
            raise ConfigError(f"{entry['clean']} and its partners differ in size; make them equal")
        crop = self.data.crop
        height, width = clean.shape[1:]
        if min(height, width) < crop:
            size = f"{width} x {height}, smaller than the crop of {crop}"
            raise ConfigError(f"{entry['clean']} is {size}; set a smaller data.crop")
        top, left, turn = _draw(height - crop + 1, source), _draw(width - crop + 1, source), _draw(8, source)
        window = (slice(None), slice(top, top + crop), slice(left, left + crop))
        return Pair(*(_turned(image[window], turn).contiguous() for image in (clean, degraded, mask)))


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
