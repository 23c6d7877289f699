"""DDPM's schedule, and the same as RDDM coefficients."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, final

import torch
from torch import Tensor

from residiff.errors import ConfigError, check_range
from residiff.schedule.base import Schedule
from residiff.schedule.rddm import Increments


@final
@dataclass(frozen=True)
class DDPM(Schedule):
    """x_t = sqrt(A_t) x_0 + sqrt(1 - A_t) eps, A_t the product of 1 - beta_i: the residual plays no part.

    Parameters
    ----------
    length : T, at least 1
    betas : "linear" from beta_start to beta_end, "scaled-linear" (linear in the square root), or "squared-cosine"
        (A = cos^2 with offset 0.008, beta at most 0.999)
    beta_start, beta_end : ends of the linear ones, 0 to 1
    """

    kind: Literal["ddpm"] = "ddpm"
    length: int = 1000
    betas: Literal["linear", "scaled-linear", "squared-cosine"] = "linear"
    beta_start: float = 1e-4
    beta_end: float = 0.02

    def __post_init__(self) -> None:
        check_range("length", self.length, 1, self.max_length)
        if self.betas not in BETAS:
            raise ConfigError(f"betas is {self.betas!r}; allowed are {', '.join(BETAS)}")
        if not 0 < self.beta_start <= self.beta_end < 1:
            raise ConfigError(f"betas from {self.beta_start} to {self.beta_end}; needed is 0 < start <= end < 1")

    @property
    def signal_power(self) -> Tensor:
        """A_t, (T,) float64."""
        return (1 - BETAS[self.betas](self.length, self.beta_start, self.beta_end)).cumprod(0)

    def coefficients(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """See `Schedule.coefficients`."""
        power = self.signal_power
        return power.sqrt(), torch.zeros_like(power), (1 - power).sqrt(), power.sqrt()

    def start(self, x_in: Tensor, noise: Tensor) -> Tensor:
        """Noise alone, as DDPM and DDIM start, though sqrt(A_T) is not quite zero."""
        return noise


@final
@dataclass(frozen=True)
class ConvertedDDPM(Schedule):
    """RDDM coefficients of a DDPM schedule: abar_t = 1 - sqrt(A_t), bbar_t^2 = 1 - A_t; the same x_t where x_in = 0.

    `base` is that schedule. `residual` and `noise`, where they are given, are increments that stand for those of abar_t
    and bbar_t^2: RDDM's readjustment of either coefficient of a pretrained model.
    """

    kind: Literal["converted-ddpm"] = "converted-ddpm"
    base: DDPM = field(default_factory=DDPM)
    residual: Increments | None = None
    noise: Increments | None = None

    def coefficients(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """See `Schedule.coefficients`."""
        power = self.base.signal_power
        one = torch.ones_like(power)
        residual = 1 - power.sqrt() if self.residual is None else _grown(self.residual, len(power))
        variance = 1 - power if self.noise is None else _grown(self.noise, len(power))
        return one, residual, variance.sqrt(), one

    def start(self, x_in: Tensor, noise: Tensor) -> Tensor:
        """The degraded image plus noise of variance one, as the converted models start."""
        return x_in + noise


def _grown(increments: Increments, count: int) -> Tensor:
    return increments(count).cumsum(0).clamp(0, 1)


def _linear_betas(count: int, start: float, end: float) -> Tensor:
    return torch.linspace(start, end, count, dtype=torch.float64)


def _scaled_linear_betas(count: int, start: float, end: float) -> Tensor:
    return _linear_betas(count, math.sqrt(start), math.sqrt(end)) ** 2


def _squared_cosine_betas(count: int, start: float, end: float) -> Tensor:
    power = torch.cos((torch.linspace(0, 1, count + 1, dtype=torch.float64) + 0.008) / 1.008 * math.pi / 2) ** 2
    return (1 - power[1:] / power[:-1]).clamp(max=0.999)


BETAS: dict[str, Callable[[int, float, float], Tensor]] = {
    "linear": _linear_betas,
    "scaled-linear": _scaled_linear_betas,
    "squared-cosine": _squared_cosine_betas,
}
