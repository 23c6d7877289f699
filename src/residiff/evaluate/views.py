"""How pictures are made ready to be compared: every resizing and colour space that a published protocol takes.

A view takes a picture (C, H, W) of 8 bits as uint8, and the height and width of the prediction; it gives float64, in
[0, 1] but for what bicubic interpolation adds. MATLAB computes with uint8 in one way and with doubles in another; which
comes first, resizing or the conversion, is part of a protocol.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

from torch import Tensor

from residiff.errors import ConfigError
from residiff.evaluate.measures import Regions, Size, View
from residiff.metrics import Rounding, imresize, luma, opencv_resize, pillow_resize

PUBLISHED_SIDE = 256
_SQUARE = (PUBLISHED_SIDE, PUBLISHED_SIDE)


def unit(image: Tensor, size: Size) -> Tensor:
    """As it is."""
    return image.double() / 255


def opencv_256(image: Tensor, size: Size) -> Tensor:
    """By OpenCV's bilinear resize, as uint8, to 256 x 256; there is no antialiasing."""
    return unit(opencv_resize(image, *_SQUARE), size)


def pillow_256(image: Tensor, size: Size) -> Tensor:
    """By Pillow's bicubic resize, as uint8, to 256 x 256."""
    return unit(pillow_resize(image, *_SQUARE), size)


@final
@dataclass(frozen=True)
class Matlab:
    """By MATLAB's imresize to 256 x 256 where it is `square`, else to the prediction's size where that is another.

    As uint8, or `as_doubles`, where what bicubic adds stays. With `y` it is the rounded Y of rgb2ycbcr that is
    compared. `rounding` is MATLAB's; GNU Octave's differs.
    """

    square: bool = False
    as_doubles: bool = False
    y: bool = False
    rounding: Rounding = Rounding.EACH_PASS

    def __call__(self, image: Tensor, size: Size) -> Tensor:
        """The view, float64."""
        target = _SQUARE if self.square else size
        if self.as_doubles:
            return _resized(unit(image, size), target, self.rounding)
        resized = _resized(image, target, self.rounding)
        return unit(_luma(resized) if self.y else resized, size)


@final
@dataclass(frozen=True)
class Light:
    """Where a mask, resized by MATLAB's imresize as uint8, is lighter than `above`.

    Or `as_doubles` where it is not `above`: beside edges bicubic goes below black, which then counts as light.
    """

    above: int = 0
    as_doubles: bool = False

    def __call__(self, mask: Tensor, size: Size) -> Tensor:
        """The region (1, H, W), bool."""
        if self.as_doubles:
            return _resized(mask.double(), size, Rounding.ONCE) != self.above
        return _resized(mask, size, Rounding.EACH_PASS) > self.above


def view_in_octave(view: View) -> View:
    """The view as GNU Octave makes it, whose imresize rounds once."""
    return replace(view, rounding=Rounding.ONCE) if isinstance(view, Matlab) else view


def regions_in_octave(regions: Regions) -> Regions:
    """The regions of masks that are doubles."""
    return replace(regions, as_doubles=True) if isinstance(regions, Light) else regions


def _resized(image: Tensor, size: Size, rounding: Rounding) -> Tensor:
    return image if tuple(image.shape[1:]) == size else imresize(image, *size, rounding)


def _luma(image: Tensor) -> Tensor:
    if image.shape[0] != 3:
        raise ConfigError("a grey picture has no luma of its own; give colour, or score by rgb-8bit-full")
    return luma(image)
