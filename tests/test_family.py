"""The bridges' reverse steps against the formulas that their papers print."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from residiff.errors import ConfigError
from residiff.prediction import X0, Estimate, Velocity
from residiff.sample import step
from residiff.schedule import (
    BBDM,
    I2SB,
    IRSDE,
    RDDM,
    ColdDiffusion,
    DiffUIR,
    Increments,
    InDI,
    Level,
    ResidualFlow,
    ResShift,
    Schedule,
    injected_variance,
)

SHAPE = (1, 3, 4, 5)
Published = Callable[[Level, Level, Tensor, Tensor, Tensor], tuple[Tensor, float]]


def draws(count: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(7)
    return [torch.randn(SHAPE, generator=generator, dtype=torch.float64) for _ in range(count)]


def resshift(t: Level, s: Level, x_t: Tensor, x0: Tensor, x_in: Tensor) -> tuple[Tensor, float]:
    """Eq. 6: N(eta_s/eta_t x_t + alpha/eta_t x_0, kappa^2 eta_s/eta_t alpha)."""
    alpha = t.residual - s.residual
    mean = s.residual / t.residual * x_t + alpha / t.residual * x0
    return mean, ResShift().kappa ** 2 * s.residual / t.residual * alpha


def ir_sde(t: Level, s: Level, x_t: Tensor, x0: Tensor, x_in: Tensor) -> tuple[Tensor, float]:
    """The optimum reverse path (proposition 3.2), in decays: e^-th_t, e^-th_s and their ratio."""
    whole, before = 1 - t.residual, 1 - s.residual
    one = whole / before
    mean = (1 - before**2) / (1 - whole**2) * one * (x_t - x_in)
    mean = mean + (1 - one**2) / (1 - whole**2) * before * (x0 - x_in) + x_in
    return mean, IRSDE().noise ** 2 * (1 - one**2) * (1 - before**2) / (1 - whole**2)


def i2sb(t: Level, s: Level, x_t: Tensor, x0: Tensor, x_in: Tensor) -> tuple[Tensor, float]:
    """Eq. 4: the product of two Gaussians about x_0 and x_t, with the forward variances s_s^2 and s_t^2 - s_s^2."""
    schedule = I2SB()
    half = torch.linspace(math.sqrt(schedule.low), math.sqrt(schedule.high), 500, dtype=torch.float64) ** 2
    forward = torch.cat([half, half.flip(0)]).cumsum(0)
    near, far = float(forward[int(s.t)]), float(forward[int(t.t)] - forward[int(s.t)])
    return (far * x0 + near * x_t) / (near + far), near * far / (near + far)


def indi(t: Level, s: Level, x_t: Tensor, x0: Tensor, x_in: Tensor) -> tuple[Tensor, float]:
    """Eq. 9: delta/t x_0 + (1 - delta/t) x_t."""
    delta = (t.residual - s.residual) / t.residual
    return delta * x0 + (1 - delta) * x_t, 0.0


def cold(t: Level, s: Level, x_t: Tensor, x0: Tensor, x_in: Tensor) -> tuple[Tensor, float]:
    """Algorithm 2: x_t - D(x_0, t) + D(x_0, s)."""

    def degraded(level: Level) -> Tensor:
        return (1 - level.residual) * x0 + level.residual * x_in

    return x_t - degraded(t) + degraded(s), 0.0


def bbdm(t: Level, s: Level, x_t: Tensor, x0: Tensor, x_in: Tensor) -> tuple[Tensor, float]:
    """Eq. 11 to 13: c_x x_t + c_y y - c_e (x_t - x_0); from y itself, where the variance is zero, the marginal."""
    near, far = s.residual, t.residual
    at_s, at_t = (2 * m * (1 - m) for m in (near, far))
    if at_t == 0:
        return (1 - near) * x0 + near * x_in, at_s
    between = at_t - at_s * ((1 - far) / (1 - near)) ** 2
    c_x = at_s / at_t * (1 - far) / (1 - near) + between / at_t * (1 - near)
    c_y = near - far * (1 - far) / (1 - near) * at_s / at_t
    c_e = (1 - near) * between / at_t
    return c_x * x_t + c_y * x_in - c_e * (x_t - x0), between * at_s / at_t


def flow(t: Level, s: Level, x_t: Tensor, x0: Tensor, x_in: Tensor) -> tuple[Tensor, float]:
    """An Euler step along the straight line's velocity, whatever the network's v is."""
    (velocity,) = Velocity().target(t, x0, x_in, (x_t - t.signal * x0 - t.residual * (x_in - x0)) / t.noise)
    return x_t + (s.noise - t.noise) * velocity, 0.0


MEMBERS: dict[str, tuple[Schedule, float, Published]] = {
    "resshift": (ResShift(), 1.0, resshift),
    "ir-sde": (IRSDE(), 1.0, ir_sde),
    "i2sb": (I2SB(), 1.0, i2sb),
    "indi": (InDI(), 0.0, indi),
    "cold-diffusion": (ColdDiffusion(), 0.0, cold),
    "bbdm": (BBDM(), 1.0, bbdm),
    "residual-flow": (ResidualFlow(gain=1.5), 0.0, flow),
}


@pytest.mark.parametrize("name", MEMBERS)
def test_the_general_step_is_the_published_one(name: str) -> None:
    schedule, eta, published = MEMBERS[name]
    x0, x_in, noise, guess = draws(4)
    for top, bottom in (
        (len(schedule) - 1, len(schedule) // 2),
        (len(schedule) // 2, len(schedule) // 3),
        (2, 1),
        (1, 0),
    ):
        t, s = schedule(top), schedule(bottom)
        x_t = t.mix(x0, x_in - x0, noise)
        mean, variance = published(t, s, x_t, guess, x_in)
        estimate = X0().estimate(t, x_t, x_in, (guess,))
        assert injected_variance(t, s, eta) == pytest.approx(variance, rel=1e-9, abs=1e-14)
        ours = step(x_t, estimate, t, s, eta, lambda: torch.zeros(SHAPE, dtype=torch.float64))
        torch.testing.assert_close(ours, mean, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", MEMBERS)
def test_the_ends(name: str) -> None:
    schedule = MEMBERS[name][0]
    start, first = schedule(len(schedule) - 1), schedule(0)
    assert start.signal - start.residual == pytest.approx(0, abs=0.006)
    assert first.residual < 0.011 and first.noise <= 0.05
    assert (schedule.table[:, 1].diff() > 0).all()


def test_the_flow_starts_where_the_clean_image_has_vanished() -> None:
    for gain in (0.25, 1.0, 4.0):
        start = ResidualFlow(length=10, gain=gain)(9)
        assert start.noise == pytest.approx(1 / (1 + gain))
        assert start.signal == pytest.approx(start.residual)


def test_a_velocity_gives_back_what_it_was_made_of() -> None:
    x0, x_in, noise = draws(3)
    for t in (0, 50, 99):
        level = ResidualFlow()(t)
        x_t = level.mix(x0, x_in - x0, noise)
        estimate = Velocity().estimate(level, x_t, x_in, Velocity().target(level, x0, x_in, noise))
        torch.testing.assert_close(estimate.x0, x0)
        torch.testing.assert_close(estimate.noise, noise, rtol=1e-6, atol=1e-6)


def test_resshift_is_geometric_where_its_power_is_one() -> None:
    root = ResShift(power=1).table[:, 1].sqrt()
    torch.testing.assert_close(root[1:] / root[:-1], (root[1] / root[0]).expand(14), rtol=1e-12, atol=0)
    assert float(root[-1]) ** 2 == pytest.approx(0.999)
    assert float(root[0]) == pytest.approx(0.02)


def test_the_bridge_is_exact_at_the_degraded_end() -> None:
    for length in (2, 3, 10, 11):
        end = I2SB(length=length)(length - 1)
        assert (end.residual, end.noise, end.memory) == (1.0, 0.0, 0.0)


def test_the_bridge_widens_in_the_middle() -> None:
    noise = I2SB().table[:, 2]
    assert 450 < int(noise.argmax()) < 550


@pytest.mark.parametrize(
    "make",
    [
        lambda: ResShift(length=1),
        lambda: ResShift(first=5.0),
        lambda: IRSDE(rest=0.0),
        lambda: I2SB(low=1.0, high=0.5),
        lambda: InDI(noise=-1.0),
        lambda: ColdDiffusion(length=0),
    ],
)
def test_impossible_settings_are_refused(make: Callable[[], Schedule]) -> None:
    with pytest.raises(ConfigError, match="allowed are"):
        make()


def test_diffuirs_step_is_the_published_one() -> None:
    """I_s = I_t - (abar_t - abar_s) R - (bbar_t - bbar_s) eps + (dbar_t - dbar_s) I_in."""
    schedule = DiffUIR(rddm=RDDM(length=50, total_noise=0.25), total_taken=0.75)
    x0, x_in, noise, _ = draws(4)
    abar, bbar = (schedule.rddm.table[:, column] for column in (1, 2))
    dbar = 0.75 * Increments("increasing")(50).cumsum(0)
    for top, bottom in ((49, 20), (20, 3), (1, 0)):
        t, s = schedule(top), schedule(bottom)
        x_t = x0 + abar[top] * (x_in - x0) + bbar[top] * noise - dbar[top] * x_in
        torch.testing.assert_close(t.mix(x0, x_in - x0, noise), x_t)
        down = (abar[top] - abar[bottom], bbar[top] - bbar[bottom], dbar[top] - dbar[bottom])
        published = x_t - down[0] * (x_in - x0) - down[1] * noise + down[2] * x_in
        torch.testing.assert_close(step(x_t, Estimate(x0, x_in - x0, noise), t, s), published)
    torch.testing.assert_close(schedule.start(x_in, noise), 0.25 * x_in + 0.5 * noise)
