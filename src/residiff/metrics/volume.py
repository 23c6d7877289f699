"""MATLAB's `ssim` of an image with channels: it takes the H x W x C array for a volume.

The window is a Gaussian of standard deviation 1.5 and 11 places along all three axes, so that a channel is compared
together with its neighbours. Beyond the border, of the channels too, the last value goes on (`replicate`), and every
voxel counts. Variances are biased; the terms are those of `residiff.metrics.windows`. Of one channel it is the SSIM of
an image of two dimensions, border windows included.

Along three channels and their replicas the window is a matrix of 3 x 3, which mixes blurred planes.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor

from residiff.metrics.pixels import Pixels, pixels_of
from residiff.metrics.windows import GAUSSIAN, Array, terms, tile_moments, tiles

_RADIUS = GAUSSIAN.size // 2


def volume_ssim(a: Tensor, b: Tensor) -> float:
    """MATLAB's `ssim(A, B)` of images (C, H, W) in [0, 1]; at most 1. Sides may be shorter than the window.

    Its range is 1 for arrays of class double and 255 for uint8: the same figure, once those are divided by 255.

    Raises
    ------
    ConfigError
        If the shapes differ or are not (C, H, W), the values are integers or not all of them are finite.
    """
    first, second = pixels_of(a, b)
    mixing = _mixing(len(first))
    total = 0.0
    for rows, columns in tiles(*first.shape[1:]):
        parts = _with_margins(first, rows, columns), _with_margins(second, rows, columns)
        blurred = tile_moments(*parts, GAUSSIAN)
        mixed = np.matmul(mixing, blurred.reshape(4, len(first), -1)).reshape(blurred.shape)
        luminance, contrast = terms(mixed, GAUSSIAN)
        luminance *= contrast
        total += float(luminance.sum())
    return total / first.size


def _with_margins(image: Pixels, rows: range, columns: range) -> Pixels:
    """A tile and the pixels around it, the image's last ones where it ends."""
    down, right = (np.arange(places.start - _RADIUS, places.stop + _RADIUS) for places in (rows, columns))
    return image.take(down, 1, mode="clip").take(right, 2, mode="clip")


def _mixing(channels: int) -> Array:
    """(C, C): what each channel's window takes of each channel."""
    places = np.arange(channels)
    matrix = np.zeros((channels, channels))
    for offset, weight in enumerate(GAUSSIAN.weights, -_RADIUS):
        matrix[places, np.clip(places + offset, 0, channels - 1)] += weight
    return matrix
