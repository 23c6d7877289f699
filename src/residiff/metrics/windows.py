"""Windows that images are compared under, and what they see: the terms of structural similarity.

For images a and b in [0, 1], with means m, variances v and covariance c under a window,

    luminance  l = (2 m_a m_b + C1) / (m_a^2 + m_b^2 + C1)         C1 = 0.01^2
    contrast   s = (2 c + C2) / (v_a + v_b + C2)                   C2 = 0.03^2, contrast and structure in one
    similarity     l s

after Wang, Bovik, Sheikh and Simoncelli, "Image quality assessment: from error visibility to structural similarity",
2004, equation 13. They are computed from the sum p = a + b and the difference q = a - b, of which the means and the
variances say all: l = (m_p^2 - m_q^2 + 2 C1) / (m_p^2 + m_q^2 + 2 C1), and s alike of v_p, v_q and C2. So four blurs
suffice, two images may change places without a change of any bit, and equal ones have 1 exactly.

A blur is two products with band matrices, a block of rows or columns at a time: two thirds of what they multiply are
zeros, and still they take a fraction of the time of a sum of shifted images. A tile fits a processor's cache, and
memory does not grow with the images.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from residiff.errors import ConfigError
from residiff.metrics.pixels import Pixels

Array = NDArray[np.float64]
_C1, _C2 = 0.01**2, 0.03**2
# Outputs of a product with a band matrix, and the rows of a tile; longer ones multiply more zeros
_BLOCK = 24
_COLUMNS = 256


@dataclass(frozen=True)
class Window:
    """A square window whose weights are the outer product of those along a side.

    Attributes
    ----------
    weights : along a side, (size,); they add up to 1
    correction : the factor of variances and covariances; N / (N - 1) for a sample's of N equal weights, 1 for biased
        ones

    Raises
    ------
    ConfigError
        If the weights do not add up to 1, or the correction is below 1.
    """

    weights: tuple[float, ...]
    correction: float = 1.0

    def __post_init__(self) -> None:
        if not math.isclose(total := math.fsum(self.weights), 1) or self.correction < 1:
            raise ConfigError(
                f"the window's weights add up to {total}, its correction is {self.correction}; needed are 1 and at "
                "least 1"
            )

    @property
    def size(self) -> int:
        """The window's side in pixels."""
        return len(self.weights)


class Means(NamedTuple):
    """Contrast and similarity, each (C,) float64: the channels' means over all places of the window."""

    contrast: Array
    similarity: Array


def _gaussian(sigma: float, radius: int) -> tuple[float, ...]:
    weights = [math.exp(-(place**2) / (2 * sigma**2)) for place in range(-radius, radius + 1)]
    return tuple(weight / math.fsum(weights) for weight in weights)


# Of Wang et al. 2004: 11 x 11 pixels, standard deviation 1.5, biased variances
GAUSSIAN = Window(_gaussian(1.5, 5))
# scikit-image's default: 7 x 7 pixels of equal weight, a sample's variances
UNIFORM = Window((1 / 7,) * 7, 49 / 48)


def window_means(a: Pixels, b: Pixels, window: Window, chosen: NDArray[np.bool_] | None = None) -> Means:
    """Over the places where the window lies wholly inside two images (C, H, W), sides of at least its size.

    Or over those of them whose middle is `chosen` (H, W), at least one.
    """
    channels, height, width = a.shape
    overlap = window.size - 1
    sums, margin = np.zeros((2, channels)), overlap // 2
    middles = None if chosen is None else chosen[margin : height - margin, margin : width - margin]
    for rows, columns in tiles(height - overlap, width - overlap):
        part = np.s_[:, rows.start : rows.stop + overlap, columns.start : columns.stop + overlap]
        luminance, contrast = terms(tile_moments(a[part], b[part], window), window)
        similarity = np.multiply(luminance, contrast, out=luminance)
        if middles is not None:
            here = middles[rows.start : rows.stop, columns.start : columns.stop]
            contrast, similarity = contrast[:, here, None], similarity[:, here, None]
        sums += contrast.sum((1, 2)), similarity.sum((1, 2))
    count = (height - overlap) * (width - overlap) if middles is None else int(middles.sum())
    return Means(*sums / count)


def tiles(height: int, width: int) -> Iterator[tuple[range, range]]:
    """The rows and the columns of each tile that an area is computed in."""
    for top in range(0, height, _BLOCK):
        for left in range(0, width, _COLUMNS):
            yield range(top, min(top + _BLOCK, height)), range(left, min(left + _COLUMNS, width))


def tile_moments(a: Pixels, b: Pixels, window: Window) -> Array:
    """The means of a + b, a - b and of their squares in every whole window of a tile with its margins.

    (C, H, W) twice, at most 24 windows high -> (4, C, H - size + 1, W - size + 1).
    """
    values = np.empty((4, *a.shape))
    np.add(a, b, out=values[0], dtype=np.float64)
    np.subtract(a, b, out=values[1], dtype=np.float64)
    np.square(values[:2], out=values[2:])
    return _blurred(values, window)


def terms(means: Array, window: Window) -> tuple[Array, Array]:
    """Luminance and contrast (C, H, W) of moments (4, C, H, W)."""
    squares = np.square(means[:2])
    variances = means[2:] - squares
    variances *= window.correction
    return _likeness(squares, _C1), _likeness(variances, _C2)


def _likeness(parts: Array, constant: float) -> Array:
    """(p - q + 2 C) / (p + q + 2 C), of p and q stacked."""
    shared: Array = parts[0] - parts[1]
    whole: Array = parts[0] + parts[1]
    shared += 2 * constant
    whole += 2 * constant
    shared /= whole
    return shared


def _blurred(planes: Array, window: Window) -> Array:
    """Weighted means over whole windows of contiguous planes (N, C, H, W), at most 24 of them along H."""
    band, overlap = _band(window.weights), window.size - 1
    height, width = planes.shape[-2] - overlap, planes.shape[-1] - overlap
    rows = np.matmul(band[:height, : height + overlap], planes)
    means = np.empty((*rows.shape[:-1], width))
    from_rows, to_rows = rows.reshape(-1, width + overlap), means.reshape(-1, width)
    for left in range(0, width, _BLOCK):
        count = min(_BLOCK, width - left)
        block = band[:count, : count + overlap].T
        np.matmul(from_rows[:, left : left + count + overlap], block, out=to_rows[:, left : left + count])
    return means


@cache
def _band(weights: tuple[float, ...]) -> Array:
    """(24, 24 + size - 1): row i holds the weights from column i on."""
    band = np.zeros((_BLOCK, _BLOCK + len(weights) - 1))
    for row in range(_BLOCK):
        band[row, row : row + len(weights)] = weights
    return band
