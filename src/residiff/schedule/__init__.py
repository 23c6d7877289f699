r"""Schedules: where x_t is on its way from the degraded image to the clean one.

With the residual R = x_in - x_0 and a noise eps ~ N(0, I), every member of the family is one row of one table:

    x_t = a x_0 + r R + n eps

A `Level` holds (a, r, n) at one time, and d, the memory of the noise: the noise term is d(t) W(n^2 / d^2) with W a
Wiener process, which fixes how much of the noise two levels share. A `Schedule` is a list of T levels, t = 0 (nearly
clean) to T - 1 (the start), computed once in float64.

| schedule    | a         | r             | n             | d         |
|-------------|-----------|---------------|---------------|-----------|
| `RDDM`      | 1         | abar_t        | bbar_t        | 1         |
| `Resfusion` | sqrt(A_t) | 1 - sqrt(A_t) | sqrt(1 - A_t) | sqrt(A_t) |
| `DDPM`      | sqrt(A_t) | 0             | sqrt(1 - A_t) | sqrt(A_t) |

`ConvertedDDPM` is DDPM in RDDM's coefficients; the other members, `ResShift` to `DiffUIR`, have their rows in
`residiff.schedule.bridges`.

x_0 vanishes from x_t where a = r: there sampling may start from the degraded image and noise alone. That is RDDM's end
point and Resfusion's acceleration point T' (where sqrt(A) = 1/2).

References: RDDM, Residual Denoising Diffusion Models, CVPR 2024. Resfusion, NeurIPS 2024 (equation numbers below).
DDPM, Ho et al. 2020. DDIM, Song et al. 2021.
"""

from __future__ import annotations

from residiff.schedule.base import (
    GRIDS,
    Grid,
    Schedule,
    even_grid,
    leading_grid,
    offset_leading_grid,
    published_grid,
    quadratic_grid,
)
from residiff.schedule.bridges import BBDM, I2SB, IRSDE, ColdDiffusion, DiffUIR, InDI, ResidualFlow, ResShift
from residiff.schedule.ddpm import BETAS, DDPM, ConvertedDDPM
from residiff.schedule.level import Coefficient, Level, injected_variance, mixed
from residiff.schedule.rddm import RDDM, SHAPES, Increments
from residiff.schedule.resfusion import Resfusion

AnySchedule = (
    RDDM
    | Resfusion
    | DDPM
    | ConvertedDDPM
    | ResShift
    | IRSDE
    | I2SB
    | InDI
    | ColdDiffusion
    | ResidualFlow
    | BBDM
    | DiffUIR
)

__all__ = [
    "BBDM",
    "BETAS",
    "DDPM",
    "GRIDS",
    "I2SB",
    "IRSDE",
    "RDDM",
    "SHAPES",
    "AnySchedule",
    "Coefficient",
    "ColdDiffusion",
    "ConvertedDDPM",
    "DiffUIR",
    "Grid",
    "InDI",
    "Increments",
    "Level",
    "ResShift",
    "ResidualFlow",
    "Resfusion",
    "Schedule",
    "even_grid",
    "injected_variance",
    "leading_grid",
    "mixed",
    "offset_leading_grid",
    "published_grid",
    "quadratic_grid",
]
