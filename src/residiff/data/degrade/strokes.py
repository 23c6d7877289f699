"""Missing regions drawn by hand: brush strokes over a wanted area, irregular scribbles, free-form zigzags.

The mask is 1 where the image is missing, there the image is 0.5, and elsewhere it is unchanged. Lengths are shares of
the image's longer side; a stroke (N, 5) is a row of capsules as in `residiff.data.fields`.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from residiff.data.degrade.draws import Degraded, Parameter, Range, check_clean, resize, uniform
from residiff.data.degrade.fields import capsules, coarse_centres, quantile
from residiff.data.degrade.holes import FRACTION, MARGIN, TALL, WIDE, rectangle, without

STROKES = Parameter("strokes", "number of brush strokes", (4, 10), (1, 50))
IRREGULAR_FRACTION = replace(FRACTION, default=(0.15, 0.5))
# As published for 256 pixels: up to 4 zigzags, 12 to 40 wide.
ZIGZAGS = replace(STROKES, default=(1, 4))
THICKNESS = Parameter("thickness", "width of a stroke, of the longer side", (12 / 256, 40 / 256), (0, 1))

_MOST_SCRIBBLES = 60


def missing_brush(
    clean: Tensor,
    generator: torch.Generator,
    *,
    fraction: Range = FRACTION.default,
    strokes: Range = STROKES.default,
) -> Degraded:
    """Brush strokes, `strokes` in [1, 50] of them, over `fraction` (in [0, 1]; larger is worse) of the area."""
    height, width = check_clean(clean)
    area = FRACTION.draw(fraction, generator)
    count = STROKES.draw_whole(strokes, generator)
    extent = _extent(height, width)
    lines = torch.cat([_curve(extent, 0.2 / math.sqrt(count), generator) for _ in range(count)])
    field = resize(capsules(coarse_centres(height, width), lines), height, width)
    return without(clean, field <= quantile(field, area))


def missing_irregular(
    clean: Tensor, generator: torch.Generator, *, fraction: Range = IRREGULAR_FRACTION.default
) -> Degraded:
    """Irregular holes: scribbles of any direction and width, as many as it takes to cover the wanted area.

    `fraction` (in [0, 1]; larger is worse) of the image is missing; published are 0.15 to 0.5.
    """
    height, width = check_clean(clean)
    area = IRREGULAR_FRACTION.draw(fraction, generator)
    field = _scribbles(height, width, area, generator)
    return without(clean, field <= quantile(field, area))


def missing_free_form(
    clean: Tensor,
    generator: torch.Generator,
    *,
    strokes: Range = ZIGZAGS.default,
    thickness: Range = THICKNESS.default,
) -> Degraded:
    """Free-form brush strokes (Yu et al., 2019): `strokes` in [1, 50] zigzags of a `thickness` in [0, 1] each.

    More and thicker ones are worse. Each starts anywhere and swings by 48 to 96 degrees to the left and the right of a
    direction of its own. (The published ones all run to the right: the flips meant to mix them have no effect.)
    """
    size = check_clean(clean)
    return without(clean, _free_form(size, strokes, thickness, generator))


def missing_hybrid(
    clean: Tensor,
    generator: torch.Generator,
    *,
    tall: Range = TALL.default,
    wide: Range = WIDE.default,
    margin: Range = MARGIN.default,
    strokes: Range = ZIGZAGS.default,
    thickness: Range = THICKNESS.default,
) -> Degraded:
    """A rectangle and free-form strokes at once.

    `tall`, `wide` and `margin` are as for the rectangle, `strokes` and `thickness` as for the free form.
    """
    size = check_clean(clean)
    box = rectangle(size, (tall, wide, margin), generator)
    return without(clean, box | _free_form(size, strokes, thickness, generator))


def _extent(height: int, width: int) -> Tensor:
    """The image's corner (x, y), seen from its centre."""
    return torch.tensor([width, height]) / (2 * max(height, width))


def _curve(extent: Tensor, step: float, generator: torch.Generator) -> Tensor:
    """One stroke, six capsules (6, 5) of about `step` end to end, from anywhere in the image, turning as it goes."""
    start = extent * uniform(-1, 1, (1, 2), generator)
    # It sets out towards the middle, so that it does not leave the image at once.
    towards = torch.atan2(-start[0, 1], -start[0, 0])
    heading = towards + uniform(-1.2, 1.2, (6,), generator).cumsum(0)
    steps = step * uniform(0.4, 1.6, (6, 1), generator) * _towards(heading)
    return _joined(torch.cat([start, start + steps.cumsum(0)]), uniform(0.002, 0.012, (1,), generator))


def _scribbles(height: int, width: int, area: float, generator: torch.Generator) -> Tensor:
    """Distance (1, H, W) from scribbles that cover at least `area`, or from the most there may be."""
    points, extent = coarse_centres(height, width), _extent(height, width)
    field = torch.full((1, *points.shape[1:]), math.inf)
    for _ in range(_MOST_SCRIBBLES):
        field = field.minimum(capsules(points, _scribble(extent, generator)))
        if (field <= 0).float().mean() >= area:
            break
    return resize(field, height, width)


def _scribble(extent: Tensor, generator: torch.Generator) -> Tensor:
    """Four capsules (4, 5) end to end, each of a length, direction and width of its own, from anywhere in the image."""
    start = extent * uniform(-1, 1, (1, 2), generator)
    steps = uniform(10 / 256, 100 / 256, (4, 1), generator) * _towards(uniform(0, 2 * math.pi, (4,), generator))
    path = _inside(torch.cat([start, start + steps.cumsum(0)]), extent)
    return _joined(path, uniform(5 / 256, 20 / 256, (4,), generator))


def _free_form(size: tuple[int, int], strokes: Range, thickness: Range, generator: torch.Generator) -> Tensor:
    """The hole (1, H, W) of `missing_free_form`."""
    count = ZIGZAGS.draw_whole(strokes, generator)
    extent = _extent(*size)
    lines = torch.cat([_zigzag(extent, THICKNESS.draw(thickness, generator) / 2, generator) for _ in range(count)])
    return resize(capsules(coarse_centres(*size), lines), *size) <= 0


def _zigzag(extent: Tensor, radius: float, generator: torch.Generator) -> Tensor:
    """One stroke of 4 to 12 capsules (N, 5) of an eighth of the diagonal or so, turning left and right in turns."""
    count = int(torch.randint(4, 13, (), generator=generator))
    start = extent * uniform(-1, 1, (1, 2), generator)
    turn = math.pi * uniform(4 / 15, 8 / 15, (count,), generator)
    turn[::2] *= -1
    heading = uniform(0, 2 * math.pi, (), generator) + turn
    steps = extent.norm() / 4 * uniform(0, 2, (count, 1), generator) * _towards(heading)
    return _joined(_inside(torch.cat([start, start + steps.cumsum(0)]), extent), torch.tensor([radius]))


def _towards(heading: Tensor) -> Tensor:
    """Unit steps (N, 2) in the directions `heading` (N,)."""
    return torch.stack([heading.cos(), heading.sin()], 1)


def _inside(path: Tensor, extent: Tensor) -> Tensor:
    """`path` (N, 2) with what is outside the image mirrored at its border, as often as it takes."""
    return extent - ((path + extent).remainder(4 * extent) - 2 * extent).abs()


def _joined(path: Tensor, radius: Tensor) -> Tensor:
    """Capsules (N - 1, 5) along `path` (N, 2), of one radius (1,) or one each (N - 1,)."""
    return torch.cat([path[:-1], path[1:], radius.expand(len(path) - 1)[:, None]], 1)
