"""The tables of pictures: the scores of all of them, and those of one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from residiff.evaluate import written
from residiff.reports import words
from residiff.reports.cases import Case
from residiff.reports.cells import NONE, Cell, Row, arrow
from residiff.reports.comparison import Comparison
from residiff.reports.methods import Method

# Of very many pictures a table shows the worst
MAX_ROWS = 500


def picture_rows(comparison: Comparison, every: Sequence[Case]) -> Iterator[Row]:
    """The scores of at most `MAX_ROWS` pictures by the comparison's measure, the worst first; the best are marked."""
    for case in every[:MAX_ROWS]:
        yield Row(-1, case.name, _marked(comparison.measure, case.scores, higher=comparison.higher))


def _marked(measure: str, scores: Sequence[float], *, higher: bool) -> tuple[Cell, ...]:
    """The scores, the best marked as they are printed, unless all are."""
    texts = [written(measure, score) for score in scores]
    best = written(measure, (max if higher else min)(scores))
    marked = len(set(texts)) > 1
    return tuple(Cell(text, "", score, marked and text == best) for text, score in zip(texts, scores, strict=True))


def case_rows(comparison: Comparison, name: str) -> list[Row]:
    """All scores of one picture, a row for each measure: the input's, if there is one, and the methods'."""
    by_method = [_scores_of(method, name) for method in comparison.methods]
    given = None if comparison.degraded is None else _scores_of(comparison.degraded, name)
    return [_case_row(comparison, measure, by_method, given) for measure in comparison.measures]


def _scores_of(method: Method, name: str) -> Mapping[str, float]:
    return next((score.values for score in method.result.images if score.name == name), {})


def _case_row(
    comparison: Comparison, measure: str, scores: Sequence[Mapping[str, float]], given: Mapping[str, float] | None
) -> Row:
    higher = comparison.protocol.higher(measure)
    cells = _marked(measure, [score[measure] for score in scores], higher=higher)
    first = [] if given is None else [Cell(written(measure, given[measure])) if measure in given else Cell(NONE)]
    return Row(-1, f"{words.measure(measure)} {arrow(higher)}", (*first, *cells))
