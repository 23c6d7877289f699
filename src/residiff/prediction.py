r"""Predictions: what the network is asked for, and how x_0, R and eps follow from its answer.

A `Prediction` knows its `target` in training and the `Estimate` that an output stands for; the estimate is the hub, so
n predictions need n classes and no conversions among them. Every unclamped estimate satisfies
level.mix(x0, residual, noise) == x_t, with R = x_in - x_0:

| class           | output              | x_0 from x_t = a x_0 + r R + n eps                        |
|-----------------|---------------------|-----------------------------------------------------------|
| `ResidualNoise` | R and eps           | (x_t - r R - n eps) / a                                   |
| `Residual`      | R                   | x_in - R                                                  |
| `Noise`         | eps                 | (x_t - r x_in - n eps) / (a - r)                          |
| `X0`            | x_0                 | itself                                                    |
| `ResNoise`      | eps + k R           | (x_t - n y - (r - n k) x_in) / (a - r + n k)              |
| `Velocity`      | eps + (r/n) R - x_0 | (x_t - n v) / (a + n)                                     |

Three more of RDDM's objectives, `X0Noise`, `ResidualAddNoise` and `X0AddNoise`, predict in pairs what the rows above
hold; where x_0 and eps are both predicted the estimate need not add up to x_t.

`Clamp` names what the published samplers clamp; good results may need none of it. References: RDDM (SM-Res-N, SM-Res,
SM-N); Resfusion eq. 6 (resnoise).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import ClassVar, Literal, Protocol, final

import torch
from torch import Tensor

from residiff.errors import ConfigError, check_range
from residiff.schedule import Coefficient, Level

Outputs = tuple[Tensor, ...]


class Clamp(Enum):
    """Which estimates are held within [-1, 1].

    `RESIDUAL` clamps the residual, though it spans [-2, 2], and then x_0, as RDDM's published sampler does; `X0` clamps
    x_0 alone and takes R = x_in - x_0, as Resfusion's published x_0 and residual modes do.
    """

    NONE = "none"
    X0 = "x0"
    RESIDUAL = "residual"


@final
@dataclass(frozen=True)
class Estimate:
    """What a network makes of x_t: x_0, R = x_in - x_0 and eps, each (N, C, H, W), in [-1, 1] where they are images."""

    x0: Tensor
    residual: Tensor
    noise: Tensor

    def with_noise_from(self, level: Level, x_t: Tensor) -> Estimate:
        """The estimate with eps derived again from x_t, x_0 and R (RDDM's ancestral form, where x_0 was clamped)."""
        return Estimate(self.x0, self.residual, _noise_left(level, x_t, self.x0, self.residual))


# (x_t, level, x_in, condition) -> what is made of x_t
Estimator = Callable[[Tensor, Level, Tensor, Tensor | None], Estimate]


class Asked(Protocol):
    """What answers for the network in a sampling run: a `Denoiser`, or what stands for one."""

    def estimator(self) -> Estimator:
        """What one sampling run calls."""
        ...


@dataclass(frozen=True)
class Prediction(ABC):
    """What the network is asked for. Subclasses are final; `heads` is the number of output tensors."""

    heads: ClassVar[int] = 1

    @abstractmethod
    def target(self, level: Level, x0: Tensor, x_in: Tensor, noise: Tensor) -> Outputs:
        """What the heads should give, one (N, C, H, W) each."""

    @abstractmethod
    def estimate(
        self, level: Level, x_t: Tensor, x_in: Tensor, outputs: Outputs, clamp: Clamp = Clamp.NONE
    ) -> Estimate:
        """What the heads' outputs say of x_0, R and eps."""


def _unit(x: Tensor, wanted: bool) -> Tensor:
    return x.clamp(-1, 1) if wanted else x


def _noise_left(level: Level, x_t: Tensor, x0: Tensor, residual: Tensor) -> Tensor:
    """The eps that completes x_t; zero where the level holds no noise."""
    scale = torch.as_tensor(level.noise, dtype=x_t.dtype, device=x_t.device)
    left = (x_t - level.signal * x0 - level.residual * residual) / torch.where(scale == 0, 1, scale)
    return torch.where(scale == 0, 0, left)


def _completed(level: Level, x_t: Tensor, x_in: Tensor, x0: Tensor, clamp: Clamp) -> Estimate:
    """R as what x_in holds beside x_0, eps as what x_t holds beside both."""
    residual = _unit(x_in - x0, clamp is Clamp.RESIDUAL)
    return Estimate(x0, residual, _noise_left(level, x_t, x0, residual))


def _divisor(share: Coefficient, x_t: Tensor, guard: float | None, refusal: str) -> Tensor:
    """`share` to divide by; where it has vanished `guard` stands for it, and without one `refusal` is raised."""
    divisor = torch.as_tensor(share, dtype=x_t.dtype, device=x_t.device)
    gone = divisor.abs() < 1e-7
    if not gone.any():
        return divisor
    if guard is None:
        raise ConfigError(refusal)
    return torch.where(gone, guard, divisor)


def _from_both(level: Level, x_t: Tensor, residual: Tensor, noise: Tensor, clamp: Clamp) -> Estimate:
    """x_0 as what x_t holds beside R and eps."""
    signal = _divisor(level.signal, x_t, None, "R and eps say nothing of x_0 where x_t holds none: predict x_0")
    x0 = (x_t - level.residual * residual - level.noise * noise) / signal
    return Estimate(_unit(x0, clamp is not Clamp.NONE), residual, noise)


def _beside(x_in: Tensor, x0: Tensor, noise: Tensor, clamp: Clamp) -> Estimate:
    """R as what x_in holds beside x_0; eps as predicted, so that the three need not add up to x_t."""
    return Estimate(x0, _unit(x_in - x0, clamp is Clamp.RESIDUAL), noise)


@final
@dataclass(frozen=True)
class ResidualNoise(Prediction):
    """R and eps, a head each (RDDM).

    `drive` says which of the trained heads drives sampling: both (SM-Res-N), the residual alone (SM-Res) or the noise
    alone (SM-N, with the `guard` of `Noise`).
    """

    kind: Literal["residual-noise"] = "residual-noise"
    drive: Literal["both", "residual", "noise"] = "both"
    guard: float | None = None
    heads: ClassVar[int] = 2

    def __post_init__(self) -> None:
        Noise(guard=self.guard)

    def target(self, level: Level, x0: Tensor, x_in: Tensor, noise: Tensor) -> Outputs:
        """(R, eps)."""
        return x_in - x0, noise

    def estimate(
        self, level: Level, x_t: Tensor, x_in: Tensor, outputs: Outputs, clamp: Clamp = Clamp.NONE
    ) -> Estimate:
        """x_0 is what x_t holds beside the two; or what the one that drives says of it."""
        if self.drive != "both":
            return self._driven().estimate(level, x_t, x_in, (outputs[self.drive == "noise"],), clamp)
        residual = _unit(outputs[0], clamp is Clamp.RESIDUAL)
        return _from_both(level, x_t, residual, outputs[1], clamp)

    def _driven(self) -> Prediction:
        return Residual() if self.drive == "residual" else Noise(guard=self.guard)


@final
@dataclass(frozen=True)
class Residual(Prediction):
    """R alone (RDDM, SM-Res; Resfusion's residual mode)."""

    kind: Literal["residual"] = "residual"

    def target(self, level: Level, x0: Tensor, x_in: Tensor, noise: Tensor) -> Outputs:
        """(R,)."""
        return (x_in - x0,)

    def estimate(
        self, level: Level, x_t: Tensor, x_in: Tensor, outputs: Outputs, clamp: Clamp = Clamp.NONE
    ) -> Estimate:
        """x_0 = x_in - R."""
        residual = _unit(outputs[0], clamp is Clamp.RESIDUAL)
        x0 = x_in - residual
        if clamp is Clamp.X0:
            x0 = x0.clamp(-1, 1)
            residual = x_in - x0
        noise = _noise_left(level, x_t, x0, residual)
        return Estimate(_unit(x0, clamp is Clamp.RESIDUAL), residual, noise)


@final
@dataclass(frozen=True)
class Noise(Prediction):
    """eps alone (RDDM, SM-N; DDPM).

    At RDDM's start a = r, so that eps says nothing of x_0. `guard` is the number that stands for a - r there (1e-6 in
    the published code); without one such a level is refused.
    """

    kind: Literal["noise"] = "noise"
    guard: float | None = None

    def __post_init__(self) -> None:
        if self.guard is not None:
            check_range("guard", self.guard, 1e-12, 1)

    def target(self, level: Level, x0: Tensor, x_in: Tensor, noise: Tensor) -> Outputs:
        """(eps,)."""
        return (noise,)

    def estimate(
        self, level: Level, x_t: Tensor, x_in: Tensor, outputs: Outputs, clamp: Clamp = Clamp.NONE
    ) -> Estimate:
        """x_0 = (x_t - r x_in - n eps) / (a - r).

        Raises
        ------
        ConfigError
            If x_0 has vanished from x_t (a = r) and there is no guard.
        """
        noise = outputs[0]
        refusal = "noise says nothing of x_0 where x_0 has vanished from x_t: predict the residual, or set guard"
        share = _divisor(level.signal - level.residual, x_t, self.guard, refusal)
        x0 = _unit((x_t - level.residual * x_in - level.noise * noise) / share, clamp is not Clamp.NONE)
        return Estimate(x0, _unit(x_in - x0, clamp is Clamp.RESIDUAL), noise)


@final
@dataclass(frozen=True)
class X0(Prediction):
    """x_0 itself (Resfusion's x_0 mode)."""

    kind: Literal["x0"] = "x0"

    def target(self, level: Level, x0: Tensor, x_in: Tensor, noise: Tensor) -> Outputs:
        """(x_0,)."""
        return (x0,)

    def estimate(
        self, level: Level, x_t: Tensor, x_in: Tensor, outputs: Outputs, clamp: Clamp = Clamp.NONE
    ) -> Estimate:
        """R = x_in - x_0."""
        x0 = _unit(outputs[0], clamp is not Clamp.NONE)
        return _completed(level, x_t, x_in, x0, clamp)


@final
@dataclass(frozen=True)
class ResNoise(Prediction):
    """y = eps + k R, what one ancestral step removes (Resfusion eq. 6); k is the level's `resnoise`."""

    kind: Literal["resnoise"] = "resnoise"

    def target(self, level: Level, x0: Tensor, x_in: Tensor, noise: Tensor) -> Outputs:
        """(eps + k R,)."""
        return (noise + level.resnoise * (x_in - x0),)

    def estimate(
        self, level: Level, x_t: Tensor, x_in: Tensor, outputs: Outputs, clamp: Clamp = Clamp.NONE
    ) -> Estimate:
        """x_0 by the 2 x 2 solve of x_t and y; never singular for Resfusion (determinant 0.36 to 1).

        Raises
        ------
        ConfigError
            If it is singular: at the start of a schedule without noise.
        """
        weight = level.noise * level.resnoise
        refusal = "resnoise says nothing of x_0 at a level without noise: predict the residual or x_0"
        determinant = _divisor(level.signal - level.residual + weight, x_t, None, refusal)
        known = x_t - level.noise * outputs[0] - (level.residual - weight) * x_in
        x0 = _unit(known / determinant, clamp is not Clamp.NONE)
        return _completed(level, x_t, x_in, x0, clamp)


@final
@dataclass(frozen=True)
class X0Noise(Prediction):
    """x_0 and eps, a head each (RDDM's x0_noise objective); `drive` says whether both drive sampling or x_0 alone."""

    kind: Literal["x0-noise"] = "x0-noise"
    drive: Literal["both", "x0"] = "both"
    heads: ClassVar[int] = 2

    def target(self, level: Level, x0: Tensor, x_in: Tensor, noise: Tensor) -> Outputs:
        """(x_0, eps)."""
        return x0, noise

    def estimate(
        self, level: Level, x_t: Tensor, x_in: Tensor, outputs: Outputs, clamp: Clamp = Clamp.NONE
    ) -> Estimate:
        """R = x_in - x_0; eps as the second head says, or where x_0 alone drives as what completes x_t."""
        if self.drive == "x0":
            return X0().estimate(level, x_t, x_in, outputs[:1], clamp)
        return _beside(x_in, _unit(outputs[0], clamp is not Clamp.NONE), outputs[1], clamp)


@final
@dataclass(frozen=True)
class ResidualAddNoise(Prediction):
    """R and R + eps, a head each (RDDM's res_add_noise objective)."""

    kind: Literal["residual-add-noise"] = "residual-add-noise"
    heads: ClassVar[int] = 2

    def target(self, level: Level, x0: Tensor, x_in: Tensor, noise: Tensor) -> Outputs:
        """(R, R + eps)."""
        return x_in - x0, x_in - x0 + noise

    def estimate(
        self, level: Level, x_t: Tensor, x_in: Tensor, outputs: Outputs, clamp: Clamp = Clamp.NONE
    ) -> Estimate:
        """Eps is what the second head says beside R."""
        residual = _unit(outputs[0], clamp is Clamp.RESIDUAL)
        return _from_both(level, x_t, residual, outputs[1] - residual, clamp)


@final
@dataclass(frozen=True)
class X0AddNoise(Prediction):
    """x_0 and x_0 + eps, a head each (RDDM's x0_add_noise objective)."""

    kind: Literal["x0-add-noise"] = "x0-add-noise"
    heads: ClassVar[int] = 2

    def target(self, level: Level, x0: Tensor, x_in: Tensor, noise: Tensor) -> Outputs:
        """(x_0, x_0 + eps)."""
        return x0, x0 + noise

    def estimate(
        self, level: Level, x_t: Tensor, x_in: Tensor, outputs: Outputs, clamp: Clamp = Clamp.NONE
    ) -> Estimate:
        """R = x_in - x_0; eps is what the second head says beside x_0."""
        x0 = _unit(outputs[0], clamp is not Clamp.NONE)
        return _beside(x_in, x0, outputs[1] - x0, clamp)


@final
@dataclass(frozen=True)
class Velocity(Prediction):
    """v = eps + (r / n) R - x_0: of a rectified flow the velocity, of a residual one v + g R."""

    kind: Literal["velocity"] = "velocity"

    def target(self, level: Level, x0: Tensor, x_in: Tensor, noise: Tensor) -> Outputs:
        """(v,). `ConfigError` where the level holds no noise."""
        share = level.residual / _divisor(level.noise, x0, None, "a velocity needs noise: predict the residual")
        return (noise + share * (x_in - x0) - x0,)

    def estimate(
        self, level: Level, x_t: Tensor, x_in: Tensor, outputs: Outputs, clamp: Clamp = Clamp.NONE
    ) -> Estimate:
        """x_0 = (x_t - n v) / (a + n)."""
        x0 = _unit((x_t - level.noise * outputs[0]) / (level.signal + level.noise), clamp is not Clamp.NONE)
        return _completed(level, x_t, x_in, x0, clamp)


AnyPrediction = ResidualNoise | Residual | Noise | X0 | ResNoise | X0Noise | ResidualAddNoise | X0AddNoise | Velocity
