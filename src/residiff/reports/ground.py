"""What results are held against when they are compared: the true pictures, and by which protocol."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from residiff.data.parts import Part
from residiff.errors import ConfigError
from residiff.evaluate import DEFAULT, PairEvaluation, degraded_of, find_paired_protocol, open_evaluation, pair


@dataclass(frozen=True)
class Ground:
    """The true pictures and the rest that all results have in common, as `evaluate.open_evaluation` takes it.

    With `partial` pictures that a result lacks are left out, in place of refusing it.
    """

    truth: Path
    mask: Path | None = None
    protocol: str = DEFAULT
    layout: str | None = None
    recursive: bool = False
    partial: bool = False
    weights: str | None = None
    processes: int = 1

    def check(self, measure: str) -> None:
        """Raise `ConfigError` unless the protocol compares pictures with true ones, and has the measure, if any."""
        chosen = find_paired_protocol(self.protocol)
        if not chosen.truth:
            raise ConfigError(f"{chosen.name} has no use for true pictures; choose a protocol that compares with them")
        if measure:
            chosen.higher(measure)

    def first(self, folder: Path) -> PairEvaluation:
        """The pictures of one folder, paired; the protocol's networks are loaded."""
        opened = open_evaluation(
            folder, self.truth, self.mask, protocol=self.protocol, layout=self.layout, recursive=self.recursive,
            partial=self.partial, weights=self.weights, processes=self.processes,
        )  # fmt: skip
        # `check` has seen to it that it is one of pairs
        return cast(PairEvaluation, opened)

    def another(self, run: PairEvaluation, folder: Path) -> PairEvaluation:
        """The same of another folder; its networks are those of `run`."""
        paired = pair(
            folder, self.truth, self.mask, layout=self.layout, recursive=self.recursive, partial=self.partial
        )  # fmt: skip
        return replace(run, paired=paired, places=run.places | {"predicted": str(folder)})

    def inputs(self, run: PairEvaluation, degraded: Path | None) -> PairEvaluation | None:
        """What the methods were given: the pictures of a folder, or of the data set that brings the truth, if any."""
        if degraded is not None:
            return self.another(run, degraded)
        own = degraded_of(self.truth, layout=self.layout, recursive=self.recursive)
        return _shown(run, own, self.truth) if own else None


def _shown(run: PairEvaluation, degraded: Mapping[str, Part], place: Path) -> PairEvaluation:
    """The same pairs, the degraded pictures in place of the results."""
    items = tuple(replace(item, predicted=degraded[item.name]) for item in run.paired.items)
    return replace(run, paired=replace(run.paired, items=items), places=run.places | {"predicted": str(place)})
