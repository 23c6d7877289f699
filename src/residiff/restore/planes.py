"""What is done to the pixels around the network: padding to a size it takes, and colours for pixels nobody sees."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def pad_to_multiple(image: Tensor, multiple: int) -> Tensor:
    """(..., H, W) mirrored on to the right and below until H and W are multiples; any size from 1 x 1."""
    for dim in (-2, -1):
        image = pad_side(image, dim, multiple)
    return image


def pad_side(image: Tensor, dim: int, multiple: int) -> Tensor:
    """The same of one side."""
    size = image.shape[dim]
    wanted = -(-size // multiple) * multiple
    return image.index_select(dim, mirrored(size, wanted).to(image.device)) if wanted > size else image


def mirrored(size: int, wanted: int) -> Tensor:
    """Indices 0, 1, ..., size - 1, size - 2, ..., 1, 0, 1, ... of length `wanted`."""
    period = max(1, 2 * (size - 1))
    index = torch.arange(wanted) % period
    return torch.where(index < size, index, period - index)


def blended(pixels: Tensor, result: Tensor, strength: float) -> Tensor:
    """`pixels` (C, H, W) where `strength` is 0, `result` (3, H, W) where it is 1; of grey pixels a grey one."""
    if pixels.shape[0] == 1:
        result = result.mean(0, keepdim=True)
    return torch.lerp(pixels, result, strength)


def fill_hidden(pixels: Tensor, alpha: Tensor) -> Tensor:
    """`pixels` (C, H, W) with the colours under alpha = 0, which nobody sees, taken from the visible ones around."""
    seen = (alpha > 0).to(pixels.dtype)
    return pixels if bool(seen.all()) else _fill((pixels * seen)[None], seen[None])[0]


def _fill(pixels: Tensor, seen: Tensor) -> Tensor:
    if bool(seen.all()) or pixels.shape[-2:] == (1, 1):
        return pixels
    weight = F.avg_pool2d(seen, 2, ceil_mode=True, count_include_pad=False)
    smaller = F.avg_pool2d(pixels * seen, 2, ceil_mode=True, count_include_pad=False) / weight.clamp(min=1e-6)
    known = (weight > 0).to(pixels.dtype)
    around = F.interpolate(_fill(smaller * known, known), pixels.shape[-2:], mode="bilinear")
    return torch.where(seen > 0, pixels, around)
