"""What is compared: the scores of one result, those that were saved where they are of the same pictures still."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import TypeAlias

from residiff.data.parts import Part
from residiff.errors import ConfigError
from residiff.evaluate import PairEvaluation, Result, Saving, Score, Scored, hashes_of, inputs_of, listed, scan
from residiff.reports.contestants import Contestant

INPUT = "input"
# What is made, how many there will be, and what they are -> the same, one by one: room for a progress bar
Watch: TypeAlias = Callable[[Iterator[Scored], int, str], Iterator[Scored]]


def unwatched(scored: Iterator[Scored], total: int, what: str) -> Iterator[Scored]:
    """What is scored, and nobody looks on."""
    return scored


@dataclass(frozen=True)
class Method:
    """One of what is compared.

    Attributes
    ----------
    label : what it is called
    place : its folder
    result : its scores, of each picture the mean over its seeds
    pictures : by name, those of its first seed
    seeds : how many it has
    note : what a reader should know of its figures
    """

    label: str
    place: str
    result: Result
    pictures: Mapping[str, Part]
    seeds: int = 1
    note: str = ""


def scored_method(contestant: Contestant, runs: Sequence[PairEvaluation], watch: Watch) -> Method:
    """Score a contestant, of which there is a run for each seed; take the scores that it has where they are still good.

    They are if they were made by the same protocol and version of the same pictures: names and pixels are compared.

    Raises
    ------
    ConfigError, ImageError
        At the first picture that cannot be scored, which is named.
    """
    saved, first = contestant.saved, runs[0]
    result, note = (None, "") if saved is None else _reused(saved, first, watch, contestant.label)
    if result is None:
        made = [run.result(watch(run.scores(), run.total, f"scoring {contestant.label}")) for run in runs]
        facts = {} if saved is None else dict(saved.facts)
        result = replace(made[0], images=_mean(made), facts=facts | dict(made[0].facts))
    pictures = {item.name: item.predicted for item in first.paired.items}
    label = contestant.label
    return Method(label, str(contestant.place), replace(result, label=label), pictures, len(runs), note)


def scored_input(run: PairEvaluation, watch: Watch) -> Method:
    """The degraded pictures; without scores where they are of another size than the true ones, say."""
    pictures = {item.name: item.predicted for item in run.paired.items}
    try:
        result, note = run.result(watch(run.scores(), run.total, f"scoring the {INPUT}"), INPUT), ""
    except ConfigError as error:
        result = Result(run.scorer.protocol.name, run.scorer.protocol.version, (), label=INPUT)
        note = f"it is shown but not scored: {error}"
    return Method(INPUT, run.places["predicted"], result, pictures, note=note)


def _reused(saved: Result, run: PairEvaluation, watch: Watch, label: str) -> tuple[Result | None, str]:
    """What was saved, or else why it is not taken."""
    why = _of_another_kind(saved, run)
    if why:
        return None, f"its result.json is {why}, so its pictures were scored again"
    read = list(watch(_read(run), run.total, f"reading {label}"))
    other = _changed(saved, run, read)
    if other:
        return None, f"its result.json is of other {listed(other)} pictures than these, which were scored again"
    by_name = {score.name: score for score in saved.images}
    inputs = {side: inputs_of(place, hashes_of(read, side)) for side, place in run.places.items()}
    return replace(saved, images=tuple(by_name[each.score.name] for each in read), inputs=inputs), ""


def _of_another_kind(saved: Result, run: PairEvaluation) -> str:
    scorer = run.scorer
    if (saved.protocol, saved.version) != (scorer.protocol.name, scorer.protocol.version):
        return f"by {saved.protocol}, version {saved.version}"
    if saved.left_out.keys() != scorer.left_out.keys() or saved.facts.get("networks", {}) != dict(scorer.networks):
        return "by other networks"
    if sorted(score.name for score in saved.images) != sorted(item.name for item in run.paired.items):
        return "of pictures of other names"
    return "" if saved.inputs.keys() == run.places.keys() else "made with other masks"


def _changed(saved: Result, run: PairEvaluation, read: Sequence[Scored]) -> list[str]:
    """The sides whose pictures are not those that were scored."""
    # What was cut to 8 bits to be scored is rounded in its file
    sides = [side for side in run.places if side != "predicted" or run.scorer.protocol.saving is Saving.ROUND]
    return [side for side in sides if inputs_of("", hashes_of(read, side)).sha256 != saved.inputs[side].sha256]


def _read(run: PairEvaluation) -> Iterator[Scored]:
    """The hashes of all pictures, and no scores."""
    for item in run.paired.items:
        parts = {"predicted": item.predicted, "truth": item.truth, "mask": item.mask}
        there = {side: part for side, part in parts.items() if part is not None}
        yield Scored(Score(item.name, {}), {side: scan(part).sha256 for side, part in there.items()})


def _mean(results: Sequence[Result]) -> tuple[Score, ...]:
    """Of each picture the mean over the seeds."""
    by_name = zip(*(result.images for result in results), strict=True)
    return tuple(
        replace(scores[0], values={name: fmean(score.values[name] for score in scores) for name in scores[0].values})
        for scores in by_name
    )
