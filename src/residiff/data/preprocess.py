"""What is done to a degraded image before a network sees it, in training and restoring alike.

RDDM equalises the histogram of its low-light input, as `equalise` does; `expose` does the like with one gain for the
whole image, which keeps its colours. Both see what they are given: a crop in training, the picture in restoring.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from residiff.data.degrade import to_linear, to_srgb

MEAN_LIGHT = 0.18
LARGEST_GAIN = 100.0
BRIGHT_SHARE = 0.99
LEVELS = 65_536


def unchanged(image: Tensor) -> Tensor:
    """The image itself."""
    return image


def expose(image: Tensor) -> Tensor:
    """(..., C, H, W) in [0, 1], brightened as by a longer exposure.

    Linear light gets the gain that brings its mean to 0.18, or its 99th percentile to 1 if that is less; at least 1 (a
    bright image stays as it is) and at most 100.
    """
    light = to_linear(image)
    values = light.flatten(-3)
    bright = values.kthvalue(max(1, round(BRIGHT_SHARE * values.shape[-1])), dim=-1).values
    return to_srgb(light * _gain(values.mean(-1), bright)[..., None, None, None])


def _gain(mean: Tensor, bright: Tensor) -> Tensor:
    """Of light with this mean and 99th percentile."""
    return (MEAN_LIGHT / mean.clamp(min=1e-6)).minimum(1 / bright.clamp(min=1e-6)).clamp(1, LARGEST_GAIN)


def histogram(rows: Tensor) -> Tensor:
    """How many values of each channel of (C, n, W) in [0, 1] there are at each of 65,536 levels: (C, 65536)."""
    levels = (rows * (LEVELS - 1)).round().long().flatten(1)
    return torch.stack([torch.bincount(plane, minlength=LEVELS) for plane in levels])


def _expose_by(counts: Tensor) -> Callable[[Tensor], Tensor]:
    light, every = to_linear(torch.arange(LEVELS, dtype=torch.float32) / (LEVELS - 1)), counts.sum(0)
    total = int(every.sum())
    place = int(torch.searchsorted(every.cumsum(0), max(1, round(BRIGHT_SHARE * total))))
    mean = (light.double() * every).sum() / total
    gain = _gain(mean.float(), light[place])
    return lambda rows: to_srgb(to_linear(rows) * gain)


def _equalise_by(counts: Tensor) -> Callable[[Tensor], Tensor]:
    coarse = (torch.arange(LEVELS, dtype=torch.float32) / (LEVELS - 1) * 255).round().long()
    eight = torch.zeros(len(counts), 256, dtype=torch.long).index_add_(1, coarse, counts)
    tables = torch.stack([_equalising(plane) for plane in eight])

    def apply(rows: Tensor) -> Tensor:
        levels = (rows * 255).round().long()
        return tables.gather(1, levels.flatten(1)).div(255).view(rows.shape)

    return apply


def equalise(image: Tensor) -> Tensor:
    """(..., C, H, W) in [0, 1] with the 8-bit histogram of each channel made even, as RDDM does before LOL's pictures.

    As by OpenCV's `equalizeHist`: level v becomes round(255 (c(v) - c0) / (N - c0)), halves to even, where c(v) of the
    N values are at most v and c0 are the lowest. A flat channel stays as it is.
    """
    levels = (image * 255).round().to(torch.uint8)
    planes = levels.flatten(0, -3).flatten(1)
    tables = torch.stack([_equalising(torch.bincount(plane, minlength=256)) for plane in planes])
    return tables.gather(1, planes.long()).div_(255).view(image.shape)


def _equalising(histogram: Tensor) -> Tensor:
    """What each of the 256 levels becomes, (256,), by how many values of a channel have it."""
    counts = histogram.cumsum(0)
    lowest, total = counts[counts > 0][0], counts[-1]
    if lowest == total:
        return torch.arange(256.0, device=counts.device)
    # OpenCV's arithmetic: a quotient in float32 (`255 / others` is a reciprocal and a product), then a product
    others = (total - lowest).float()
    return ((counts - lowest).clamp_(min=0) * torch.full_like(others, 255).div_(others)).round_()


# The same from a picture's `histogram`, for one that is seen a few rows at a time
BY_HISTOGRAM: dict[str, Callable[[Tensor], Callable[[Tensor], Tensor]]] = {
    "expose": _expose_by,
    "equalise": _equalise_by,
}
PREPROCESS: dict[str, Callable[[Tensor], Tensor]] = {"none": unchanged, "expose": expose, "equalise": equalise}
