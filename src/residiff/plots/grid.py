"""Composed pictures: labelled rows and columns of them, every pixel as it is."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from statistics import median
from typing import NamedTuple

from PIL import Image
from torch import Tensor

from residiff.data.images import Picture, read, to_pil
from residiff.errors import ConfigError
from residiff.files import write_bytes
from residiff.plots.sheet import Placed, Sheet, Words, png, svg, text_width
from residiff.plots.style import check_suffix, is_svg

MAX_PAIRS = 16

_GREY = "#4d4d4d"

Rows = Sequence[Sequence[Tensor | None]]


def grid(
    rows: Rows, titles: Sequence[str], captions: Sequence[Sequence[str]], path: Path, labels: Sequence[str] = ()
) -> None:
    """Write pictures in rows and columns, pixel for pixel, with titles above and captions below.

    Parameters
    ----------
    rows : pictures (3, H, W) or (1, H, W) in [0, 1], of any sizes, as many in each row as there are titles; None leaves
        the place empty
    titles : one for each column; their first lines are bold
    captions : one for each picture
    path : a .png file, or a .svg file, which holds the pictures
    labels : one for each row, to its left; or none at all

    Raises
    ------
    ConfigError
        If the numbers of pictures, titles, captions and labels differ, or there are none, or the suffix is another.
    ResourceError
        If the place may not be written to.
    """
    check_suffix(path, "grid")
    sheet = arranged(rows, titles, captions, labels)
    write_bytes(path, svg(sheet) if is_svg(path) else png(sheet))


def arranged(rows: Rows, titles: Sequence[str], captions: Sequence[Sequence[str]], labels: Sequence[str] = ()) -> Sheet:
    """The sheet that `grid` writes."""
    counts = [*map(len, rows), *map(len, captions)]
    if not rows or not titles or len(rows) != len(captions) or set(counts) != {len(titles)}:
        sizes = f"{len(rows)} rows and {len(captions)} rows of captions with {counts} entries"
        raise ConfigError(f"{sizes} do not fit {len(titles)} titles; each row needs one entry for each title")
    if labels and len(labels) != len(rows):
        raise ConfigError(f"{len(labels)} labels do not fit {len(rows)} rows; give one for each row, or none")
    pictures = [[None if picture is None else _to_pil(picture) for picture in row] for row in rows]
    layout = _laid_out(pictures, titles, captions, labels)
    words = [*_title_words(layout, titles), *_caption_words(layout, captions), *_label_words(layout, labels)]
    return Sheet(layout.lefts[-1], layout.tops[-1], list(_placed(layout, pictures)), words)


class _Layout(NamedTuple):
    """Text size, and where columns and rows begin, in pixels; the last of `lefts` and `tops` are the sheet's ends."""

    size: int
    widths: list[int]
    heights: list[int]
    lefts: list[int]
    tops: list[int]

    @property
    def middles(self) -> list[float]:
        """Of the columns."""
        return [left + width / 2 for left, width in zip(self.lefts, self.widths, strict=False)]


def _laid_out(
    pictures: list[list[Image.Image | None]],
    titles: Sequence[str],
    captions: Sequence[Sequence[str]],
    labels: Sequence[str],
) -> _Layout:
    size = _font_size(pictures)
    columns = zip(zip(*pictures, strict=True), titles, zip(*captions, strict=True), strict=True)
    widths = [_column_width(column, title, words, size) for column, title, words in columns]
    heights = [max((picture.height for picture in row if picture is not None), default=0) for row in pictures]
    margin = math.ceil(max((text_width(line, size, bold=True) for line in _lines(labels)), default=-size)) + 2 * size
    head = size + _line(size) + _tight_line(size) * max(title.count("\n") for title in titles)
    lefts = list(accumulate(widths, lambda left, width: left + width + size, initial=margin))
    tops = list(accumulate(heights, lambda top, height: top + height + _line(size) + size, initial=head))
    return _Layout(size, widths, heights, lefts, tops)


def _column_width(column: Sequence[Image.Image | None], title: str, captions: Sequence[str], size: int) -> int:
    words = [text_width(title.partition("\n")[0], size, bold=True)]
    words += [text_width(line, size) for line in _lines([title, *captions])]
    return math.ceil(max(*words, *(0 if picture is None else picture.width for picture in column)))


def _placed(layout: _Layout, pictures: list[list[Image.Image | None]]) -> Iterator[Placed]:
    for row, top in zip(pictures, layout.tops, strict=False):
        for middle, picture in zip(layout.middles, row, strict=True):
            if picture is not None:
                yield Placed(picture, round(middle - picture.width / 2), top)


def _title_words(layout: _Layout, titles: Sequence[str]) -> Iterator[Words]:
    size = layout.size
    for middle, title in zip(layout.middles, titles, strict=True):
        lines = title.split("\n")
        bottom = layout.tops[0] - 0.45 * size - _tight_line(size) * (len(lines) - 1)
        yield Words(lines[0], middle, bottom, size, bold=True)
        for number, line in enumerate(lines[1:], 1):
            yield Words(line, middle, bottom + number * _tight_line(size), size, colour=_GREY)


def _caption_words(layout: _Layout, captions: Sequence[Sequence[str]]) -> Iterator[Words]:
    for row, top, height in zip(captions, layout.tops, layout.heights, strict=False):
        for middle, caption in zip(layout.middles, row, strict=True):
            if caption:
                yield Words(caption, middle, top + height + 1.25 * layout.size, layout.size, colour=_GREY)


def _label_words(layout: _Layout, labels: Sequence[str]) -> Iterator[Words]:
    size, right = layout.size, layout.lefts[0] - layout.size
    for label, top, height in zip(labels, layout.tops, layout.heights, strict=False):
        lines = label.split("\n")
        first = top + height / 2 + 0.35 * size - _tight_line(size) * (len(lines) - 1) / 2
        for number, line in enumerate(lines):
            at = first + number * _tight_line(size)
            yield Words(line, right, at, size, bold=number == 0, anchor="end", colour=_GREY if number else "#1a1a1a")


def _lines(texts: Sequence[str]) -> list[str]:
    return [line for text in texts for line in text.split("\n")]


def _line(size: int) -> int:
    return round(1.6 * size)


def _tight_line(size: int) -> int:
    return round(1.35 * size)


def _to_pil(picture: Tensor) -> Image.Image:
    return to_pil(Picture(picture.float())).convert("RGB")


def _font_size(pictures: list[list[Image.Image | None]]) -> int:
    """Pixels: a seventeenth of the median picture's width, so that the text can be read beside it at any scale."""
    width = median(picture.width for row in pictures for picture in row if picture is not None)
    return round(min(max(width / 17, 11), 60))


def plot_before_and_after(pairs: Sequence[tuple[Path, Path]], path: Path) -> None:
    """Write a picture of the first 16 pairs of files (before, after), those that are both there, side by side."""
    there = [pair for pair in pairs if all(file.is_file() for file in pair)][:MAX_PAIRS]
    if not there:
        raise ConfigError(f"nothing to show in {path}: no picture has a result")
    rows = [[read(file).pixels.expand(3, -1, -1) for file in pair] for pair in there]
    grid(rows, ["before", "after"], [["", ""] for _ in rows], path, [pair[0].stem for pair in there])
