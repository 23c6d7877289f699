"""How methods stand to each other: differences on the same pictures, and whether they are more than chance."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from residiff.evaluate import Difference, Result, difference, finite, holm
from residiff.reports.comparison import Comparison
from residiff.reports.methods import Method

CHANCE = 0.05
# Of fewer pictures not even those that all speak for one method tell more than chance: 2 / 2^5 > 0.05
FEWEST = 6


class Verdict(Enum):
    """What may be said of a difference."""

    BETTER = "better"
    WORSE = "worse"
    OPEN = "not told apart"
    TOO_FEW = "too few pictures"
    INFINITE = "a score is infinite"


@dataclass(frozen=True)
class Standing:
    """How a method differs from the baseline by a measure, by which less may be better.

    `p` is adjusted for all tests that are made; `wins` and `losses` count pictures on which it is better and worse.
    """

    label: str
    measure: str
    found: Difference | None
    p: float
    wins: int
    losses: int
    verdict: Verdict


def fewest(tests: int) -> int:
    """The number of pictures from which on so many tests at once may tell anything, however clear it is.

    Of n pictures the chance that all speak for the same method is 2 / 2^n, and Holm's first step takes it `tests`
    times.
    """
    count = FEWEST
    while tests * 2.0 ** (1 - count) > CHANCE:
        count += 1
    return count


def standings(comparison: Comparison) -> list[Standing]:
    """Every method but the baseline against it, by every measure; all tests are adjusted together (Holm 1979)."""
    base = comparison.methods[comparison.baseline].result
    others = [method for place, method in enumerate(comparison.methods) if place != comparison.baseline]
    found = [
        (method.label, name, difference(method.result.values(name), base.values(name)))
        for method in others
        for name in comparison.measures
    ]
    adjusted = iter(holm([each.p for _, _, each in found if each is not None]))
    enough = len(comparison.names) >= fewest(len(found))
    return [
        _standing(label, name, each, 1.0 if each is None else next(adjusted), comparison.protocol.higher(name), enough)
        for label, name, each in found
    ]


def _standing(label: str, name: str, found: Difference | None, p: float, higher: bool, enough: bool) -> Standing:
    if found is None:
        return Standing(label, name, None, p, 0, 0, Verdict.INFINITE if enough else Verdict.TOO_FEW)
    wins, losses = (found.wins, found.losses) if higher else (found.losses, found.wins)
    verdict = Verdict.TOO_FEW if not enough else _verdict(found.mean if higher else -found.mean, p)
    return Standing(label, name, found, p, wins, losses, verdict)


def _verdict(gain: float, p: float) -> Verdict:
    if p >= CHANCE:
        return Verdict.OPEN
    return Verdict.BETTER if gain > 0 else Verdict.WORSE


def figures(comparison: Comparison) -> dict[str, object]:
    """The comparison as data for JSON; null stands for what is infinite, as in a saved result."""
    inputs = comparison.methods[comparison.baseline].result.inputs
    return {
        "protocol": comparison.protocol.name,
        "version": comparison.protocol.version,
        "count": len(comparison.names),
        "measure": comparison.measure,
        "baseline": comparison.methods[comparison.baseline].label,
        "methods": [_told(method) for method in comparison.methods],
        **({} if comparison.degraded is None else {"input": _told(comparison.degraded)}),
        "differences": [_difference(each) for each in standings(comparison)],
        "images": list(_images(comparison)),
        "inputs": {side: vars(each) for side, each in inputs.items() if side != "predicted"},
    }


def _told(method: Method) -> dict[str, object]:
    result: Result = method.result
    facts = {key: value for key, value in result.facts.items() if key not in ("means", "spread")}
    return {
        "label": method.label,
        "place": method.place,
        "sha256": result.inputs["predicted"].sha256 if result.inputs else None,
        "mean": finite(result.mean),
        "seeds": method.seeds,
        "facts": facts,
        "note": method.note,
    }


def _difference(each: Standing) -> dict[str, object]:
    told: dict[str, object] = {"label": each.label, "measure": each.measure, "verdict": each.verdict.value}
    if each.found is None:
        return told
    ends = {"mean": each.found.mean, "low": each.found.interval.low, "high": each.found.interval.high}
    return told | ends | {"p": each.found.p, "p_adjusted": each.p, "wins": each.wins, "losses": each.losses}


def _images(comparison: Comparison) -> Iterator[dict[str, object]]:
    every = zip(*(method.result.images for method in comparison.methods), strict=True)
    for scores in every:
        labelled = zip(comparison.methods, scores, strict=True)
        yield {"name": scores[0].name, "scores": {method.label: finite(score.values) for method, score in labelled}}
