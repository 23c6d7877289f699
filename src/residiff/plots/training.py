"""Plots of training runs: loss, learning rate, gradient norm, and how well held-out pictures were restored."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from residiff.errors import ConfigError
from residiff.files import write_bytes
from residiff.plots.history import Array, History, Series, read_history
from residiff.plots.style import COLUMN_WIDTH, LIGHT, Theme, legend_above, rendered

Dashes: TypeAlias = Literal["-", "--", ":", "-."]

MAX_POINTS = 800
SUFFIXES = (".png", ".svg", ".pdf", ".csv")
HEADER = ("run", "quantity", "step", "value", "low", "high")

_PANEL_HEIGHT, _NAME_HEIGHT = 1.35, 0.15  # inches
_KEY_WIDTH, _LETTER_WIDTH = 0.45, 0.07  # inches, of a broad letter
_SMOOTHED_OVER = 1 / 40  # of the updates
_LONGEST_NAME = 48


@dataclass(frozen=True)
class Panel:
    """One quantity over the updates: of each of them, or of the validations on held-out pairs."""

    name: str
    label: str
    held_out: bool = False
    logarithmic: bool = False

    def of(self, history: History) -> Series:
        """The run's values, none where it has none; a logarithmic axis takes those above 0 alone."""
        series = (history.scores if self.held_out else history.figures).get(self.name, _NOTHING)
        return _positive(series) if self.logarithmic else series


class Thinned(NamedTuple):
    """At most `MAX_POINTS` stretches of a series: their last steps, smoothed values there, and their extremes."""

    steps: Array
    values: Array
    low: Array
    high: Array


class _Look(NamedTuple):
    """How one run is drawn; `alone` is whether no other one is."""

    colour: str
    second: str
    line: Dashes
    ink: str
    alone: bool


def plot_training(folders: Sequence[Path], path: Path) -> list[Path]:
    """Draw the curves of one training run, or of several in one figure, and write their numbers beside the picture.

    Each update's loss is faint and its running average bold, both on a logarithmic axis; PSNR and SSIM of the held-out
    pairs stand beside those of the degraded pictures themselves. The best validation is marked, and where the run was
    resumed, or an update was skipped or failed. A long run is drawn by the extremes of `MAX_POINTS` stretches of it.

    Parameters
    ----------
    folders : the runs'
    path : a .png, .svg or .pdf file, beside which the numbers that are drawn go to the same name with .csv; or a .csv
        file for the numbers alone

    Returns
    -------
    The files written.

    Raises
    ------
    ConfigError
        If a folder is no run's, there is none, or the suffix is another.
    ResourceError
        If the place may not be written to.
    """
    kind = path.suffix.lower()
    if kind not in SUFFIXES:
        raise ConfigError(f"{path} ends in {path.suffix!r}; curves are a {', '.join(SUFFIXES)} file")
    histories = [read_history(folder) for folder in folders]
    if not histories:
        raise ConfigError("there is no run to plot; name its folder")
    files = {path.with_suffix(".csv"): _numbers(histories)}
    if kind != ".csv":
        files = {path: curves(histories, kind[1:]), **files}
    for file, data in files.items():
        write_bytes(file, data)
    return list(files)


def curves(histories: Sequence[History], format: str) -> bytes:
    """The curves of runs as a "png", "svg" or "pdf" file, a column wide, one panel below the other."""
    with matplotlib.rc_context(LIGHT.settings):
        return _file(_figure(histories), format)


def panel_svg(history: History, panel: Panel, theme: Theme) -> bytes:
    """One panel of one run as an SVG file, on a transparent ground."""
    with matplotlib.rc_context(theme.settings):
        figure = Figure(figsize=(COLUMN_WIDTH, 1.9), layout="constrained", facecolor="none")
        axis = figure.subplots()
        draw_panel(axis, panel, [history], theme)
        axis.set_xlabel("step")
        return rendered(figure, "svg")


def panels(histories: Sequence[History]) -> list[Panel]:
    """Those that at least one of the runs has values for, in their order."""
    return [panel for panel in _PANELS if any(len(panel.of(history).steps) for history in histories)]


def thinned(series: Series, *, smooth: bool) -> Thinned:
    """A series in stretches of equal length; without `smooth` the values are each stretch's last."""
    count = len(series.steps)
    begins = np.linspace(0, count, min(count, MAX_POINTS), endpoint=False).astype(int)
    ends = np.append(begins[1:], count) - 1
    values = smoothed(series.values) if smooth else series.values
    extremes = (extreme.reduceat(series.values, begins) for extreme in (np.minimum, np.maximum))
    return Thinned(series.steps[ends], values[ends], *extremes)


def smoothed(values: Array) -> Array:
    """The running average m_i = sum_j w^j x_{i-j} / sum_j w^j over about a fortieth of the values, at least three."""
    rate = 2 / (max(3.0, len(values) * _SMOOTHED_OVER) + 1)
    averages, total, weight = np.empty(len(values)), 0.0, 0.0
    for index, value in enumerate(values.tolist()):
        total += rate * (value - total)
        weight += rate * (1 - weight)
        averages[index] = total / weight
    return averages


def draw_panel(axis: Axes, panel: Panel, histories: Sequence[History], theme: Theme) -> None:
    """Draw one quantity of all runs, and what happened to them."""
    lines: list[Line2D] = []
    for history, look in zip(histories, _looks(theme, len(histories)), strict=True):
        if len(panel.of(history).steps):
            lines += (_draw_scores if panel.held_out else _draw_figures)(axis, panel, history, look)
        lines += _mark_events(axis, panel, history, look)
    if panel.logarithmic and lines:
        _finish_log_axis(axis)
    axis.set_ylabel(panel.label)
    end = max(1, *(history.last for history in histories))
    axis.set_xlim(-0.03 * end, 1.03 * end)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, nbins=6, steps=[1, 2, 2.5, 5, 10]))
    axis.xaxis.set_major_formatter(EngFormatter(sep=""))
    keys = {str(line.get_label()): line for line in lines if not str(line.get_label()).startswith("_")}
    if keys:
        legend_above(axis, [_key(line, theme.ink if len(histories) > 1 else None) for line in keys.values()])


def _figure(histories: Sequence[History]) -> Figure:
    shown = panels(histories)
    names = [_drawable(name) for name in _names(histories)] if len(histories) > 1 else []
    columns = _columns(names)
    height = _PANEL_HEIGHT * max(1, len(shown)) + _NAME_HEIGHT * math.ceil(len(names) / columns) + 0.2
    figure = Figure(figsize=(COLUMN_WIDTH, height), layout="constrained")
    axes = figure.subplots(max(1, len(shown)), 1, sharex=True, squeeze=False)[:, 0]
    for axis, panel in zip(axes, shown, strict=False):
        draw_panel(axis, panel, histories, LIGHT)
    if not shown:
        axes[0].set_axis_off()
        axes[0].text(0.5, 0.5, "no update has been made yet", ha="center", transform=axes[0].transAxes)
    axes[-1].set_xlabel("step")
    figure.align_ylabels(list(axes))
    if names:
        lines = [_run_key(name, look) for name, look in zip(names, _looks(LIGHT, len(names)), strict=True)]
        spaces = {"borderpad": 0.0, "borderaxespad": 0.2, "labelspacing": 0.25, "columnspacing": 1.0}
        figure.legend(handles=lines, loc="outside upper left", ncols=columns, **spaces)
    return figure


def _columns(names: Sequence[str]) -> int:
    """How many names stand side by side."""
    longest = max(map(len, names), default=0)
    return max(1, min(len(names), int(COLUMN_WIDTH / (_KEY_WIDTH + _LETTER_WIDTH * longest))))


def _draw_figures(axis: Axes, panel: Panel, history: History, look: _Look) -> list[Line2D]:
    """A quantity of each update: faint from extreme to extreme, the average bold; the held-out loss beside the loss."""
    noisy = panel.logarithmic
    thin = thinned(panel.of(history), smooth=noisy)
    lines: list[Line2D] = []
    if noisy:
        steps, extremes = np.repeat(thin.steps, 2), np.stack([thin.low, thin.high], 1).ravel()
        lines += axis.plot(steps, extremes, label="each step", color=look.colour, linewidth=0.6, zorder=1.9)
        lines[0].set_alpha(0.3 if look.alone else 0.15)
    line = axis.plot(thin.steps, thin.values, color=look.colour, label="smoothed" if noisy else "_")
    line[0].set(linestyle=look.line, marker="o" if len(thin.steps) == 1 else "")
    held_out = _positive(history.scores.get("loss", _NOTHING))
    if panel.name == "loss" and len(held_out.steps):
        marks = axis.plot(*held_out, ":", marker="o", markersize=3, linewidth=0.8, color=look.second)
        marks[0].set_label("validation")
        line += marks
    return lines + line


def _draw_scores(axis: Axes, panel: Panel, history: History, look: _Look) -> list[Line2D]:
    """A figure of the held-out pairs, with a ring round the best validation and a line where the input stands."""
    steps, values = panel.of(history)
    lines = axis.plot(steps, values, marker="o", markersize=3, color=look.colour, label="restored")
    lines[0].set_linestyle(look.line)
    inputs = history.scores.get(f"input_{panel.name}")
    if inputs is not None:
        level, colour = float(inputs.values[-1]), look.ink if look.alone else look.colour
        label = f"input {level:.4g}" if look.alone else "input"
        lines.append(axis.axhline(level, label=label, color=colour, linewidth=0.9, dashes=(4, 2)))
    best = history.best
    value = None if best is None else history.score(panel.name, best)
    if best is not None and value is not None:
        ring = axis.plot([best], [value], "o", markersize=8, markerfacecolor="none", color=look.second, clip_on=False)
        ring[0].set_label(f"best {value:.4g} at {best:,}" if look.alone else "best")
        lines += ring
    return lines


def _mark_events(axis: Axes, panel: Panel, history: History, look: _Look) -> list[Line2D]:
    """Marks on the time axis; they are explained over the learning rate, where there is room."""
    lines: list[Line2D] = []
    foot = axis.get_xaxis_transform()
    for label, kinds, marker in _MARKS:
        # What is later than the last update would stand outside the axis
        steps = sorted({event.step for event in history.events if event.kind in kinds and event.step <= history.last})
        if steps:
            marks = axis.plot(steps, [0] * len(steps), marker, markersize=4.5, clip_on=False, zorder=4, transform=foot)
            marks[0].set_color(look.ink if look.alone else look.colour)
            marks[0].set_label(label if panel.name == "learning_rate" else "_")
            lines += marks
    return lines


def _key(line: Line2D, colour: str | None) -> Line2D:
    """What a kind of line is, in a colour that stands for all runs, or its own; faint lines are less faint here."""
    key = Line2D([], [], label=str(line.get_label()))
    key.update_from(line)
    key.set_color(colour or line.get_color())
    key.set_alpha(None if line.get_alpha() is None else 0.6)
    return key


def _run_key(name: str, look: _Look) -> Line2D:
    key = Line2D([], [], color=look.colour, label=name)
    key.set_linestyle(look.line)
    return key


def _finish_log_axis(axis: Axes) -> None:
    """Plain numbers, at 1, 2 and 5 where the axis spans little and at the decades alone where it spans much."""
    axis.set_yscale("log")
    low, high = axis.get_ylim()
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 200 * low else (1,), numticks=9))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.yaxis.set_minor_formatter(NullFormatter())


def _looks(theme: Theme, count: int) -> Iterator[_Look]:
    """Colours in turn, then the same in other dashes."""
    colours = theme.colours
    for index in range(count):
        own, line = index % len(colours), _LINES[index // len(colours) % len(_LINES)]
        second = colours[(own + 1) % len(colours)] if count == 1 else colours[own]
        yield _Look(colours[own], second, line, theme.ink, count == 1)


def _names(histories: Sequence[History]) -> list[str]:
    """The runs' names, or their paths where two have the same."""
    names = [history.name for history in histories]
    return names if len(set(names)) == len(names) else [str(history.folder) for history in histories]


def _drawable(name: str) -> str:
    """The name as it can be drawn: matplotlib takes $ for mathematics and a leading _ for "no label"."""
    font = get_font(findfont("DejaVu Sans"))
    known = "".join(letter if font.get_char_index(ord(letter)) else "?" for letter in name)
    short = known if len(known) <= _LONGEST_NAME else f"{known[:23]}…{known[-24:]}"
    return (" " if short.startswith("_") else "") + short.replace("$", r"\$")


def _numbers(histories: Sequence[History]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    for name, history in zip(_names(histories), histories, strict=True):
        writer.writerows([name, *row] for row in _rows(history))
    return text.getvalue().encode()


def _rows(history: History) -> Iterator[list[object]]:
    """What is drawn: quantity, step, value, and its least and greatest in the stretch of updates before."""
    for panel in panels([history]):
        if not panel.held_out:
            for row in zip(*thinned(panel.of(history), smooth=panel.logarithmic), strict=True):
                yield [panel.name, int(row[0]), *map(float, row[1:])]
    for name, (steps, values) in history.scores.items():
        for step, value in zip(steps, values, strict=True):
            yield [f"validation_{name}", int(step), float(value), "", ""]


def _positive(series: Series) -> Series:
    return Series(*(column[series.values > 0] for column in series))


def _file(figure: Figure, format: str) -> bytes:
    """The figure, whose bytes depend on nothing but the runs."""
    if format != "pdf":
        return rendered(figure, format)
    data = io.BytesIO()
    figure.savefig(data, format=format, metadata={"CreationDate": None})
    return data.getvalue()


_NOTHING = Series(np.empty(0), np.empty(0))
_LINES: tuple[Dashes, ...] = ("-", "--", ":", "-.")
_MARKS: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("resumed", ("resumed",), "^"),
    ("skipped or failed", ("skipped", "overflow", "fault"), "x"),
)
_PANELS = (
    Panel("loss", "loss", logarithmic=True),
    Panel("learning_rate", "learning rate"),
    Panel("gradient_norm", "gradient norm", logarithmic=True),
    Panel("psnr", "PSNR in dB", held_out=True),
    Panel("ssim", "SSIM", held_out=True),
)
