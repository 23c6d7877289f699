"""Missing regions: a hole in the middle, a box anywhere, free-form brush strokes.

The mask is 1 where the image is missing, there the image is 0.5, and elsewhere it is unchanged.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from residiff.data.draws import Degraded, Parameter, Range, check_clean, resize, uniform
from residiff.data.fields import capsules, coarse_centres, quantile

FRACTION = Parameter("fraction", "share of the image that is missing", (0.1, 0.4), (0, 1))
ASPECT = Parameter("aspect", "height of the box over its width, for a square image", (0.5, 2), (0.05, 20), log=True)
STROKES = Parameter("strokes", "number of brush strokes", (4, 10), (1, 50))


def missing_centre(clean: Tensor, generator: torch.Generator, *, fraction: Range = FRACTION.default) -> Degraded:
    """A hole in the middle, of the image's shape and `fraction` (in [0, 1]; larger is worse) of its area."""
    height, width = check_clean(clean)
    side = math.sqrt(FRACTION.draw(fraction, generator))
    rows, columns = round(height * side), round(width * side)
    return _without_box(clean, (height - rows) // 2, (width - columns) // 2, rows, columns)


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
    height, width = check_clean(clean)
    area = FRACTION.draw(fraction, generator)
    tall = min(max(math.sqrt(area * ASPECT.draw(aspect, generator)), area), 1)
    wide = area / tall if area else 0.0
    rows, columns = round(height * tall), round(width * wide)
    down, right = torch.rand(2, generator=generator).tolist()
    return _without_box(clean, round(down * (height - rows)), round(right * (width - columns)), rows, columns)


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
    points = coarse_centres(height, width)
    extent = torch.tensor([width, height]) / (2 * max(height, width))
    lines = torch.cat([_stroke(extent, 0.2 / math.sqrt(count), generator) for _ in range(count)])
    field = resize(capsules(points, lines), height, width)
    return _without(clean, field <= quantile(field, area))


def _stroke(extent: Tensor, step: float, generator: torch.Generator) -> Tensor:
    """One stroke, six capsules (6, 5) of about `step` end to end, from anywhere in the image, turning as it goes."""
    start = extent * uniform(-1, 1, (1, 2), generator)
    # It sets out towards the middle, so that it does not leave the image at once.
    towards = torch.atan2(-start[0, 1], -start[0, 0])
    heading = towards + uniform(-1.2, 1.2, (6,), generator).cumsum(0)
    steps = step * uniform(0.4, 1.6, (6, 1), generator) * torch.stack([heading.cos(), heading.sin()], 1)
    path = torch.cat([start, start + steps.cumsum(0)])
    radius = uniform(0.002, 0.012, (1, 1), generator).expand(6, 1)
    return torch.cat([path[:-1], path[1:], radius], 1)


def _without_box(clean: Tensor, top: int, left: int, rows: int, columns: int) -> Degraded:
    """`clean` without the box of that corner and size."""
    hole = torch.zeros(1, *clean.shape[1:], dtype=torch.bool)
    hole[:, top : top + rows, left : left + columns] = True
    return _without(clean, hole)


def _without(clean: Tensor, hole: Tensor) -> Degraded:
    """`clean` with 0.5 where `hole` (1, H, W) is true, and that as the mask."""
    return Degraded(clean.masked_fill(hole, 0.5), hole.float())
