"""Samplers on data whose best denoiser is known: x_0 given x_in is N(m, s^2), so that E[x_0 | x_t] is linear in x_t.

A linear denoiser makes a linear sampler. Shown start noise 0 and 1, and 1 at each single draw of fresh noise, it gives
up its mean and variance exactly: nothing here is drawn at random.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from residiff.prediction import Estimate
from residiff.sample import Sampler, State, general, heun, multistep
from residiff.schedule import (
    BBDM,
    DDPM,
    I2SB,
    IRSDE,
    RDDM,
    ColdDiffusion,
    ConvertedDDPM,
    DiffUIR,
    Increments,
    InDI,
    Level,
    Resfusion,
    ResidualFlow,
    ResShift,
    Schedule,
)

MEAN, DEVIATION, INPUT = 0.3, 0.25, -0.2


@dataclass(frozen=True)
class Exact:
    """E[x_0 | x_t], with the R and eps that go with it."""

    mean: float = MEAN
    deviation: float = DEVIATION

    def __call__(self, x_t: Tensor, level: Level, x_in: Tensor, condition: Tensor | None = None) -> Estimate:
        share, n = float(level.signal) - float(level.residual), float(level.noise)
        seen = self.deviation**2 * share**2 + n**2
        shift = x_t - level.residual * x_in - share * self.mean
        x0 = self.mean + (self.deviation**2 * share / seen * shift if seen else 0 * shift)
        residual = x_in - x0
        left = x_t - level.signal * x0 - level.residual * residual
        return Estimate(x0, residual, left / n if n else torch.zeros_like(left))


class Moments(NamedTuple):
    mean: float
    variance: float


EXACT = Moments(MEAN, DEVIATION**2)


class Impulses:
    """Fresh noise for a batch of probes: draw number k is 1 for probe number k + 2 and 0 for the others."""

    def __init__(self, count: int) -> None:
        self.count, self.drawn = count, 0

    def __call__(self) -> Tensor:
        field = torch.zeros(self.count, 1, 1, 1, dtype=torch.float64)
        field[self.drawn + 2] = 1
        self.drawn += 1
        return field


def moments(
    schedule: Schedule,
    steps: int,
    sampler: Callable[..., Iterator[State]],
    draws: int = 0,
    deviation: float = DEVIATION,
) -> Moments:
    """Mean and variance of what `sampler` makes of `steps` levels; `draws` is the most fresh noise it may ask for."""
    probes = 2 + draws
    noise = torch.zeros(probes, 1, 1, 1, dtype=torch.float64)
    noise[1] = 1
    x_in = torch.full_like(noise, INPUT)
    *_, end = sampler(Exact(deviation=deviation), schedule.start(x_in, noise), x_in, schedule.levels(steps))
    result = end.x.flatten()
    assert result.dtype == torch.float64
    return Moments(float(result[0]), float(((result[1:] - result[0]) ** 2).sum()))


def ancestral(schedule: Schedule, steps: int, eta: float) -> Moments:
    return moments(schedule, steps, partial(general, eta=eta, noise=Impulses(2 + steps)), draws=steps)


def error(found: Moments, expected: Moments = EXACT) -> float:
    """The larger of the errors of mean and standard deviation."""
    return max(abs(found.mean - expected.mean), abs(math.sqrt(found.variance) - math.sqrt(expected.variance)))


EXACT_START = [
    RDDM(length=10_000, total_noise=1.0),
    RDDM(length=10_000, total_noise=0.01),
    RDDM(length=10_000, residual=Increments("mean"), noise=Increments("mean"), total_noise=0.3),
    Resfusion(length=10_000),
]
BIASED_START = [
    DDPM(),
    DDPM(length=300),
    DDPM(length=500, betas="scaled-linear"),
    ConvertedDDPM(),
    Resfusion(length=273),
]
RDDM_LOUD, RDDM_QUIET = RDDM(length=100_000, total_noise=1.0), RDDM(length=100_000, total_noise=0.01)
RESFUSION = Resfusion(length=100_000)


def named(schedule: Schedule) -> str:
    noise = f"-noise{schedule.total_noise:g}" if isinstance(schedule, RDDM) else ""
    return f"{schedule.kind}{noise}-{len(schedule)}"


def limit(schedule: Schedule) -> Moments:
    """Mean and variance after infinitely many deterministic steps: exact ones where the start is, else a biased pair.

    The exact flow takes N(mu_T, sigma_T^2), the law of x_T, to N(m, s^2) by an affine map; the start is put through it.
    """
    level = schedule.levels(1)[0]
    share, n = float(level.signal) - float(level.residual), float(level.noise)
    x_in, one = torch.tensor(INPUT, dtype=torch.float64), torch.ones((), dtype=torch.float64)
    start = float(schedule.start(x_in, 0 * one))
    spread = float(schedule.start(x_in, one)) - start
    gain = DEVIATION / math.hypot(share * DEVIATION, n)
    law = share * MEAN + float(level.residual) * INPUT
    return Moments(MEAN + gain * (start - law), (gain * spread) ** 2)


@pytest.mark.parametrize("schedule", EXACT_START, ids=named)
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_moments_are_exact_in_200_steps(schedule: Schedule, eta: float) -> None:
    assert error(ancestral(schedule, 200, eta)) < 1e-2


@pytest.mark.parametrize("schedule", EXACT_START, ids=named)
def test_multistep_moments_are_exact_in_100_steps(schedule: Schedule) -> None:
    assert error(moments(schedule, 100, multistep)) < 1e-2


@pytest.mark.parametrize("schedule", EXACT_START, ids=named)
def test_a_start_where_x0_has_vanished_is_unbiased(schedule: Schedule) -> None:
    assert error(limit(schedule)) < 1e-4


@pytest.mark.parametrize("schedule", BIASED_START, ids=named)
def test_the_bias_of_any_other_start_is_the_one_that_theory_gives(schedule: Schedule) -> None:
    """Plain noise is not quite the law of x_T: sqrt(A_T) x_0 is left out. Many steps find that bias, and no other."""
    expected = limit(schedule)
    assert error(expected) > 4e-4
    found = [moments(schedule, steps, multistep) for steps in (len(schedule) // 4, len(schedule))]
    assert error(found[1], expected) < 2e-3
    assert error(found[1], expected) < error(found[0], expected) or error(found[0], expected) < 1e-4


def test_ddpm_of_a_thousand_steps_is_hardly_biased() -> None:
    assert error(limit(DDPM())) < 2e-3


def slope(schedule: Schedule, sampler: Sampler, few: int, many: int) -> float:
    """Order of convergence: what a doubling of the steps divides the error by, as a power of two."""
    errors = [error(moments(schedule, steps, sampler)) for steps in (few, many)]
    return math.log2(errors[0] / errors[1]) / math.log2(many / few)


@pytest.mark.parametrize("schedule", [RDDM_LOUD, RDDM_QUIET, RESFUSION], ids=named)
def test_the_plain_step_is_of_first_order(schedule: Schedule) -> None:
    assert slope(schedule, general, 80, 320) == pytest.approx(1, abs=0.06)


@pytest.mark.parametrize(
    ("schedule", "few", "many", "order"),
    [(RDDM_QUIET, 20, 80, 1.8), (RESFUSION, 20, 80, 1.8), (RDDM_LOUD, 80, 320, 1.7), (RDDM_QUIET, 80, 320, 1.9)],
    ids=lambda value: named(value) if isinstance(value, Schedule) else str(value),
)
def test_multistep_is_of_second_order(schedule: Schedule, few: int, many: int, order: float) -> None:
    assert slope(schedule, multistep, few, many) >= order


@pytest.mark.parametrize(
    ("schedule", "few", "many", "order"),
    [(RDDM_QUIET, 20, 80, 1.8), (RDDM_QUIET, 80, 320, 1.9), (RDDM_LOUD, 320, 1280, 1.8)],
    ids=lambda value: named(value) if isinstance(value, Schedule) else str(value),
)
def test_heun_is_of_second_order(schedule: Schedule, few: int, many: int, order: float) -> None:
    assert slope(schedule, heun, few, many) >= order


FAMILY = [
    RDDM(length=1000),
    RDDM(length=1000, total_noise=0.0),
    Resfusion(length=1000),
    DDPM(length=1000),
    ConvertedDDPM(base=DDPM(length=1000)),
    ResShift(length=1000),
    IRSDE(length=1000),
    I2SB(length=1000),
    InDI(length=1000),
    ColdDiffusion(length=1000),
    ResidualFlow(length=1000),
    BBDM(length=1000),
    DiffUIR(rddm=RDDM(length=1000)),
]


@pytest.mark.parametrize("schedule", FAMILY, ids=named)
@pytest.mark.parametrize("solver", [multistep, heun])
def test_the_solvers_and_the_plain_step_agree_in_fine_steps(schedule: Schedule, solver: Sampler) -> None:
    """All follow one equation, so that what one is off by vanishes with the steps."""
    assert error(moments(schedule, len(schedule) // 2, solver), moments(schedule, len(schedule), general)) < 4e-3


@pytest.mark.parametrize("schedule", [RDDM_LOUD, RDDM_QUIET, RESFUSION], ids=named)
@pytest.mark.parametrize("deviation", [0.05, 0.1, DEVIATION, 0.5, 1.0])
def test_multistep_is_better_than_the_plain_step_from_10_steps_on(schedule: Schedule, deviation: float) -> None:
    exact = Moments(MEAN, deviation**2)
    for steps in (10, 15, 20, 40, 80, 160):
        errors = [error(moments(schedule, steps, way, deviation=deviation), exact) for way in (multistep, general)]
        assert errors[0] < errors[1], f"{steps} steps"
