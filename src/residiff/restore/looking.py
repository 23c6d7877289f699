"""What a network and its preprocessing take of the whole of a picture that is never seen at once.

The picture is read through once. Of all its values it is noted how many there are of each level; and parts of it,
spread evenly, are kept. These are sampled as if they were the picture, some at a time, by which each layer that sees
the whole tells what it takes of it; what the groups of parts tell is put together, and with that they are sampled
again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from residiff.data.preprocess import LEVELS, histogram
from residiff.nn import Whole, Window, look
from residiff.prediction import Estimate, Estimator
from residiff.restore.sources import Opener, Raw
from residiff.restore.tiling import Span, Tiling
from residiff.schedule import Level

# Of the picture's pixels, and at least so many, are looked at
SHARE, LEAST = 0.03, 500_000
# Side of a part and of what of it is noted; how often groups of them are sampled, if there are several
SIDE, MIDDLE, LOOKS = 256, 192, 3
# Parts begin at multiples of it, which every network works in
SIDE_STEP = 64
_BAND = 256
# Bytes that the parts which are looked at together may take
LOOKING = 2.5e8

# Samples some parts as one image, calling an estimator in place of the network
SampleParts = Callable[[Estimator, "Sequence[Part]", "Sequence[Raw]"], None]


@dataclass(frozen=True)
class Part:
    """A part of a picture that is looked at, and the rows and columns within it that are noted."""

    rows: Span
    columns: Span
    noted_rows: Span
    noted_columns: Span

    @property
    def noted(self) -> int:
        """How many pixels are."""
        return self.noted_rows.size * self.noted_columns.size

    @property
    def window(self) -> Window:
        """Where they lie in the part."""
        rows, columns = self.noted_rows.within(self.rows), self.noted_columns.within(self.columns)
        height, width = self.rows.size, self.columns.size
        return Window(rows.start / height, rows.stop / height, columns.start / width, columns.stop / width)


@dataclass(frozen=True)
class Seen:
    """What was seen of a picture: by channel how many values there are of each level (3, 65536), and the parts."""

    counts: Tensor
    parts: list[Raw]


def parts_of(tiling: Tiling) -> list[Part]:
    """Parts of a picture, evenly spread: 3 % of its pixels are noted, and at least half a million, or all of them.

    What is noted never overlaps; a part is as much larger as it can be, up to 256 pixels.
    """
    rows, columns = (_cells(length, tiling.multiple) for length in (tiling.height, tiling.width))
    cells = [(row, column) for row in rows for column in columns]
    share = min(1.0, max(SHARE, LEAST / (tiling.height * tiling.width)))
    chosen = _spread(len(cells), math.ceil(share * len(cells)))
    return [
        Part(_around(row, tiling.height), _around(column, tiling.width), row, column)
        for row, column in (cells[place] for place in chosen)
    ]


def _cells(length: int, multiple: int) -> list[Span]:
    """Spans of at most about 192 that cover a length, and end at multiples."""
    count = math.ceil(length / MIDDLE)
    ends = [round(place * length / count / multiple) * multiple for place in range(count + 1)]
    return [Span(start, stop) for start, stop in zip(ends[:-1], ends[1:], strict=True)]


def _spread(count: int, wanted: int) -> list[int]:
    """`wanted` of `count` places, far from one another: every next is a golden section further, around and around."""
    step = max(1, round(count * 0.618))
    while math.gcd(step, count) > 1:
        step += 1
    return sorted(place * step % count for place in range(wanted))


def _around(cell: Span, length: int) -> Span:
    """256 pixels with a cell in their middle, or where the picture ends at their end; at multiples as the cell is."""
    size = min(SIDE, length)
    start = min(max(0, cell.start - (size - cell.size) // 2 // SIDE_STEP * SIDE_STEP), length - size)
    return Span(start, start + size)


def gather(opener: Opener, tiling: Tiling, parts: Sequence[Part]) -> Seen:
    """Read a picture once."""
    counts, pieces = torch.zeros(3, LEVELS, dtype=torch.long), [_Piece(part) for part in parts]
    with opener() as sources:
        height, width = sources.picture.height, sources.picture.width
        for top in range(0, tiling.height, _BAND):
            span = Span(top, min(top + _BAND, tiling.height))
            raw = sources.rows(span)
            counts += histogram(raw.pixels[:, : max(0, height - top), :width])
            for piece in pieces:
                piece.take(span, raw)
    return Seen(counts, [piece.joined() for piece in pieces])


class _Piece:
    """A part that is gathered while rows come by."""

    def __init__(self, part: Part) -> None:
        self.part = part
        self.found: list[Raw] = []

    def take(self, span: Span, raw: Raw) -> None:
        shared = self.part.rows.shared(span)
        if shared is not None:
            rows, columns = shared.within(span), slice(self.part.columns.start, self.part.columns.stop)
            mask = None if raw.mask is None else raw.mask[:, rows, columns].clone()
            self.found.append(Raw(raw.pixels[:, rows, columns].clone(), mask))

    def joined(self) -> Raw:
        masks = [raw.mask for raw in self.found if raw.mask is not None]
        return Raw(torch.cat([raw.pixels for raw in self.found], 1), torch.cat(masks, 1) if masks else None)


def find_wholes(
    estimate: Estimator, sample: SampleParts, seen: Seen, parts: Sequence[Part], tiling: Tiling, together: int
) -> list[Whole]:
    """What a network takes of the whole at each of its calls.

    Parameters
    ----------
    estimate : by a localised network
    sample : samples parts
    seen, parts : the parts
    tiling : of the picture
    together : how many parts are sampled at a time
    """
    groups = [slice(first, first + together) for first in range(0, len(parts), together)]
    pixels = tiling.height * tiling.width
    known: list[Whole] = []
    for _ in range(LOOKS if len(groups) > 1 else 1):
        found = []
        for group in groups:
            share = min(1.0, sum(part.noted for part in parts[group]) / pixels)
            noting = _Noting(estimate, share, [part.window for part in parts[group]], known)
            sample(noting, parts[group], seen.parts[group])
            found.append(noting.noted)
        known = [first.merged(others) for first, *others in zip(*found, strict=True)]
    return known


class _Noting:
    """An estimator that notes what the network takes of its batch at each call."""

    def __init__(self, estimate: Estimator, share: float, windows: Sequence[Window], known: Sequence[Whole]) -> None:
        self.estimate, self.share, self.windows, self.known = estimate, share, windows, known
        self.noted: list[Whole] = []

    def __call__(self, x_t: Tensor, level: Level, x_in: Tensor, condition: Tensor | None) -> Estimate:
        known = self.known[len(self.noted)] if self.known else None
        with look(self.share, known, self.windows) as told:
            estimated = self.estimate(x_t, level, x_in, condition)
        self.noted.append(told())
        return estimated


def parts_together(each: float) -> int:
    """How many parts are looked at together by a network that takes so many bytes a pixel, as LOOKING says."""
    return max(1, min(16, int(LOOKING / (SIDE**2 * each))))
