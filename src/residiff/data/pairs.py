"""Pairs of clean and degraded images to train on, each a pure function of its number.

`SyntheticPairs` needs no files: procedural pictures, a degradation, a crop. `PicturePairs` reads a set of pictures.
Both pair a picture with its own degraded version, or, for translation, with another's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

import torch
from torch import Tensor

from residiff.data.degrade import DEGRADATIONS, degrade, without
from residiff.data.images import Picture
from residiff.data.pair import Pair
from residiff.data.parts import Part, PictureSet
from residiff.data.purposes import CROP, DEGRADATION, HELD_OUT, ORDER, PARTNER, PROCEDURAL
from residiff.data.settings import DataSettings, Degrade, Pairing, Resize
from residiff.data.synthetic import clean_image
from residiff.data.transforms import Size, Window, centre_window, draw, draw_window, padded, resize, size_of
from residiff.errors import ConfigError
from residiff.seeds import generator

KEPT_EPOCHS = 4


def check_degradation(chosen: Degrade) -> None:
    """Raise `ConfigError`, with the nearest name, where a degradation or its parameters do not exist as said."""
    # A dry run finds what is wrong
    degrade(chosen.name, torch.full((3, 8, 8), 0.5), generator(0), chosen.parameters)


class SyntheticPairs:
    """Crops of procedural pictures, degraded on the fly.

    Pair i shows one of the last `window` pictures at the time when pair i is due, so that a picture is drawn once and
    used about `reuse` times. Unless they are paired by name, it is another one of them that is degraded. Without `mask`
    a mask that the degradation gives is left out.
    """

    def __init__(self, data: DataSettings, seed: int, *, mask: bool = True) -> None:
        check_degradation(data.degrade)
        if data.from_masks:
            raise ConfigError("data.from_masks needs a folder of pictures and masks; give one with --data")
        self.source = f"procedural, {data.degrade.name}" + ("" if data.pairing is Pairing.NAME else ", unpaired")
        self.data = data
        self.seed = seed
        self.mask = mask
        self.size = 0
        self.pictures: dict[int, Tensor] = {}

    def __getstate__(self) -> dict[str, object]:
        """To a loader's worker that is not a fork, what it is made of; the cache stays behind."""
        return self.__dict__ | {"pictures": {}}

    def _picture(self, index: int, live: range) -> Tensor:
        if index not in self.pictures:
            self.pictures = {key: value for key, value in self.pictures.items() if key in live}
            self.pictures[index] = clean_image(index, self.data.picture, self.seed)
        return self.pictures[index]

    def _crop(self, index: int, source: torch.Generator) -> Tensor:
        first, data = index // self.data.reuse, self.data
        picture = self._picture(first + draw(data.window, source), range(first, first + data.window))
        return draw_window(size_of(picture), data.crop_size, data.augment, source).cut(picture)

    def name(self, index: int) -> str:
        """The number of the pair."""
        return f"procedural {index}"

    def __call__(self, index: int) -> Pair:
        """The pair, (3, height, width) of the crop."""
        source = generator(self.seed, PROCEDURAL, index)
        clean = self._crop(index, source)
        origin = clean if self.data.pairing is Pairing.NAME else self._crop(index, source)
        return _degraded(clean, origin, self.data.degrade, source, self.mask)


def _degraded(clean: Tensor, origin: Tensor, chosen: Degrade, source: torch.Generator, mask: bool) -> Pair:
    result = degrade(chosen.name, origin, source, chosen.parameters)
    return Pair(clean, result.image, clean[:0] if result.mask is None or not mask else result.mask)


class Order:
    """An endless list that holds each number below `count` once an epoch, in an order of its own for each.

    `stream` is that of the generators; the orders of the last few epochs are kept.
    """

    def __init__(self, count: int, *stream: int) -> None:
        self.count, self.stream = count, stream
        self._epoch = lru_cache(KEPT_EPOCHS)(self._drawn)

    def __reduce__(self) -> tuple[type[Order], tuple[int, ...]]:
        """To another process, what it is made of."""
        return Order, (self.count, *self.stream)

    def _drawn(self, epoch: int) -> Tensor:
        return torch.randperm(self.count, generator=generator(*self.stream, epoch))

    def __getitem__(self, index: int) -> int:
        """What stands at place `index`."""
        epoch, place = divmod(index, self.count)
        return int(self._epoch(epoch)[place])


class PicturePairs:
    """Crops of a set's pictures, each clean one once an epoch in an order drawn anew for each.

    Pairs by name are cropped and turned alike, others each in its own way. With `data.from_masks` the degraded picture
    is the clean one with 0.5 where the mask is white. Clean pictures are degraded on the fly where `degrade` is given,
    or by `data.degrade` where the set has no degraded ones; unless they are paired by name, each is then laid beside
    another one's degraded version.

    Parameters
    ----------
    pictures : the set; "clean" and what else is trained on
    data : how they are paired, resized, padded, cropped and turned
    seed : of all that is drawn
    mask : whether the pairs show the mask
    degrade : in place of the set's own degraded pictures

    Raises
    ------
    ConfigError
        At once where the set is empty or lacks what is needed; for a pair whose pictures differ in size or are smaller
        than the crop.
    """

    def __init__(
        self, pictures: PictureSet, data: DataSettings, seed: int, *, mask: bool, degrade: Degrade | None = None
    ) -> None:
        self.data, self.seed, self.mask = data, seed, mask
        self.degrade = _on_the_fly(pictures, data, degrade)
        self.source = pictures.source if self.degrade is None else f"{pictures.source}, {self.degrade.name}"
        self._check_kinds(pictures)
        self.columns = self._read_columns(pictures.columns)
        self._check_lengths(pictures.source)
        self.order = Order(self.size, seed, ORDER)
        drawn = data.pairing is Pairing.UNPAIRED or self.degrade is not None
        self.partners = {
            kind: Order(len(parts), seed, PARTNER) for kind, parts in self.columns.items() if drawn and kind != "clean"
        }

    def _check_kinds(self, pictures: PictureSet) -> None:
        data = self.data
        if self.degrade is not None:
            self._check_degradation(self.degrade)
        elif self.mask and not data.from_masks and data.pairing is not Pairing.NAME:
            raise ConfigError(f"data.pairing is {data.pairing.value}, and the recipe needs masks; pair by name")
        elif (data.from_masks or self.mask) and "mask" not in pictures.columns:
            raise ConfigError(f"{pictures.source} has no masks, which the recipe needs; add them")

    def _check_lengths(self, source: str) -> None:
        lengths = {kind: len(parts) for kind, parts in self.columns.items()}
        if not all(lengths.values()):
            raise ConfigError(f"{source} holds no images")
        if self._alike and len(set(lengths.values())) > 1:
            counts = " and ".join(f"{count} {kind}" for kind, count in lengths.items())
            raise ConfigError(f"{source} holds {counts} pictures, which are no pairs; set another data.pairing")

    def _check_degradation(self, chosen: Degrade) -> None:
        check_degradation(chosen)
        if self.mask and not DEGRADATIONS[chosen.name].gives_mask:
            raise ConfigError(f"the recipe needs masks, and {chosen.name} gives none; choose another degradation")

    def _read_columns(self, columns: Mapping[str, Sequence[Part]]) -> dict[str, Sequence[Part]]:
        """The pictures of each kind that is read."""
        clean, data = columns["clean"], self.data
        if self.degrade is not None:
            return {"clean": clean} if data.pairing is Pairing.NAME else {"clean": clean, "degraded": clean}
        if data.from_masks:
            return {"clean": clean, "mask": columns["mask"]}
        masks = {"mask": columns["mask"]} if self.mask else {}
        return {"clean": clean, "degraded": columns["degraded"], **masks}

    @property
    def size(self) -> int:
        """How many clean pictures there are."""
        return len(self.columns["clean"])

    def name(self, index: int) -> str:
        """Where the clean picture stands."""
        return self.columns["clean"][self.order[index]].name

    def __call__(self, index: int) -> Pair:
        """The pair, (3, height, width) of the crop."""
        place, crop, augment = self.order[index], self.data.crop_size, self.data.augment
        places = {kind: place % len(parts) for kind, parts in self.columns.items()}
        places |= {kind: order[index] for kind, order in self.partners.items()}
        images = self._images(places, crop)
        source = generator(self.seed, CROP, index)
        windows = {kind: draw_window(size_of(image), crop, augment, source) for kind, image in images.items()}
        return self._pair(images, windows, generator(self.seed, DEGRADATION, index))

    def centred(self, place: int, crop: Size) -> Pair:
        """The pair at `place` of the set, the middle of it, (3, *crop), unturned.

        Unpaired pictures stand beside those at the same place, or, degraded on the fly, beside the next one.
        """
        shift = {kind: int(self.degrade is not None) for kind in self.partners}
        places = {kind: (place + shift.get(kind, 0)) % len(parts) for kind, parts in self.columns.items()}
        images = self._images(places, crop)
        windows = {kind: centre_window(size_of(image), crop) for kind, image in images.items()}
        return self._pair(images, windows, generator(self.seed, HELD_OUT, place))

    def _images(self, places: Mapping[str, int], crop: Size) -> dict[str, Tensor]:
        """The whole pictures at `places`, resized and padded, as large as the crop or larger."""
        parts = {kind: self.columns[kind][place] for kind, place in places.items()}
        images = {kind: self._resized(kind, part) for kind, part in parts.items()}
        if self._alike and len({size_of(image) for image in images.values()}) > 1:
            raise ConfigError(f"{parts['clean'].name} and its partners differ in size{self._resizing}; make them equal")
        if self.data.pad:
            return {kind: padded(image, crop) for kind, image in images.items()}
        for kind, image in images.items():
            self._check_size(parts[kind].name, size_of(image), crop)
        return images

    def _resized(self, kind: str, part: Part) -> Tensor:
        image = _READERS[kind](part.read())
        try:
            return resize(image, self.data.resize, self.data.crop_size, is_mask=kind == "mask")
        except ConfigError as error:
            raise ConfigError(f"{part.name}: {error}") from error

    @property
    def _alike(self) -> bool:
        return self.data.pairing is Pairing.NAME

    @property
    def _resizing(self) -> str:
        """What has been done when sizes are compared, for messages."""
        how = self.data.resize
        return "" if how is Resize.NONE else f" after data.resize {how.value}"

    def _check_size(self, name: str, size: Size, crop: Size) -> None:
        (height, width), least = size, str(crop[0]) if crop[0] == crop[1] else f"{crop[1]} x {crop[0]}"
        if height < crop[0] or width < crop[1]:
            found = f"{name} is {width} x {height}{self._resizing}, smaller than the crop of {least}"
            raise ConfigError(f"{found}; set a smaller crop, data.resize or data.pad")

    def _pair(self, images: Mapping[str, Tensor], windows: Mapping[str, Window], source: torch.Generator) -> Pair:
        crops = {kind: windows["clean" if self._alike else kind].cut(image) for kind, image in images.items()}
        clean, nothing = crops["clean"], crops["clean"][:0]
        if self.degrade is not None:
            return _degraded(clean, crops.get("degraded", clean), self.degrade, source, self.mask)
        if self.data.from_masks:
            hole = crops["mask"] > 0.5
            return Pair(clean, without(clean, hole).image, hole.float() if self.mask else nothing)
        return Pair(clean, crops["degraded"], crops.get("mask", nothing))


def _on_the_fly(pictures: PictureSet, data: DataSettings, chosen: Degrade | None) -> Degrade | None:
    """What degrades the clean pictures, None where the set holds the degraded ones or what they are made of."""
    if chosen is not None or data.from_masks or "degraded" in pictures.columns:
        return chosen
    return data.degrade


def _rgb(picture: Picture) -> Tensor:
    return picture.pixels.expand(3, -1, -1)


def _grey(picture: Picture) -> Tensor:
    return picture.pixels.mean(0, keepdim=True)


_READERS: dict[str, Callable[[Picture], Tensor]] = {"clean": _rgb, "degraded": _rgb, "mask": _grey}
