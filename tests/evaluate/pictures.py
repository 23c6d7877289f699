"""Pictures and folders of them, for the tests of evaluation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from residiff.data import images
from residiff.data.images import Picture, from_array


def picture(seed: int, size: tuple[int, int, int] = (3, 24, 31)) -> Tensor:
    """An 8-bit image of noise."""
    source = torch.Generator().manual_seed(seed)
    return (torch.rand(size, generator=source) * 255).round() / 255


def save(path: Path, pixels: Tensor) -> Path:
    images.write(path, Picture(pixels))
    return path


def save_16(path: Path, pixels: Tensor) -> Path:
    """Of 16 bits, the values between those of 8."""
    fine = (pixels.permute(1, 2, 0).double().numpy() * 65535 + 100).clip(0, 65535).astype(np.uint16)
    images.write(path, from_array(fine))
    return path


def near(seed: int, level: float, size: tuple[int, int, int] = (3, 24, 31)) -> Tensor:
    """`picture(seed)` with noise of a standard deviation of `level`."""
    source = torch.Generator().manual_seed(seed + 1000)
    return (picture(seed, size) + level * torch.randn(size, generator=source)).clamp(0, 1)


def exact(image: Tensor) -> Tensor:
    """The grey levels of an 8-bit image over 255, in float64."""
    return (image * 255).round().double() / 255
