"""Orders of removing residual and noise side by side: pictures on the way, and each path in the plane of r and n."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import ScaledTranslation, Transform
from PIL import Image
from torch import Tensor

from residiff.errors import ConfigError
from residiff.plots.grid import arranged
from residiff.plots.moments import Moment, Numbers, Record, Run, picture, record, rms, score_against
from residiff.plots.sheet import Placed, Sheet, decoded, png, svg
from residiff.plots.style import (
    BLUE,
    GREEN,
    ORANGE,
    PINK,
    SKY,
    STYLE,
    YELLOW,
    check_suffix,
    is_svg,
    rendered,
    write_with_numbers,
)

_Path = Sequence[tuple[float, float]]

_TITLES = ("start", "¼", "½", "¾", "end")
_COLOURS = ("#000000", ORANGE, BLUE, GREEN, PINK, YELLOW, SKY)
_PLANE = (4.6, 5.4)  # inches
_APART = 2.4  # points
_TIPS = 6
_BAR = 5  # pixels


def plot_paths(runs: Mapping[str, Run], path: Path, truth: Tensor | None = None) -> list[Path]:
    """Write pictures of every order's way from start to end, beside them the plane of r and n, and all the numbers.

    r and n are those of the level that a state is taken for: where an order starts its second half from x_0 as it
    stands, the picture holds less. Paths that share an edge of the plane are drawn a little apart. A row's label says
    how far its end is from that of the first order (root of the mean square in [-1, 1]; RDDM's path-independence says:
    not far), and its PSNR, where there is a truth.

    Parameters
    ----------
    runs : the runs of one picture by the names of their orders
    path : a .png or .svg file; the numbers go to the same name with .csv
    truth : the clean picture (1 or 3, H, W) in [0, 1]

    Returns
    -------
    The two files written.

    Raises
    ------
    ConfigError
        If the suffix is another, there are no runs or more than seven, or the truth is of another size.
    ResourceError
        If the place may not be written to.
    """
    check_suffix(path, "plot")
    if not 1 <= len(runs) <= len(_COLOURS):
        raise ConfigError(f"{len(runs)} orders to draw; allowed are 1 to {len(_COLOURS)}")
    records = {name: record(run, truth) for name, run in runs.items()}
    sheet = _with_plane(_pictures(records, truth), records)
    header = ["order", *Numbers._fields, "end_from_first"]
    return write_with_numbers(path, svg(sheet) if is_svg(path) else png(sheet), header, _rows(records))


def _rows(records: Mapping[str, Record]) -> Iterator[list[object]]:
    """The numbers of each state; how far the end is from the first order's stands in its own line alone."""
    first = next(iter(records.values()))
    for name, (numbers, _, end) in records.items():
        for row in numbers:
            yield [name, *row, rms(end - first.end) if row is numbers[-1] else None]


def _pictures(records: Mapping[str, Record], truth: Tensor | None) -> Sheet:
    rows = [_spread(found.moments) for found in records.values()]
    pictures = [[None if moment is None else picture(moment.x) for moment in row] for row in rows]
    captions = [["" if moment is None else _caption(moment.numbers) for moment in row] for row in rows]
    first = next(iter(records))
    labels = [_label(name, found, first, records[first].end, truth) for name, found in records.items()]
    return arranged(pictures, _TITLES, captions, labels)


def _spread(moments: Sequence[Moment]) -> list[Moment | None]:
    """The moment of each column; None where there are too few of them for all columns."""
    last, columns = max(1, len(moments) - 1), len(_TITLES) - 1
    nearest = [round(column * last / columns) for column in range(columns + 1)]
    return [
        moments[number] if round(number * columns / last) == column else None for column, number in enumerate(nearest)
    ]


def _caption(numbers: Numbers) -> str:
    return f"r {numbers.residual:.2f}, n {numbers.noise:.2f}"


def _label(name: str, found: Record, first: str, end: Tensor, truth: Tensor | None) -> str:
    lines = [name]
    if truth is not None:
        lines.append(f"end: {score_against(truth, found.end):.2f} dB")
    if name != first:
        lines += [f"end differs from {first}", f"by {rms(found.end - end):.3f}"]
    return "\n".join(lines)


def _with_plane(pictures: Sheet, records: Mapping[str, Record]) -> Sheet:
    """The plane to the right of the pictures, its words as large as theirs."""
    size = pictures.words[0].size
    with matplotlib.rc_context({**STYLE, "savefig.dpi": size / STYLE["font.size"] * 72}):
        figure = _plane({name: found.numbers for name, found in records.items()})
        image, drawing = decoded(rendered(figure, "png")), rendered(figure, "svg")
    place = Placed(image, pictures.width, size, drawing)
    width, height = pictures.width + image.width + size, max(pictures.height, image.height + 2 * size)
    return Sheet(width, height, [*pictures.pictures, *_swatches(pictures.pictures), place], pictures.words)


def _swatches(pictures: Sequence[Placed]) -> Iterator[Placed]:
    """A bar in its path's colour before each row; the pictures are of one size, and each row has its first."""
    left = min(placed.x for placed in pictures)
    rows = [placed for placed in pictures if placed.x == left]
    for colour, first in zip(_COLOURS, rows, strict=False):
        yield Placed(Image.new("RGB", (_BAR, first.picture.height), colour), left - 2 * _BAR, first.y)


def _plane(paths: Mapping[str, Sequence[Numbers]]) -> Figure:
    figure = Figure(figsize=_PLANE, layout="constrained")
    axis = figure.subplots()
    points = {name: [(row.noise, row.residual) for row in rows] for name, rows in paths.items()}
    reach = [max(point[k] for path in points.values() for point in path) or 1.0 for k in range(2)]
    axis.set_xlim(-0.1 * reach[0], 1.1 * reach[0])
    axis.set_ylim(-0.1 * reach[1], 1.1 * reach[1])
    axis.set_box_aspect(1)
    axis.set_xlabel("noise left $n$")
    axis.set_ylabel("residual left $r$")
    for number, (name, path) in enumerate(points.items()):
        away = _APART / 72 * (number - (len(paths) - 1) / 2)
        place = axis.transData + ScaledTranslation(away, away, figure.dpi_scale_trans)
        _draw_path(axis, path, reach, place, name, _COLOURS[number])
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def _draw_path(axis: Axes, path: _Path, reach: Sequence[float], place: Transform, name: str, colour: str) -> None:
    """A line with a few tips that show the way, and a square at its end."""
    axis.plot(*zip(*path, strict=True), "-", color=colour, label=name, transform=place, linewidth=1.2)
    for middle, angle in _tips(path, reach):
        axis.plot(*middle, marker=(3, 0, angle), color=colour, markersize=5.5, transform=place)
    axis.plot(*path[-1], "s", color=colour, markersize=4.5, transform=place)


def _tips(path: _Path, reach: Sequence[float]) -> Iterator[tuple[tuple[float, float], float]]:
    """Middles of a few of the steps, and which way they go where the axes are `reach` long: degrees from upwards."""
    steps = [(start, end) for start, end in pairwise(path) if start != end]
    for (x, y), (right, up) in steps[:: -(-len(steps) // _TIPS) or 1]:
        turn = math.atan2((up - y) / reach[1], (right - x) / reach[0])
        yield ((x + right) / 2, (y + up) / 2), math.degrees(turn) - 90
