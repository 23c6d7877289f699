"""The tables of pictures: the scores of all of them, and those of one."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

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
        yield Row(-1, case.name, tuple(_score(comparison, case.scores, score) for score in case.scores))


def _score(comparison: Comparison, scores: Sequence[float], score: float) -> Cell:
    best = max(scores) if comparison.higher else min(scores)
    alone = sum(other == best for other in scores) == 1
    value: float | str = score if math.isfinite(score) else "Infinity"
    return Cell(written(comparison.measure, score), "", value, best=alone and score == best)


def case_rows(comparison: Comparison, name: str) -> list[Row]:
    """All scores of one picture, a row for each measure: the input's, if there is one, and the methods'."""
    degraded = comparison.degraded
    methods = [*([degraded] if degraded else []), *comparison.methods]
    by_method = [_scores_of(method, name) for method in methods]
    first = 0 if degraded is None else 1
    return [_case_row(comparison, measure, by_method, first) for measure in comparison.measures]


def _scores_of(method: Method, name: str) -> dict[str, float]:
    found = next((score for score in method.result.images if score.name == name), None)
    return {} if found is None else dict(found.values)


def _case_row(comparison: Comparison, measure: str, scores: Sequence[dict[str, float]], first: int) -> Row:
    higher = comparison.protocol.higher(measure)
    values = [score[measure] for score in scores[first:]]
    best = (max if higher else min)(values)
    cells = [
        Cell(
            written(measure, score[measure]), best=place >= first and score[measure] == best and values.count(best) == 1
        )
        if measure in score
        else Cell(NONE)
        for place, score in enumerate(scores)
    ]
    return Row(-1, f"{words.measure(measure)} {arrow(higher)}", tuple(cells))
