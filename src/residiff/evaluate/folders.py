"""Folders of pictures, or two pictures, scored under a protocol: what is paired, what is scored, what came of it."""

from __future__ import annotations

import typing
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from residiff.errors import ConfigError
from residiff.evaluate.distributions import open_sets
from residiff.evaluate.pairing import Paired, pair
from residiff.evaluate.protocol import Protocol, SetProtocol
from residiff.evaluate.protocols import DEFAULT, find
from residiff.evaluate.results import Result, inputs_of
from residiff.evaluate.scoring import Scored, Scorer, hashes_of, score_all

Scores = TypeVar("Scores")


class Evaluation(typing.Protocol[Scores]):
    """What is about to be scored."""

    @property
    def total(self) -> int:
        """How many pictures are."""
        ...

    def scores(self) -> Iterator[Scores]:
        """Score them one by one, or a few at a time; nothing is done before it is asked for."""
        ...

    def result(self, scored: Iterable[Scores], label: str = "") -> Result:
        """What came of it, from all that `scores` gives."""
        ...


@dataclass(frozen=True)
class PairEvaluation:
    """Pictures that are paired and about to be scored by `scorer`, in so many `processes`.

    `places` say by side, "predicted", "truth" and "mask", where they are from.
    """

    scorer: Scorer
    paired: Paired
    places: dict[str, str]
    processes: int = 1

    def scores(self) -> Iterator[Scored]:
        """Score them, in the order of their names; see `scoring.score_all`."""
        return score_all(self.paired.items, self.scorer, processes=self.processes)

    @property
    def total(self) -> int:
        """How many are scored."""
        return len(self.paired.items)

    def result(self, scored: Iterable[Scored], label: str = "") -> Result:
        """What came of it, when all are scored."""
        every = list(scored)
        return Result(
            self.scorer.protocol.name,
            self.scorer.protocol.version,
            tuple(each.score for each in every),
            inputs={side: inputs_of(place, hashes_of(every, side)) for side, place in self.places.items()},
            label=label,
            missing=self.paired.missing,
            left_out=self.scorer.left_out,
            facts={"networks": dict(self.scorer.networks)} if self.scorer.networks else {},
        )


def open_evaluation(
    predicted: Path,
    truth: Path | None,
    mask: Path | None = None,
    *,
    protocol: str = DEFAULT,
    layout: str | None = None,
    recursive: bool = False,
    partial: bool = False,
    weights: str | None = None,
    processes: int = 1,
) -> Evaluation[Any]:
    """Pair pictures for a protocol; nothing is read yet. See `pairing.pair` for the arguments.

    Under a protocol that scores sets as wholes they are not paired. `weights` is a file, folder or hub address of the
    weights that LPIPS, DISTS, NIQE and FID need; `processes` score at once.

    Raises
    ------
    ConfigError
        If there is no such protocol, it needs true pictures or masks that are not given or has no use for those that
        are, or the pictures cannot be paired.
    """
    chosen = find(protocol)
    if isinstance(chosen, SetProtocol):
        return open_sets(chosen, predicted, truth, weights)
    _check_given(chosen, truth, mask)
    paired = pair(predicted, truth, mask, layout=layout, recursive=recursive, partial=partial)
    masked = paired.items[0].mask is not None
    if chosen.needs_mask and not masked:
        raise ConfigError(f"{chosen.name} scores by region and needs masks; give them with --mask")
    places = {"predicted": predicted, "truth": truth, "mask": mask or (truth if masked else None)}
    told = {side: str(path) for side, path in places.items() if path is not None}
    return PairEvaluation(Scorer.of(chosen, weights), paired, told, processes)


def _check_given(protocol: Protocol, truth: Path | None, mask: Path | None) -> None:
    if protocol.truth and truth is None:
        raise ConfigError(f"{protocol.name} compares with true pictures; give their folder after that of the results")
    if not protocol.truth and truth is not None:
        raise ConfigError(f"{protocol.name} scores pictures by themselves; leave out the true ones")
    if mask is not None and not protocol.takes_mask:
        raise ConfigError(f"{protocol.name} takes no mask; leave it out")


def evaluate(
    predicted: Path, truth: Path | None, mask: Path | None = None, *, protocol: str = DEFAULT, processes: int = 1
) -> Result:
    """Score the pictures of a folder, or one picture, under a protocol.

    Parameters
    ----------
    predicted, truth : two folders whose pictures have the same names, or two files of any name
    mask : a folder or a file alike
    protocol : its name; see `PROTOCOLS`
    processes : how many score at once

    Raises
    ------
    ConfigError
        If a name has no partner, two pictures have one name, a size, bit depth or number of channels differs, a picture
        is smaller than SSIM's window, or a mask is black; the message names the pictures.
    ImageError
        If a picture cannot be read.
    """
    opened = open_evaluation(predicted, truth, mask, protocol=protocol, processes=processes)
    return opened.result(opened.scores())
