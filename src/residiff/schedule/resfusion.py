"""Resfusion's schedule, cut at its acceleration point."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, final

import torch
from torch import Tensor

from residiff.errors import ConfigError, check_range
from residiff.schedule.base import Schedule
from residiff.schedule.ddpm import BETAS


@final
@dataclass(frozen=True)
class Resfusion(Schedule):
    """x_t = sqrt(A_t) x_0 + (1 - sqrt(A_t)) R + sqrt(1 - A_t) eps, cut at the acceleration point T' (eq. 5 to 9).

    A schedule of T steps is built first; where its first sqrt(A) at or below 1/2 misses 1/2 by more than `threshold`,
    that level is put at exactly 1/2. T' levels remain: T = 12 gives 5 steps.

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
        raise ConfigError(f"no {self.betas} schedule of Resfusion has {steps} steps; take a neighbouring number")

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
            raise ConfigError(f"a {self.betas} schedule of length {length} never reaches sqrt(A) = 1/2; take more")
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
