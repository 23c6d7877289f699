"""Plots of several methods on the same pictures: their scores picture by picture, and quality against cost.

A method has one colour and one mark in all of them; a page explains them once, beside its table.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from residiff.plots.style import COLUMN_WIDTH, TWO_COLUMNS_WIDTH, Theme, rendered

# matplotlib's marks, and letters that look the same
_MARKS = (("o", "●"), ("s", "■"), ("^", "▲"), ("D", "◆"), ("v", "▼"), ("*", "★"))
# Above it marks are pixels, so that the file does not grow with the pictures
MANY = 400
_SPREAD_OF_LOG_AXIS = 6


class Look(NamedTuple):
    """How a method is drawn: its colour, matplotlib's name of its mark, and a letter that looks like it."""

    colour: str
    mark: str
    letter: str


class Point(NamedTuple):
    """A method, by its `place`, with what it costs and how good it is; `efficient` if no other is as good for less."""

    place: int
    cost: float
    quality: float
    efficient: bool = False


def look(place: int, theme: Theme) -> Look:
    """Of the method at a place; of up to 36 methods no two look alike."""
    colours = theme.colours
    mark, letter = _MARKS[(place + place // len(colours)) % len(_MARKS)]
    return Look(colours[place % len(colours)], mark, letter)


def efficient(costs: Sequence[float], qualities: Sequence[float], *, higher: bool) -> list[bool]:
    """Whether each method is efficient in Pareto's sense: no other is better and no dearer, or cheaper and as good."""
    gains = [quality if higher else -quality for quality in qualities]
    every = list(zip(costs, gains, strict=True))

    def beaten(cost: float, gain: float) -> bool:
        return any(c <= cost and g >= gain and (c, g) != (cost, gain) for c, g in every)

    return [not beaten(cost, gain) for cost, gain in every]


def cost_svg(points: Sequence[Point], cost: str, quality: str, theme: Theme) -> bytes:
    """Quality against a cost as an SVG file on a transparent ground; efficient methods are ringed and joined.

    `cost` and `quality` are the axes' labels. A cost that spreads much, none of it 0, gets a logarithmic axis.
    """
    with matplotlib.rc_context(theme.settings):
        figure, axis = _empty(COLUMN_WIDTH, 2.1)
        front = sorted((point for point in points if point.efficient), key=lambda point: point.cost)
        axis.plot([p.cost for p in front], [p.quality for p in front], color=theme.ink, linewidth=0.9, dashes=(4, 2))
        for point in points:
            style = look(point.place, theme)
            axis.plot(point.cost, point.quality, style.mark, markersize=6, color=style.colour, zorder=3)
            if point.efficient:
                ring = axis.plot(point.cost, point.quality, "o", markersize=11, color=theme.ink, clip_on=False)
                ring[0].set(markerfacecolor="none", markeredgewidth=0.8)
        axis.set(xlabel=cost, ylabel=quality)
        axis.margins(0.12, 0.15)
        _set_scale(axis, [point.cost for point in points])
        return rendered(figure, "svg")


def scores_svg(
    scores: Sequence[Sequence[float]], quality: str, theme: Theme, baseline: int = 0, *, higher: bool = True
) -> bytes:
    """Scores of every picture as an SVG file on a transparent ground, a mark for each method.

    Below stand their differences to the baseline. Infinite ones are left out.

    Parameters
    ----------
    scores : of each method the scores of the same pictures
    quality : the axis's label
    baseline : by which method the pictures are sorted, its worst first; a line joins its marks
    higher : whether more is better
    """
    table = np.asarray(scores, np.float64)
    table = table[:, np.argsort(table[baseline] if higher else -table[baseline], kind="stable")]
    table[~np.isfinite(table)] = np.nan
    with matplotlib.rc_context(theme.settings):
        figure = Figure(figsize=(TWO_COLUMNS_WIDTH, 3.9), layout="constrained", facecolor="none")
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
        _draw_rows(upper, table, theme, baseline)
        _draw_rows(lower, table - table[baseline], theme, baseline)
        upper.set_ylabel(quality)
        lower.set(xlabel="picture", ylabel="difference")
        lower.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        figure.align_ylabels([upper, lower])
        return rendered(figure, "svg")


def _draw_rows(axis: Axes, table: npt.NDArray[np.float64], theme: Theme, baseline: int) -> None:
    count = table.shape[1]
    size = 5.0 if count <= 40 else 3.5 if count <= 150 else 2.0
    for place, row in enumerate(table):
        style, first = look(place, theme), place == baseline
        drawn = axis.plot(np.arange(1, count + 1), row, style.mark, markersize=size, color=style.colour, linewidth=0.8)
        drawn[0].set(linestyle="-" if first else "none", zorder=2 if first else 3, alpha=0.85, rasterized=count > MANY)


def _empty(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="none")
    return figure, figure.subplots()


def _set_scale(axis: Axes, costs: Sequence[float]) -> None:
    if min(costs) <= 0 or max(costs) < _SPREAD_OF_LOG_AXIS * min(costs):
        axis.xaxis.set_major_locator(MaxNLocator(integer=all(float(cost).is_integer() for cost in costs), nbins=6))
        return
    axis.set_xscale("log")
    decades = math.log10(max(costs) / min(costs))
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 2.5 else (1,), numticks=9))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.xaxis.set_minor_formatter(NullFormatter())
