r"""Samplers: generators that walk from the degraded image to the clean one.

Every sampler yields a `State` (level, x_t, estimate) for each level, the start first and the clean level last, and
nothing else happens in it: progress, preview, cancel and trajectory are the caller's loop. The step, in difference form
so that estimates which do not add up to x_t (clamped ones) behave as published too:

    x_s = x_t + (a_s - a_t) x_0 + (r_s - r_t) R + (sqrt(n_s^2 - v) - n_t) eps + sqrt(v) z,      z ~ N(0, I)

with v from `injected_variance`; at the clean level x = x_0. eta = 0 is deterministic (both of RDDM's DDIM forms),
eta = 1 ancestral (RDDM's posterior, Resfusion eq. 13). eta scales the variance, where diffusers' scales the standard
deviation.

Two solvers are of second order. With lam = (a - r) / n the state y = x / n obeys dy = x_0 dlam + x_in d(r / n), exact
in x_in: x_0 alone must be guessed on the way, and both take it as linear in ln lam. `multistep` extrapolates it from
the step before, with no extra network call; `heun` asks the network at the far end too, and needs no step before.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple

from torch import Tensor

from residiff.errors import ConfigError
from residiff.noise import NoiseSource
from residiff.prediction import Estimate, Estimator
from residiff.schedule import Level, injected_variance, mixed


class State(NamedTuple):
    """One moment of a sampling run; at the clean level `x` is the result and `estimate` the last one made."""

    level: Level
    x: Tensor
    estimate: Estimate


class Move(NamedTuple):
    """A step from level `source` to level `target`, on what the network makes of x as if at level `at`."""

    at: Level
    source: Level
    target: Level


Step = Callable[[Tensor, Estimate, Level, Level, float, NoiseSource | None], Tensor]
Sampler = Callable[[Estimator, Tensor, Tensor, Sequence[Level], Tensor | None], Iterator[State]]


def step(
    x_t: Tensor, estimate: Estimate, t: Level, s: Level, eta: float = 0.0, noise: NoiseSource | None = None
) -> Tensor:
    """The general step from level `t` to level `s`; `noise` is drawn from once if eta calls for fresh noise."""
    if s is Level.clean:
        return estimate.x0
    variance = injected_variance(t, s, eta)
    x_s = (
        x_t
        + (s.signal - t.signal) * estimate.x0
        + (s.residual - t.residual) * estimate.residual
        + (_kept(s, variance) - t.noise) * estimate.noise
    )
    return _with_fresh_noise(x_s, variance, noise)


def direct_step(
    x_t: Tensor, estimate: Estimate, t: Level, s: Level, eta: float = 0.0, noise: NoiseSource | None = None
) -> Tensor:
    """As `step`, but x_s is mixed from the estimate alone, a_s x_0 + r_s R + sqrt(n_s^2 - v) eps, as DDIM is published.

    The two agree where the estimate adds up to x_t; a clamped one leaves nothing of itself in x_s here.
    """
    variance = injected_variance(t, s, eta)
    x_s = s.signal * estimate.x0 + s.residual * estimate.residual + _kept(s, variance) * estimate.noise
    return _with_fresh_noise(x_s, variance, noise)


def _kept(s: Level, variance: float) -> float:
    """The weight of the estimated noise in x_s beside fresh noise of `variance`."""
    return math.sqrt(max(0.0, float(s.noise) ** 2 - variance))


def _with_fresh_noise(x_s: Tensor, variance: float, noise: NoiseSource | None) -> Tensor:
    if variance == 0:
        return x_s
    if noise is None:
        raise ConfigError("eta above 0 needs a source of noise")
    return x_s + math.sqrt(variance) * noise()


def general(
    denoiser: Estimator,
    x: Tensor,
    x_in: Tensor,
    levels: Sequence[Level],
    condition: Tensor | None = None,
    *,
    eta: float = 0.0,
    noise: NoiseSource | None = None,
    consistent: bool = False,
) -> Iterator[State]:
    """Walk `levels` from `x` (N, C, H, W) by the general step.

    `consistent` derives eps again from x_t, R and x_0 before each step: RDDM's ancestral form where x_0 is clamped.
    """
    return walk(denoiser, x, x_in, straight(levels), condition, eta=eta, noise=noise, consistent=consistent)


def walk(
    denoiser: Estimator,
    x: Tensor,
    x_in: Tensor,
    moves: Sequence[Move],
    condition: Tensor | None = None,
    *,
    eta: float = 0.0,
    noise: NoiseSource | None = None,
    consistent: bool = False,
    by: Step = step,
) -> Iterator[State]:
    """Make `moves` one after the other, each `by` a step: the most general path; see `general` for the rest."""
    for move in moves:
        at, source, target = move
        estimate = denoiser(x, at, x_in, condition)
        yield State(source, x, estimate)
        followed = estimate.with_noise_from(source, x) if consistent else estimate
        x = by(x, followed, source, target, eta, noise)
        if move is not moves[-1]:
            # Three times as large as x, while the network needs the memory
            del estimate, followed
    yield State(target, x, estimate)


def multistep(
    denoiser: Estimator, x: Tensor, x_in: Tensor, levels: Sequence[Level], condition: Tensor | None = None
) -> Iterator[State]:
    """Walk `levels` deterministically, of second order but where x_0 has vanished and into the end (first order)."""
    before: tuple[float, Tensor] | None = None
    for t, s in pairwise(levels):
        estimate = denoiser(x, t, x_in, condition)
        yield State(t, x, estimate)
        lam = _signal_to_noise(t)
        if s is Level.clean or s.noise == 0 or t.noise == 0:
            x = step(x, estimate, t, s)
        else:
            x = _multistep(x, x_in, estimate.x0, before, t, s)
        before = (lam, estimate.x0) if 0 < lam < math.inf else None
    yield State(levels[-1], x, estimate)


def _signal_to_noise(level: Level) -> float:
    """(a - r) / n, called lam above; zero where x_0 has vanished to rounding."""
    share = _share(level)
    if share < 1e-9:
        return 0.0
    return share / float(level.noise) if level.noise else math.inf


def _share(level: Level) -> float:
    return float(level.signal) - float(level.residual)


def _multistep(x: Tensor, x_in: Tensor, x0: Tensor, before: tuple[float, Tensor] | None, t: Level, s: Level) -> Tensor:
    x_s = _held(x, x_in, x0, t, s)
    if before is None:
        return x_s
    lam_before, x0_before = before
    lam_t, lam_s = _signal_to_noise(t), _signal_to_noise(s)
    # Two estimates as good as one: nothing to extrapolate from
    if not lam_before * (1 + 1e-6) < lam_t < lam_s:
        return x_s
    return x_s + _growth(t, s) / math.log(lam_t / lam_before) * (x0 - x0_before)


def heun(
    denoiser: Estimator,
    x: Tensor,
    x_in: Tensor,
    levels: Sequence[Level],
    condition: Tensor | None = None,
    *,
    plain: int = 0,
) -> Iterator[State]:
    """Walk `levels` deterministically by Heun's method, of second order but into the clean level (x = x_0).

    A step calls the network where it starts and where it would end, the last one and the first `plain` ones only where
    they start. It is an exponential integrator: between the two x_0 is linear in ln lam, where Karras et al. (2022)
    take eps as linear in 1 / lam; linear in lam itself where that is negative, or there is no noise.
    """
    for number, (t, s) in enumerate(pairwise(levels)):
        estimate = denoiser(x, t, x_in, condition)
        yield State(t, x, estimate)
        if s is Level.clean:
            x = step(x, estimate, t, s)
            continue
        x = _held(x, x_in, estimate.x0, t, s)
        if number >= plain:
            ahead = denoiser(x, s, x_in, condition).x0
            x = x + _share_of_the_end(t, s) * (ahead - estimate.x0)
    yield State(levels[-1], x, estimate)


def _share_of_the_end(t: Level, s: Level) -> float:
    """The weight of what x_0 has changed by at the end of a step, beside `_held`: the integral of its rise."""
    lam_t, lam_s = _signal_to_noise(t), _signal_to_noise(s)
    if 0 < lam_t * (1 + 1e-6) < lam_s < math.inf:
        return _growth(t, s) / math.log(lam_s / lam_t)
    # The logarithm's limits, where lam begins at 0 or ends at infinity
    is_limit = float(t.noise) > 0 and (abs(_share(t)) < 1e-9 or not s.noise)
    return _drift(t, s) * (1.0 if is_limit else 0.5)


# Every weight is a product with n_s: lam itself may be too large for the tensors' type near the clean end.
def _ratio(t: Level, s: Level) -> float:
    return float(s.noise) / float(t.noise) if t.noise else 1.0


def _drift(t: Level, s: Level) -> float:
    """n_s (lam_s - lam_t); where there is no noise, what x_0's share in x grows by."""
    return _share(s) - _ratio(t, s) * _share(t)


def _growth(t: Level, s: Level) -> float:
    """n_s times the integral of ln(lam / lam_t) dlam from t to s."""
    return _share(s) * math.log(_signal_to_noise(s) / _signal_to_noise(t)) - _drift(t, s)


def _held(x: Tensor, x_in: Tensor, x0: Tensor, t: Level, s: Level) -> Tensor:
    """The state at level `s` if x_0 stayed as it is all the way, exactly."""
    ratio = _ratio(t, s)
    return ratio * x + _drift(t, s) * x0 + (float(s.residual) - ratio * float(t.residual)) * x_in


def straight(levels: Sequence[Level]) -> tuple[Move, ...]:
    """The moves from each level to the next."""
    return tuple(Move(t, t, s) for t, s in pairwise(levels))


def residual_first(levels: Sequence[Level]) -> tuple[Level, ...]:
    """Remove the residual at full noise, then the noise (RDDM: path-independence): 2 steps for each of `levels`."""
    start, ends = levels[0], levels[1:]
    down = [mixed(level, start) for level in ends]
    return (start, *down, *(mixed(ends[-1], level) for level in ends[:-1]), Level.clean)


def noise_first(levels: Sequence[Level]) -> tuple[Level, ...]:
    """Remove the noise at full residual, then the residual: 2 steps for each of `levels`."""
    start, ends = levels[0], levels[1:]
    down = [mixed(start, level) for level in ends]
    return (start, *down, *(mixed(level, ends[-1]) for level in ends[:-1]), Level.clean)


def published_residual_first(levels: Sequence[Level]) -> tuple[Move, ...]:
    """RDDM's published order: the residual over all levels, then the noise over all levels again.

    The network is told the joint level while one coefficient moves, and each half ends in x_0 as it stands (clamped,
    where the denoiser clamps).
    """
    start, pairs = levels[0], list(pairwise(levels))
    first = [Move(t, mixed(t, start), s if s is Level.clean else mixed(s, start)) for t, s in pairs]
    second = [Move(t, mixed(Level.clean, t), s if s is Level.clean else mixed(Level.clean, s)) for t, s in pairs]
    return (*first, *second)


def residual_only(levels: Sequence[Level]) -> tuple[Level, ...]:
    """Remove the residual and leave the noise as it is (both papers' ablation)."""
    return tuple(mixed(level, levels[0]) for level in levels)


def noise_only(levels: Sequence[Level]) -> tuple[Level, ...]:
    """Remove the noise and leave the residual as it is (both papers' ablation)."""
    return tuple(mixed(levels[0], level) for level in levels)


def readjusted(levels: Sequence[Level], walked: Sequence[Level]) -> tuple[Move, ...]:
    """Walk the levels `walked` on estimates made as if at `levels` (RDDM: other coefficients for a trained network).

    The last move is a step as the others are, not to the estimate of x_0, which is that of the trained levels.
    """
    *ways, last = pairwise(walked)
    ways.append((last[0], replace(last[1])))
    return tuple(Move(at, t, s) for at, (t, s) in zip(levels[:-1], ways, strict=True))


STEPS: dict[str, Step] = {"general": step, "direct": direct_step}
ORDERS: dict[str, Callable[[Sequence[Level]], tuple[Move, ...]]] = {
    "simultaneous": straight,
    "residual-first": lambda levels: straight(residual_first(levels)),
    "noise-first": lambda levels: straight(noise_first(levels)),
    "published-residual-first": published_residual_first,
    "residual-only": lambda levels: straight(residual_only(levels)),
    "noise-only": lambda levels: straight(noise_only(levels)),
}
