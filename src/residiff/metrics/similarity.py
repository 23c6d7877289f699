"""PSNR and SSIM of images (C, H, W) in [0, 1], computed in float64.

SSIM follows Wang et al. 2004: Gaussian window of 11 x 11 pixels and standard deviation 1.5, K = (0.01, 0.03), range 1,
biased variances, averaged over the places where the window lies wholly inside the image and over the channels. That is
scikit-image's `structural_similarity(gaussian_weights=True, sigma=1.5, use_sample_covariance=False)`. It is written out
here since torchmetrics also averages over windows that hang over the border (1e-4 to 1e-3 away), loses as much to
cancellation in float32, and needs a hundred times the time in float64.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from residiff.errors import ConfigError

WINDOW = 11
_SIGMA = 1.5
_C1, _C2 = 0.01**2, 0.03**2
_STRIP_ROWS = 64


def psnr(a: Tensor, b: Tensor) -> float:
    """Peak signal-to-noise ratio in dB at peak 1; infinite where the images are equal.

    Raises
    ------
    ConfigError
        If the shapes differ or are not (C, H, W), or a value is not finite.
    """
    _check(a, b)
    return _decibels((a.double() - b.double()).square())


def masked_psnr(a: Tensor, b: Tensor, mask: Tensor) -> float:
    """PSNR over the pixels where the boolean `mask` (1, H, W) is set, all channels counting alike.

    Raises
    ------
    ConfigError
        As `psnr` does; and if the mask is of another type or shape, or sets no pixel.
    """
    _check(a, b)
    if mask.dtype != torch.bool or tuple(mask.shape) != (1, *a.shape[1:]):
        raise ConfigError(f"the mask is {mask.dtype} {tuple(mask.shape)}; it must be torch.bool {(1, *a.shape[1:])}")
    if not mask.any():
        raise ConfigError("the mask sets no pixel, so there is nothing to score; give another mask")
    return _decibels((a.double() - b.double()).square()[:, mask[0]])


def ssim(a: Tensor, b: Tensor) -> float:
    """Structural similarity, at most 1, by the module's convention.

    Raises
    ------
    ConfigError
        As `psnr` does; and if a side is shorter than the window.
    """
    _check(a, b)
    height, width = a.shape[1:]
    if min(height, width) < WINDOW:
        raise ConfigError(f"the images are {width} x {height} pixels; SSIM needs at least {WINDOW} x {WINDOW}")
    total = 0.0
    # Strips keep the float64 moments small
    for top in range(0, height - WINDOW + 1, _STRIP_ROWS):
        rows = slice(top, top + _STRIP_ROWS + WINDOW - 1)
        total += _similarities(a[:, rows].double(), b[:, rows].double()).sum().item()
    return total / (a.shape[0] * (height - WINDOW + 1) * (width - WINDOW + 1))


def _check(a: Tensor, b: Tensor) -> None:
    if a.shape != b.shape or a.ndim != 3 or a.numel() == 0:
        shapes = f"{tuple(a.shape)} and {tuple(b.shape)}"
        raise ConfigError(f"the images have shapes {shapes}; give two of one shape (C, H, W)")
    if not (torch.isfinite(a).all() and torch.isfinite(b).all()):
        raise ConfigError("an image holds values that are not finite (NaN, infinity); find their cause")


def _decibels(squares: Tensor) -> float:
    error = squares.mean().item()
    return math.inf if error == 0 else -10 * math.log10(error)


def _similarities(a: Tensor, b: Tensor) -> Tensor:
    """The SSIM (C, H - 10, W - 10) of every whole window of two float64 images."""
    mean_a, mean_b = _blurred(a), _blurred(b)
    squares, product = mean_a.square() + mean_b.square(), mean_a * mean_b
    variances = _blurred(a.square() + b.square()) - squares
    covariance = _blurred(a * b) - product
    return ((2 * product + _C1) * (2 * covariance + _C2)) / ((squares + _C1) * (variances + _C2))


def _blurred(image: Tensor) -> Tensor:
    """Gaussian means over whole windows: ten rows and columns fewer.

    A sum of shifted images: in float64 fifteen times as fast as torch's convolution.
    """
    places = torch.arange(WINDOW, dtype=torch.float64) - WINDOW // 2
    weights = torch.exp(-places.square() / (2 * _SIGMA**2))
    weights /= weights.sum()
    for dim in (1, 2):
        length = image.shape[dim] - WINDOW + 1
        shifted = [image.narrow(dim, k, length) for k in range(WINDOW)]
        image = sum((part * weight for part, weight in zip(shifted, weights.tolist(), strict=True)), torch.zeros(()))
    return image
