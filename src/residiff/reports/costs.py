"""Quality against cost: what the results' files tell of steps, seconds, multiplications, memory and parameters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from residiff.evaluate import written
from residiff.plots import Point, cost_svg, efficient
from residiff.reports import words
from residiff.reports.cells import NONE, Cell, Head, Row, arrow
from residiff.reports.comparison import Comparison
from residiff.reports.pages import Curve, curve

# Keys of a result's facts, and what they are
COSTS = {
    "steps": "steps",
    "seconds": "seconds a picture",
    "GMAC": "GMAC a picture",
    "peak_MiB": "peak memory in MiB",
    "parameters_M": "parameters in millions",
}
_PLACES = ("device", "size")


class Costs(NamedTuple):
    """A table, whose heads are empty where no cost is known, the panels, and what a reader should know of them."""

    heads: list[Head]
    rows: list[Row]
    panels: list[Curve]
    notes: list[str]


def costs_of(comparison: Comparison) -> Costs:
    """The costs that are known of at least one method; a panel of each that differs between two or more."""
    facts = [method.result.facts for method in comparison.methods]
    known = {key: values for key in COSTS if any(values := [_number(each.get(key)) for each in facts])}
    if not known:
        return Costs([], [], [], [])
    qualities = [method.result.mean[comparison.measure] for method in comparison.methods]
    points = {key: _points(values, qualities, higher=comparison.higher) for key, values in known.items()}
    where = {key: [told if isinstance(told := each.get(key), str) else "" for each in facts] for key in _PLACES}
    where = {key: values for key, values in where.items() if any(values)}
    heads = [Head(words.measure(comparison.measure), arrow(comparison.higher), comparison.higher)]
    heads += [Head(COSTS[key], arrow(False)) for key in known] + [Head(key) for key in where]
    rows = [
        Row(
            place,
            method.label,
            (
                Cell(written(comparison.measure, qualities[place]), "", qualities[place]),
                *(_cell(points[key], values[place], place) for key, values in known.items()),
                *(Cell(values[place] or NONE) for values in where.values()),
            ),
        )
        for place, method in enumerate(comparison.methods)
    ]
    panels = [_panel(comparison, key, found) for key, found in points.items() if _worth_drawing(found)]
    return Costs(heads, rows, panels, _notes(where))


def _number(value: object) -> float | None:
    """A cost as it stands in a file, or None where it is no such thing."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) and value > 0 else None


def _points(costs: Sequence[float | None], qualities: Sequence[float], *, higher: bool) -> list[Point]:
    """The methods that have the cost and a finite quality."""
    there = [
        (place, cost, quality)
        for place, (cost, quality) in enumerate(zip(costs, qualities, strict=True))
        if cost is not None and math.isfinite(quality)
    ]
    marks = efficient([cost for _, cost, _ in there], [quality for _, _, quality in there], higher=higher)
    return [Point(*each, mark) for each, mark in zip(there, marks, strict=True)]


def _worth_drawing(points: Sequence[Point]) -> bool:
    return len({point.cost for point in points}) > 1


def _cell(points: Sequence[Point], cost: float | None, place: int) -> Cell:
    if cost is None:
        return Cell(NONE)
    best = any(point.place == place and point.efficient for point in points)
    return Cell(f"{cost:,.4g}" if cost < 1000 else f"{cost:,.0f}", "", cost, best and _worth_drawing(points))


def _panel(comparison: Comparison, key: str, points: Sequence[Point]) -> Curve:
    quality = quality_label(comparison)
    told = "; ".join(
        f"{comparison.methods[p.place].label}: {written(comparison.measure, p.quality)} at {p.cost:.4g}" for p in points
    )
    alt = f"{quality} against {COSTS[key]}. {told}."
    return curve(lambda theme: cost_svg(points, COSTS[key], quality, theme), alt)


def quality_label(comparison: Comparison) -> str:
    """The comparison's measure with its unit."""
    unit = words.unit(comparison.measure)
    return words.measure(comparison.measure) + (f" in{unit}" if unit else "")


def _notes(where: dict[str, list[str]]) -> list[str]:
    """What makes costs unlike."""
    told = {key: sorted({value for value in values if value}) for key, values in where.items()}
    return [
        f"These were taken with another {key} each ({words.listing(values)}): seconds and memory cannot be compared."
        for key, values in told.items()
        if len(values) > 1
    ]
