"""RDDM's schedule: residual and noise variance, each with increments of its own kind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, final

import torch
from torch import Tensor

from residiff.errors import ConfigError, check_range
from residiff.schedule.base import Schedule


@final
@dataclass(frozen=True)
class Increments:
    """How a coefficient grows from step to step: T increments that sum to one.

    They have a `shape`, and where that is a power the `exponent` a.

    `decreasing`, `increasing` and `mean` are arithmetic progressions (RDDM's restoration code); `power` is the
    normalised power P(x, a) = x^a / sum x^a on x = linspace(0, 1, T), `falling-power` is P(1 - x, a), and `normal` the
    density of N(0, 1) on [-3, 3] (RDDM's generation code).
    """

    shape: Literal["decreasing", "increasing", "mean", "power", "falling-power", "normal"] = "mean"
    exponent: float = 1.0

    def __post_init__(self) -> None:
        if self.shape not in SHAPES:
            raise ConfigError(f"shape is {self.shape!r}; allowed are {', '.join(SHAPES)}")
        if not 0 <= self.exponent <= 100:
            raise ConfigError(f"exponent is {self.exponent}; allowed are 0 to 100")

    def __call__(self, count: int) -> Tensor:
        """The increments, (T,) float64."""
        weights = SHAPES[self.shape](count, self.exponent)
        return weights / weights.sum()


def _arithmetic(count: int, exponent: float) -> Tensor:
    return torch.arange(1, count + 1, dtype=torch.float64)


def _power(count: int, exponent: float) -> Tensor:
    return torch.linspace(0 if count > 1 else 1, 1, count, dtype=torch.float64) ** exponent


def _normal(count: int, exponent: float) -> Tensor:
    return torch.exp(-(torch.linspace(-3, 3, count, dtype=torch.float64) ** 2) / 2)


@final
@dataclass(frozen=True)
class RDDM(Schedule):
    """I_t = I_0 + abar_t I_res + bbar_t eps: residual and noise variance grow each in its own way.

    Parameters
    ----------
    length : T, at least 1
    residual : increments of abar_t
    noise : increments of bbar_t^2 / total_noise
    total_noise : bbar_T^2, the variance of the noise at the start ("sum_scale" in the published code), 0 to 100
    """

    kind: Literal["rddm"] = "rddm"
    length: int = 1000
    residual: Increments = field(default_factory=lambda: Increments("decreasing"))
    noise: Increments = field(default_factory=lambda: Increments("increasing"))
    total_noise: float = 0.01

    def __post_init__(self) -> None:
        check_range("length", self.length, 1, self.max_length)
        if not 0 <= self.total_noise <= 100:
            raise ConfigError(f"total_noise is {self.total_noise}; allowed are 0 to 100")

    def coefficients(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """See `Schedule.coefficients`."""
        residual = self.residual(self.length).cumsum(0).clamp(0, 1)
        variance = self.total_noise * self.noise(self.length).cumsum(0).clamp(0, 1)
        one = torch.ones_like(residual)
        return one, residual, variance.sqrt(), one


SHAPES: dict[str, Callable[[int, float], Tensor]] = {
    "decreasing": lambda count, exponent: _arithmetic(count, exponent).flip(0),
    "increasing": _arithmetic,
    "mean": lambda count, exponent: torch.ones(count, dtype=torch.float64),
    "power": _power,
    "falling-power": lambda count, exponent: _power(count, exponent).flip(0),
    "normal": _normal,
}
