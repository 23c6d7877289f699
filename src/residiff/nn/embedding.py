"""Embedding of a diffusion time as sines and cosines, shared by the backbones.

With h = width / 2 angular frequencies w_i = 10000^(-i / (h - 1)), from 1 down to 1/10000:

    e(t) = (sin w_0 t, ..., sin w_{h-1} t, cos w_0 t, ..., cos w_{h-1} t)

so that e(t + s) is a rotation of e(t) which depends on s alone (Vaswani et al., 2017).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from residiff.errors import ConfigError

LONGEST = 10_000.0


def sinusoidal(t: Tensor, width: int) -> Tensor:
    """Embed times `t`, shape (N,), whole or fractional, as (N, width): sines first, then cosines.

    The result is float32, or float64 where `t` is: half precision cannot tell 998 from 999.
    Raises ConfigError where `width` is odd or below 4.
    """
    if width < 4 or width % 2:
        raise ConfigError(f"the width of a time embedding must be even and at least 4, not {width}")
    half = width // 2
    exponent = torch.arange(half, device=t.device, dtype=torch.float32)
    frequency = torch.exp(exponent * (-math.log(LONGEST) / (half - 1)))
    phase = t[:, None] * frequency
    return torch.cat((phase.sin(), phase.cos()), dim=1)
