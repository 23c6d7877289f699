"""Folders of pictures, or two pictures, scored under a protocol: what is paired, what is scored, what came of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from residiff.errors import ConfigError
from residiff.evaluate.pairing import Paired, pair
from residiff.evaluate.protocol import Protocol
from residiff.evaluate.protocols import DEFAULT, find_paired
from residiff.evaluate.results import Inputs, Result
from residiff.evaluate.scoring import Scored, Scorer, score_all


@dataclass(frozen=True)
class PairEvaluation:
    """Pictures that are paired and about to be scored.

    `places` say by side, "predicted", "truth" and "mask", where they are from.
    """

    protocol: Protocol
    paired: Paired
    places: dict[str, str]
    weights: str | None = None

    def scores(self, processes: int = 1) -> Iterator[Scored]:
        """Score them, in the order of their names; see `scoring.score_all`."""
        return score_all(self.paired.items, self.protocol, weights=self.weights, processes=processes)

    @property
    def total(self) -> int:
        """How many are scored."""
        return len(self.paired.items)

    def result(self, scored: Iterable[Scored], label: str = "") -> Result:
        """What came of it, when all are scored."""
        every = list(scored)
        return Result(
            self.protocol.name,
            self.protocol.version,
            tuple(each.score for each in every),
            inputs={side: inputs_of(place, side, every) for side, place in self.places.items()},
            label=label,
            missing=self.paired.missing,
            left_out=Scorer.of(self.protocol, self.weights).left_out,
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
) -> PairEvaluation:
    """Pair pictures for a protocol; nothing is read yet. See `pairing.pair` for the arguments.

    `weights` is a file, folder or hub address of the weights that LPIPS, DISTS and NIQE need.

    Raises
    ------
    ConfigError
        If there is no such protocol, it needs true pictures or masks that are not given or has no use for those that
        are, or the pictures cannot be paired.
    """
    chosen = find_paired(protocol)
    _check_given(chosen, truth, mask)
    paired = pair(predicted, truth, mask, layout=layout, recursive=recursive, partial=partial)
    masked = paired.items[0].mask is not None
    if chosen.needs_mask and not masked:
        raise ConfigError(f"{chosen.name} scores by region and needs masks; give them with --mask")
    places = {"predicted": predicted, "truth": truth, "mask": mask or (truth if masked else None)}
    return PairEvaluation(
        chosen, paired, {side: str(path) for side, path in places.items() if path is not None}, weights
    )


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
    opened = open_evaluation(predicted, truth, mask, protocol=protocol)
    return opened.result(opened.scores(processes))


def inputs_of(place: str, side: str, scored: Sequence[Scored]) -> Inputs:
    """What was read on one side: a hash over the names and the hashes of the pictures, in the order of the names."""
    digest = hashlib.sha256()
    for each in scored:
        digest.update(f"{each.score.name}\0{each.hashes[side]}\n".encode("utf-8", "surrogateescape"))
    return Inputs(place, len(scored), digest.hexdigest())
