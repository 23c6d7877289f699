"""Distance fields over the image: where the pixels are, how far from a set of strokes, and the level at a quantile.

Coordinates are (x, y) with the image's centre at 0 and its longer side of length 1.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

_FINEST = 192


def pixel_centres(height: int, width: int) -> Tensor:
    """Coordinates (2, height, width) of the pixel centres."""
    x = (torch.arange(width) + 0.5 - width / 2) / max(height, width)
    y = (torch.arange(height) + 0.5 - height / 2) / max(height, width)
    return torch.stack(torch.meshgrid(x, y, indexing="xy"))


def coarse_centres(height: int, width: int) -> Tensor:
    """Coordinates (2, h, w) at half the resolution or less: distances are smooth, and enough when resized linearly."""
    step = max(2.0, max(height, width) / _FINEST)
    return pixel_centres(math.ceil(height / step), math.ceil(width / step))


def quantile(field: Tensor, share: float) -> Tensor:
    """The level that a `share` in [0, 1] of the field's values do not exceed; below all of them where that is none."""
    count = round(share * field.numel())
    if count == 0:
        return field.min() - 1e3
    return field.flatten().kthvalue(count).values


def capsules(points: Tensor, strokes: Tensor) -> Tensor:
    """Distance (1, H, W) from `points` (2, H, W) to the union of strokes (N, 5): two ends (x, y) and a radius."""
    ax, ay, bx, by, radius = strokes.T.view(5, -1, 1, 1)
    dx, dy = bx - ax, by - ay
    px, py = points[0] - ax, points[1] - ay
    along = ((px * dx + py * dy) / (dx * dx + dy * dy).clamp(min=1e-9)).clamp_(0, 1)
    px.sub_(along * dx)
    py.sub_(along * dy)
    return torch.hypot(px, py).sub_(radius).amin(0, keepdim=True)
