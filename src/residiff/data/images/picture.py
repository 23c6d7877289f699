"""A `Picture`: pixels in [0, 1] with their alpha, bit depth and metadata, and its way to and from integer arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from residiff.errors import ConfigError, ImageUnsupportedError

Array: TypeAlias = NDArray[Any]
BitDepth: TypeAlias = Literal[8, 16]
# pyvips has no types
VipsImage: TypeAlias = Any

_STRIP_ROWS = 256


class ImageWarning(UserWarning):
    """An image was read or written, but something in it was left out or replaced."""


@dataclass(frozen=True)
class Metadata:
    """What travels with the pixels: `exif` (TIFF structure, upright), `xmp`, and (x, y) pixels per millimetre."""

    exif: bytes | None = None
    xmp: bytes | None = None
    resolution: tuple[float, float] | None = None


@dataclass(frozen=True, eq=False)
class Picture:
    """An upright image in sRGB or grey.

    `pixels` is (C, H, W) float32 in [0, 1] with C = 1 (grey) or 3 (sRGB), not multiplied by alpha; `alpha` is (1, H, W)
    or None; `bit_depth` is that of the source. Integers v are held as v / 255 or v / 65535, as `to_array` gives back.
    `whole` is False where the file was cut short or damaged, and what could be decoded was asked for all the same.

    Raises
    ------
    ConfigError
        If a shape, a type or the bit depth is none of these.
    """

    pixels: Tensor
    alpha: Tensor | None = None
    bit_depth: BitDepth = 8
    metadata: Metadata = Metadata()
    whole: bool = True

    def __post_init__(self) -> None:
        shape = tuple(self.pixels.shape)
        if len(shape) != 3 or shape[0] not in (1, 3) or 0 in shape:
            raise ConfigError(f"pixels have shape {shape}; allowed are (1, H, W) and (3, H, W) with H and W above 0")
        if self.alpha is not None and tuple(self.alpha.shape) != (1, *shape[1:]):
            raise ConfigError(f"alpha has shape {tuple(self.alpha.shape)}; it must be {(1, *shape[1:])}")
        if any(plane.dtype != torch.float32 for plane in self.planes):
            raise ConfigError(f"pixels are {self.pixels.dtype}; pixels and alpha must be float32 in [0, 1]")
        if self.bit_depth not in (8, 16):
            raise ConfigError(f"bit_depth is {self.bit_depth}; allowed are 8 and 16")

    @property
    def planes(self) -> list[Tensor]:
        """Every channel, alpha last, each (H, W)."""
        return [*self.pixels, *(() if self.alpha is None else self.alpha)]


def from_array(array: Array) -> Picture:
    """Picture of an array (H, W) or (H, W, C), C = 1 to 4 (grey, grey + alpha, sRGB, sRGB + alpha).

    uint8 gives 8 bits, uint16 and floats in [0, 1] give 16. Raises `ConfigError` on any other array.
    """
    pixels = array[:, :, None] if array.ndim == 2 else array
    if pixels.ndim != 3 or not 1 <= pixels.shape[2] <= 4:
        raise ConfigError(f"the array has shape {array.shape}; allowed are (H, W) and (H, W, C) with C = 1 to 4")
    if not np.issubdtype(pixels.dtype, np.floating) and pixels.dtype not in (np.uint8, np.uint16):
        raise ConfigError(f"the array is {pixels.dtype}; allowed are uint8, uint16 and floats in [0, 1]")
    if not in_unit_range(pixels):
        raise ConfigError("the float array holds values outside [0, 1]; scale them to [0, 1]")
    colours = 3 if pixels.shape[2] >= 3 else 1
    alpha = planes_of(pixels[..., colours:]) if pixels.shape[2] > colours else None
    return Picture(planes_of(pixels[..., :colours]), alpha, 8 if pixels.dtype == np.uint8 else 16)


def to_array(picture: Picture, bit_depth: BitDepth | None = None) -> Array:
    """Array (H, W, C), alpha last, uint8 or uint16 by `bit_depth` (None: the picture's own).

    Values are floor(x max + 0.5), clamped. Raises `ImageUnsupportedError` if a value is not finite.
    """
    depth = picture.bit_depth if bit_depth is None else bit_depth
    planes = picture.planes
    array: Array = np.empty((*planes[0].shape, len(planes)), np.uint8 if depth == 8 else np.uint16)
    for channel, plane in enumerate(planes):
        # Strips keep the float temporaries small
        for row in range(0, array.shape[0], _STRIP_ROWS):
            rows = slice(row, row + _STRIP_ROWS)
            array[rows, :, channel] = _rounded(plane[rows].detach().cpu().numpy(), 2**depth - 1)
    return array


def planes_of(array: Array) -> Tensor:
    """Planes (C, H, W) float32 of an array (H, W, C); integers are divided by their type's largest value."""
    top = np.iinfo(array.dtype).max if np.issubdtype(array.dtype, np.integer) else 1
    height, width, channels = array.shape
    planes = np.empty((channels, height, width), np.float32)
    np.divide(array.transpose(2, 0, 1), np.float32(top), out=planes, casting="unsafe")
    return torch.from_numpy(planes)


def in_unit_range(array: Array) -> bool:
    """Whether every value of a float array is in [0, 1], NaN being outside; integer arrays always are."""
    return np.issubdtype(array.dtype, np.integer) or bool(((array >= 0) & (array <= 1)).all())


def _rounded(values: Array, top: int) -> Array:
    if not np.isfinite(values).all():
        raise ImageUnsupportedError("the picture holds values that are not finite (NaN, infinity); find their cause")
    return np.floor(np.clip(values, 0, 1) * top + 0.5)
