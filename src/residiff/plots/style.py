"""What the figures have in common: their style, the two kinds of file, and the numbers beside the picture.

The figures are journal columns wide (89 mm, or 183 mm), in colours that colour-blind readers tell apart (Okabe and Ito
2008), with no text under 7 pt. The same input gives the same bytes.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from residiff.errors import ConfigError
from residiff.files import write_bytes

COLUMN_WIDTH, TWO_COLUMNS_WIDTH = 3.5, 7.2  # inches
BLUE, ORANGE, GREEN, PINK, YELLOW, SKY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"
STYLE: dict[Any, Any] = {
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
_DARK_INK, _DARK_LINES = "#d7dae0", "#3a3f47"


class Theme(NamedTuple):
    """Settings of matplotlib, colours of what is compared, and of what is common to all of it."""

    settings: dict[Any, Any]
    colours: tuple[str, ...]
    ink: str


LIGHT = Theme(STYLE, (BLUE, ORANGE, GREEN, PINK, YELLOW, SKY), "#555555")
DARK = Theme(
    STYLE
    | {
        "text.color": _DARK_INK,
        "axes.labelcolor": _DARK_INK,
        "axes.edgecolor": _DARK_INK,
        "axes.facecolor": "none",
        "xtick.color": _DARK_INK,
        "ytick.color": _DARK_INK,
        "grid.color": _DARK_LINES,
    },
    (SKY, YELLOW, PINK, GREEN, ORANGE, BLUE),
    "#a9afb8",
)


def check_suffix(path: Path, kind: str) -> None:
    """Raise `ConfigError` unless `path` ends in .png or .svg; `kind` is what it is called in the message."""
    if path.suffix.lower() not in (".png", ".svg"):
        raise ConfigError(f"{path} ends in {path.suffix!r}; a {kind} is a .png or a .svg file")


def is_svg(path: Path) -> bool:
    """Whether the suffix asks for SVG."""
    return path.suffix.lower() == ".svg"


def rendered(figure: Figure, format: str) -> bytes:
    """The figure as a "png" or "svg" file, whose bytes depend on nothing but the plot."""
    data = io.BytesIO()
    stamp = {"Date": None} if format == "svg" else {"Software": None}
    figure.savefig(data, format=format, metadata=stamp)
    return data.getvalue()


def write_with_numbers(
    path: Path, picture: bytes, header: Sequence[str], rows: Iterable[Sequence[object]]
) -> list[Path]:
    """Write the picture, and a .csv file of the same name beside it; returns both paths."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    numbers = path.with_suffix(".csv")
    write_bytes(path, picture)
    write_bytes(numbers, text.getvalue().encode())
    return [path, numbers]


def legend_above(axis: Axes, lines: Sequence[Line2D]) -> None:
    """A legend in one row over the right end of the axis."""
    settings = {"borderaxespad": 0.2, "handlelength": 1.6, "columnspacing": 1.0, "handletextpad": 0.5}
    axis.legend(handles=lines, loc="lower right", bbox_to_anchor=(1, 1), ncols=max(1, len(lines)), **settings)
