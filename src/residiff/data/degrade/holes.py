"""Missing regions with straight edges: all of the image, boxes, one side, the border.

The mask is 1 where the image is missing, there the image is 0.5, and elsewhere it is unchanged.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from residiff.data.degrade.draws import Degraded, Parameter, Range, check_clean

FRACTION = Parameter("fraction", "share of the image that is missing", (0.1, 0.4), (0, 1))
SIDE_FRACTION = replace(FRACTION, default=(0.2, 0.5))
BORDER_FRACTION = replace(FRACTION, default=(0.4, 0.75))
ASPECT = Parameter("aspect", "height of the box over its width, for a square image", (0.5, 2), (0.05, 20), log=True)
# As published for 256 pixels: sides of 128 less up to 40, and 20 from the border.
TALL = Parameter("tall", "height of the box, of the image's", (88 / 256, 128 / 256), (0, 1))
WIDE = Parameter("wide", "width of the box, of the image's", (88 / 256, 128 / 256), (0, 1))
MARGIN = Parameter("margin", "least distance from the border, of the image's side", (20 / 256, 20 / 256), (0, 0.5))


def blank(clean: Tensor, generator: torch.Generator) -> Degraded:
    """Nothing of the image: 0.5 everywhere, which is x_in = 0 in the model's range, as for generation; no mask."""
    check_clean(clean)
    return Degraded(torch.full_like(clean, 0.5))


def missing_centre(clean: Tensor, generator: torch.Generator, *, fraction: Range = FRACTION.default) -> Degraded:
    """A hole in the middle, of the image's shape and `fraction` (in [0, 1]; larger is worse) of its area.

    RDDM's inpainting takes the middle half of the height and of the width: a `fraction` of 0.25.
    """
    size = check_clean(clean)
    return without(clean, _middle(size, FRACTION.draw(fraction, generator)))


def missing_box(
    clean: Tensor,
    generator: torch.Generator,
    *,
    fraction: Range = FRACTION.default,
    aspect: Range = ASPECT.default,
) -> Degraded:
    """A box of `fraction` (in [0, 1]; larger is worse) of the area, anywhere inside the image.

    Its height over its width, both as shares of the image's, is `aspect` (log-uniform in [0.05, 20]) or as near to it
    as the image allows.
    """
    size = check_clean(clean)
    area = FRACTION.draw(fraction, generator)
    tall = min(max(math.sqrt(area * ASPECT.draw(aspect, generator)), area), 1)
    wide = area / tall if area else 0.0
    return without(clean, _somewhere(size, (tall, wide), 0.0, generator))


def missing_rectangle(
    clean: Tensor,
    generator: torch.Generator,
    *,
    tall: Range = TALL.default,
    wide: Range = WIDE.default,
    margin: Range = MARGIN.default,
) -> Degraded:
    """A box whose sides are drawn, away from the border: the "bbox" masks of Palette's and RDDM's inpainting.

    `tall` and `wide` (in [0, 1]; larger is worse) are shares of the image's height and width, `margin` (in [0, 0.5]) is
    one of both.
    """
    size = check_clean(clean)
    return without(clean, rectangle(size, (tall, wide, margin), generator))


def missing_side(clean: Tensor, generator: torch.Generator, *, fraction: Range = SIDE_FRACTION.default) -> Degraded:
    """All that is left, right, above or below a line (drawn evenly): uncropping in one direction.

    `fraction` (in [0, 1]; larger is worse) of the image is missing; published is 0.5.
    """
    height, width = check_clean(clean)
    share = SIDE_FRACTION.draw(fraction, generator)
    across, far = torch.randint(2, (2,), generator=generator).tolist()
    rows, columns = (height, round(width * share)) if across else (round(height * share), width)
    return without(clean, _box((height, width), far * (height - rows), far * (width - columns), rows, columns))


def missing_border(clean: Tensor, generator: torch.Generator, *, fraction: Range = BORDER_FRACTION.default) -> Degraded:
    """All but the middle, which has the image's shape: uncropping in all four directions.

    `fraction` (in [0, 1]; larger is worse) of the image is missing; published is 0.75.
    """
    size = check_clean(clean)
    return without(clean, ~_middle(size, 1 - BORDER_FRACTION.draw(fraction, generator)))


def rectangle(size: tuple[int, int], ranges: tuple[Range, Range, Range], generator: torch.Generator) -> Tensor:
    """The hole (1, H, W) of `missing_rectangle` for ranges of tall, wide and margin."""
    tall, wide, margin = (
        parameter.draw(bounds, generator) for parameter, bounds in zip((TALL, WIDE, MARGIN), ranges, strict=True)
    )
    return _somewhere(size, (tall, wide), margin, generator)


def without(clean: Tensor, hole: Tensor) -> Degraded:
    """`clean` with 0.5 where `hole` (1, H, W) is true, and that as the mask."""
    return Degraded(clean.masked_fill(hole, 0.5), hole.float())


def _middle(size: tuple[int, int], area: float) -> Tensor:
    """A box in the middle, of the image's shape and a share `area` of it."""
    (height, width), side = size, math.sqrt(area)
    rows, columns = round(height * side), round(width * side)
    return _box(size, (height - rows) // 2, (width - columns) // 2, rows, columns)


def _somewhere(size: tuple[int, int], box: tuple[float, float], margin: float, generator: torch.Generator) -> Tensor:
    """A box of sides (tall, wide) anywhere at least `margin` from the border, or in the middle if that leaves no room.

    All are shares of the image's sides.
    """
    sides = [round(side * share) for side, share in zip(size, box, strict=True)]
    corner = []
    for whole, part, place in zip(size, sides, torch.rand(2, generator=generator).tolist(), strict=True):
        room = whole - part
        inset = min(round(whole * margin), room // 2)
        corner.append(inset + round(place * (room - 2 * inset)))
    return _box(size, *corner, *sides)


def _box(size: tuple[int, int], top: int, left: int, rows: int, columns: int) -> Tensor:
    """True (1, H, W) in the box of that corner and size."""
    hole = torch.zeros(1, *size, dtype=torch.bool)
    hole[:, top : top + rows, left : left + columns] = True
    return hole
