"""Samplers: what they yield, in which order, with which noise; and their steps against the papers' own formulas."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from residiff.errors import ConfigError
from residiff.noise import seeded_noise, seeded_noises
from residiff.prediction import X0, Estimate, Noise
from residiff.sample import (
    ORDERS,
    NoiseSource,
    State,
    direct_step,
    general,
    heun,
    multistep,
    noise_first,
    readjusted,
    residual_first,
    step,
    straight,
    walk,
)
from residiff.schedule import (
    DDPM,
    RDDM,
    SHAPES,
    ColdDiffusion,
    ConvertedDDPM,
    Increments,
    Level,
    Resfusion,
    Schedule,
    even_grid,
    injected_variance,
)

SCHEDULES: list[Schedule] = [
    RDDM(length=40),
    RDDM(length=40, residual=Increments("falling-power"), noise=Increments("power"), total_noise=1.0),
    RDDM(length=40, total_noise=0.0),
    Resfusion(length=12),
    Resfusion(length=100),
    DDPM(length=40),
    ConvertedDDPM(base=DDPM(length=40)),
]
every_schedule = pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: f"{schedule.kind}{len(schedule)}")
SHAPE = (2, 3, 4, 4)


def draw(seed: int) -> Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def source(seed: int = 9) -> NoiseSource:
    generator = torch.Generator().manual_seed(seed)
    return lambda: torch.randn(SHAPE, generator=generator, dtype=torch.float64)


class Oracle:
    """Knows the clean image, and counts how often it is asked."""

    def __init__(self, x0: Tensor) -> None:
        self.x0, self.calls = x0, 0

    def __call__(self, x_t: Tensor, level: Level, x_in: Tensor, condition: Tensor | None) -> Estimate:
        self.calls += 1
        return X0().estimate(level, x_t, x_in, (self.x0,))


class Blur:
    """Neither right nor consistent with x_t, but smooth in it: what clamps and real networks give."""

    def __call__(self, x_t: Tensor, level: Level, x_in: Tensor, condition: Tensor | None) -> Estimate:
        return Estimate(torch.tanh(x_t), 0.5 * torch.sin(x_in - x_t), torch.cos(x_t))


def last(run: Iterator[State]) -> State:
    *_, end = run
    return end


# --- what a sampler yields ---

Walk = Callable[..., Iterator[State]]


@every_schedule
@pytest.mark.parametrize("sampler", [general, multistep])
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_a_run_yields_every_level_from_the_start_to_the_result(schedule: Schedule, sampler: Walk, steps: int) -> None:
    x_in, oracle, levels = draw(0), Oracle(draw(1)), schedule.levels(steps)
    start = schedule.start(x_in, draw(2))
    states = list(sampler(oracle, start, x_in, levels))
    assert [state.level for state in states] == list(levels)
    assert torch.equal(states[0].x, start)
    assert states[-1].level is Level.clean
    assert states[-1].estimate is states[-2].estimate
    assert oracle.calls == steps
    torch.testing.assert_close(states[-1].x, oracle.x0, rtol=0, atol=1e-12)


@every_schedule
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_heun_asks_twice_at_each_level_but_the_last_and_where_it_is_plain(schedule: Schedule, steps: int) -> None:
    x_in, levels = draw(0), schedule.levels(steps)
    for plain in range(steps):
        oracle = Oracle(draw(1))
        states = list(heun(oracle, schedule.start(x_in, draw(2)), x_in, levels, plain=plain))
        assert [state.level for state in states] == list(levels)
        assert oracle.calls == 2 * steps - 1 - plain
        torch.testing.assert_close(states[-1].x, oracle.x0, rtol=0, atol=1e-12)


@every_schedule
def test_heun_without_its_second_calls_is_the_plain_step(schedule: Schedule) -> None:
    x_in, levels = draw(0), schedule.levels(5)
    start = schedule.start(x_in, draw(2))

    def smooth(x_t: Tensor, level: Level, x_in: Tensor, condition: Tensor | None) -> Estimate:
        return X0().estimate(level, x_t, x_in, (torch.tanh(x_t),))

    runs = heun(smooth, start, x_in, levels, plain=4), general(smooth, start, x_in, levels)
    for one, other in zip(*runs, strict=True):
        torch.testing.assert_close(one.x, other.x, rtol=0, atol=1e-10)


@pytest.mark.parametrize("schedule", [RDDM(length=2000, total_noise=0.0), ColdDiffusion(length=2000)])
def test_heun_is_of_second_order_where_there_is_no_noise(schedule: Schedule) -> None:
    x_in = torch.linspace(-1, 1, 8, dtype=torch.float64).reshape(1, 1, 2, 4)

    def smooth(x_t: Tensor, level: Level, x_in: Tensor, condition: Tensor | None) -> Estimate:
        return X0().estimate(level, x_t, x_in, (torch.tanh(2 * x_t + x_in),))

    few, many, limit = (last(heun(smooth, x_in, x_in, schedule.levels(n, even_grid))).x for n in (10, 40, 640))
    errors = [float((end - limit).abs().max()) for end in (few, many)]
    assert math.log(errors[0] / errors[1], 4) > 1.9


@pytest.mark.parametrize("sampler", [general, multistep])
def test_the_caller_may_stop(sampler: Walk) -> None:
    schedule, x_in, oracle = RDDM(length=40), draw(0), Oracle(draw(1))
    run = sampler(oracle, schedule.start(x_in, draw(2)), x_in, schedule.levels(10))
    assert oracle.calls == 0, "nothing happens before it is asked for"
    for calls in (1, 2, 3):
        next(run)
        assert oracle.calls == calls
    run.close()
    assert oracle.calls == 3


@pytest.mark.parametrize("sampler", [general, multistep, heun])
def test_the_condition_reaches_the_network(sampler: Walk) -> None:
    seen: list[Tensor | None] = []

    def denoiser(x_t: Tensor, level: Level, x_in: Tensor, condition: Tensor | None) -> Estimate:
        seen.append(condition)
        return X0().estimate(level, x_t, x_in, (x_in,))

    schedule, x_in, mask = RDDM(length=40), draw(0), draw(5)
    last(sampler(denoiser, schedule.start(x_in, draw(2)), x_in, schedule.levels(3), mask))
    assert all(condition is mask for condition in seen) and len(seen) == (5 if sampler is heun else 3)


def test_nothing_that_is_given_changes() -> None:
    schedule, x_in = RDDM(length=40, total_noise=1.0), draw(0)
    start = schedule.start(x_in, draw(2))
    kept = x_in.clone(), start.clone()
    for sampler in (general, multistep, heun):
        last(sampler(Blur(), start, x_in, schedule.levels(5)))
    assert torch.equal(x_in, kept[0]) and torch.equal(start, kept[1])


@settings(max_examples=120, deadline=None)
@given(
    length=st.integers(1, 60),
    shapes=st.tuples(st.sampled_from(sorted(SHAPES)), st.sampled_from(sorted(SHAPES))),
    exponents=st.tuples(st.floats(0, 100), st.floats(0, 100)),
    total_noise=st.one_of(st.just(0.0), st.floats(1e-6, 100)),
    eta=st.floats(0, 1),
    data=st.data(),
)
def test_no_accepted_setting_samples_nan(
    length: int,
    shapes: tuple[str, str],
    exponents: tuple[float, float],
    total_noise: float,
    eta: float,
    data: st.DataObject,
) -> None:
    residual, noise = (Increments(*pair) for pair in zip(shapes, exponents, strict=True))  # type: ignore[arg-type]
    schedule = RDDM(length=length, residual=residual, noise=noise, total_noise=total_noise)
    levels = schedule.levels(data.draw(st.integers(1, length)))
    x_in, x0 = draw(0).float(), draw(1).float()
    start = schedule.start(x_in, draw(2).float())
    runs = [general(Oracle(x0), start, x_in, levels, eta=eta, noise=source(), consistent=True)]
    for solver in (multistep, heun):
        runs += [solver(Oracle(x0), start, x_in, way) for way in (levels, noise_first(levels))]
    for run in runs:
        for state in run:
            assert torch.isfinite(state.x).all()
        torch.testing.assert_close(state.x.float(), x0, rtol=0, atol=1e-4)


# --- orders ---


WHOLE_ORDERS = [name for name in ORDERS if not name.endswith("only")]


@every_schedule
@pytest.mark.parametrize("order", WHOLE_ORDERS)
def test_every_order_ends_in_the_same_result(schedule: Schedule, order: str) -> None:
    x_in, oracle = draw(0), Oracle(draw(1))
    end = last(walk(oracle, schedule.start(x_in, draw(2)), x_in, ORDERS[order](schedule.levels(5))))
    torch.testing.assert_close(end.x, oracle.x0, rtol=0, atol=1e-12)


@every_schedule
@pytest.mark.parametrize("order", [residual_first, noise_first])
@pytest.mark.parametrize("solver", [multistep, heun])
def test_orders_of_levels_suit_the_solvers(schedule: Schedule, order: Callable[..., Any], solver: Walk) -> None:
    x_in, oracle = draw(0), Oracle(draw(1))
    end = last(solver(oracle, schedule.start(x_in, draw(2)), x_in, order(schedule.levels(5))))
    torch.testing.assert_close(end.x, oracle.x0, rtol=0, atol=1e-12)


@every_schedule
def test_an_ablation_leaves_the_other_part_as_it_was(schedule: Schedule) -> None:
    x_in, x0, noise = draw(0), draw(1), draw(2)
    levels = schedule.levels(5)
    start = levels[0]
    x = start.mix(x0, x_in - x0, noise)
    no_residual = last(walk(Oracle(x0), x, x_in, ORDERS["residual-only"](levels)))
    torch.testing.assert_close(no_residual.x, x0 + start.noise * noise, rtol=0, atol=1e-9)
    no_noise = last(walk(Oracle(x0), x, x_in, ORDERS["noise-only"](levels)))
    expected = start.signal * x0 + start.residual * (x_in - x0) + (start.noise * noise if start.noise == 0 else 0)
    torch.testing.assert_close(no_noise.x, expected, rtol=0, atol=1e-9)


def test_readjustment_is_the_published_step_of_a_converted_model() -> None:
    """RDDM's conversion: R = (x_t - bbar eps) / (abar - 1) by DDIM's abar; the step by the readjusted one."""
    base = DDPM(length=40)
    trained = ConvertedDDPM(base)
    other = ConvertedDDPM(base, residual=Increments("falling-power", 2.0), noise=Increments("power", 1.0))
    x_in, noise = torch.zeros(1, 3, 4, 4, dtype=torch.float64), draw(2)[:1]

    def model(x_t: Tensor, level: Level, x_in: Tensor, condition: Tensor | None) -> Estimate:
        return Noise().estimate(level, x_t, x_in, (torch.tanh(x_t + level.t / 40),))

    run = walk(model, noise, x_in, readjusted(trained.levels(5), other.levels(5)))
    x, times = noise, [level.t for level in trained.levels(5)]
    for state, t, s in zip(run, times, [*times[1:], None], strict=True):
        torch.testing.assert_close(state.x, x)
        if s is None:
            break
        abar, bbar = trained(t).residual, trained(t).noise  # type: ignore[arg-type]
        eps = torch.tanh(x + t / 40)
        residual = (x - bbar * eps) / (abar - 1)
        (abar_t, bbar_t), (abar_s, bbar_s) = ((other(k).residual, other(k).noise) for k in (t, s))  # type: ignore[arg-type]
        x = x - (abar_t - abar_s) * residual - (bbar_t - bbar_s) * eps


@every_schedule
@pytest.mark.parametrize("eta", [0.0, 0.6])
def test_the_direct_step_is_the_general_one_where_the_estimate_adds_up(schedule: Schedule, eta: float) -> None:
    x_in, x0, noise = draw(0), draw(1), draw(2)
    levels = schedule.levels(4)
    for t, s in pairwise(levels):
        estimate = Estimate(x0, x_in - x0, noise)
        x_t = t.mix(x0, x_in - x0, noise)
        one, other = (take(x_t, estimate, t, s, eta, lambda: torch.ones_like(x0)) for take in (step, direct_step))
        torch.testing.assert_close(one, other)


def test_the_direct_step_keeps_nothing_of_x_t_that_the_estimate_leaves_out() -> None:
    levels, estimate = RDDM(length=20).levels(3), Estimate(draw(0), draw(1), draw(2))
    results = [direct_step(x_t, estimate, levels[0], levels[1]) for x_t in (draw(3), draw(4))]
    assert torch.equal(*results)
    with pytest.raises(ConfigError, match="source of noise"):
        direct_step(draw(3), estimate, levels[0], levels[1], 0.5)


def test_walking_the_trained_levels_themselves_changes_nothing() -> None:
    schedule, x_in, x0 = RDDM(length=20), draw(0), draw(1)
    levels, start = schedule.levels(4), schedule.start(x_in, draw(2))
    plain = last(general(Oracle(x0), start, x_in, levels))
    torch.testing.assert_close(last(walk(Oracle(x0), start, x_in, readjusted(levels, levels))).x, plain.x)


def test_readjusted_moves_are_estimated_at_the_trained_levels() -> None:
    trained, other = RDDM(length=20), RDDM(length=20, residual=Increments("power", 3))
    moves = readjusted(trained.levels(4), other.levels(4))
    assert [move.at for move in moves] == list(trained.levels(4)[:-1])
    assert [(move.source, move.target) for move in moves] == list(pairwise(other.levels(4)))


@every_schedule
def test_an_order_moves_one_coefficient_at_a_time(schedule: Schedule) -> None:
    levels = schedule.levels(5)
    start = levels[0]
    assert [(move.source, move.target) for move in straight(levels)] == list(pairwise(levels))
    for order, first in ((residual_first, "noise"), (noise_first, "residual")):
        path = order(levels)
        assert len(path) == 2 * 5 + 1
        assert path[0] == start and path[-1] is Level.clean
        kept, gone = path[:6], path[5:]
        assert {getattr(level, first) for level in kept} == {getattr(start, first)}
        other = "residual" if first == "noise" else "noise"
        assert {getattr(level, other) for level in gone} == {0.0}


def test_orders_tell_the_network_both_times() -> None:
    levels = RDDM(length=10).levels(2)
    paths = [[(level.t, level.t_noise) for level in order(levels)] for order in (residual_first, noise_first)]
    assert paths[0] == [(9, 9), (4, 9), (-1, 9), (-1, 4), (-1, -1)]
    assert paths[1] == [(9, 9), (9, 4), (9, -1), (4, -1), (-1, -1)]


# The published order ends each half in x_0: it leaves its path by design
@every_schedule
@pytest.mark.parametrize("order", [name for name in ORDERS if not name.startswith("published")])
def test_an_oracle_stays_on_its_path(schedule: Schedule, order: str) -> None:
    """With the true x_0 the state at each level is that level's mix of x_0, R and the noise it began with."""
    x_in, x0, noise = draw(0), draw(1), draw(2)
    moves = ORDERS[order](schedule.levels(4))
    if moves[0].source.noise == 0:
        noise = torch.zeros_like(noise)
    start = moves[0].source.mix(x0, x_in - x0, noise)
    for state in walk(Oracle(x0), start, x_in, moves):
        torch.testing.assert_close(state.x, state.level.mix(x0, x_in - x0, noise), rtol=0, atol=1e-9)


# --- noise ---


def test_each_image_has_the_noise_of_its_seed_whatever_else_is_in_the_batch() -> None:
    shape = (2, 3, 4, 5)
    source, alone = seeded_noises([7, 8], shape), seeded_noise(8, (1, 3, 4, 5))
    for _ in range(3):
        both, one = source(), alone()
        assert both.shape == shape
        assert torch.equal(both[1:], one) and not torch.equal(both[0], both[1])


def test_eta_needs_a_source_of_noise() -> None:
    schedule, x_in = RDDM(length=40), draw(0)
    run = general(Oracle(draw(1)), x_in, x_in, schedule.levels(3), eta=0.5)
    next(run)
    with pytest.raises(ConfigError, match="source of noise"):
        next(run)


@pytest.mark.parametrize("eta", [-0.1, 1.1, math.nan])
def test_eta_lies_between_0_and_1(eta: float) -> None:
    schedule, x_in = RDDM(length=40), draw(0)
    with pytest.raises(ConfigError, match="eta"):
        last(general(Oracle(draw(1)), x_in, x_in, schedule.levels(3), eta=eta, noise=source()))


def test_fresh_noise_is_drawn_once_a_step_and_not_in_the_last() -> None:
    draws = 0

    def noise() -> Tensor:
        nonlocal draws
        draws += 1
        return draw(draws)

    schedule, x_in = RDDM(length=40), draw(0)
    last(general(Oracle(draw(1)), x_in, x_in, schedule.levels(7), eta=1, noise=noise))
    assert draws == 6
    last(general(Oracle(draw(1)), x_in, x_in, schedule.levels(7), eta=0, noise=noise))
    assert draws == 6


@pytest.mark.parametrize("shape", [(4, 3, 5, 6), (1, 3, 5, 6), (4, 1, 8, 8)])
def test_seeded_noise_is_the_same_for_every_image(shape: tuple[int, ...]) -> None:
    batch, alone = seeded_noise(7, shape), seeded_noise(7, (1, *shape[1:]))
    fields = []
    for _ in range(3):
        field = batch()
        assert field.shape == shape
        assert torch.equal(field, alone().expand(shape))
        fields.append(field)
    assert not torch.equal(fields[0], fields[1])
    again = seeded_noise(7, shape)
    assert all(torch.equal(field, again()) for field in fields)
    assert not torch.equal(fields[0], seeded_noise(8, shape)())


def test_seeded_noise_is_standard_normal_and_private() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    field = seeded_noise(3, (1, 3, 64, 64))()
    assert abs(float(field.mean())) < 0.03 and abs(float(field.std()) - 1) < 0.03
    assert torch.equal(torch.get_rng_state(), before)


# --- steps against the papers' own formulas ---


def pairs(schedule: Schedule, steps: int) -> Iterator[tuple[Level, Level]]:
    return pairwise(schedule.levels(steps)[:-1])


def stepped(t: Level, s: Level, eta: float = 0.0, seed: int = 3) -> tuple[Tensor, Tensor, Estimate, Tensor]:
    """(x_s, x_t, a consistent estimate, z)."""
    x0, residual, noise, z = (draw(seed + k) for k in range(4))
    x_t, estimate = t.mix(x0, residual, noise), Estimate(x0, residual, noise)
    return step(x_t, estimate, t, s, eta, lambda: z), x_t, estimate, z


@pytest.mark.parametrize("total_noise", [0.01, 1.0])
def test_an_ancestral_step_is_rddms_posterior(total_noise: float) -> None:
    for t, s in pairs(RDDM(length=60, total_noise=total_noise), 60):
        gained, before, now = t.noise**2 - s.noise**2, s.noise**2, t.noise**2
        variance = gained * before / now
        assert injected_variance(t, s, 1) == pytest.approx(variance, rel=1e-9)
        x_s, x_t, estimate, z = stepped(t, s, 1)
        residual = (gained * s.residual - before * (t.residual - s.residual)) / now
        expected = before / now * x_t + residual * estimate.residual + gained / now * estimate.x0
        torch.testing.assert_close(x_s, expected + math.sqrt(variance) * z)


@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
def test_a_step_is_rddms_generalised_ddim(eta: float) -> None:
    for t, s in pairs(RDDM(length=60, total_noise=1.0), 7):
        variance = eta * (t.noise**2 - s.noise**2) * s.noise**2 / t.noise**2
        x_s, x_t, estimate, z = stepped(t, s, eta)
        kept = math.sqrt(s.noise**2 - variance)
        expected = x_t - (t.residual - s.residual) * estimate.residual - (t.noise - kept) * estimate.noise
        torch.testing.assert_close(x_s, expected + math.sqrt(variance) * z)


@pytest.mark.parametrize("length", [12, 100])
def test_an_ancestral_step_is_resfusions(length: int) -> None:
    """Eq. 13: (x_t - beta / sqrt(1 - A_t) y) / sqrt(alpha) + sqrt(btilde) z, with y = eps + k R."""
    schedule = Resfusion(length=length)
    for t, s in pairs(schedule, len(schedule)):
        now, before = t.signal**2, s.signal**2
        alpha = now / before
        posterior = (1 - before) / (1 - now) * (1 - alpha)
        assert injected_variance(t, s, 1) == pytest.approx(posterior, rel=1e-9)
        x_s, x_t, estimate, z = stepped(t, s, 1)
        y = estimate.noise + t.resnoise * estimate.residual
        mean = (x_t - (1 - alpha) / math.sqrt(1 - now) * y) / math.sqrt(alpha)
        torch.testing.assert_close(x_s, mean + math.sqrt(posterior) * z)


@pytest.mark.parametrize("eta", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("steps", [5, 40])
def test_a_step_is_ddims(eta: float, steps: int) -> None:
    """DDIM eq. 12 and 16; its eta is the square root of ours."""
    for t, s in pairs(DDPM(length=400), steps):
        now, before = t.signal**2, s.signal**2
        sigma = math.sqrt(eta) * math.sqrt((1 - before) / (1 - now)) * math.sqrt(1 - now / before)
        assert injected_variance(t, s, eta) == pytest.approx(sigma**2, rel=1e-9)
        x_s, x_t, estimate, z = stepped(t, s, eta)
        x_t = t.mix(estimate.x0, torch.zeros_like(x_t), estimate.noise)
        x0 = (x_t - math.sqrt(1 - now) * estimate.noise) / math.sqrt(now)
        expected = math.sqrt(before) * x0 + math.sqrt(1 - before - sigma**2) * estimate.noise + sigma * z
        torch.testing.assert_close(x_s, expected)


@every_schedule
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_a_step_keeps_the_marginal(schedule: Schedule, eta: float) -> None:
    """x_s is a_s x_0 + r_s R plus independent noises whose variances add up to n_s^2."""
    for t, s in pairwise(schedule.levels(4)):
        variance = injected_variance(t, s, eta)
        x0, residual, noise = draw(1), draw(2), draw(3)
        x_s = step(t.mix(x0, residual, noise), Estimate(x0, residual, noise), t, s, eta, lambda: torch.zeros(SHAPE))
        kept = math.sqrt(float(s.noise) ** 2 - variance)
        torch.testing.assert_close(x_s, s.signal * x0 + s.residual * residual + kept * noise, rtol=0, atol=1e-12)


def test_the_clean_level_takes_the_estimate_as_it_is() -> None:
    estimate = Estimate(draw(1), draw(2), draw(3))
    t = RDDM(length=40)(13)
    assert step(draw(0), estimate, t, Level.clean) is estimate.x0


def test_estimates_that_do_not_add_up_are_followed_by_difference() -> None:
    """RDDM's DDIM form under clamps: x_t is moved by the estimates, not rebuilt from them."""
    t, s = RDDM(length=40, total_noise=1.0).levels(3)[:2]
    x_t, estimate = draw(0), Estimate(draw(1), draw(2), draw(3))
    expected = x_t + (s.residual - t.residual) * estimate.residual + (s.noise - t.noise) * estimate.noise
    torch.testing.assert_close(step(x_t, estimate, t, s), expected)


def test_consistent_derives_the_noise_again() -> None:
    schedule, x_in = RDDM(length=40, total_noise=1.0), draw(0)
    start, levels = schedule.start(x_in, draw(2)), schedule.levels(3)
    states = list(general(Blur(), start, x_in, levels, consistent=True))
    first = states[0]
    again = first.estimate.with_noise_from(first.level, first.x)
    torch.testing.assert_close(states[1].x, step(first.x, again, levels[0], levels[1]))
    assert not torch.allclose(states[1].x, step(first.x, first.estimate, levels[0], levels[1]))


@every_schedule
def test_the_first_step_of_multistep_is_the_plain_one(schedule: Schedule) -> None:
    x_in = draw(0)
    start, levels = schedule.start(x_in, draw(2)), schedule.levels(4)[:2]
    ends = [last(sampler(Oracle(draw(1)), start, x_in, levels)).x for sampler in (general, multistep)]
    torch.testing.assert_close(ends[0], ends[1], rtol=0, atol=1e-10)


def test_multistep_extrapolates_after_its_first_steps() -> None:
    schedule, x_in = RDDM(length=400, total_noise=1.0), draw(0)

    def denoiser(x_t: Tensor, level: Level, x_in: Tensor, condition: Tensor | None) -> Estimate:
        return X0().estimate(level, x_t, x_in, (torch.tanh(x_t),))

    start = schedule.start(x_in, draw(2))
    states = [list(sampler(denoiser, start, x_in, schedule.levels(6))) for sampler in (general, multistep)]
    moved = [not torch.allclose(plain.x, second.x) for plain, second in zip(*states, strict=True)]
    assert moved == [False, False, False, True, True, True, True]


@pytest.mark.parametrize("sampler", [general, multistep])
def test_single_precision_stays_single(sampler: Walk) -> None:
    schedule, x_in = Resfusion(length=12), draw(0).float()
    levels: Sequence[Level] = schedule.levels()
    assert all(state.x.dtype == torch.float32 for state in sampler(Oracle(draw(1).float()), x_in, x_in, levels))
