"""Several results on the same pictures, scored under one protocol, so that they may be laid side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from residiff.data.parts import Part
from residiff.errors import ConfigError
from residiff.evaluate import PairEvaluation, Protocol, check_comparable
from residiff.reports.contestants import Contestant, open_contestants
from residiff.reports.ground import Ground
from residiff.reports.methods import Method, Watch, scored_input, scored_method, unwatched


@dataclass(frozen=True)
class Comparison:
    """Methods on the same pictures.

    Attributes
    ----------
    methods : in the order they were given; the differences are to that at the place `baseline`
    measure : by which pictures are sorted, and quality stands against cost
    truth : the true pictures by name
    degraded : what the methods were given, if that is known; it is scored where it can be
    left_out : the names of pictures that not all have
    """

    protocol: Protocol
    methods: tuple[Method, ...]
    measure: str
    truth: Mapping[str, Part]
    degraded: Method | None = None
    baseline: int = 0
    left_out: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        """The pictures', sorted."""
        return [score.name for score in self.methods[0].result.images]

    @property
    def measures(self) -> list[str]:
        """Those of each picture."""
        return self.methods[0].result.measures

    @property
    def higher(self) -> bool:
        """Whether more of the measure is better."""
        return self.protocol.higher(self.measure)


@dataclass(frozen=True)
class OpenComparison:
    """Results that are paired and about to be scored: of each contestant an evaluation for each seed."""

    contestants: tuple[Contestant, ...]
    evaluations: tuple[tuple[PairEvaluation, ...], ...]
    degraded: PairEvaluation | None
    measure: str = ""
    baseline: int = 0
    left_out: tuple[str, ...] = ()

    def compared(self, watch: Watch = unwatched) -> Comparison:
        """Score everything that was not scored before under the same protocol, few pictures in memory at a time.

        Raises
        ------
        ConfigError, ImageError
            At the first picture that cannot be scored, which is named; and if the measure is none of the protocol's.
        """
        found = zip(self.contestants, self.evaluations, strict=True)
        methods = tuple(scored_method(contestant, runs, watch) for contestant, runs in found)
        check_comparable([method.result for method in methods])
        items = self.evaluations[0][0].paired.items
        comparison = Comparison(
            self.evaluations[0][0].scorer.protocol,
            methods,
            self.measure,
            {item.name: item.truth for item in items if item.truth is not None},
            None if self.degraded is None else scored_input(self.degraded, watch),
            self.baseline,
            self.left_out,
        )
        return replace(comparison, measure=_measure(comparison))


def _measure(comparison: Comparison) -> str:
    """The measure that was asked for, or PSNR, or else the first."""
    there = comparison.measures
    if comparison.measure and comparison.measure not in there:
        raise ConfigError(f"there is no measure {comparison.measure!r} here; there are {', '.join(there)}")
    return comparison.measure or ("psnr" if "psnr" in there else there[0])


def open_comparison(
    places: Sequence[Path],
    ground: Ground,
    *,
    degraded: Path | None = None,
    labels: Sequence[str] = (),
    measure: str = "",
    baseline: str = "",
) -> OpenComparison:
    """Pair the pictures of several results with the true ones; nothing is read yet.

    Parameters
    ----------
    places : folders of pictures, or folders that `evaluate --save` wrote
    ground : what they are held against
    degraded : what the methods were given, by the same names; a data set brings its own
    labels : what to call them
    measure : one of the protocol's; PSNR, or the first one, by default
    baseline : the label of that which the others are compared with; the first by default

    Raises
    ------
    ConfigError
        As `open_contestants` and `open_evaluation` do, and if a label or measure is not there or the protocol compares
        with no true pictures.
    """
    contestants = open_contestants(places, labels, recursive=ground.recursive)
    place = _baseline(contestants, baseline)
    ground.check(measure)
    first = ground.first(contestants[0].folders[0])
    runs = [tuple(ground.another(first, folder) for folder in each.folders) for each in contestants]
    inputs = ground.inputs(first, degraded)
    common, left_out = _common([*(run for each in runs for run in each), *([] if inputs is None else [inputs])])
    return OpenComparison(
        contestants,
        tuple(tuple(_cut(run, common) for run in each) for each in runs),
        None if inputs is None else _cut(inputs, common),
        measure,
        place,
        left_out,
    )


def _common(runs: Sequence[PairEvaluation]) -> tuple[set[str], tuple[str, ...]]:
    """The names of the pictures that all have, and of those that not all have."""
    names = [{item.name for item in run.paired.items} for run in runs]
    missing = [lacking for run in runs for lacking in run.paired.missing.values()]
    common = set.intersection(*names)
    if not common:
        raise ConfigError("no picture is in all of the results; compare results on the same pictures")
    return common, tuple(sorted(set().union(*names, *missing) - common))


def _baseline(contestants: Sequence[Contestant], label: str) -> int:
    labels = [each.label for each in contestants]
    if label and label not in labels:
        raise ConfigError(f"no result is called {label!r}; they are called {', '.join(labels)}")
    return labels.index(label) if label else 0


def _cut(run: PairEvaluation, names: set[str]) -> PairEvaluation:
    items = tuple(item for item in run.paired.items if item.name in names)
    return replace(run, paired=replace(run.paired, items=items))
