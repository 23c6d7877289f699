"""The times at which a model is best asked, for each number of steps, found by measured error.

1. One fine run over a few dozen candidate times gives the states of the calibration pictures there and what the network
   makes of them.
2. A table has the cost of each step from one candidate to a later one: how far it ends from the fine run's state there.
3. Dynamic programming finds, for every number of steps, the ways of least cost (`cheapest`): the sum of the distances,
   and of their squares, which punish a long step more.
4. A sum of steps' errors is not the error of their end. So the recipe's own times, the usual grids and the cheapest
   ways are walked, and compared by what they end in: PSNR against the true pictures, or against the model's own results
   in many steps. Of the best, one time after the other is moved where that helps. The recipe's own times stay where
   nothing is better.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import combinations
from pathlib import Path

import torch
from torch import Tensor

from residiff.checkpoint import ModelFile
from residiff.curve import CURVE, Curve, Point, machine
from residiff.data.pair import Pair
from residiff.errors import ConfigError, check_range
from residiff.inference import sampled, shown
from residiff.noise import seeded_noise
from residiff.recipe import Recipe
from residiff.sample import State, step
from residiff.schedule import even_grid, published_grid, quadratic_grid
from residiff.train.cheapest import Way, cheapest
from residiff.train.comparing import Judge, in_steps
from residiff.train.data import TrainingData, training_data
from residiff.train.objective import changed
from residiff.train.validation import joined

# Times beside the recipe's own that may be visited; ways of each table that are walked
CANDIDATES, WAYS = 32, 3
# A time is moved by so many candidates at most, each in turn so many times
REACH, ROUNDS = 2, 2
# Steps that the model's own results are taken in, where they are what is aimed at
MANY = 100
# In dB: less is no reason to leave the recipe's own times
BETTER = 0.01
# Of the picture that is timed, in pixels
SIDE = 256

Times = tuple[int, ...]


@dataclass(frozen=True)
class Tuned:
    """The best `times` for so many `steps`, and mean PSNR in dB at them and at the recipe's own."""

    steps: int
    times: Times
    psnr: float
    own: float


class Tuner:
    """Searches the times of a model on calibration pairs (3, H, W) of one size in [0, 1].

    Parameters
    ----------
    model, pairs, steps, device : what is asked how often, on which pictures, and where
    own : whether its results are to be like its own in many steps, rather than like the true pictures

    Raises
    ------
    ConfigError
        If there are no pairs, a number of steps is out of range, or the recipe does not walk straight down its own
        schedule.
    """

    def __init__(
        self, model: ModelFile, pairs: Sequence[Pair], steps: Sequence[int], device: torch.device, *, own: bool = False
    ) -> None:
        self.recipe, self.pairs, self.steps, self.device = model.recipe, tuple(pairs), sorted(set(steps)), device
        self.schedule, self.sampling = self.recipe.schedule, self.recipe.sampling
        for number in self.steps:
            check_range("steps", number, 1, len(self.schedule))
        if not pairs or not steps:
            raise ConfigError("times are tuned for some numbers of steps on some pairs; give one of each at least")
        if self.sampling.order != "simultaneous" or self.sampling.readjusted is not None:
            raise ConfigError("times are tuned where sampling.order is simultaneous and nothing readjusted; set it so")
        self.denoiser = model.denoiser().to(device)
        many = min(MANY, len(self.schedule))
        self.judge = Judge(self.denoiser, self.recipe, many, pairs, device, own=own)
        self._known: dict[tuple[int, Times], float] = {}

    def tuned(self) -> Iterator[Tuned]:
        """The best for each number of steps in turn; `DivergedError` where a result is not finite."""
        for steps in self.steps:
            own = self._own(steps)
            usual = (
                grid(len(self.schedule), self._count(steps)) for grid in (published_grid, even_grid, quadratic_grid)
            )
            best = max((own, *usual, *self._ways(steps)), key=partial(self._psnr, steps))
            for _ in range(ROUNDS):
                best = self._moved(steps, best)
            if self._psnr(steps, best) < self._psnr(steps, own) + BETTER:
                best = own
            yield Tuned(steps, best, self._psnr(steps, best), self._psnr(steps, own))

    def usual(self) -> Iterator[Tuned]:
        """For each number of steps in turn the times that the recipe takes already."""
        for steps in self.steps:
            own = self._own(steps)
            yield Tuned(steps, own, self._psnr(steps, own), self._psnr(steps, own))

    def curve(self, results: Sequence[Tuned], of: str) -> Curve:
        """Quality and time of `results` on this machine; `of` says where the pairs are from."""
        self._seconds(self.recipe, 1)
        points = [
            Point(one.steps, one.psnr, self._seconds(in_steps(self.recipe, one.steps, one.times), one.steps))
            for one in results
        ]
        facts = machine(self.device)
        return Curve(tuple(points), facts, self._side**2, len(self.pairs), of, self.judge.against)

    def _count(self, steps: int) -> int:
        """How many levels are visited in so many network calls."""
        return steps // 2 + 1 if self.sampling.sampler == "heun" else steps

    def _own(self, steps: int) -> Times:
        return tuple(int(level.t) for level in self.sampling.visits(self.schedule, self._count(steps))[:-1])

    def _psnr(self, steps: int, times: Times) -> float:
        if (steps, times) not in self._known:
            self._known[steps, times] = self.judge.psnr(self.denoiser, in_steps(self.recipe, steps, times))
        return self._known[steps, times]

    def _moved(self, steps: int, times: Times) -> Times:
        """The best of `times` with each but the first in turn moved to a candidate near it."""
        for place in range(1, len(times)):
            floor = times[place + 1] if place + 1 < len(times) else -1
            near = self._near(times[place])
            moved = [(*times[:place], t, *times[place + 1 :]) for t in near if floor < t < times[place - 1]]
            times = max((times, *moved), key=partial(self._psnr, steps))
        return times

    def _near(self, time: int) -> Times:
        """The candidates within reach of a time."""
        place = min(range(len(self.candidates)), key=lambda k: abs(self.candidates[k] - time))
        return self.candidates[max(0, place - REACH) : place + REACH + 1]

    def _ways(self, steps: int) -> tuple[Times, ...]:
        """The cheapest ways of both tables."""
        place = self._count(steps) - 1
        found = [way for table in self._cheapest for way in table[place]]
        return tuple(dict.fromkeys(tuple(self.candidates[node] for node in way) for way in found))

    @cached_property
    def candidates(self) -> Times:
        """Times from T - 1 down: as many even ones as such that are denser towards the end, and the recipe's own."""
        length, half = len(self.schedule), min(CANDIDATES // 2, len(self.schedule))
        own = {t for steps in self.steps for t in self._own(steps)}
        return tuple(sorted({*even_grid(length, half), *quadratic_grid(length, half), *own}, reverse=True))

    @cached_property
    def _cheapest(self) -> tuple[tuple[tuple[Way, ...], ...], ...]:
        """For distances and for their squares: for each number of levels the cheapest ways."""
        squares, most = self._squares(), max(self._count(steps) for steps in self.steps)
        return tuple(cheapest(table.tolist(), most, WAYS) for table in (squares.sqrt(), squares))

    @torch.inference_mode()
    def _squares(self) -> Tensor:
        """(M + 1, M + 1): mean squared distance of a step's end from the fine run, over the pairs."""
        size, total = self.recipe.training.batch, torch.zeros(())
        for first in range(0, len(self.pairs), size):
            part = self.pairs[first : first + size]
            total = total + len(part) * _table(self._fine_run(part))
        return total / len(self.pairs)

    def _fine_run(self, pairs: Sequence[Pair]) -> list[State]:
        changes = {"sampler": "multistep", "eta": 0.0, "times": (self.candidates,)}
        fine = self.recipe.model_copy(update={"sampling": self.sampling.model_copy(update=changes)})
        batch = shown(self.recipe.network, joined(pairs), self.device)
        noise = seeded_noise(0, batch.x_in.shape, self.device)
        run = sampled(self.denoiser, fine, batch.x_in, noise, steps=len(self.candidates), condition=batch.condition)
        return list(run)

    @property
    def _side(self) -> int:
        multiple = int(self.denoiser.backbone.size_multiple)  # type: ignore[arg-type]
        return -(-SIDE // multiple) * multiple

    @torch.inference_mode()
    def _seconds(self, recipe: Recipe, steps: int) -> float:
        """What a megapixel takes in so many steps, by a grey picture; the shorter of two runs."""
        grey = Pair(*(torch.full((1, channels, self._side, self._side), 0.5) for channels in (3, 3, 1)))
        batch = shown(self.recipe.network, grey, self.device)
        taken = []
        for _ in range(2):
            noise = seeded_noise(0, batch.x_in.shape, self.device)
            began = time.perf_counter()
            run = sampled(self.denoiser, recipe, batch.x_in, noise, steps=steps, condition=batch.condition)
            (end,) = deque(run, maxlen=1)
            # Waits until it is there
            end.x[0, 0, 0, 0].item()
            taken.append(time.perf_counter() - began)
        return min(taken) / (self._side**2 / 1e6)


def _table(states: Sequence[State]) -> Tensor:
    """(M + 1, M + 1): mean squared distance of the step from each state of a run to each later one from that."""
    costs = torch.zeros((len(states), len(states)), dtype=torch.float64)
    for (i, one), (j, other) in combinations(enumerate(states), 2):
        costs[i, j] = (step(one.x, one.estimate, one.level, other.level) - other.x).square().mean()
    return costs


def calibration(recipe: Recipe, folder: Path | None) -> TrainingData:
    """Pairs to tune a model on: those that its recipe holds out of its training data, or would; see `training_data`."""
    if recipe.validation.on == "none":
        carved = recipe.validation.model_copy(update={"on": "carved"})
        recipe = recipe.model_copy(update={"validation": carved})
    return training_data(recipe, folder)


def tuned_model(model: ModelFile, results: Sequence[Tuned], curve: Curve) -> ModelFile:
    """The model with the times that are better than its recipe's own in its recipe, and the curve in its card."""
    recipe = model.recipe
    for one in results:
        if one.psnr > one.own:
            recipe = in_steps(recipe, recipe.sampling.steps, one.times)
    chosen = changed(model.recipe, {"sampling": recipe.sampling})
    return replace(model, recipe=chosen, card={**model.card, CURVE: curve.facts()})
