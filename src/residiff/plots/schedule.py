"""Plots of schedules, and labelled grids of pictures.

The figures are one journal column wide (89 mm), in colours that colour-blind readers tell apart (Okabe and Ito 2008),
with no text under 7 pt. The same input gives the same bytes.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from statistics import median
from typing import Any, TypeAlias

import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from residiff.data.images import Format, encode, to_pil
from residiff.data.picture import Picture, from_array
from residiff.errors import ConfigError
from residiff.files import write_bytes
from residiff.schedule import Level, Resfusion, Schedule

# Resfusion, the loosest of the family, lets sqrt(A) miss 1/2 by 0.01, and so a - r by 0.02.
VANISHED = 0.02

Dashes: TypeAlias = tuple[float, ...]

_WIDTH, _PANEL_HEIGHT = 3.5, 1.55  # inches
_FEW_LEVELS = 40
_MAP_POINTS = 160
_NAMES = ("signal", "residual", "noise", "memory", "resnoise")
_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 7.5,
    "axes.titlesize": 7.5,
    "axes.labelsize": 7.5,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.5,
    "lines.markersize": 3.5,
    "legend.frameon": False,
    "svg.hashsalt": "residiff",
    "savefig.dpi": 300,
}


def plot_schedule(schedule: Schedule, path: Path) -> list[Path]:
    """Draw a schedule, and write its numbers beside the picture.

    The panels show the coefficients over time, their growth from the time before, and the two ratios lambda = (a - r)/n
    and k, the weight of R beside eps in the resnoise target. The time where x_0 has vanished (a = r) is marked. For
    Resfusion a last panel maps T to T'.

    Parameters
    ----------
    schedule : what to draw
    path : a .png or .svg file; the numbers go to the same name with .csv

    Returns
    -------
    The two files written.

    Raises
    ------
    ConfigError
        If the suffix is another.
    ResourceError
        If the place may not be written to.
    """
    if path.suffix.lower() not in (".png", ".svg"):
        raise ConfigError(f"{path} ends in {path.suffix!r}; a plot is a .png or a .svg file")
    numbers = path.with_suffix(".csv")
    with matplotlib.rc_context(_STYLE):
        picture = _rendered(_schedule_figure(schedule), path.suffix.lower().removeprefix("."))
    write_bytes(path, picture)
    write_bytes(numbers, _schedule_csv(schedule).encode())
    return [path, numbers]


def vanishing_time(schedule: Schedule) -> int | None:
    """The time where |a - r| is least, so that x_0 is gone from x_t; None where it stays above 0.02."""
    distance = _gap(schedule).abs()
    time = int(distance.argmin())
    return time if float(distance[time]) <= VANISHED else None


def grid(rows: list[list[Tensor]], titles: list[str], captions: list[list[str]], path: Path) -> None:
    """Write pictures in rows and columns as a PNG file, pixel for pixel, with titles above and captions below.

    Parameters
    ----------
    rows : pictures (3, H, W) or (1, H, W) in [0, 1], of any sizes, as many in each row as there are titles
    titles : one for each column
    captions : one for each picture
    path : a .png file

    Raises
    ------
    ConfigError
        If the numbers of pictures, titles and captions differ, or there are none, or the suffix is another.
    ResourceError
        If the place may not be written to.
    """
    counts = [*map(len, rows), *map(len, captions)]
    if not rows or not titles or len(rows) != len(captions) or set(counts) != {len(titles)}:
        sizes = f"{len(rows)} rows and {len(captions)} rows of captions with {counts} entries"
        raise ConfigError(f"{sizes} do not fit {len(titles)} titles; each row needs one entry for each title")
    if path.suffix.lower() != ".png":
        raise ConfigError(f"{path} ends in {path.suffix!r}; a grid is a .png file")
    pictures = [[to_pil(Picture(picture.float())).convert("RGB") for picture in row] for row in rows]
    write_bytes(path, encode(from_array(np.asarray(_composed(pictures, titles, captions))), Format.PNG))


def _gap(schedule: Schedule) -> Tensor:
    """(T,): a - r, the weight of x_0 in x_t = (a - r) x_0 + r x_in + n eps."""
    return schedule.table[:, 0] - schedule.table[:, 1]


def _increments(schedule: Schedule) -> Tensor:
    """(T, 5): how much each column of the table grows from the time before, the clean level being before t = 0."""
    clean = torch.tensor([[float(getattr(Level.clean, name)) for name in _NAMES]], dtype=torch.float64)
    return schedule.table.diff(dim=0, prepend=clean)


def _schedule_csv(schedule: Schedule) -> str:
    """One line for each time; lambda is empty where there is no noise."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["t", *_NAMES, *(f"{name}_increment" for name in _NAMES), "lambda"])
    gaps = _gap(schedule).tolist()
    for t, (level, step) in enumerate(zip(schedule.table.tolist(), _increments(schedule).tolist(), strict=True)):
        ratio = gaps[t] / level[2] if level[2] else ""
        writer.writerow([t, *level, *step, ratio])
    return text.getvalue()


def _rendered(figure: Figure, format: str) -> bytes:
    data = io.BytesIO()
    # Bytes that depend on nothing but the plot
    stamp = {"Date": None} if format == "svg" else {"Software": None}
    figure.savefig(data, format=format, metadata=stamp)
    return data.getvalue()


def _schedule_figure(schedule: Schedule) -> Figure:
    maps = isinstance(schedule, Resfusion)
    panels = 3 + maps
    figure = Figure(figsize=(_WIDTH, _PANEL_HEIGHT * panels + 0.3), layout="constrained")
    axes = figure.subplots(panels, 1)
    _draw_columns(axes[0], schedule.table, "coefficient")
    _draw_columns(axes[1], _increments(schedule), "growth per step")
    _draw_ratios(axes[2], schedule)
    _legend_above(axes[0], axes[0].lines)
    _legend_above(axes[1], _mark_vanishing(list(axes[:3]), schedule))
    for axis in axes[:3]:
        _finish_time_axis(axis, schedule)
    axes[2].set_xlabel("time $t$")
    if isinstance(schedule, Resfusion):
        _draw_map(axes[3], schedule)
    figure.align_ylabels(list(axes))
    return figure


def _draw_columns(axis: Axes, columns: Tensor, label: str) -> None:
    for column, (name, colour, dashes) in enumerate(_LINES):
        _line(axis, columns[:, column], name, colour, dashes)
    axis.set_ylabel(label)
    axis.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3), useMathText=True)


def _draw_ratios(axis: Axes, schedule: Schedule) -> None:
    """Lambda and k, positive both, on a logarithmic axis; where one is zero or infinite its line has a gap."""
    lines = (
        (_gap(schedule) / schedule.table[:, 2], r"$\lambda = (a - r)/n$", "#000000", _SOLID),
        (schedule.table[:, 4], "resnoise weight $k$", "#E69F00", _SOLID),
    )
    for values, label, colour, dashes in lines:
        shown = torch.where((values > 1e-9) & values.isfinite(), values, math.nan)
        if not shown.isnan().all():
            _line(axis, shown, label, colour, dashes)
    axis.set_yscale("log")
    axis.set_ylabel("ratio")
    _legend_above(axis, axis.lines)
    if not axis.lines:
        axis.text(0.5, 0.5, "without noise both are zero or infinite", ha="center", transform=axis.transAxes)


def _line(axis: Axes, values: Tensor, label: str, colour: str, dashes: Dashes) -> None:
    """One curve, its levels marked where they are few; the dashed one has smaller marks, to lie on another."""
    marker = "o" if len(values) <= _FEW_LEVELS else ""
    style, size = ((0, dashes), 2.2) if dashes else ("-", 4.0)
    times = range(len(values))
    axis.plot(times, values.tolist(), label=label, color=colour, linestyle=style, marker=marker, markersize=size)


def _legend_above(axis: Axes, lines: Sequence[Line2D]) -> None:
    settings = {"borderaxespad": 0.2, "handlelength": 1.6, "columnspacing": 1.0, "handletextpad": 0.5}
    axis.legend(handles=lines, loc="lower right", bbox_to_anchor=(1, 1), ncols=max(1, len(lines)), **settings)


def _finish_time_axis(axis: Axes, schedule: Schedule) -> None:
    margin = max(0.5, 0.02 * len(schedule))
    axis.set_xlim(-margin, len(schedule) - 1 + margin)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, steps=[1, 2, 2.5, 5, 10]))


def _mark_vanishing(axes: list[Axes], schedule: Schedule) -> list[Line2D]:
    """A line where x_0 has vanished, a ring where a meets r, a tip where lambda is zero; the line is given back."""
    time, gaps = vanishing_time(schedule), _gap(schedule)
    if time is None:
        return axes[1].plot([], [], " ", label=f"$x_0$ never vanishes: $a - r \\geq {float(gaps.abs().min()):.2g}$")
    gap, signal, noise = float(gaps[time]), float(schedule.table[time, 0]), float(schedule.table[time, 2])
    met = abs(gap) < 1e-9
    words = "$x_0$ vanishes: $a = r$" if met else f"$x_0$ all but vanishes: $a - r = {gap:.1g}$"
    for axis in axes:
        axis.axvline(time, label=f"{words} at $t = {time}$", color="#666666", linewidth=0.9, dashes=(2, 2), zorder=1.5)
    axes[0].plot([time], [signal], "o", markersize=7.5, markerfacecolor="none", color="black", clip_on=False, zorder=4)
    if met and noise > 0:
        axes[2].plot([time], [0.03], "v", color="black", transform=axes[2].get_xaxis_transform(), clip_on=False)
    return [axes[1].lines[-1]]


def _draw_map(axis: Axes, schedule: Resfusion) -> None:
    """T', the steps that remain, for every T about this schedule's own; the lengths that give its own are marked."""
    top = max(_FEW_LEVELS, 5 * len(schedule))
    lengths = sorted({*range(1, top + 1, -(-top // _MAP_POINTS)), *([schedule.length] if schedule.length else [])})
    reached = {length: steps for length in lengths if (steps := _steps_left(schedule, length)) is not None}
    own = [length for length, steps in reached.items() if steps == len(schedule)]
    axis.plot(list(reached), list(reached.values()), "o", color="#56B4E9", markersize=2.5)
    label = f"$T'$ = {len(schedule)}, this schedule"
    axis.plot(own, [len(schedule)] * len(own), "o", color="#D55E00", markersize=4, label=label)
    axis.set_xlabel("$T$ before the cut")
    axis.set_ylabel("steps left $T'$")
    axis.legend(loc="lower right", handletextpad=0.2)
    axis.set_ylim(0)


def _steps_left(schedule: Resfusion, length: int) -> int | None:
    """T' for T = `length`; None where the schedule never gets as far as sqrt(A) = 1/2."""
    try:
        return len(replace(schedule, length=length, steps=None))
    except ConfigError:
        return None


def _composed(pictures: list[list[Image.Image]], titles: list[str], captions: list[list[str]]) -> Image.Image:
    """The pictures, each at whole pixels under its title and above its caption, on a white sheet."""
    size = _font_size(pictures)
    bold, plain = _font("DejaVuSans-Bold.ttf", size), _font("DejaVuSans.ttf", size)
    gap, line = size, round(1.6 * size)
    widths = [
        math.ceil(max(*(picture.width for picture in column), bold.getlength(title), *map(plain.getlength, words)))
        for column, title, words in zip(zip(*pictures, strict=True), titles, zip(*captions, strict=True), strict=True)
    ]
    heights = [max(picture.height for picture in row) for row in pictures]
    lefts = list(accumulate(widths, lambda left, width: left + width + gap, initial=gap))
    tops = list(accumulate(heights, lambda top, height: top + height + line + gap, initial=gap + line))
    sheet = Image.new("RGB", (lefts[-1], tops[-1]), "white")
    draw = ImageDraw.Draw(sheet)
    middles = [left + width / 2 for left, width in zip(lefts, widths, strict=False)]
    for middle, title in zip(middles, titles, strict=True):
        draw.text((middle, tops[0] - 0.45 * size), title, "#1a1a1a", bold, anchor="ms")
    for row, words, top, height in zip(pictures, captions, tops, heights, strict=False):
        for middle, picture, caption in zip(middles, row, words, strict=True):
            sheet.paste(picture, (round(middle - picture.width / 2), top))
            draw.text((middle, top + height + 1.25 * size), caption, "#4d4d4d", plain, anchor="ms")
    return sheet


def _font_size(pictures: list[list[Image.Image]]) -> int:
    """Pixels: a seventeenth of the median picture's width, so that the text can be read beside it at any scale."""
    width = median(picture.width for row in pictures for picture in row)
    return round(min(max(width / 17, 11), 60))


def _font(name: str, size: int) -> ImageFont.FreeTypeFont:
    """A font that matplotlib brings along, so that every machine has it."""
    return ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts", "ttf", name), size)


_SOLID: Dashes = ()

# The memory often lies on the signal: dashes let both be seen.
_LINES: tuple[tuple[str, str, Dashes], ...] = (
    ("signal $a$", "#0072B2", _SOLID),
    ("residual $r$", "#D55E00", _SOLID),
    ("noise $n$", "#009E73", _SOLID),
    ("memory $d$", "#CC79A7", (2.2, 2.2)),
)
