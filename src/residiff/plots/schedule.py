"""Plots of schedules: coefficients over time, where x_0 vanishes, and Resfusion's way from T to T'."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import matplotlib
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from residiff.errors import ConfigError
from residiff.plots.style import (
    BLUE,
    COLUMN_WIDTH,
    GREEN,
    ORANGE,
    PINK,
    SKY,
    STYLE,
    YELLOW,
    check_suffix,
    is_svg,
    legend_above,
    rendered,
    write_with_numbers,
)
from residiff.schedule import Level, Resfusion, Schedule

# Resfusion, the loosest of the family, lets sqrt(A) miss 1/2 by 0.01, and so a - r by 0.02.
VANISHED = 0.02

Dashes: TypeAlias = tuple[float, ...]

_PANEL_HEIGHT = 1.55  # inches
_FEW_LEVELS = 40
_MAP_POINTS = 160
_NAMES = ("signal", "residual", "noise", "memory", "resnoise")


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
    check_suffix(path, "plot")
    with matplotlib.rc_context(STYLE):
        picture = rendered(_schedule_figure(schedule), "svg" if is_svg(path) else "png")
    header = ["t", *_NAMES, *(f"{name}_increment" for name in _NAMES), "lambda"]
    return write_with_numbers(path, picture, header, _schedule_rows(schedule))


def vanishing_time(schedule: Schedule) -> int | None:
    """The time where |a - r| is least, so that x_0 is gone from x_t; None where it stays above 0.02."""
    distance = _gap(schedule).abs()
    time = int(distance.argmin())
    return time if float(distance[time]) <= VANISHED else None


def _gap(schedule: Schedule) -> Tensor:
    """(T,): a - r, the weight of x_0 in x_t = (a - r) x_0 + r x_in + n eps."""
    return schedule.table[:, 0] - schedule.table[:, 1]


def _increments(schedule: Schedule) -> Tensor:
    """(T, 5): how much each column of the table grows from the time before, the clean level being before t = 0."""
    clean = torch.tensor([[float(getattr(Level.clean, name)) for name in _NAMES]], dtype=torch.float64)
    return schedule.table.diff(dim=0, prepend=clean)


def _schedule_rows(schedule: Schedule) -> Iterator[list[float | str]]:
    """The numbers of each time; lambda is empty where there is no noise."""
    gaps = _gap(schedule).tolist()
    for t, (level, step) in enumerate(zip(schedule.table.tolist(), _increments(schedule).tolist(), strict=True)):
        yield [t, *level, *step, gaps[t] / level[2] if level[2] else ""]


def _schedule_figure(schedule: Schedule) -> Figure:
    maps = isinstance(schedule, Resfusion)
    panels = 3 + maps
    figure = Figure(figsize=(COLUMN_WIDTH, _PANEL_HEIGHT * panels + 0.3), layout="constrained")
    axes = figure.subplots(panels, 1)
    _draw_columns(axes[0], schedule.table, "coefficient")
    _draw_columns(axes[1], _increments(schedule), "growth per step")
    _draw_ratios(axes[2], schedule)
    legend_above(axes[0], axes[0].lines)
    legend_above(axes[1], _mark_vanishing(list(axes[:3]), schedule))
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
        (schedule.table[:, 4], "resnoise weight $k$", YELLOW, _SOLID),
    )
    for values, label, colour, dashes in lines:
        shown = torch.where((values > 1e-9) & values.isfinite(), values, math.nan)
        if not shown.isnan().all():
            _line(axis, shown, label, colour, dashes)
    axis.set_yscale("log")
    axis.set_ylabel("ratio")
    legend_above(axis, axis.lines)
    if not axis.lines:
        axis.text(0.5, 0.5, "without noise both are zero or infinite", ha="center", transform=axis.transAxes)


def _line(axis: Axes, values: Tensor, label: str, colour: str, dashes: Dashes) -> None:
    """One curve, its levels marked where they are few; the dashed one has smaller marks, to lie on another."""
    marker = "o" if len(values) <= _FEW_LEVELS else ""
    style, size = ((0, dashes), 2.2) if dashes else ("-", 4.0)
    times = range(len(values))
    axis.plot(times, values.tolist(), label=label, color=colour, linestyle=style, marker=marker, markersize=size)


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
    axis.plot(list(reached), list(reached.values()), "o", color=SKY, markersize=2.5)
    label = f"$T'$ = {len(schedule)}, this schedule"
    axis.plot(own, [len(schedule)] * len(own), "o", color=ORANGE, markersize=4, label=label)
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


_SOLID: Dashes = ()

# The memory often lies on the signal, and the noise of a flow on its residual: dashes let both be seen.
_LINES: tuple[tuple[str, str, Dashes], ...] = (
    ("signal $a$", BLUE, _SOLID),
    ("residual $r$", ORANGE, _SOLID),
    ("noise $n$", GREEN, (3.0, 1.6)),
    ("memory $d$", PINK, (2.2, 2.2)),
)
