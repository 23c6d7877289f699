"""The pictures that a comparison shows, the worst cases first, each as its page holds it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch

from residiff.data.images import Format, Picture, encode
from residiff.errors import check_range
from residiff.metrics import pillow_resize
from residiff.reports.comparison import Comparison
from residiff.reports.methods import INPUT, Method
from residiff.reports.pages import data_uri

MOST = 200
# On a page no picture is wider or higher
MAX_SIDE = 1024
# Pictures that are less wide are enlarged by a whole number
SMALL = 320
TRUTH = "truth"


class Case(NamedTuple):
    """A picture by its name, and the methods' scores of it by the comparison's measure."""

    name: str
    scores: tuple[float, ...]

    @property
    def apart(self) -> float:
        """How far the methods are from each other."""
        low, high = min(self.scores), max(self.scores)
        return 0.0 if low == high else high - low

    @property
    def known(self) -> list[float | None]:
        """The scores, None in place of those that are infinite."""
        return [score if math.isfinite(score) else None for score in self.scores]


class Shot(NamedTuple):
    """A picture as the page holds it: what it is, its address, and what a reader should know."""

    kind: str
    label: str
    source: str
    note: str = ""


@dataclass(frozen=True)
class Shown:
    """A case whose true picture has been read; the others are read one by one as they are asked for."""

    case: Case
    truth: Picture
    degraded: Method | None
    methods: Sequence[Method]

    @property
    def full_size(self) -> tuple[int, int]:
        """(height, width) of the true picture."""
        return self.truth.pixels.shape[1], self.truth.pixels.shape[2]

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) on the page."""
        height, width = self.full_size
        part = min(1.0, MAX_SIDE / max(height, width))
        return max(1, round(height * part)), max(1, round(width * part))

    @property
    def times(self) -> int:
        """How many times larger a small picture is shown."""
        return -(-SMALL // self.size[1])

    def shots(self) -> Iterator[Shot]:
        """The input, where it is known, every method, and the truth."""
        if self.degraded is not None:
            yield self._shot(INPUT, self.degraded)
        for method in self.methods:
            yield self._shot("method", method)
        yield Shot(TRUTH, TRUTH, _address(self.truth, self.size), _depth(self.truth))

    def _shot(self, kind: str, method: Method) -> Shot:
        picture = method.pictures[self.case.name].read()
        height, width = picture.pixels.shape[1:]
        notes = [_depth(picture)] + ["the first seed's"] * (method.seeds > 1)
        if (height, width) != self.full_size:
            notes.append(f"{width} × {height}, shown at the truth's size")
        return Shot(kind, method.label, _address(picture, self.size), "; ".join(filter(None, notes)))


def shown(comparison: Comparison, chosen: Sequence[Case]) -> Iterator[Shown]:
    """The cases one by one, so that few pictures are in memory at a time."""
    for case in chosen:
        yield Shown(case, comparison.truth[case.name].read(), comparison.degraded, comparison.methods)


def cases(comparison: Comparison) -> list[Case]:
    """All pictures, the worst first: where the worst score of any method is worst."""
    values = zip(*(method.result.values(comparison.measure) for method in comparison.methods), strict=True)
    every = [Case(name, scores) for name, scores in zip(comparison.names, values, strict=True)]
    sign = 1 if comparison.higher else -1
    return sorted(every, key=lambda case: (min(sign * score for score in case.scores), case.name))


def chosen(every: Sequence[Case], count: int) -> list[Case]:
    """At most `count` of the cases, in their order.

    They are taken in turn from the worst, and from those on which the methods are furthest apart, either way: so a page
    shows where all fail, and where they differ.

    Raises
    ------
    ConfigError
        If the count is not between 0 and 200.
    """
    check_range("pictures", count, 0, MOST)
    apart = sorted(every, key=lambda case: -case.apart)
    in_turn = dict.fromkeys(case for pair in zip(every, apart, strict=True) for case in pair)
    kept = set(list(in_turn)[:count])
    return [case for case in every if case in kept]


def _address(picture: Picture, size: tuple[int, int]) -> str:
    """The picture in 8 bits without loss, alone: no alpha, and nothing that its file tells of a camera or a place."""
    levels = (picture.pixels.clamp(0, 1) * 255 + 0.5).floor().to(torch.uint8)
    resized = levels if tuple(levels.shape[1:]) == size else pillow_resize(levels, *size)
    return data_uri(encode(Picture(resized.float() / 255), Format.WEBP, lossless=True), "webp")


def _depth(picture: Picture) -> str:
    return "16 bits, shown in 8" if picture.bit_depth == 16 else ""
