"""Which objective, schedule and total noise suit the user's own data: short runs side by side, the worse half dropped.

Successive halving (Jamieson and Talwalkar 2016): every candidate trains the same number of steps, the better half by
the PSNR of what it restores of held-out pairs goes on from where it stopped, and so on, until two have used up the
time. A candidate trains by the user's recipe with nothing changed but what is compared, so that the best one's run may
simply be continued. What a short run cannot show is who would be ahead by a tenth of a decibel at the end.
"""

from __future__ import annotations

import logging
import math
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from statistics import fmean
from typing import NoReturn

import torch

from residiff import files
from residiff.checkpoint import ModelFile
from residiff.data.pair import Pair
from residiff.errors import ConfigError, DivergedError, check_range
from residiff.recipe import Recipe
from residiff.train import Candidate, Processes, Run, Standing, TrainingData, Trial, Verdict, candidates_for, open_run
from residiff.train.keeping import states
from residiff.train.validation import Validation, decibels

logger = logging.getLogger(__name__)

TABLE = "probe.csv"
RECOMMENDED = "recommended.toml"
CANDIDATES = "candidates"
BUDGET = 600.0
MIN_STEPS = 20
TIMED = 5


@dataclass(frozen=True)
class Moment:
    """Where a probe stands: seconds since it began, what it does now, and the verdict by now."""

    seconds: float
    doing: str
    verdict: Verdict


def score(run: Run, held_out: Sequence[Pair]) -> tuple[float, ...]:
    """PSNR in dB of what the run's averaged weights restore of each pair, at most 60.

    Raises
    ------
    DivergedError
        If a result is not finite.
    """
    denoiser = ModelFile(run.recipe, run.average).denoiser().to(run.processes.device)
    results = Validation(run.recipe, held_out, run.processes.device).restored(denoiser)
    return tuple(decibels(result, pair.clean) for result, pair in zip(results, held_out, strict=True))


def halvings(total: int) -> list[int]:
    """How many candidates are in each round: the better half of the round before, the last round being of two."""
    rounds = [total]
    while rounds[-1] > 2:
        rounds.append(math.ceil(rounds[-1] / 2))
    return rounds


def affordable(seconds: float, rounds: Sequence[int], step_seconds: float, score_seconds: float) -> int:
    """How many steps each candidate may train in the first of `rounds`, all rounds being given equal time.

    Parameters
    ----------
    seconds : left for all of `rounds`
    rounds : how many candidates are in each
    step_seconds : that a step takes
    score_seconds : that scoring a candidate takes
    """
    share = seconds / len(rounds) / rounds[0]
    return max(0, int((share - score_seconds) / step_seconds))


def probe(
    recipe: Recipe, data: TrainingData, folder: Path, device: str = "cpu", *, budget: float = BUDGET, workers: int = 0
) -> Iterator[Moment]:
    """Compare the `candidates` of a recipe within `budget` seconds; the verdict is that of the last moment.

    After each round `probe.csv` and `recommended.toml`, the recipe of the best so far, are written to `folder`; in its
    `candidates/` lie runs that may be continued.

    Raises
    ------
    ConfigError
        If the folder holds a probe, the budget is too short for 20 steps of each candidate, or the recipe's results
        have no truth.
    DivergedError
        If every candidate diverged.
    """
    check_range("budget", budget, 1, 10_000_000)
    check_range("training.iterations", recipe.training.iterations, MIN_STEPS, 100_000_000)
    contest = _Contest(candidates_for(recipe), data, folder, device, workers)
    with files.lock(folder):
        if (folder / TABLE).exists() or states(folder):
            raise ConfigError(f"{folder} holds a probe or a run already; take another folder")
        yield from contest.hold(budget)


class _Contest:
    """The candidates, and what became of them."""

    def __init__(
        self, entrants: Sequence[Candidate], data: TrainingData, folder: Path, device: str, workers: int
    ) -> None:
        self.data, self.folder, self.workers = data, folder, workers
        self.processes = Processes(torch.device(device))
        self.standings = {one.name: Standing(one) for one in entrants}
        self.start = fmean(decibels(pair.degraded, pair.clean) for pair in data.held_out)
        self.began = time.monotonic()

    def hold(self, budget: float) -> Iterator[Moment]:
        """All rounds; see `probe`."""
        yield self._moment("measuring the time of a step")
        step_seconds, score_seconds = self._costs()
        rounds = halvings(len(self.standings))
        for number, count in enumerate(rounds):
            began = time.monotonic()
            steps = affordable(budget - (began - self.began), rounds[number:], step_seconds, score_seconds)
            if number == 0 and steps < MIN_STEPS:
                cost = MIN_STEPS * step_seconds + score_seconds
                self._refuse(budget, began - self.began + len(rounds) * count * cost)
            entered = [one for one in self._verdict().standings[:count] if len(one.trials) == number]
            for one in entered:
                yield from self._advance(one, max(1, steps))
            trained = sum(self.standings[one.candidate.name].steps - one.steps for one in entered)
            spent = time.monotonic() - began - len(entered) * score_seconds
            # Runs that have reached their recipe's end train no more
            if trained > 0 and spent > 0:
                step_seconds = spent / trained
            self._write()
        yield self._moment("done")

    def _refuse(self, budget: float, needed: float) -> NoReturn:
        given = f"{budget:g} seconds are too few for {len(self.standings)} candidates"
        raise ConfigError(f"{given} of {MIN_STEPS} steps or more; give {math.ceil(needed)}")

    def _moment(self, doing: str) -> Moment:
        return Moment(time.monotonic() - self.began, doing, self._verdict())

    def _verdict(self) -> Verdict:
        ranked = sorted(self.standings.values(), key=lambda one: one.rank, reverse=True)
        if ranked[0].diverged:
            raise DivergedError("every candidate diverged; lower training.learning_rate")
        return Verdict(tuple(ranked), self.start)

    def _costs(self) -> tuple[float, float]:
        """Seconds of a training step, and of scoring a candidate, on the average of the candidates."""
        recipes = [one.candidate.recipe for one in self.standings.values()]
        # Drawing or reading the first pictures is paid for once, not by each
        self._cost(recipes[0])
        heads = {recipe.prediction.heads: recipe for recipe in reversed(recipes)}
        costs = {count: self._cost(recipe) for count, recipe in heads.items()}
        steps, scores = zip(*(costs[recipe.prediction.heads] for recipe in recipes), strict=True)
        return fmean(steps), fmean(scores)

    def _cost(self, recipe: Recipe) -> tuple[float, float]:
        with tempfile.TemporaryDirectory() as place:
            run = Run(recipe, Path(place), self.processes)
            moments = [time.monotonic() for _ in islice(run.train(self.data.training, self.workers), 1 + TIMED)]
            began = time.monotonic()
            score(run, self.data.held_out)
            return (moments[-1] - moments[0]) / TIMED, time.monotonic() - began

    def _advance(self, one: Standing, steps: int) -> Iterator[Moment]:
        """Train a candidate by so many steps more, from where it stopped, and score it."""
        name, began = one.candidate.name, time.monotonic()
        place = self.folder / CANDIDATES / name
        try:
            with open_run(one.candidate.recipe, place, self.processes, resume=bool(states(place))) as run:
                for progress in islice(run.train(self.data.training, self.workers), steps):
                    yield self._moment(f"{name}, step {progress.step}")
                run.save()
                trial = Trial(run.step, score(run, self.data.held_out))
            one = replace(one, trials=(*one.trials, trial))
        except DivergedError as error:
            logger.warning("%s is out: %s", name, error)
            one = replace(one, diverged=True)
        self.standings[name] = replace(one, seconds=one.seconds + time.monotonic() - began)

    def _write(self) -> None:
        verdict = self._verdict()
        files.write_bytes(self.folder / TABLE, verdict.csv())
        files.write_bytes(self.folder / RECOMMENDED, verdict.best.candidate.recipe.toml().encode())
