"""The tables of methods: their means, and their differences."""

from __future__ import annotations

from collections.abc import Sequence

from residiff.evaluate import Interval, Table, table_of, written
from residiff.reports import words
from residiff.reports.cells import NONE, Cell, Head, Row, arrow
from residiff.reports.comparison import Comparison
from residiff.reports.methods import Method
from residiff.reports.standings import Standing, Verdict, standings


def mean_heads(comparison: Comparison) -> list[Head]:
    """The columns of `mean_rows`: every measure that is told of the whole."""
    higher = comparison.protocol.higher
    return [Head(words.measure(name), arrow(higher(name)), higher(name)) for name in comparison.methods[0].result.mean]


def mean_rows(comparison: Comparison) -> list[Row]:
    """Every method's mean of each measure with its bootstrap interval, and the input's, which is no contestant."""
    measures = [*comparison.methods[0].result.mean]
    table = table_of([method.result for method in comparison.methods])
    rows = [
        Row(place, method.label, _means(table, place, measures), _note(method, place == comparison.baseline))
        for place, method in enumerate(comparison.methods)
    ]
    degraded = comparison.degraded
    if degraded is None:
        return rows
    if not degraded.result.images:
        return [*rows, Row(-1, degraded.label, tuple(Cell(NONE) for _ in measures), degraded.note)]
    alone = table_of([degraded.result])
    return [*rows, Row(-1, degraded.label, _means(alone, 0, measures), "what the methods were given")]


def _means(table: Table, place: int, measures: Sequence[str]) -> tuple[Cell, ...]:
    row = table.rows[place]
    return tuple(_mean(table, name, row.values[name], row.intervals.get(name)) for name in measures)


def _mean(table: Table, name: str, value: float, found: Interval | None) -> Cell:
    text = written(name, value)
    between = "" if found is None else f"{written(name, found.low)} to {written(name, found.high)}"
    return Cell(text, between, value, best=text == table.best(name))


def _note(method: Method, is_baseline: bool) -> str:
    notes = ["the others are compared with it"] * is_baseline
    notes += [f"means over {method.seeds} seeds"] * (method.seeds > 1)
    return "; ".join([*notes, method.note] if method.note else notes)


def difference_rows(comparison: Comparison, found: Sequence[Standing]) -> list[Row]:
    """Measure, difference, chance, better and worse pictures, and verdict of every standing."""
    places = {method.label: place for place, method in enumerate(comparison.methods)}
    return [Row(places[each.label], each.label, _difference(each)) for each in found]


def _difference(each: Standing) -> tuple[Cell, ...]:
    label, verdict = Cell(words.measure(each.measure)), Cell(each.verdict.value)
    if each.found is None:
        return (label, *(Cell(NONE) for _ in range(4)), verdict)
    low, high = (signed(each.measure, value) for value in (each.found.interval.low, each.found.interval.high))
    gap = Cell(signed(each.measure, each.found.mean), f"{low} to {high}", each.found.mean)
    told = each.verdict is not Verdict.TOO_FEW
    chance = Cell(words.chance(each.p), "", each.p) if told else Cell(NONE)
    return (
        label,
        gap,
        chance,
        Cell(str(each.wins), "", float(each.wins)),
        Cell(str(each.losses), "", float(each.losses)),
        verdict,
    )


def signed(measure: str, value: float) -> str:
    """A difference by a measure, with its sign and as many places as the measure has."""
    return words.gap(value, written(measure, abs(value)))


def mean_table(comparison: Comparison) -> list[dict[str, object]]:
    """The means as rows of text, for people."""
    heads = [f"{head.name} {head.arrow}" for head in mean_heads(comparison)]
    return [
        {"method": row.name, **dict(zip(heads, map(_plain, row.cells), strict=True))} for row in mean_rows(comparison)
    ]


def difference_table(comparison: Comparison) -> list[dict[str, object]]:
    """The differences as rows of text, for people."""
    heads = ("measure", "difference", "p", "better on", "worse on", "verdict")
    return [
        {"method": row.name, **dict(zip(heads, map(_plain, row.cells), strict=True))}
        for row in difference_rows(comparison, standings(comparison))
    ]


def _plain(cell: Cell) -> str:
    return f"{cell.text} ({cell.between})" if cell.between else cell.text
