"""Predictions: every estimate is the inverse of its target, at every level of every schedule."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from residiff.errors import ConfigError
from residiff.prediction import X0, Clamp, Estimate, Noise, Prediction, Residual, ResidualNoise, ResNoise
from residiff.schedule import DDPM, RDDM, ConvertedDDPM, Increments, Level, Resfusion, Schedule

SCHEDULES: list[Schedule] = [
    RDDM(),
    RDDM(length=20, residual=Increments("falling-power"), noise=Increments("power"), total_noise=1.0),
    RDDM(length=20, total_noise=0.0),
    Resfusion(length=12),
    Resfusion(length=273, betas="squared-cosine"),
    DDPM(),
    ConvertedDDPM(base=DDPM(length=100)),
]
PREDICTIONS: list[Prediction] = [ResidualNoise(), Residual(), Noise(), X0(), ResNoise()]
every_schedule = pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: f"{schedule.kind}{len(schedule)}")
every_prediction = pytest.mark.parametrize("prediction", PREDICTIONS, ids=lambda prediction: prediction.kind)


def draw(seed: int, batch: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    """x_0 and x_in within [-1, 1], and eps; (N, 3, 4, 4) float64."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand((2, batch, 3, 4, 4), generator=generator, dtype=torch.float64) * 2 - 1
    return images[0], images[1], torch.randn((batch, 3, 4, 4), generator=generator, dtype=torch.float64)


def determinable(prediction: Prediction, level: Level) -> bool:
    """Whether the output at `level` fixes x_0, and not by a difference that rounding has eaten."""
    share = torch.as_tensor(level.signal) - torch.as_tensor(level.residual)
    if isinstance(prediction, Noise):
        return bool((share.abs() > 1e-5).all())
    if isinstance(prediction, ResNoise):
        return bool(((share + torch.as_tensor(level.noise) * torch.as_tensor(level.resnoise)).abs() > 1e-5).all())
    return True


def assert_round_trip(prediction: Prediction, level: Level, seed: int, tolerance: float = 1e-8) -> None:
    x0, x_in, noise = draw(seed)
    x_t = level.mix(x0, x_in - x0, noise)
    targets = prediction.target(level, x0, x_in, noise)
    assert len(targets) == prediction.heads
    estimate = prediction.estimate(level, x_t, x_in, targets)
    torch.testing.assert_close(estimate.x0, x0, rtol=0, atol=tolerance)
    torch.testing.assert_close(estimate.residual, x_in - x0, rtol=0, atol=tolerance)
    assert torch.isfinite(estimate.noise).all()
    scale = torch.as_tensor(level.noise)
    torch.testing.assert_close(scale * estimate.noise, scale * noise, rtol=0, atol=2 * tolerance)
    remixed = level.mix(estimate.x0, estimate.residual, estimate.noise)
    torch.testing.assert_close(remixed, x_t, rtol=0, atol=2 * tolerance)


@every_schedule
@every_prediction
def test_estimates_undo_targets_at_every_level(schedule: Schedule, prediction: Prediction) -> None:
    times = sorted({0, 1, 2, len(schedule) // 2, len(schedule) - 2, len(schedule) - 1})
    levels = [level for level in map(schedule, times) if determinable(prediction, level)]
    assert levels
    for seed, level in enumerate(levels):
        assert_round_trip(prediction, level, seed)


@every_schedule
@every_prediction
def test_estimates_undo_targets_in_a_batch_of_times(schedule: Schedule, prediction: Prediction) -> None:
    level = schedule(torch.tensor([0, len(schedule) // 2]))
    assert determinable(prediction, level)
    assert_round_trip(prediction, level, 1, tolerance=1e-6)  # a batch of levels is in float32


@settings(max_examples=150, deadline=None)
@given(
    length=st.integers(1, 60),
    shape=st.sampled_from(["decreasing", "increasing", "mean", "power", "falling-power", "normal"]),
    exponent=st.floats(0, 4),
    total_noise=st.floats(1e-4, 2),
    prediction=st.sampled_from(PREDICTIONS),
    data=st.data(),
)
def test_estimates_undo_targets_of_any_rddm(
    length: int, shape: str, exponent: float, total_noise: float, prediction: Prediction, data: st.DataObject
) -> None:
    increments = Increments(shape, exponent)  # type: ignore[arg-type]
    schedule = RDDM(length=length, residual=increments, noise=increments, total_noise=total_noise)
    level = schedule(data.draw(st.integers(0, length - 1)))
    if determinable(prediction, level) and (level.noise == 0 or float(level.noise) > 1e-6):
        assert_round_trip(prediction, level, length)


@pytest.mark.parametrize("schedule", [RDDM(), Resfusion(length=12)])
def test_noise_is_refused_where_x0_has_vanished(schedule: Schedule) -> None:
    x0, x_in, noise = draw(0)
    start = schedule.levels()[0]
    for level in (start, schedule(torch.tensor([0, len(schedule) - 1]))):
        x_t = level.mix(x0, x_in - x0, noise)
        with pytest.raises(ConfigError, match="vanished"):
            Noise().estimate(level, x_t, x_in, (noise,))


def test_a_guard_stands_for_the_vanished_share() -> None:
    x0, x_in, noise = draw(0)
    schedule = RDDM()
    start = schedule.levels()[0]
    x_t = start.mix(x0, x_in - x0, noise) + 3e-6
    estimate = Noise(guard=1e-6).estimate(start, x_t, x_in, (noise,))
    torch.testing.assert_close(estimate.x0, torch.full_like(x0, 3), rtol=0, atol=1e-6)
    batch = schedule(torch.tensor([0, 999]))
    both = Noise(guard=1e-6).estimate(batch, batch.mix(x0, x_in - x0, noise), x_in, (noise,))
    torch.testing.assert_close(both.x0[0], x0[0], rtol=0, atol=1e-8)
    assert torch.isfinite(both.x0).all()


@pytest.mark.parametrize("guard", [0.0, -1e-6, 2.0, math.nan])
def test_a_useless_guard_is_refused(guard: float) -> None:
    with pytest.raises(ConfigError, match="guard"):
        Noise(guard=guard)


def test_a_guard_changes_nothing_elsewhere() -> None:
    x0, x_in, noise = draw(0)
    level = RDDM()(500)
    x_t = level.mix(x0, x_in - x0, noise)
    assert torch.equal(
        Noise(guard=0.5).estimate(level, x_t, x_in, (noise,)).x0, Noise().estimate(level, x_t, x_in, (noise,)).x0
    )


def test_what_cannot_be_solved_is_refused() -> None:
    x0, x_in, noise = draw(0)
    silent = RDDM(length=10, total_noise=0.0)(9)
    with pytest.raises(ConfigError, match="resnoise"):
        ResNoise().estimate(silent, x_in, x_in, (noise,))
    gone = DDPM(length=2000, beta_end=0.9)(1999)
    with pytest.raises(ConfigError, match="R and eps"):
        ResidualNoise().estimate(gone, noise, x_in, (x_in - x0, noise))


def test_resnoise_is_never_singular_for_resfusion() -> None:
    for betas in ("linear", "squared-cosine"):
        for length in (12, 40, 273, 1000):
            table = Resfusion(length=length, betas=betas).table  # type: ignore[arg-type]
            a, r, n, _, k = table.unbind(1)
            determinant = a - r + n * k
            assert determinant.min() >= 0.36 and determinant.max() <= 1


def test_resnoise_is_what_an_ancestral_step_removes() -> None:
    """Resfusion eq. 6: k = (1 - sqrt(alpha)) sqrt(1 - A) / beta, also at t = 0, where it is written with A_(-1) = 1."""
    schedule = Resfusion(length=100)
    power = torch.cat([torch.ones(1, dtype=torch.float64), schedule.table[:, 0] ** 2])
    alpha = power[1:] / power[:-1]
    expected = (1 - alpha.sqrt()) * (1 - power[1:]).sqrt() / (1 - alpha)
    torch.testing.assert_close(schedule.table[:, 4], expected, rtol=1e-9, atol=1e-12)


@every_prediction
@pytest.mark.parametrize("clamp", Clamp)
def test_clamps(prediction: Prediction, clamp: Clamp) -> None:
    """What is outside [-1, 1] is held there if the clamp says so, and left alone if not."""
    x0, x_in, noise = draw(3)
    level = RDDM(total_noise=1.0)(600)
    x0 = x0 * 3
    x_t = level.mix(x0, x_in - x0, noise)
    estimate = prediction.estimate(level, x_t, x_in, prediction.target(level, x0, x_in, noise), clamp)
    assert (estimate.x0.abs().max() <= 1) == (clamp is not Clamp.NONE)
    assert (estimate.residual.abs().max() <= 1) == (clamp is Clamp.RESIDUAL)
    if clamp is Clamp.X0:
        torch.testing.assert_close(estimate.x0, x0.clamp(-1, 1))
    if clamp is Clamp.NONE:
        torch.testing.assert_close(estimate.x0, x0)


def test_clamping_x0_keeps_the_residual_in_step() -> None:
    """Resfusion's x_0 and residual modes: R = x_in - clamp(x_0), and eps completes x_t again."""
    x0, x_in, noise = draw(4)
    level = Resfusion(length=12)(3)
    x_t = level.mix(3 * x0, x_in - 3 * x0, noise)
    for prediction in (Residual(), X0(), ResNoise()):
        estimate = prediction.estimate(level, x_t, x_in, prediction.target(level, 3 * x0, x_in, noise), Clamp.X0)
        torch.testing.assert_close(estimate.residual, x_in - estimate.x0)
        torch.testing.assert_close(level.mix(estimate.x0, estimate.residual, estimate.noise), x_t)


def test_clamping_the_residual_leaves_eps_as_predicted() -> None:
    """RDDM with two heads: the residual and x_0 are clamped, eps never."""
    x0, x_in, noise = draw(5)
    level = RDDM()(500)
    estimate = ResidualNoise().estimate(level, x0, x_in, (3 * x0, 5 * noise), Clamp.RESIDUAL)
    assert torch.equal(estimate.noise, 5 * noise)
    assert torch.equal(estimate.residual, (3 * x0).clamp(-1, 1))


@pytest.mark.parametrize("level", [RDDM()(400), Resfusion(length=12)(2), RDDM(total_noise=0.0)(400)])
def test_noise_is_derived_again(level: Level) -> None:
    x0, x_in, noise = draw(6)
    x_t = level.mix(x0, x_in - x0, noise).requires_grad_()
    estimate = Estimate(x0.clamp(-0.5, 0.5), x_in - x0, noise).with_noise_from(level, x_t)
    (gradient,) = torch.autograd.grad(estimate.noise.sum(), x_t)
    assert torch.isfinite(estimate.noise).all() and torch.isfinite(gradient).all()
    if level.noise:
        torch.testing.assert_close(level.mix(estimate.x0, estimate.residual, estimate.noise), x_t)
    else:
        assert not estimate.noise.any()
