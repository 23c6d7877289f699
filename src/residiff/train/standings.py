"""How the candidates of a probe stand: their scores, how far they are behind the best, and how sure that is."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean, stdev

from residiff.train.objective import Candidate

COLUMNS = ("candidate", "steps", "psnr", "gain", "behind", "error", "seconds", "diverged")


@dataclass(frozen=True)
class Trial:
    """A candidate's PSNR in dB on each held-out pair after so many steps."""

    steps: int
    scores: tuple[float, ...]


@dataclass(frozen=True)
class Standing:
    """What became of a candidate: a trial for each round that it was in, and the seconds it took."""

    candidate: Candidate
    trials: tuple[Trial, ...] = ()
    seconds: float = 0.0
    diverged: bool = False

    @property
    def steps(self) -> int:
        """How many it has trained."""
        return self.trials[-1].steps if self.trials else 0

    @property
    def psnr(self) -> float:
        """Mean PSNR of its last trial, in dB; minus infinity before the first, and where it diverged."""
        return fmean(self.trials[-1].scores) if self.trials and not self.diverged else -math.inf

    @property
    def rank(self) -> tuple[bool, int, float]:
        """To sort by: who has come further is better, and of those who have come as far the higher PSNR."""
        return not self.diverged, len(self.trials), self.psnr


@dataclass(frozen=True)
class Gap:
    """How far, in dB, one candidate is behind another on the same pairs, and the standard error of that mean."""

    mean: float
    error: float

    @property
    def is_tie(self) -> bool:
        """Whether the held-out pairs cannot tell the two apart: the gap is less than two standard errors."""
        return self.mean <= 2 * self.error


def gap(best: Standing, other: Standing) -> Gap:
    """How far `other` is behind `best`, both after the steps of the last trial that `other` had."""
    if other.diverged or not other.trials:
        return Gap(math.inf, 0.0)
    pairs = zip(best.trials[len(other.trials) - 1].scores, other.trials[-1].scores, strict=True)
    differences = [ours - theirs for ours, theirs in pairs]
    return Gap(fmean(differences), stdev(differences) / math.sqrt(len(differences)))


@dataclass(frozen=True)
class Verdict:
    """The standings, best first, and the mean PSNR of the degraded pictures themselves, in dB."""

    standings: tuple[Standing, ...]
    start: float

    @property
    def best(self) -> Standing:
        """The one to take."""
        return self.standings[0]

    @property
    def ties(self) -> tuple[str, ...]:
        """Names of those that the held-out pairs cannot tell from the best."""
        return tuple(one.candidate.name for one in self.standings[1:] if gap(self.best, one).is_tie)

    def rows(self) -> list[dict[str, object]]:
        """A row a candidate, best first, as text for people; PSNR in dB."""
        return [self._row(one) for one in self.standings]

    def _row(self, one: Standing) -> dict[str, object]:
        behind = gap(self.best, one)
        text = f"{behind.mean:.2f} ± {behind.error:.2f}" if one is not self.best else "-"
        return {
            "candidate": one.candidate.name,
            "steps": one.steps,
            "psnr": f"{one.psnr:.2f}",
            "gain": f"{one.psnr - self.start:+.2f}",
            "behind": "diverged" if one.diverged else text,
            "seconds": f"{one.seconds:.0f}",
        }

    def text(self) -> str:
        """What is recommended, and how sure that is."""
        pairs = len(self.best.trials[-1].scores)
        gain = f"{self.best.psnr - self.start:+.2f} dB after {self.best.steps} steps"
        found = f"recommended: {self.best.candidate.name}, {gain}"
        if self.ties:
            return f"{found}; {pairs} held-out pairs cannot tell it from {', '.join(self.ties)}"
        return f"{found}; all others are behind by more than two standard errors on {pairs} held-out pairs"

    def csv(self) -> bytes:
        """The standings as a table, best first, in full precision; PSNR and errors in dB."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(self._values(one) for one in self.standings)
        return text.getvalue().encode()

    def _values(self, one: Standing) -> Iterable[object]:
        behind = gap(self.best, one)
        decibels = (one.psnr, one.psnr - self.start, behind.mean, behind.error)
        return (
            one.candidate.name,
            one.steps,
            *(f"{value:.6g}" for value in decibels),
            f"{one.seconds:.2f}",
            one.diverged,
        )
