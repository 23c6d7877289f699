"""How pictures are made ready to be compared: every resizing and colour space that a published protocol takes.

A view takes a picture (C, H, W) of 8 bits as uint8, and the height and width of the prediction; it gives float64, in
[0, 1] but for what bicubic interpolation adds. MATLAB computes with uint8 in one way and with doubles in another; which
comes first, resizing or the conversion, is part of a protocol.
"""

from __future__ import annotations

from torch import Tensor

from residiff.errors import ConfigError
from residiff.evaluate.measures import Size
from residiff.metrics import imresize, luma, opencv_bilinear, pillow_bicubic

PUBLISHED_SIDE = 256
_SQUARE = (PUBLISHED_SIDE, PUBLISHED_SIDE)


def unit(image: Tensor, size: Size) -> Tensor:
    """As it is."""
    return image.double() / 255


def matched(image: Tensor, size: Size) -> Tensor:
    """By MATLAB's imresize (uint8) to the prediction's size."""
    return unit(_resized(image, size), size)


def matlab_256(image: Tensor, size: Size) -> Tensor:
    """By MATLAB's imresize, as doubles, to 256 x 256; what bicubic adds stays."""
    return imresize(unit(image, size), *_SQUARE)


def matlab_256_8bit(image: Tensor, size: Size) -> Tensor:
    """By MATLAB's imresize, as uint8, to 256 x 256."""
    return unit(_resized(image, _SQUARE), size)


def opencv_256(image: Tensor, size: Size) -> Tensor:
    """By OpenCV's bilinear resize, as uint8, to 256 x 256; there is no antialiasing."""
    return unit(opencv_bilinear(image, *_SQUARE), size)


def pillow_256(image: Tensor, size: Size) -> Tensor:
    """By Pillow's bicubic resize, as uint8, to 256 x 256."""
    return unit(pillow_bicubic(image, *_SQUARE), size)


def luma_matched(image: Tensor, size: Size) -> Tensor:
    """At the prediction's size (MATLAB's imresize, uint8), the rounded Y of rgb2ycbcr."""
    return _luma(_resized(image, size))


def luma_256(image: Tensor, size: Size) -> Tensor:
    """At 256 x 256 (MATLAB's imresize, uint8), the rounded Y of rgb2ycbcr."""
    return _luma(_resized(image, _SQUARE))


def _luma(image: Tensor) -> Tensor:
    if image.shape[0] != 3:
        raise ConfigError("a grey picture has no luma of its own; give colour, or score by rgb-8bit-full")
    return luma(image).double() / 255


def _resized(image: Tensor, size: Size) -> Tensor:
    return image if tuple(image.shape[1:]) == size else imresize(image, *size)


def any_light(mask: Tensor, size: Size) -> Tensor:
    """Where a mask, resized by MATLAB's imresize as uint8, is not black: as published for ISTD."""
    return _resized(mask, size) > 0


def mostly_white(mask: Tensor, size: Size) -> Tensor:
    """Where a mask, resized likewise, is nearer to white than to black."""
    return _resized(mask, size) > 127
