"""Results as tables: for people, for a spreadsheet, for a page and for a paper."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from residiff.errors import ConfigError
from residiff.evaluate.protocols import find
from residiff.evaluate.published import PublishedTable
from residiff.evaluate.results import RESULT, Result, check_comparable
from residiff.evaluate.statistics import Interval, bootstrap
from residiff.files import write_bytes

_THREE_PLACES = ("ssim", "lpips", "dists", "ms_ssim")


class TableFormat(Enum):
    """How a table is written."""

    CSV = "csv"
    MARKDOWN = "markdown"
    LATEX = "latex"


@dataclass(frozen=True)
class Row:
    """A method's figures by measure, and between what its mean lies where that can be said; `note` says whose."""

    method: str
    values: dict[str, float]
    intervals: dict[str, Interval] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True)
class Table:
    """Methods under one protocol; `higher` says of each measure whether more is better."""

    title: str
    measures: tuple[str, ...]
    higher: dict[str, bool]
    rows: tuple[Row, ...]

    def best(self, measure: str) -> str:
        """How the best figure of a measure is printed, "" where there are fewer than two to choose from."""
        found = [row.values[measure] for row in self.rows if measure in row.values]
        return written(measure, (max if self.higher[measure] else min)(found)) if len(found) > 1 else ""


def table_of(results: Sequence[Result], published: PublishedTable | None = None, level: float = 0.95) -> Table:
    """Results as the rows of one table, after those that are published.

    Raises
    ------
    ConfigError
        If there is none, they are of different protocols or true pictures, or the published table is of another one.
    """
    if not results:
        raise ConfigError("there are no results to make a table of")
    check_comparable(results)
    first = results[0]
    if published is not None and published.protocol != first.protocol:
        raise ConfigError(f"{published.title} is by {published.protocol}, the results by {first.protocol}")
    measures = tuple(first.mean) if published is None else published.measures
    higher = {name: find(first.protocol).higher(name) for name in measures}
    rows = [] if published is None else [Row(row.method, dict(row.values), note=row.of) for row in published.rows]
    rows += [_row(result, measures, level) for result in results]
    title = f"{first.protocol}, version {first.version}"
    return Table(title if published is None else f"{published.title} ({title})", measures, higher, tuple(rows))


def _row(result: Result, measures: Sequence[str], level: float) -> Row:
    means = result.mean
    intervals = {
        name: found for name in measures if name in result.measures and (found := bootstrap(result.values(name), level))
    }
    count = f"{len(result.images)} pictures" if result.images else ""
    return Row(result.title, {name: means[name] for name in measures if name in means}, intervals, count)


def written(measure: str, value: float) -> str:
    """A figure with as many places as papers print."""
    if not math.isfinite(value):
        return str(value)
    return f"{value:.4f}" if measure.startswith(_THREE_PLACES) else f"{value:.2f}"


def write_table(table: Table, format: TableFormat) -> str:
    """The table as text that ends with a line break; the best figure of each measure is bold where there is bold."""
    return _WRITERS[format](table)


def _csv(table: Table) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    bounds = [name for name in table.measures if any(name in row.intervals for row in table.rows)]
    writer.writerow(["method", *table.measures, *(f"{name}_{end}" for name in bounds for end in ("low", "high")), "of"])
    for row in table.rows:
        ends = [row.intervals.get(name) for name in bounds]
        edges = [edge for found in ends for edge in ((found.low, found.high) if found else ("", ""))]
        writer.writerow([row.method, *(row.values.get(name, "") for name in table.measures), *edges, row.note])
    return text.getvalue()


def _cells(table: Table, row: Row, bold: Callable[[str], str], between: Callable[[str], str]) -> list[str]:
    cells = []
    for name in table.measures:
        if name not in row.values:
            cells.append("")
            continue
        text, found = written(name, row.values[name]), row.intervals.get(name)
        cell = bold(text) if text == table.best(name) else text
        cells.append(
            cell if found is None else cell + between(f"{written(name, found.low)}, {written(name, found.high)}")
        )
    return cells


def _markdown(table: Table) -> str:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cells) + " |"

    heads = [f"{name} {'↑' if table.higher[name] else '↓'}" for name in table.measures]
    lines = [f"**{table.title}**", "", line(["method", *heads, "of"]), line(["---", *["--:"] * len(heads), "---"])]
    for row in table.rows:
        cells = _cells(table, row, lambda text: f"**{text}**", lambda text: f" [{text}]")
        lines.append(line([row.method.replace("|", "\\|"), *cells, row.note]))
    return "\n".join(lines) + "\n"


def _latex(table: Table) -> str:
    arrows = {name: r"$\uparrow$" if table.higher[name] else r"$\downarrow$" for name in table.measures}
    heads = [f"{_escaped(name)} {arrow}" for name, arrow in arrows.items()]
    lines = [
        f"% {table.title}",
        f"\\begin{{tabular}}{{l{'r' * len(heads)}}}",
        "\\toprule",
        " & ".join(["Method", *heads]) + r" \\",
        "\\midrule",
    ]
    for row in table.rows:
        cells = _cells(table, row, lambda text: f"\\textbf{{{text}}}", lambda text: "")
        lines.append(" & ".join([_escaped(row.method), *cells]) + r" \\")
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}"]) + "\n"


def _escaped(text: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in text)


_LATEX = {**{letter: f"\\{letter}" for letter in "&%$#_{}"}, "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
_LATEX["\\"] = r"\textbackslash{}"
_WRITERS: dict[TableFormat, Callable[[Table], str]] = {
    TableFormat.CSV: _csv,
    TableFormat.MARKDOWN: _markdown,
    TableFormat.LATEX: _latex,
}


def images_csv(result: Result) -> str:
    """A row for each picture."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    weighted = list(result.images[0].weights) if result.images else []
    writer.writerow(["name", *result.measures, *(f"{name}_pixels" for name in weighted)])
    for score in result.images:
        writer.writerow([score.name, *score.values.values(), *(score.weights[name] for name in weighted)])
    return text.getvalue()


def rows_of(result: Result) -> list[dict[str, object]]:
    """A row of text for each picture, the mean last, and below it what it lies between with a chance of 0.95."""
    means = result.mean
    rows: list[dict[str, object]] = [{"name": score.name, **_texts(score.values, means)} for score in result.images]
    rows.append({"name": "mean", **_texts(means, means)})
    intervals = {name: bootstrap(result.values(name)) for name in result.measures}
    for end in ("low", "high"):
        edges = {name: getattr(found, end) for name, found in intervals.items() if found is not None}
        rows += [{"name": f"95 % {end}", **_texts(edges, means)}] if edges else []
    return rows


def _texts(values: Mapping[str, float], columns: Iterable[str]) -> dict[str, str]:
    return {name: written(name, values[name]) if name in values else "" for name in columns}


def write_result(result: Result, folder: Path) -> None:
    """Write result.json, images.csv, table.md and table.tex, each atomically."""
    table = table_of([result])
    texts = {"images.csv": images_csv(result)}
    texts |= {"table.md": write_table(table, TableFormat.MARKDOWN), "table.tex": write_table(table, TableFormat.LATEX)}
    for name, text in texts.items():
        write_bytes(folder / name, text.encode())
    result.save(folder / RESULT)
