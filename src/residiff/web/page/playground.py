"""Schedules to play with: what the settings of RDDM and Resfusion do to the coefficients, and to a picture."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from html import escape

import matplotlib
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from residiff.data.images import Array
from residiff.plots import vanishing_time
from residiff.plots.style import BLUE, DARK, GREEN, LIGHT, ORANGE, Theme, legend_above, rendered
from residiff.schedule import Schedule
from residiff.seeds import generator

# Places on the way that are shown, evenly spread
SHOWN = 5
THEMES = {"on-light": LIGHT, "on-dark": DARK}
_SIZE = (5.2, 3.4)  # inches
# Below it a weight is 0, but for rounding
_MET = 1e-9
_LARGER = {name: 9 for name in ("font.size", "axes.labelsize", "xtick.labelsize", "ytick.labelsize", "legend.fontsize")}


@dataclass(frozen=True)
class Facts:
    """What can be said of a schedule.

    Attributes
    ----------
    length : T
    vanishes : the time where x_0 has vanished from x_t; None where it never does
    least : the smallest |a - r|, the weight that x_0 keeps
    end : a, r and n at the start of sampling, t = T - 1
    """

    length: int
    vanishes: int | None
    least: float
    end: tuple[float, float, float]

    def told(self) -> str:
        """In words."""
        a, r, n = self.end
        start = f"Sampling starts at t = {self.length - 1} with a = {a:.3f}, r = {r:.3f}, n = {n:.3f}."
        if self.vanishes is None:
            return f"x₀ never vanishes: a − r stays at {self.least:.3f} or more, and is missing at the start. {start}"
        where = "where a = r" if self.least < _MET else f"where a − r is {self.least:.2g}, all but 0"
        gone = f"x₀ vanishes at t = {self.vanishes} of {self.length - 1}, {where}"
        return f"{gone}: from there the degraded picture and noise are all there is. {start}"


def facts_of(schedule: Schedule) -> Facts:
    """What can be said of `schedule`."""
    gap = (schedule.table[:, 0] - schedule.table[:, 1]).abs()
    a, r, n = schedule.table[-1, :3].tolist()
    return Facts(len(schedule), vanishing_time(schedule), float(gap.min()), (a, r, n))


def times_shown(schedule: Schedule, count: int = SHOWN) -> list[int]:
    """At most `count` times from 0 to T - 1, both among them, evenly spread."""
    last = len(schedule) - 1
    return sorted({round(k * last / (count - 1)) for k in range(count)})


def mixed_at(schedule: Schedule, t: int, clean: Tensor, degraded: Tensor, seed: int = 0) -> Array:
    """x_t = a x_0 + r R + n eps as (H, W, 3) uint8, of pictures (3, H, W) in [0, 1]; the noise is that of `seed`.

    It is what a network sees at time `t`, computed in [-1, 1] and cut to what can be shown. t = -1 is the clean one.
    """
    x0, x_in = 2 * clean - 1, 2 * degraded - 1
    noise = torch.randn(clean.shape, generator=generator(seed, 0))
    x = (schedule(t).mix(x0, x_in - x0, noise) + 1) / 2
    array: Array = (x.clamp(0, 1) * 255 + 0.5).to(torch.uint8).permute(1, 2, 0).numpy()
    return array


def curves(schedule: Schedule, marked: int | None = None) -> str:
    """The coefficients a, r and n and the weight a - r of x_0 over time, as HTML, drawn for light pages and dark ones.

    A line stands where x_0 vanishes, another at the time `marked`. The two images are of the classes `on-light` and
    `on-dark`, of which a page shows one; they need nothing else.
    """
    said = escape(f"The coefficients of the schedule over time. {facts_of(schedule).told()}")
    drawn = [(name, b64encode(_drawing(schedule, marked, theme)).decode()) for name, theme in THEMES.items()]
    return "".join(f'<img class="{name}" alt="{said}" src="data:image/svg+xml;base64,{svg}">' for name, svg in drawn)


def _drawing(schedule: Schedule, marked: int | None, theme: Theme) -> bytes:
    with matplotlib.rc_context(theme.settings | _LARGER):
        figure = Figure(figsize=_SIZE, layout="constrained", facecolor="none")
        axes = figure.subplots(2, 1, sharex=True)
        _draw(axes[0], axes[1], schedule, theme)
        for axis in axes:
            _mark(axis, schedule, marked, theme)
        return rendered(figure, "svg")


def _draw(above: Axes, below: Axes, schedule: Schedule, theme: Theme) -> None:
    a, r, n = schedule.table[:, :3].unbind(1)
    blue, orange, green = (BLUE, ORANGE, GREEN) if theme is LIGHT else theme.colours[:2] + (GREEN,)
    times = range(len(schedule))
    marker = "o" if len(schedule) <= 40 else ""
    for values, label, colour, line in ((a, "signal $a$", blue, "-"), (r, "residual $r$", orange, "-"),
                                        (n, "noise $n$", green, "--")):  # fmt: skip
        above.plot(times, values.tolist(), line, label=label, color=colour, marker=marker)
    above.set_ylabel("coefficient")
    legend_above(above, above.lines)
    below.plot(times, (a - r).tolist(), color=theme.ink, marker=marker)
    below.axhline(0, color=theme.ink, linewidth=0.6)
    below.set_ylabel("$a - r$, weight of $x_0$")
    below.set_xlabel("time $t$")


def _mark(axis: Axes, schedule: Schedule, marked: int | None, theme: Theme) -> None:
    vanishes = vanishing_time(schedule)
    if vanishes is not None:
        axis.axvline(vanishes, color=theme.colours[3], linewidth=1.2, dashes=(3, 2))
    if marked is not None:
        axis.axvline(marked, color=theme.ink, linewidth=0.9, dashes=(1, 2))
