"""Resizing as MATLAB, OpenCV and Pillow do it: the published protocols differ in nothing so much.

MATLAB's `imresize` (bicubic by default) takes output pixel x = 1, 2, ... of a side of n pixels that becomes m from the
place u in the input, and weighs the input pixels j by the kernel of Keys 1981 with a = -1/2:

    u = x / s + (1 - 1 / s) / 2,   s = m / n,   k = min(s, 1)
    w_j ~ cubic(k (u - j)),   sum_j w_j = 1
    cubic(d) = 3/2 |d|^3 - 5/2 |d|^2 + 1             where |d| <= 1
               -1/2 |d|^3 + 5/2 |d|^2 - 4 |d| + 2    where 1 < |d| <= 2, and 0 beyond

so that the kernel is widened when the side shrinks (antialiasing). Past the border the image is mirrored, its edge
pixel included. The side with the smallest s is resized first, rows first where both are equal.
"""

from __future__ import annotations

import enum

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from residiff.errors import ConfigError

_KERNEL_WIDTH = 4
# OpenCV's weights of 8-bit images are integers of 11 bits
_UNIT = 1 << 11


class Rounding(enum.Enum):
    """When `imresize` makes whole grey levels of an 8-bit image.

    MATLAB hands the image from one side's pass to the next in its own class, and so rounds and clips twice; GNU Octave
    works in floats and does so once. On the golden images 20 % of the values differ between the two, nearly all by one
    grey level, the most by seven, beside edges whose overshoot the first pass clips.
    """

    EACH_PASS = "each pass"
    ONCE = "once"


def imresize(image: Tensor, height: int, width: int, rounding: Rounding = Rounding.EACH_PASS) -> Tensor:
    """MATLAB's `imresize(image, [height width])`: bicubic, antialiased where a side shrinks.

    Of (C, H, W) in uint8 it gives (C, height, width) in uint8, computed in float64, rounded half up and clipped, when
    `rounding` says. Of floats of any range it gives float64, neither rounded nor clipped: it overshoots the range of
    the input by up to 28 % of it.

    Raises
    ------
    ConfigError
        If the image is not (C, H, W) of uint8 or floats, or a side is below 1.
    """
    _check(image, height, width)
    whole = image.dtype == torch.uint8
    values = image.double()
    scales = (height / image.shape[1], width / image.shape[2])
    sides = ((1, height), (2, width)) if scales[0] <= scales[1] else ((2, width), (1, height))
    for dim, length in sides:
        values = _resampled(values.transpose(1, dim), length).transpose(1, dim)
        if whole and rounding is Rounding.EACH_PASS:
            values = _levels(values)
    return _levels(values).to(torch.uint8) if whole else values.contiguous()


def opencv_resize(image: Tensor, height: int, width: int) -> Tensor:
    """`cv2.resize(image, (width, height))` of 8-bit images: bilinear, without antialiasing, bit for bit.

    Of (C, H, W) in uint8 it gives (C, height, width) in uint8. The output pixel x = 0, 1, ... of a side scaled by s
    lies at (x + 1/2) / s - 1/2 in the input, between two pixels whose weights are rounded to 1/2048; beyond the border
    stands the edge pixel. Sums along rows are cut to 1/128 of a grey level, their products with the weights of the
    columns to 1/4, and the sums of those are rounded half up. Source: OpenCV's fixed-point INTER_LINEAR; found equal to
    OpenCV 4.12 and 5.0 in every value.

    Raises
    ------
    ConfigError
        If the image is not (C, H, W) of uint8, or a side is below 1.
    """
    _check_bytes(image, height, width)
    (left, right), along = _bilinear_taps(image.shape[2], width)
    values = image.long()
    rows = values[:, :, left] * along[0] + values[:, :, right] * along[1]
    pair, down = _bilinear_taps(image.shape[1], height)
    upper, lower = ((weight[:, None] * (rows[:, y] >> 4)) >> 16 for y, weight in zip(pair, down, strict=True))
    levels: Tensor = (upper + lower + 2) >> 2
    return levels.to(torch.uint8)


def pillow_resize(image: Tensor, height: int, width: int) -> Tensor:
    """Pillow's `Image.resize((width, height), BICUBIC)` of 8-bit grey or RGB images, by Pillow itself.

    Of (C, H, W) in uint8, C = 1 or 3, it gives (C, height, width) in uint8. The kernel is `imresize`'s; but pixels past
    the border are left out, columns always go first, and the weights are rounded.

    Raises
    ------
    ConfigError
        If the image is not (1, H, W) or (3, H, W) of uint8, or a side is below 1.
    """
    _check_bytes(image, height, width)
    if image.shape[0] not in (1, 3):
        raise ConfigError(f"the image has {image.shape[0]} channels; Pillow resizes 1 (grey) or 3 (RGB)")
    pixels = image.permute(1, 2, 0).contiguous().cpu().numpy()
    picture = Image.fromarray(pixels[..., 0] if image.shape[0] == 1 else pixels)
    resized = np.array(picture.resize((width, height), Image.Resampling.BICUBIC))
    return torch.from_numpy(resized.reshape(height, width, -1)).permute(2, 0, 1).contiguous()


def _check(image: Tensor, height: int, width: int) -> None:
    if image.ndim != 3 or image.numel() == 0:
        raise ConfigError(f"the image has shape {tuple(image.shape)}; give one of (C, H, W)")
    if not image.is_floating_point() and image.dtype != torch.uint8:
        raise ConfigError(f"the image is {image.dtype}; give torch.uint8 or floats, for the type decides on rounding")
    if min(height, width) < 1:
        raise ConfigError(f"the size asked for is {width} x {height} pixels; each side must be 1 or more")


def _check_bytes(image: Tensor, height: int, width: int) -> None:
    _check(image, height, width)
    if image.dtype != torch.uint8:
        raise ConfigError(f"the image is {image.dtype}; this rule is that of 8-bit images, so give torch.uint8")


def _levels(values: Tensor) -> Tensor:
    return (values + 0.5).floor().clamp(0, 255)


def _resampled(values: Tensor, length: int) -> Tensor:
    """(C, N, M) -> (C, length, M), float64.

    One tap after another, so that no sum depends on threads or matrix libraries: 8 bits are rounded at ties. Along the
    rows' dimension, since whole rows are copied fastest.
    """
    places, weights = _cubic_taps(values.shape[1], length)
    source = values.contiguous()
    total = source.new_zeros(source.shape[0], length, source.shape[2])
    for place, weight in zip(places.T, weights.T, strict=True):
        total.addcmul_(source.index_select(1, place), weight[:, None])
    return total


def _cubic_taps(size: int, length: int) -> tuple[Tensor, Tensor]:
    """Which pixels (length, taps) of a side of `size` each output pixel takes, and with which weights."""
    scale = length / size
    narrow = min(scale, 1.0)
    reach = _KERNEL_WIDTH / narrow
    centre = torch.arange(1, length + 1, dtype=torch.float64) / scale + 0.5 * (1 - 1 / scale)
    first = (centre - reach / 2).floor()
    places = first[:, None] + torch.arange(int(reach) + 3)
    weights = _cubic(narrow * (centre[:, None] - places))
    mirrored = (places.long() - 1) % (2 * size)
    return mirrored.minimum(2 * size - 1 - mirrored), weights / weights.sum(1, keepdim=True)


def _cubic(distance: Tensor) -> Tensor:
    d = distance.abs()
    near = (1.5 * d - 2.5) * d * d + 1
    far = ((-0.5 * d + 2.5) * d - 4) * d + 2
    return torch.where(d <= 1, near, torch.where(d <= 2, far, 0.0))


def _bilinear_taps(size: int, length: int) -> tuple[Tensor, Tensor]:
    """OpenCV's two pixels (2, length) of a side of `size` for each output pixel, and their weights in 1/2048."""
    step = 1 / (length / size)
    # In float32 as there, for some weights lie half-way between two integers
    centre = ((torch.arange(length, dtype=torch.float64) + 0.5) * step - 0.5).float()
    first = centre.floor()
    part = centre - first
    places = torch.stack([first, first + 1]).long().clamp(0, size - 1)
    return places, (torch.stack([1 - part, part]) * _UNIT).round().long()
