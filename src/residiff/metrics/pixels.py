"""The pixels of two images to be compared, checked, as arrays that share the tensors' memory where they can."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from residiff.errors import ConfigError

Pixels = NDArray[np.float32] | NDArray[np.float64]
# Squares and their products stay finite in float64 below it
_LARGEST = torch.finfo(torch.float32).max


def pixels_of(a: Tensor, b: Tensor) -> tuple[Pixels, Pixels]:
    """Two images (C, H, W) of one shape and of any floating-point type, as arrays on the CPU.

    Raises
    ------
    ConfigError
        If the shapes differ or are not (C, H, W), the values are integers or not all of them are finite.
    """
    if a.shape != b.shape or a.ndim != 3 or a.numel() == 0:
        shapes = f"{tuple(a.shape)} and {tuple(b.shape)}"
        raise ConfigError(f"the images have shapes {shapes}; give two of one shape (C, H, W)")
    return _array(a), _array(b)


def check_sides(pixels: Pixels, least: int, metric: str) -> None:
    """`ConfigError` if a side of the image is shorter than `least` pixels, which the named metric needs."""
    height, width = pixels.shape[1:]
    if min(height, width) < least:
        raise ConfigError(f"the images are {width} x {height} pixels; {metric} needs at least {least} x {least}")


def _array(image: Tensor) -> Pixels:
    if not image.is_floating_point():
        raise ConfigError(f"an image is {image.dtype}; give floating-point values in [0, 1] (8-bit ones over 255)")
    # NumPy has no bfloat16, and float32 holds every value of the narrower types
    wide = image.detach().cpu() if image.dtype == torch.float64 else image.detach().cpu().float()
    pixels: Pixels = wide.numpy()
    if not (pixels.min() >= -_LARGEST and pixels.max() <= _LARGEST):
        raise ConfigError("an image holds values that are not finite (NaN, infinity); find their cause")
    return pixels
