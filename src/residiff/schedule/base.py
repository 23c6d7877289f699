"""`Schedule`, what every member of the family has in common, and the grids of times that sampling may take."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor

from residiff.errors import ConfigError, check_range
from residiff.schedule.level import Coefficient, Level

Grid = Callable[[int, int], tuple[int, ...]]


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


def leading_grid(count: int, steps: int) -> tuple[int, ...]:
    """The "leading" times of diffusers: 0, one step's length and its multiples, down from the largest."""
    return tuple(k * (count // steps) for k in range(steps - 1, -1, -1))


def offset_leading_grid(count: int, steps: int) -> tuple[int, ...]:
    """As `leading_grid` with each time one later (diffusers' `steps_offset` 1), unless that leads past T - 1."""
    times = leading_grid(count, steps)
    return tuple(t + 1 for t in times) if times[0] + 1 < count else times


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

    @cached_property
    def posterior_weights(self) -> Tensor:
        """(T, 3) float64: what the ancestral step from t to t - 1 adds to x_t, as weights of x_0, R and eps.

        (a_s - a_t, r_s - r_t, n_s^2 d_t / (d_s n_t) - n_t) with s = t - 1; (1, 0, 0) at t = 0: the step gives x_0.
        """
        a, r, n, _, _ = self.table.unbind(1)
        before = self.table[:-1]
        kept = before[:, 2] * _kept_share(self.table[:, :4])[1:]
        steps = torch.stack([before[:, 0] - a[1:], before[:, 1] - r[1:], kept - n[1:]], dim=1)
        return torch.cat([torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64), steps])

    def __len__(self) -> int:
        """T, the number of levels above the clean one."""
        return self.table.shape[0]

    def __call__(self, t: int | Tensor) -> Level:
        """The level at time `t`: an int (-1 is the clean level), or an integer tensor (N,), 0 and up, for a batch.

        Raises
        ------
        ConfigError
            If `t` lies outside that, up to T - 1.
        """
        if isinstance(t, int):
            check_range("time", t, -1, len(self) - 1)
            return Level.clean if t < 0 else _level(t, self.table[t].tolist())
        for end in (int(t.min()), int(t.max())):
            check_range("time", end, 0, len(self) - 1)
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
    a, r, n, _ = columns.unbind(1)
    a_s, r_s, n_s, _ = _before(columns).unbind(1)
    down = a * n_s * _kept_share(columns) - a_s * n
    return torch.where(down != 0, (a * r_s - a_s * r) / down, torch.zeros_like(n))


def _before(columns: Tensor) -> Tensor:
    """The rows (T, 4) of the times before, the clean level first."""
    clean = torch.tensor([[1.0, 0.0, 0.0, 1.0]], dtype=torch.float64)
    return torch.cat([clean, columns[:-1]])


def _kept_share(columns: Tensor) -> Tensor:
    """(n_s / d_s) / (n_t / d_t) of the step from each time to the one before: the eps that an ancestral step keeps."""
    _, _, n, d = columns.unbind(1)
    _, _, n_s, d_s = _before(columns).unbind(1)
    return torch.where((d > 0) & (n > 0), n_s * d / (d_s * n), torch.zeros_like(n))


GRIDS: dict[str, Grid] = {
    "published": published_grid,
    "even": even_grid,
    "quadratic": quadratic_grid,
    "leading": leading_grid,
    "leading-1": offset_leading_grid,
}
