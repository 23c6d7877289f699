"""Plots of quality against the number of steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from residiff.plots.style import COLUMN_WIDTH, legend_above, rendered


def steps_svg(lines: Mapping[str, Mapping[int, float]], settings: dict[Any, Any], colours: Sequence[str]) -> bytes:
    """PSNR in dB over steps (logarithmic) as SVG on a transparent ground, a line for each name.

    `settings` are matplotlib's, `colours` those of the lines, in turn.
    """
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=(COLUMN_WIDTH, 1.9), layout="constrained", facecolor="none")
        axis = figure.subplots()
        drawn = [
            axis.plot(list(values), list(values.values()), marker="o", color=colour, label=name)[0]
            for (name, values), colour in zip(lines.items(), colours, strict=False)
        ]
        ticks = sorted({steps for values in lines.values() for steps in values})
        axis.set_xscale("log")
        axis.xaxis.set_major_locator(FixedLocator(ticks))
        axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axis.xaxis.set_minor_locator(NullLocator())
        axis.set_xlabel("steps")
        axis.set_ylabel("PSNR in dB")
        legend_above(axis, drawn)
        return rendered(figure, "svg")
