"""The rest of the family: methods that lead from the degraded image to the clean one, each a row of the same table.

| schedule        | a     | r                  | n                        | d                  |
|-----------------|-------|--------------------|--------------------------|--------------------|
| `ResShift`      | 1     | eta_t              | kappa sqrt(eta_t)        | 1                  |
| `IRSDE`         | 1     | 1 - exp(-th)       | lam sqrt(1 - exp(-2 th)) | exp(-th)           |
| `I2SB`          | 1     | s^2/(s^2 + sb^2)   | s sb/sqrt(s^2 + sb^2)    | sb^2/(s^2 + sb^2)  |
| `InDI`          | 1     | t                  | t e                      | 1                  |
| `ColdDiffusion` | 1     | t                  | 0                        | 1                  |
| `ResidualFlow`  | 1 - t | g t                | t                        | 1 - t              |
| `BBDM`          | 1     | m                  | sqrt(2 s m (1 - m))      | 1 - m              |
| `DiffUIR`       | 1 - dbar_t | abar_t - dbar_t | bbar_t                | 1                  |
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, final

import torch
from torch import Tensor

from residiff.errors import ConfigError, check_range
from residiff.schedule.base import Schedule
from residiff.schedule.rddm import RDDM, Increments


def _fractions(length: int) -> Tensor:
    """1/T, 2/T, ..., 1 as (T,) float64."""
    return torch.arange(1, length + 1, dtype=torch.float64) / length


@final
@dataclass(frozen=True)
class ResShift(Schedule):
    """x_t = x_0 + eta_t R + kappa sqrt(eta_t) eps, sqrt(eta_t) geometric (Yue et al., NeurIPS 2023).

    `kappa` is the deviation of the noise at the end. The exponent grows as ((t - 1)/(T - 1))^`power`, from
    eta_1 = (`first` / kappa)^2 to eta_T = `last`. The general step at eta = 1 is the paper's posterior.
    """

    kind: Literal["resshift"] = "resshift"
    length: int = 15
    kappa: float = 2.0
    first: float = 0.04
    last: float = 0.999
    power: float = 0.3

    def __post_init__(self) -> None:
        check_range("length", self.length, 2, self.max_length)
        check_range("kappa", self.kappa, 0.01, 100)
        check_range("last", self.last, 0.5, 1)
        check_range("first", self.first, 1e-6, self.kappa * math.sqrt(self.last))
        check_range("power", self.power, 0.01, 100)

    def coefficients(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """See `Schedule.coefficients`."""
        low, high = math.log(self.first / self.kappa), math.log(self.last) / 2
        share = torch.linspace(0, 1, self.length, dtype=torch.float64) ** self.power
        root = torch.exp(low + (high - low) * share)
        one = torch.ones_like(root)
        return one, root**2, self.kappa * root, one


@final
@dataclass(frozen=True)
class IRSDE(Schedule):
    """The mean-reverting SDE dx = th' (x_in - x) dt + s dw with s^2 = 2 lam^2 th' (Luo et al., ICML 2023).

    `noise` is lam; th grows at a `rate`, "constant", "linear" or "cosine", to where exp(-th) = `rest`.
    """

    kind: Literal["ir-sde"] = "ir-sde"
    length: int = 100
    noise: float = 20 / 255
    rest: float = 0.005
    rate: Literal["constant", "linear", "cosine"] = "cosine"

    def __post_init__(self) -> None:
        check_range("length", self.length, 1, self.max_length)
        check_range("noise", self.noise, 0, 10)
        check_range("rest", self.rest, 1e-9, 0.5)
        if self.rate not in RATES:
            raise ConfigError(f"rate is {self.rate!r}; allowed are {', '.join(RATES)}")

    def coefficients(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """See `Schedule.coefficients`."""
        t = _fractions(self.length)
        grown = RATES[self.rate](t).cumsum(0)
        left = torch.exp(math.log(self.rest) * grown / grown[-1])
        return torch.ones_like(t), 1 - left, self.noise * (1 - left**2).sqrt(), left


@final
@dataclass(frozen=True)
class I2SB(Schedule):
    """The Schroedinger bridge between x_0 and x_in, exact at both ends (Liu et al., ICML 2023).

    The rate is symmetric: square roots of beta linear from `low` up to `high` at the middle; s^2 and sb^2 are its
    integrals from the clean end and from the degraded one.
    """

    kind: Literal["i2sb"] = "i2sb"
    length: int = 1000
    low: float = 1e-4
    high: float = 3e-4

    def __post_init__(self) -> None:
        check_range("length", self.length, 2, self.max_length)
        check_range("low", self.low, 1e-12, self.high)
        check_range("high", self.high, self.low, 1)

    def coefficients(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """See `Schedule.coefficients`."""
        middle = (self.length + 1) // 2
        half = torch.linspace(math.sqrt(self.low), math.sqrt(self.high), middle, dtype=torch.float64) ** 2
        forward = torch.cat([half, half.flip(0)[self.length % 2 :]]).cumsum(0)
        backward = forward[-1] - forward
        share = forward / forward[-1]
        return torch.ones_like(share), share, (share * backward).sqrt(), 1 - share


@final
@dataclass(frozen=True)
class InDI(Schedule):
    """x_t = (1 - t) x_0 + t x_in + t e eps (Delbracio and Milanfar, TMLR 2023); `noise` is e."""

    kind: Literal["indi"] = "indi"
    length: int = 100
    noise: float = 0.01

    def __post_init__(self) -> None:
        check_range("length", self.length, 1, self.max_length)
        check_range("noise", self.noise, 0, 10)

    def coefficients(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """See `Schedule.coefficients`."""
        t = _fractions(self.length)
        return torch.ones_like(t), t, self.noise * t, torch.ones_like(t)


@final
@dataclass(frozen=True)
class ColdDiffusion(Schedule):
    """x_t = (1 - t) x_0 + t x_in, without noise (Bansal et al., NeurIPS 2023); the step is their improved sampler."""

    kind: Literal["cold-diffusion"] = "cold-diffusion"
    length: int = 100

    def __post_init__(self) -> None:
        check_range("length", self.length, 1, self.max_length)

    def coefficients(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """See `Schedule.coefficients`."""
        t = _fractions(self.length)
        return torch.ones_like(t), t, torch.zeros_like(t), torch.ones_like(t)


@final
@dataclass(frozen=True)
class ResidualFlow(Schedule):
    """The rectified flow x_t = (1 - t) x_0 + t (eps + g R), begun at t* = 1/(1 + g), where x_0 has vanished.

    `gain` is g; the T times are spaced evenly up to t*. Its velocity eps + g R - x_0 is what `Velocity` predicts.
    """

    kind: Literal["residual-flow"] = "residual-flow"
    length: int = 100
    gain: float = 1.0

    def __post_init__(self) -> None:
        check_range("length", self.length, 1, self.max_length)
        check_range("gain", self.gain, 1e-3, 1e3)

    def coefficients(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """See `Schedule.coefficients`."""
        t = _fractions(self.length) / (1 + self.gain)
        return 1 - t, self.gain * t, t, 1 - t


@final
@dataclass(frozen=True)
class BBDM(Schedule):
    """The Brownian bridge x_t = (1 - m) x_0 + m x_in + sqrt(2 s m (1 - m)) eps with m = t/T (Li et al., CVPR 2023).

    `scale` is s: the noise has the variance s/2 in the middle and none at either end. The general step at eta = 1 is
    the paper's posterior.
    """

    kind: Literal["bbdm"] = "bbdm"
    length: int = 1000
    scale: float = 1.0

    def __post_init__(self) -> None:
        check_range("length", self.length, 1, self.max_length)
        check_range("scale", self.scale, 0, 100)

    def coefficients(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """See `Schedule.coefficients`."""
        m = _fractions(self.length)
        return torch.ones_like(m), m, (2 * self.scale * m * (1 - m)).sqrt(), 1 - m


@final
@dataclass(frozen=True)
class DiffUIR(Schedule):
    """x_t = x_0 + abar_t R + bbar_t eps - dbar_t x_in: RDDM's, with a part of x_in taken away (Zheng et al., 2024).

    `taken` are the increments of dbar_t, which ends at `total_taken`; the rest is that of `rddm`.
    """

    kind: Literal["diffuir"] = "diffuir"
    rddm: RDDM = field(default_factory=RDDM)
    taken: Increments = field(default_factory=lambda: Increments("increasing"))
    total_taken: float = 0.9

    def __post_init__(self) -> None:
        check_range("total_taken", self.total_taken, 0, 0.999)

    def coefficients(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """See `Schedule.coefficients`."""
        one, residual, noise, memory = self.rddm.coefficients()
        taken = self.total_taken * self.taken(self.rddm.length).cumsum(0)
        return one - taken, residual - taken, noise, memory


RATES: dict[str, Callable[[Tensor], Tensor]] = {
    "constant": torch.ones_like,
    "linear": torch.clone,
    "cosine": lambda t: 1 - torch.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2,
}
