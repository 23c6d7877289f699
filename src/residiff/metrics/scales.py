"""Structural similarity at several scales (MS-SSIM).

Wang, Simoncelli and Bovik, "Multi-scale structural similarity for image quality assessment", 2003, equation 7, with
contrast and structure in one term as in their `msssim.m`:

    S(5)^0.1333 prod over scales j = 1..4 of s(j)^w(j)

where s(j) is the mean contrast and S(5) the mean similarity under the Gaussian window of `residiff.metrics.windows`.
From one scale to the next, means of 2 x 2 pixels take the place of four. What the paper leaves open:

* an odd side: the last row or column is kept, averaged with itself, as in `msssim.m` (torchmetrics drops it, which
  moves the figure by up to 2e-3);
* colour: the means are over the channels too, before the product, as in torchmetrics; the paper knows grey alone;
* a negative mean, which has no such power: it counts as 0, and so does the whole (torchmetrics' `normalize="relu"`).

With sides that are multiples of 16, torchmetrics differs in two things alone: its S(5) also averages over windows that
hang over the border, where it reflects the image (up to 1e-2 on the whole at the least size, 1e-4 at 512 x 512), and it
rounds the weights to float32 (2e-8).
"""

from __future__ import annotations

import math

import numpy as np
from torch import Tensor

from residiff.metrics.pixels import Pixels, check_sides, pixels_of
from residiff.metrics.windows import GAUSSIAN, Array, tiles, window_means

# As published: they add up to 1.0001
_CONTRASTS = (0.0448, 0.2856, 0.3001, 0.2363)
_LAST = 0.1333
_LEAST = GAUSSIAN.size << len(_CONTRASTS)


def ms_ssim(a: Tensor, b: Tensor) -> float:
    """Multi-scale structural similarity of images (C, H, W) in [0, 1]: from 0 to 1.

    Raises
    ------
    ConfigError
        If the shapes differ or are not (C, H, W), the values are integers or not all of them are finite, or a side is
        shorter than 176 pixels, of which the last scale keeps a window's 11.
    """
    first, second = pixels_of(a, b)
    check_sides(first, _LEAST, "MS-SSIM")
    score = 1.0
    for weight in _CONTRASTS:
        score *= _power(window_means(first, second, GAUSSIAN).contrast, weight)
        first, second = _halved(first), _halved(second)
    return score * _power(window_means(first, second, GAUSSIAN).similarity, _LAST)


def _power(means: Array, weight: float) -> float:
    return math.pow(max(0.0, float(means.mean())), weight)


def _halved(image: Pixels) -> Pixels:
    """The means (C, ceil(H / 2), ceil(W / 2)) of 2 x 2 pixels."""
    channels, height, width = image.shape
    means = np.empty((channels, (height + 1) // 2, (width + 1) // 2))
    for rows, columns in tiles(*means.shape[1:]):
        down, right = (np.arange(2 * places.start, 2 * places.stop) for places in (rows, columns))
        part = image.take(down, 1, mode="clip").take(right, 2, mode="clip")
        pairs = np.add(part[:, ::2], part[:, 1::2], dtype=np.float64)
        means[:, rows.start : rows.stop, columns.start : columns.stop] = (pairs[..., ::2] + pairs[..., 1::2]) / 4
    return means
