r"""Schedules: where x_t is on its way from the degraded image to the clean one.

With the residual R = x_in - x_0 and a noise eps ~ N(0, I), every member of the family is one row of one table:

    x_t = a x_0 + r R + n eps

A `Level` holds (a, r, n) at one time, and d, the memory of the noise: the noise term is d(t) W(n^2 / d^2) with W a Wiener
process, which fixes how much of the noise two levels share. A `Schedule` is a list of T levels, t = 0 (nearly clean) to
T - 1 (the start), computed once in float64.

| schedule    | a         | r             | n             | d         |
|-------------|-----------|---------------|---------------|-----------|
| `RDDM`      | 1         | abar_t        | bbar_t        | 1         |
| `Resfusion` | sqrt(A_t) | 1 - sqrt(A_t) | sqrt(1 - A_t) | sqrt(A_t) |
| `DDPM`      | sqrt(A_t) | 0             | sqrt(1 - A_t) | sqrt(A_t) |

x_0 vanishes from x_t where a = r: there sampling may start from the degraded image and noise alone. That is RDDM's end
point and Resfusion's acceleration point T' (where sqrt(A) = 1/2).

References: RDDM, Residual Denoising Diffusion Models, CVPR 2024. Resfusion, NeurIPS 2024 (equation numbers below). DDPM,
Ho et al. 2020. DDIM, Song et al. 2021.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import ClassVar, Literal, final

import torch
from torch import Tensor

from residiff.errors import ConfigError, check_range

Coefficient = float | Tensor
Grid = Callable[[int, int], tuple[int, ...]]


@final
@dataclass(frozen=True)
class Level:
    """The coefficients of x_t = signal x_0 + residual R + noise eps at one time.

    Each field is a float, or a (N, 1, 1, 1) tensor where every image of a batch has a time of its own.

    Attributes
    ----------
    t : time index of the residual; -1 at the clean level
    signal, residual, noise : a, r and n
    memory : d
    resnoise : weight of R beside eps in the resnoise target (Resfusion, eq. 6)
    t_noise : time index of the noise, other than `t` where the two are removed one after the other
    """

    t: Coefficient
    signal: Coefficient
    residual: Coefficient
    noise: Coefficient
    memory: Coefficient
    resnoise: Coefficient
    t_noise: Coefficient

    clean: ClassVar[Level]

    def mix(self, x0: Tensor, residual: Tensor, noise: Tensor) -> Tensor:
        """The forward marginal x_t (N, C, H, W) (RDDM: q_sample; Resfusion: eq. 5)."""
        return self.signal * x0 + self.residual * residual + self.noise * noise

    def start(self, x_in: Tensor, noise: Tensor) -> Tensor:
        """x_t where x_0 has vanished from it: signal x_in + noise eps."""
        return self.signal * x_in + self.noise * noise


Level.clean = Level(t=-1, signal=1.0, residual=0.0, noise=0.0, memory=1.0, resnoise=0.0, t_noise=-1)


def mixed(residual: Level, noise: Level) -> Level:
    """The level with the signal and residual of one level and the noise of another (RDDM's partial path-independence)."""
    return replace(residual, noise=noise.noise, memory=noise.memory, t_noise=noise.t)


def injected_variance(t: Level, s: Level, eta: float) -> float:
    """v, the variance of the fresh noise in a step from level `t` to level `s`; eta = 1 is the ancestral step.

    v = eta n_s^2 (1 - (n_s / d_s)^2 / (n_t / d_t)^2); n / d is infinite where d = 0.
    """
    n_t, n_s, d_t, d_s = (float(value) for value in (t.noise, s.noise, t.memory, s.memory))
    if n_s == 0 or eta == 0:
        return 0.0
    ratio = 0.0 if d_t == 0 else n_s * d_t / (d_s * n_t)
    return eta * n_s**2 * max(0.0, 1 - ratio**2)


def published_grid(count: int, steps: int) -> tuple[int, ...]:
    """RDDM's times: linspace(-1, T - 1, steps + 1) cut to integers, from the start; -1 itself left out."""
    return tuple(sorted((math.trunc(-1 + count * k / steps) for k in range(1, steps + 1)), reverse=True))


def even_grid(count: int, steps: int) -> tuple[int, ...]:
    """Times evenly spaced from T - 1 to 0, both included, rounded."""
    if steps == 1:
        return (count - 1,)
    return tuple(round((count - 1) * k / (steps - 1)) for k in range(steps - 1, -1, -1))


def quadratic_grid(count: int, steps: int) -> tuple[int, ...]:
    """Times that grow as the square of their number (DDIM), dense near the clean end, each at least one apart."""
    if steps == 1:
        return (count - 1,)
    times = [0]
    for k in range(1, steps):
        times.append(max(round((count - 1) * (k / (steps - 1)) ** 2), times[-1] + 1))
    return tuple(reversed(times))


@dataclass(frozen=True)
class Schedule(ABC):
    """T levels in float64. Subclasses are final and give `coefficients`; nothing of a schedule ever changes."""

    max_length: ClassVar[int] = 100_000

    @abstractmethod
    def coefficients(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Signal, residual, noise and memory, each (T,) float64, from t = 0 to T - 1."""

    @cached_property
    def table(self) -> Tensor:
        """(T, 5) float64: signal, residual, noise, memory and resnoise weight of each time."""
        columns = torch.stack(self.coefficients(), dim=1)
        if not torch.isfinite(columns).all():
            raise ConfigError(f"{self} has coefficients that are not finite; choose other settings")
        return torch.cat([columns, _resnoise_weights(columns)[:, None]], dim=1)

    def __len__(self) -> int:
        """T, the number of levels above the clean one."""
        return self.table.shape[0]

    def __call__(self, t: int | Tensor) -> Level:
        """The level at time `t`: an int (-1 is the clean level), or an integer tensor (N,) for a batch.

        Raises
        ------
        ConfigError
            If `t` lies outside -1 to T - 1.
        """
        if isinstance(t, int):
            check_range("time", t, -1, len(self) - 1)
            return Level.clean if t < 0 else _level(t, self.table[t].tolist())
        row = self.table[t.cpu()].to(device=t.device, dtype=torch.float32)
        columns = row.reshape(-1, 5, 1, 1, 1).unbind(1)
        return _level(t.to(torch.float32).reshape(-1, 1, 1, 1), columns)

    def levels(self, steps: int | None = None, grid: Grid = published_grid) -> tuple[Level, ...]:
        """The levels of a sampling run, from the start to `Level.clean`: steps + 1 of them; all T + 1 by default."""
        count = len(self) if steps is None else steps
        check_range("steps", count, 1, len(self))
        return (*(self(t) for t in grid(len(self), count)), Level.clean)

    def start(self, x_in: Tensor, noise: Tensor) -> Tensor:
        """The state (N, C, H, W) that sampling starts from at time T - 1."""
        return self(len(self) - 1).start(x_in, noise)


def _level(t: Coefficient, row: Sequence[Coefficient]) -> Level:
    signal, residual, noise, memory, resnoise = row
    return Level(t, signal, residual, noise, memory, resnoise, t)


def _resnoise_weights(columns: Tensor) -> Tensor:
    """Ratio of R to eps in the mean of the ancestral step from each time to the one before.

    For Resfusion it is (1 - sqrt(alpha_t)) sqrt(1 - A_t) / beta_t (eq. 6); written so that it holds for every schedule.
    """
    a, r, n, d = columns.unbind(1)
    clean = torch.tensor([1.0, 0.0, 0.0, 1.0], dtype=torch.float64)
    a_s, r_s, n_s, d_s = torch.cat([clean[None], columns[:-1]]).unbind(1)
    share = torch.where(d > 0, n_s * d / (d_s * n), torch.zeros_like(n))
    kept = n_s * share
    down = a * kept - a_s * n
    return torch.where(down != 0, (a * r_s - a_s * r) / down, torch.zeros_like(n))


@final
@dataclass(frozen=True)
class Increments:
    """How a coefficient grows from step to step: T increments that sum to one.

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
    return torch.linspace(0, 1, count, dtype=torch.float64) ** exponent if count > 1 else torch.ones(1, dtype=torch.float64)


def _normal(count: int, exponent: float) -> Tensor:
    return torch.exp(-torch.linspace(-3, 3, count, dtype=torch.float64) ** 2 / 2)


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
            raise ConfigError(f"betas from {self.beta_start} to {self.beta_end}; needed is 0 < beta_start <= beta_end < 1")

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
    """RDDM coefficients of a DDPM schedule: abar_t = 1 - sqrt(A_t), bbar_t^2 = 1 - A_t; the same x_t where x_in = 0."""

    kind: Literal["converted-ddpm"] = "converted-ddpm"
    base: DDPM = field(default_factory=DDPM)

    def coefficients(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """See `Schedule.coefficients`."""
        power = self.base.signal_power
        one = torch.ones_like(power)
        return one, 1 - power.sqrt(), (1 - power).sqrt(), one

    def start(self, x_in: Tensor, noise: Tensor) -> Tensor:
        """The degraded image plus noise of variance one, as the converted models start."""
        return x_in + noise


@final
@dataclass(frozen=True)
class Resfusion(Schedule):
    """x_t = sqrt(A_t) x_0 + (1 - sqrt(A_t)) R + sqrt(1 - A_t) eps, cut at the acceleration point T' (eq. 5 to 9).

    A schedule of T steps is built first; where its first sqrt(A) at or below 1/2 misses 1/2 by more than 0.01, that level
    is put at exactly 1/2. T' levels remain: T = 12 gives 5 steps.

    Parameters
    ----------
    length : T before the cut, as published; or give
    steps : T', the number of levels that remain (the smallest T that gives it is taken)
    betas : "linear" (1e-4 to 0.02, scaled by 1000 / T) or "squared-cosine"
    threshold : how far below 1/2 the last level may stay

    Raises
    ------
    ConfigError
        If both or neither of length and steps are given, or the schedule never reaches sqrt(A) = 1/2.
    """

    kind: Literal["resfusion"] = "resfusion"
    length: int | None = None
    steps: int | None = None
    betas: Literal["linear", "squared-cosine"] = "linear"
    threshold: float = 0.01

    def __post_init__(self) -> None:
        if (self.length is None) == (self.steps is None):
            raise ConfigError("Resfusion takes either length (T before truncation) or steps (the levels that remain)")
        if self.betas not in ("linear", "squared-cosine"):
            raise ConfigError(f"betas is {self.betas!r}; allowed are linear, squared-cosine")
        if not 0 <= self.threshold < 0.5:
            raise ConfigError(f"threshold is {self.threshold}; allowed are 0 to 0.5")
        if self.length is not None:
            check_range("length", self.length, 1, self.max_length)
        if self.steps is not None:
            check_range("steps", self.steps, 2, 2000)
        self.accelerated  # noqa: B018  an impossible T is refused here, not at first use

    @cached_property
    def accelerated(self) -> tuple[Tensor, int]:
        """A_t after truncation, (T,) float64 (whole where nothing is cut), and the acceleration point T' (1-based)."""
        if self.length is not None:
            return self._truncate(self.length)
        steps = self.steps or 0
        for length in range(steps, 3 * steps + 8):
            if self._reach(length) == steps:
                return self._truncate(length)
        raise ConfigError(f"no {self.betas} schedule of Resfusion has {steps} steps; take a neighbouring number, 2 or more")

    def _reach(self, length: int) -> int:
        try:
            return self._truncate(length)[1]
        except ConfigError:
            return 0

    def _truncate(self, length: int) -> tuple[Tensor, int]:
        scale = 1000 / length
        betas = BETAS[self.betas](length, 1e-4 * scale, 0.02 * scale).clamp(max=1.0)
        power = (1 - betas).cumprod(0)
        below = (power.sqrt() <= 0.5).nonzero()
        if len(below) == 0:
            raise ConfigError(f"Resfusion's {self.betas} schedule of length {length} never reaches sqrt(A) = 1/2; take a larger length")
        first = int(below[0])
        if 0.5 - float(power[first].sqrt()) > self.threshold:
            power = torch.cat([power[:first], torch.tensor([0.25], dtype=torch.float64)])
            return power, first + 1
        return power, int((power.sqrt() - 0.5).abs().argmin()) + 1

    def coefficients(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """See `Schedule.coefficients`."""
        power, reach = self.accelerated
        signal = power[:reach].sqrt()
        return signal, 1 - signal, (1 - power[:reach]).sqrt(), signal


def _linear_betas(count: int, start: float, end: float) -> Tensor:
    return torch.linspace(start, end, count, dtype=torch.float64)


def _scaled_linear_betas(count: int, start: float, end: float) -> Tensor:
    return _linear_betas(count, math.sqrt(start), math.sqrt(end)) ** 2


def _squared_cosine_betas(count: int, start: float, end: float) -> Tensor:
    power = torch.cos((torch.linspace(0, 1, count + 1, dtype=torch.float64) + 0.008) / 1.008 * math.pi / 2) ** 2
    return (1 - power[1:] / power[:-1]).clamp(max=0.999)


SHAPES: dict[str, Callable[[int, float], Tensor]] = {
    "decreasing": lambda count, exponent: _arithmetic(count, exponent).flip(0),
    "increasing": _arithmetic,
    "mean": lambda count, exponent: torch.ones(count, dtype=torch.float64),
    "power": _power,
    "falling-power": lambda count, exponent: _power(count, exponent).flip(0),
    "normal": _normal,
}
BETAS: dict[str, Callable[[int, float, float], Tensor]] = {
    "linear": _linear_betas,
    "scaled-linear": _scaled_linear_betas,
    "squared-cosine": _squared_cosine_betas,
}
GRIDS: dict[str, Grid] = {"published": published_grid, "even": even_grid, "quadratic": quadratic_grid}
AnySchedule = RDDM | Resfusion | DDPM | ConvertedDDPM
