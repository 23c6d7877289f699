"""Pairs of images that differ by noise, as the metrics' tests want them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def noisy_pair(channels: int, height: int, width: int, level: float = 0.5, noise: float = 0.1) -> tuple[Tensor, Tensor]:
    """Two 8-bit images that differ by noise."""
    source = torch.Generator().manual_seed(height * 1000 + width)
    base = level + 0.3 * torch.randn(channels, height, width, generator=source) * noise
    other = base + noise * torch.randn(base.shape, generator=source)
    first, second = (((image.clamp(0, 1) * 255).round() / 255) for image in (base, other))
    return first, second


def constants(first: float, second: float, *shape: int) -> tuple[Tensor, Tensor]:
    """Two flat float64 images."""
    return torch.full(shape, first, dtype=torch.float64), torch.full(shape, second, dtype=torch.float64)


def luminance(first: float, second: float) -> float:
    """The similarity of two flat images under any window: their contrast is alike."""
    return (2 * first * second + 1e-4) / (first**2 + second**2 + 1e-4)


def channels_last(image: Tensor) -> np.ndarray:
    """(H, W, C) in float64, as the oracles take it."""
    return image.permute(1, 2, 0).double().numpy()
