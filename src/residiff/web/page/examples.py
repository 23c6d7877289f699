"""Photographs to try the page with, degraded in the way that the chosen model is made for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from residiff.data import images
from residiff.data.degrade import degrade
from residiff.data.images import Format, Picture
from residiff.errors import ResourceError
from residiff.photographs import photographs
from residiff.seeds import generator

# Side of the pictures that choose one, and the longest of those that a schedule is shown on
THUMBNAIL, PLAYED = 96, 256


@dataclass(frozen=True)
class Example:
    """A picture to be restored, and its mask where the model needs one: names and bytes of PNG files."""

    name: str
    data: bytes
    mask: bytes | None = None


@cache
def photographs_there() -> Mapping[str, Tensor]:
    """The photographs by name, (3, H, W) in [0, 1]; none where scikit-image is not installed."""
    try:
        return MappingProxyType(photographs())
    except ResourceError:
        return MappingProxyType({})


def example(name: str, task: str) -> Example:
    """The photograph `name`, degraded as models of `task` undo it; as it is where none does."""
    clean = photographs_there()[name]
    row = DEGRADED.get(task)
    if row is None:
        return Example(f"{name}.png", _png(clean))
    word, kind, parameters = row
    degraded, mask = degrade(kind, clean, generator(0, 100), parameters)
    return Example(f"{name}-{word}.png", _png(degraded), None if mask is None else _png(mask))


def thumbnail(name: str) -> bytes:
    """A small square of the photograph `name`, as a JPEG."""
    clean = photographs_there()[name]
    side = min(clean.shape[1:])
    top, left = (clean.shape[1] - side) // 2, (clean.shape[2] - side) // 2
    return images.encode(Picture(_shrunk(clean[:, top : top + side, left : left + side], THUMBNAIL)), Format.JPEG)


def played(name: str) -> tuple[Tensor, Tensor]:
    """The photograph `name` and its dark version, each (3, H, W) in [0, 1], for schedules to be shown on."""
    clean = _shrunk(photographs_there()[name], PLAYED)
    degraded, _ = degrade("low-light", clean, generator(0, 100), {})
    return clean, degraded


def _shrunk(image: Tensor, longest: int) -> Tensor:
    scale = longest / max(image.shape[1:])
    size = [max(1, round(scale * side)) for side in image.shape[1:]]
    return F.interpolate(image[None], size, mode="bilinear", antialias=True)[0].clamp(0, 1)


def _png(image: Tensor) -> bytes:
    return images.encode(Picture(image), Format.PNG)


# By task: what the files are called, and how photographs are degraded
DEGRADED: dict[str, tuple[str, str, dict[str, float]]] = {
    "denoise": ("noisy", "noise", {"sigma": 25.0}),
    "low-light": ("dark", "low-light", {}),
    "shadow": ("shadow", "shadow", {}),
}
