"""How a picture is cut into strips and tiles, and how what is made of them is blended.

A picture is cut into strips of rows, and these into tiles; its tiles' cores cover it once. The network is shown a core
with a halo around it, of which `overlap` is used: there neighbours are blended linearly, in rows and in columns, so
that their weights add up to 1 everywhere. With a halo as wide as the network reaches, nothing needs to be blended.

    | halo |      core      | halo |        weight of a tile along a side:   __________
       | overlap | |                                                        /          \
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from residiff.errors import ConfigError


class Span(NamedTuple):
    """Rows or columns from `start` to `stop`, which is left out."""

    start: int
    stop: int

    def widened(self, by: int, length: int) -> Span:
        """`by` more on both sides, as far as there are any."""
        return Span(max(0, self.start - by), min(length, self.stop + by))

    @property
    def size(self) -> int:
        """How many."""
        return self.stop - self.start

    def middle(self, multiple: int) -> int:
        """A place in the middle that is a multiple."""
        return (self.start + self.stop) // 2 // multiple * multiple

    def within(self, other: Span) -> slice:
        """Where it lies in `other`."""
        return slice(self.start - other.start, self.stop - other.start)

    def shared(self, other: Span) -> Span | None:
        """What is in both, None where nothing is."""
        start, stop = max(self.start, other.start), min(self.stop, other.stop)
        return Span(start, stop) if start < stop else None


@dataclass(frozen=True)
class Tiling:
    """The tiles of a picture of `height` x `width`, multiples of `multiple`.

    Attributes
    ----------
    core : rows of a tile's core, a multiple of `multiple`, at least twice the overlap and once the halo
    halo : pixels around it that the network is shown, a multiple of `multiple`
    overlap : pixels around it that are blended with the neighbours', at most the halo
    across : columns of a core, as its rows; as many as those if 0
    """

    height: int
    width: int
    multiple: int
    core: int
    halo: int
    overlap: int
    across: int = 0

    def __post_init__(self) -> None:
        sides = {"height": self.height, "width": self.width, "core": self.core, "halo": self.halo}
        sides["across"] = across = self.across or self.core
        for name, value in sides.items():
            if value % self.multiple or value < 0:
                raise ConfigError(f"{name} is {value}; a multiple of {self.multiple} is needed")
        if not 0 <= self.overlap <= self.halo or min(self.core, across) < max(self.halo, 2 * self.overlap, 1):
            told = f"tiles of {self.core} x {across} with a halo of {self.halo} and an overlap of {self.overlap}"
            raise ConfigError(f"{told} do not fit together; make them larger")

    @property
    def strips(self) -> list[Span]:
        """The rows of each strip."""
        return _cut(self.height, self.core)

    @property
    def columns(self) -> list[Span]:
        """The columns of each tile."""
        return _cut(self.width, self.across or self.core)

    @property
    def shown(self) -> int:
        """How many pixels all tiles are shown, with their halos."""
        rows = sum(span.widened(self.halo, self.height).size for span in self.strips)
        return rows * sum(span.widened(self.halo, self.width).size for span in self.columns)

    def weights(self, span: Span, length: int) -> Tensor:
        """The weights of a tile along a side of `length`, over its core and overlap."""
        used = span.widened(self.overlap, length)
        places = torch.arange(used.start, used.stop, dtype=torch.float32) + 0.5
        weights = torch.ones(len(places))
        if self.overlap:
            if span.start > 0:
                weights = weights.minimum((places - (span.start - self.overlap)) / (2 * self.overlap))
            if span.stop < length:
                weights = weights.minimum((span.stop + self.overlap - places) / (2 * self.overlap))
        return weights


def _cut(length: int, core: int) -> list[Span]:
    """Spans of `core`, the last one shorter; one that is less than half as long goes to its neighbour."""
    starts = list(range(0, length, core))
    if len(starts) > 1 and length - starts[-1] < core / 2:
        starts.pop()
    return [Span(start, stop) for start, stop in zip(starts, [*starts[1:], length], strict=True)]
