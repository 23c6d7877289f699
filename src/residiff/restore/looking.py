"""What a network and its preprocessing take of the whole of a picture that is never seen at once.

The picture is read through twice. First it is noted how many of all its values there are of each level, and how light
each of its cells is. Then parts of it are kept, cells from the darkest to the lightest evenly. These are sampled as if
they were the picture, some at a time, by which each layer that sees the whole tells what it takes of it; what the
groups of parts tell is put together, and with that they are sampled again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
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
SHARE, LEAST = 0.03, 1_000_000
# Side of a part and of what of it is noted: many small parts tell more than few large ones, and see less around them
SIDE, MIDDLE = 192, 128
# How often groups of parts are sampled, if there are several
LOOKS = 2
# A multiple of it falls on another place each time, far from those before
GOLDEN = 0.618034
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
class Survey:
    """What a picture is like: how many values there are of each level by channel (3, 65536), how light its cells."""

    counts: Tensor
    light: list[float]


def survey(opener: Opener, tiling: Tiling) -> Survey:
    """Read a picture once."""
    counts = torch.zeros(3, LEVELS, dtype=torch.long)
    rows, columns = _grid(tiling)
    starts, stops = (torch.tensor(ends) for ends in zip(*columns, strict=True))
    sums = torch.zeros(len(rows), len(columns), dtype=torch.float64)
    for span, raw, seen in _bands(opener, tiling):
        counts += histogram(seen)
        # Of the columns up to each place, so that a cell's is the difference of two
        for place, cell in enumerate(rows):
            if (shared := cell.shared(span)) is not None:
                along = raw.pixels[:, shared.within(span)].double().mean(0).sum(0).cumsum(0)
                along = torch.cat([along.new_zeros(1), along])
                sums[place] += along[stops] - along[starts]
    areas = torch.tensor([row.size for row in rows])[:, None] * (stops - starts)
    return Survey(counts, (sums / areas).flatten().tolist())


def _bands(opener: Opener, tiling: Tiling) -> Iterator[tuple[Span, Raw, Tensor]]:
    """Rows of a picture from top to bottom: which, what they are, and of these what is no padding."""
    with opener() as sources:
        height, width = sources.picture.height, sources.picture.width
        for top in range(0, tiling.height, _BAND):
            span = Span(top, min(top + _BAND, tiling.height))
            raw = sources.rows(span)
            yield span, raw, raw.pixels[:, : max(0, height - top), :width]


def parts_of(tiling: Tiling, light: Sequence[float]) -> list[Part]:
    """Parts of a picture whose cells are so light: 3 % of its pixels are noted, and at least a million, or all.

    Of the cells from the darkest to the lightest every nth is taken, so that what is noted is as light as the picture,
    and as varied; and in that order they are given. What is noted never overlaps; a part is as much larger as it can
    be, up to 192 pixels.
    """
    rows, columns = _grid(tiling)
    cells = [(row, column) for row in rows for column in columns]
    share = min(1.0, max(SHARE, LEAST / (tiling.height * tiling.width)))
    count = math.ceil(share * len(cells))
    # Where many are equally light they are taken far from one another
    order = sorted(range(len(cells)), key=lambda place: (light[place], place * GOLDEN % 1))
    chosen = [order[int((place + 0.5) * len(cells) / count)] for place in range(count)]
    multiple = tiling.multiple
    return [
        Part(_around(row, tiling.height, multiple), _around(column, tiling.width, multiple), row, column)
        for row, column in (cells[place] for place in chosen)
    ]


def _grid(tiling: Tiling) -> tuple[list[Span], list[Span]]:
    """The rows and the columns of cells."""
    return _cells(tiling.height, tiling.multiple), _cells(tiling.width, tiling.multiple)


def _cells(length: int, multiple: int) -> list[Span]:
    """Spans of at most about 128 that cover a length, and end at multiples; one where a part shows all of it."""
    count = 1 if length <= SIDE else math.ceil(length / MIDDLE)
    ends = [round(place * length / count / multiple) * multiple for place in range(count + 1)]
    return [Span(start, stop) for start, stop in zip(ends[:-1], ends[1:], strict=True)]


def _around(cell: Span, length: int, multiple: int) -> Span:
    """192 pixels with a cell in their middle, or where the picture ends at their end; from a multiple on."""
    size = min(SIDE, length)
    before = (size - cell.size) // 2 // multiple * multiple
    start = min(max(0, cell.start - before), length - size)
    return Span(start, start + size)


def gather(opener: Opener, tiling: Tiling, parts: Sequence[Part]) -> list[Raw]:
    """Read a picture once, and keep parts of it."""
    pieces = [_Piece(part) for part in parts]
    for span, raw, _ in _bands(opener, tiling):
        for piece in pieces:
            piece.take(span, raw)
    return [piece.joined() for piece in pieces]


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
    estimate: Estimator, sample: SampleParts, raws: Sequence[Raw], parts: Sequence[Part], tiling: Tiling, together: int
) -> list[Whole]:
    """What a network takes of the whole at each of its calls.

    Parameters
    ----------
    estimate : by a localised network
    sample : samples parts
    raws, parts : the parts
    tiling : of the picture
    together : how many parts are sampled at a time
    """
    # Each from the darkest to the lightest
    count = math.ceil(len(parts) / together)
    groups = [slice(first, None, count) for first in range(count)]
    pixels = tiling.height * tiling.width
    known: list[Whole] = []
    for _ in range(LOOKS if count > 1 else 1):
        found = []
        for group in groups:
            share = min(1.0, sum(part.noted for part in parts[group]) / pixels)
            noting = _Noting(estimate, share, [part.window for part in parts[group]], known)
            sample(noting, parts[group], raws[group])
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
