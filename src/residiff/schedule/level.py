"""`Level`: the coefficients of x_t at one time, and what a step between two of them needs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, final

from torch import Tensor

from residiff.errors import check_range

Coefficient = float | Tensor


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
    """The level with the signal and residual of one level and the noise of another (RDDM: path-independence)."""
    return replace(residual, noise=noise.noise, memory=noise.memory, t_noise=noise.t)


def injected_variance(t: Level, s: Level, eta: float) -> float:
    """v, the variance of the fresh noise in a step from level `t` to level `s`; eta = 1 is the ancestral step.

    v = eta n_s^2 (1 - (n_s / d_s)^2 / (n_t / d_t)^2); n / d is infinite where d = 0. `eta` outside 0 to 1 is a
    `ConfigError`.
    """
    check_range("eta", eta, 0, 1)
    n_t, n_s, d_t, d_s = (float(value) for value in (t.noise, s.noise, t.memory, s.memory))
    if n_s == 0 or eta == 0:
        return 0.0
    ratio = 0.0 if d_t == 0 else n_s * d_t / (d_s * n_t)
    return eta * n_s**2 * max(0.0, 1 - ratio**2)
