"""What is measured of two pictures, and how they are made ready for it.

A `View` turns a picture as it was read into what is compared: its size and colour space. A `Metric` compares two views.
A `Measure` is both under a name, over a region. All that differs between published protocols is which of these they
take.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

import torch
from torch import Tensor

from residiff.errors import ConfigError
from residiff.metrics import (
    delta_e_2000,
    lab_d50,
    lab_d65,
    lab_error,
    masked_psnr,
    masked_ssim,
    psnr,
    ssim,
    volume_ssim,
)

Size = tuple[int, int]
# A picture (C, H, W), uint8, and the prediction's height and width -> what is compared, float64, about [0, 1]
View: TypeAlias = Callable[[Tensor, Size], Tensor]
# A mask (1, H, W), uint8, and the view's height and width -> where it is meant, (1, H, W), bool
Regions: TypeAlias = Callable[[Tensor, Size], Tensor]


@dataclass(frozen=True)
class Value:
    """A score, and its weight in a pooled mean (pixels of the region)."""

    score: float
    weight: float = 1.0


# Two views (C, H, W), and the region (1, H, W) or None for everything
Metric: TypeAlias = Callable[[Tensor, Tensor, Tensor | None], Value]


@dataclass(frozen=True)
class Network:
    """A metric that a network gives, by its name in `evaluate.networks`; it needs weights."""

    name: str


class Where(Enum):
    """Which pixels a measure is of, by the mask."""

    ALL = "all"
    SHADOW = "shadow"
    NONSHADOW = "nonshadow"


@dataclass(frozen=True)
class Measure:
    """A figure of a protocol.

    Attributes
    ----------
    name : as it stands in results, "psnr_shadow"
    view : what both pictures are made before
    metric : what compares them
    where : over which pixels
    higher : whether more is better
    pooled : whether the mean over all pixels of all pictures is told beside the mean of the pictures
    if_masked : whether it is left out where there is no mask, in place of asking for one
    """

    name: str
    view: View
    metric: Metric | Network
    where: Where = Where.ALL
    higher: bool = True
    pooled: bool = False
    if_masked: bool = False


def whole(metric: Callable[[Tensor, Tensor], float]) -> Metric:
    """A metric of whole pictures; over a region, of pictures that are black outside it, which counts as equal there.

    So are PSNR and SSIM of regions published for ISTD.
    """

    def compare(first: Tensor, second: Tensor, region: Tensor | None) -> Value:
        kept = (first, second) if region is None else (first * region, second * region)
        return Value(metric(*kept))

    return compare


def inside(metric: Callable[[Tensor, Tensor, Tensor], float]) -> Metric:
    """A metric of the pixels of a region alone."""

    def compare(first: Tensor, second: Tensor, region: Tensor | None) -> Value:
        chosen = torch.ones_like(first[:1], dtype=torch.bool) if region is None else region
        return Value(metric(first, second, chosen), float(chosen.sum()))

    return compare


def lab_mae(first: Tensor, second: Tensor, region: Tensor | None) -> Value:
    """Mean over the region of |dL| + |da| + |db|, D50: what the field calls MAE, or RMSE, of shadow removal."""
    found = lab_error(lab_d50(first), lab_d50(second), region)
    return Value(found.mae, found.pixels)


def colour_difference(first: Tensor, second: Tensor, region: Tensor | None) -> Value:
    """Mean CIEDE2000 of sRGB pictures, D65."""
    return Value(float(delta_e_2000(lab_d65(first), lab_d65(second)).mean()))


PSNR, INNER_PSNR = whole(psnr), inside(masked_psnr)
SSIM, INNER_SSIM, VOLUME_SSIM = whole(ssim), inside(masked_ssim), whole(volume_ssim)


def region_of(where: Where, mask: Tensor | None, regions: Regions, size: Size, name: str) -> Tensor | None:
    """The pixels (1, H, W) that `where` means, None for all of them.

    Raises
    ------
    ConfigError
        If the mask is missing, or sets no pixel, or leaves none.
    """
    if where is Where.ALL:
        return None
    if mask is None:
        raise ConfigError(f"{name} is measured over a region, and no mask is given; give one with --mask")
    shadow = regions(mask, size)
    chosen = shadow if where is Where.SHADOW else ~shadow
    if not chosen.any():
        what = "sets no pixel" if where is Where.SHADOW else "sets every pixel"
        raise ConfigError(f"the mask {what}, so there is nothing to score by {name}; give another mask")
    return chosen
