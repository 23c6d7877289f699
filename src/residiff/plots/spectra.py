"""Spectra of what sampling removes: whether the residual holds the low frequencies, and the noise the high ones."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import matplotlib
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from residiff.errors import ConfigError
from residiff.metrics.spectra import LOW, RING_WIDTH, RINGS, Spectrum, mean_spectrum, radial_spectrum
from residiff.plots.moments import Run, planes
from residiff.plots.style import (
    COLUMN_WIDTH,
    STYLE,
    TWO_COLUMNS_WIDTH,
    check_suffix,
    is_svg,
    rendered,
    write_with_numbers,
)

PARTS = ("removed", "residual estimate", "noise estimate")

_PANEL_HEIGHT, _LEAST_WIDTH = 1.7, 2.0  # inches
_MOST_LINES = 5
_COLOURS = colormaps["viridis"]


class Step(NamedTuple):
    """Spectra of one step: of x_t - x_s, and of the estimates of R and eps that it was made of, in [-1, 1]."""

    removed: Spectrum
    residual: Spectrum
    noise: Spectrum


class Spectra(NamedTuple):
    """The files written, and a table of the shares of power below the cut-off."""

    files: list[Path]
    table: list[dict[str, object]]


def plot_spectra(runs: Mapping[str, Iterable[Run]], path: Path) -> Spectra:
    """Draw radial power spectra of every step, and write their numbers beside the picture.

    A column of panels for each order, a row for each of the removed part x_t - x_s and the estimates of R and eps; the
    power density is averaged over the pictures. White noise is flat. The CSV has a line for each order, part, step and
    frequency; the density is empty where no picture has a frequency in the ring.

    Parameters
    ----------
    runs : by the names of their orders the runs of all pictures, each of as many steps
    path : a .png or .svg file; the numbers go to the same name with .csv

    Returns
    -------
    The two files written, and a row for each order and part with the share of its power below 0.1 cycles/pixel: over
    all steps, in the first, and in the last.

    Raises
    ------
    ConfigError
        If the suffix is another, there are no runs, or their numbers of steps differ.
    ResourceError
        If the place may not be written to.
    """
    check_suffix(path, "plot")
    found = {order: mean_steps([list(steps(run)) for run in several]) for order, several in runs.items()}
    if not found:
        raise ConfigError("there are no orders to draw; give one or more")
    with matplotlib.rc_context(STYLE):
        picture = rendered(_figure(found), "svg" if is_svg(path) else "png")
    header = ["order", "part", "step", "frequency", "power", "density"]
    files = write_with_numbers(path, picture, header, _rows(found))
    return Spectra(files, [_shares(order, part, several) for order, part, several in _parts(found)])


def steps(run: Run) -> Iterator[Step]:
    """The spectra of each step of a run."""
    for before, after in pairwise(run.states):
        x_t, _, residual, noise = planes(before, run.size)
        removed = x_t - planes(after, run.size)[0]
        yield Step(*map(radial_spectrum, (removed, residual, noise)))


def mean_steps(runs: Sequence[Sequence[Step]]) -> list[Step]:
    """The mean over pictures of each step; `ConfigError` if there are none or their numbers of steps differ."""
    counts = sorted({len(run) for run in runs})
    if len(counts) != 1:
        raise ConfigError(f"the runs have {counts} steps; give one run or more, of as many steps each")
    return [Step(*map(mean_spectrum, zip(*same, strict=True))) for same in zip(*runs, strict=True)]


def _parts(found: Mapping[str, Sequence[Step]]) -> Iterator[tuple[str, str, list[Spectrum]]]:
    """Order, part, and its spectrum in each step."""
    for order, walked in found.items():
        for number, part in enumerate(PARTS):
            yield order, part, [step[number] for step in walked]


def _rows(found: Mapping[str, Sequence[Step]]) -> Iterator[list[object]]:
    for order, part, several in _parts(found):
        for number, spectrum in enumerate(several, 1):
            columns = (spectrum.frequencies.tolist(), spectrum.power.tolist(), spectrum.density.tolist())
            for frequency, power, density in zip(*columns, strict=True):
                yield [order, part, number, round(frequency, 4), power, "" if math.isnan(density) else density]


def _shares(order: str, part: str, several: Sequence[Spectrum]) -> dict[str, object]:
    shares = [mean_spectrum(several).share_below(), several[0].share_below(), several[-1].share_below()]
    named = zip((f"below {LOW:g}", "first step", "last step"), shares, strict=True)
    return {"order": order, "part": part, **{name: f"{share:.1%}" for name, share in named}}


def _figure(found: Mapping[str, Sequence[Step]]) -> Figure:
    alone = len(found) == 1
    width = COLUMN_WIDTH if alone else max(TWO_COLUMNS_WIDTH, _LEAST_WIDTH * len(found))
    figure = Figure(figsize=(width, _PANEL_HEIGHT * len(PARTS) + 0.7), layout="constrained")
    axes = figure.subplots(len(PARTS), len(found), sharex=True, sharey="row", squeeze=False)
    for axis, (order, part, several) in zip(axes.T.flat, _parts(found), strict=True):
        _draw(axis, several)
        if part == PARTS[0]:
            axis.set_title(order, pad=4, fontweight="bold")
        if part == PARTS[-1]:
            axis.set_xlabel("frequency (cycles/pixel)")
        if order == next(iter(found)):
            axis.set_ylabel(f"{part}\npower density")
    for row in axes:
        _widen_to_decades(row[0])
    lines = max((list(axis.lines[1:]) for axis in axes[0]), key=len)
    figure.legend(
        handles=[axes[0, 0].lines[0], *lines], loc="outside upper center", ncols=3 if alone else _MOST_LINES + 1
    )
    return figure


def _draw(axis: Axes, several: Sequence[Spectrum]) -> None:
    """The cut-off, and over it a line for each step, or for a few of them, the later the paler."""
    axis.axvline(LOW, color="#666666", linewidth=0.9, dashes=(2, 2), label=f"{LOW:g} cycles/pixel")
    last = max(1, len(several) - 1)
    for number in sorted({round(k * (len(several) - 1) / (_MOST_LINES - 1)) for k in range(_MOST_LINES)}):
        spectrum = several[number]
        seen = spectrum.power > 0
        curve = (spectrum.frequencies[seen].tolist(), spectrum.density[seen].tolist())
        axis.plot(*curve, color=_COLOURS(0.85 * number / last), linewidth=1.1, label=f"step {number + 1}")
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xlim(0.5 * RING_WIDTH, RINGS * RING_WIDTH)


def _widen_to_decades(axis: Axes) -> None:
    """Whole decades, so that one of them at least is labelled and no marks between them need be."""
    low, high = (math.log10(end) for end in axis.get_ylim())
    axis.set_ylim(10 ** math.floor(low), 10 ** math.ceil(high))
    axis.yaxis.set_minor_formatter(NullFormatter())
