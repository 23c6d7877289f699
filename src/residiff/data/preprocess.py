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
    gain = (MEAN_LIGHT / values.mean(-1).clamp(min=1e-6)).minimum(1 / bright.clamp(min=1e-6)).clamp(1, LARGEST_GAIN)
    return to_srgb(light * gain[..., None, None, None])


def equalise(image: Tensor) -> Tensor:
    """(..., C, H, W) in [0, 1] with the 8-bit histogram of each channel made even, as RDDM does before LOL's pictures.

    As by OpenCV's `equalizeHist`: level v becomes round(255 (c(v) - c0) / (N - c0)), halves to even, where c(v) of the
    N values are at most v and c0 are the lowest. A flat channel stays as it is.
    """
    levels = (image * 255).round().to(torch.uint8)
    planes = levels.flatten(0, -3).flatten(1)
    tables = torch.stack([_equalising(plane) for plane in planes])
    return tables.gather(1, planes.long()).div_(255).view(image.shape)


def _equalising(plane: Tensor) -> Tensor:
    """What each of the 256 levels becomes, (256,), for the 8-bit values of one channel (N,)."""
    counts = torch.bincount(plane, minlength=256).cumsum(0)
    lowest = counts[counts > 0][0]
    if lowest == len(plane):
        return torch.arange(256.0, device=plane.device)
    # OpenCV's arithmetic: a quotient in float32 (`255 / others` is a reciprocal and a product), then a product
    others = (len(plane) - lowest).float()
    return ((counts - lowest).clamp_(min=0) * torch.full_like(others, 255).div_(others)).round_()


PREPROCESS: dict[str, Callable[[Tensor], Tensor]] = {"none": unchanged, "expose": expose, "equalise": equalise}
