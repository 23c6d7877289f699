"""PSNR and SSIM of images (C, H, W) in [0, 1], computed in float64; values outside that range are taken as they are.

The published protocols differ in the window of SSIM. Averaged are always the places where it lies wholly inside the
image, and the channels.

| window | convention | scikit-image's `structural_similarity` with |
|---|---|---|
| `GAUSSIAN` | Wang et al. 2004 and their `ssim_index.m` | `gaussian_weights=True, use_sample_covariance=False` |
| `UNIFORM` | scikit-image's own, which low-light papers' scripts use | its defaults |

They agree with scikit-image to rounding. torchmetrics also averages over windows that hang over the border, where it
reflects the image (1e-4 to 5e-3 away); inside it is the same. MATLAB's `ssim` of a colour image is neither of the two
but `volume_ssim`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from statistics import fmean

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from residiff.errors import ConfigError
from residiff.metrics.pixels import Pixels, check_sides, pixels_of
from residiff.metrics.windows import GAUSSIAN, Window, window_means

WINDOW = GAUSSIAN.size
_STRIP_VALUES = 1 << 16


def psnr(a: Tensor, b: Tensor) -> float:
    """Peak signal-to-noise ratio in dB at peak 1; infinite where the images are equal.

    Raises
    ------
    ConfigError
        If the shapes differ or are not (C, H, W), the values are integers or not all of them are finite.
    """
    first, second = pixels_of(a, b)
    # Not a dot product: BLAS would wake other threads for it
    total = math.fsum(float(np.square(part, out=part).sum()) for _, part in _differences(first, second))
    return _decibels(total / first.size)


def masked_psnr(a: Tensor, b: Tensor, mask: Tensor) -> float:
    """PSNR over the pixels where the boolean `mask` (1, H, W) is set, all channels counting alike.

    Raises
    ------
    ConfigError
        As `psnr` does; and if the mask is of another type or shape, or sets no pixel.
    """
    first, second = pixels_of(a, b)
    chosen = _chosen(mask, a, 0)
    total = math.fsum(float(np.square(part[:, chosen[rows]]).sum()) for rows, part in _differences(first, second))
    return _decibels(total / (len(first) * int(chosen.sum())))


def ssim(a: Tensor, b: Tensor, window: Window = GAUSSIAN) -> float:
    """Structural similarity, at most 1: the mean of `ssim_of_channels`, and its errors."""
    return fmean(ssim_of_channels(a, b, window))


def ssim_of_channels(a: Tensor, b: Tensor, window: Window = GAUSSIAN) -> tuple[float, ...]:
    """Structural similarity of each channel, at most 1, by the module's convention.

    Raises
    ------
    ConfigError
        As `psnr` does; and if a side is shorter than the window.
    """
    first, second = pixels_of(a, b)
    check_sides(first, window.size, "SSIM")
    return tuple(window_means(first, second, window).similarity.tolist())


def masked_ssim(a: Tensor, b: Tensor, mask: Tensor, window: Window = GAUSSIAN) -> float:
    """Structural similarity over the windows whose middle the boolean `mask` (1, H, W) sets, all channels alike.

    Raises
    ------
    ConfigError
        As `ssim` does; and if the mask is of another type or shape, or sets no pixel so far from the border that the
        window around it lies inside the image.
    """
    first, second = pixels_of(a, b)
    check_sides(first, window.size, "SSIM")
    chosen = _chosen(mask, a, window.size // 2)
    return fmean(window_means(first, second, window, chosen).similarity.tolist())


def _chosen(mask: Tensor, image: Tensor, margin: int) -> NDArray[np.bool_]:
    """The mask (H, W), of which something must be set `margin` pixels from the border."""
    if mask.dtype != torch.bool or tuple(mask.shape) != (1, *image.shape[1:]):
        wanted = (1, *image.shape[1:])
        raise ConfigError(f"the mask is {mask.dtype} {tuple(mask.shape)}; it must be torch.bool {wanted}")
    height, width = image.shape[1:]
    if not mask[0, margin : height - margin, margin : width - margin].any():
        inner = f" {margin} pixels from the border" if margin else ""
        raise ConfigError(f"the mask sets no pixel{inner}, so there is nothing to score; give another mask")
    found: NDArray[np.bool_] = mask[0].cpu().numpy()
    return found


def _differences(a: Pixels, b: Pixels) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    """Strips of rows, and a - b (C, rows, W) in each: all at once they may be too large for memory."""
    channels, height, width = a.shape
    count = max(1, _STRIP_VALUES // (channels * width))
    for top in range(0, height, count):
        rows = slice(top, top + count)
        yield rows, np.subtract(a[:, rows], b[:, rows], dtype=np.float64)


def _decibels(error: float) -> float:
    return math.inf if error == 0 else -10 * math.log10(error)
