"""CIEDE2000, the colour difference that follows the eye: about 1 can just be seen."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from residiff.errors import ConfigError

_FULL = 2 * math.pi


def delta_e_2000(first: Tensor, second: Tensor) -> Tensor:
    """CIEDE2000 between two Lab images (3, H, W), or of any other (3, ...): one value (H, W) a pixel, float64.

    The parametric factors kL, kC, kH are 1. The formula was made for colours under D65, as `lab_d65` gives them.
    Source: Sharma, Wu and Dalal 2005, "The CIEDE2000 color-difference formula", equations 2 to 22; the unclear cases of
    the mean hue are settled as there.

    Raises
    ------
    ConfigError
        If the shapes differ or are not (3, ...).
    """
    if first.shape != second.shape or first.ndim < 1 or first.shape[0] != 3:
        shapes = f"{tuple(first.shape)} and {tuple(second.shape)}"
        raise ConfigError(f"the Lab images have shapes {shapes}; give two of one shape (3, H, W)")
    (light1, a1, b1), (light2, a2, b2) = first.double(), second.double()
    boost = 1 + _chroma_share((torch.hypot(a1, b1) + torch.hypot(a2, b2)) / 2)
    chroma1, chroma2 = torch.hypot(boost * a1, b1), torch.hypot(boost * a2, b2)
    turn, hue = _hues(torch.atan2(b1, boost * a1), torch.atan2(b2, boost * a2))
    mean_light, mean_chroma = (light1 + light2) / 2, (chroma1 + chroma2) / 2
    off = (mean_light - 50).square()
    d_light = (light2 - light1) / (1 + 0.015 * off / (20 + off).sqrt())
    d_chroma = (chroma2 - chroma1) / (1 + 0.045 * mean_chroma)
    d_hue = 2 * (chroma1 * chroma2).sqrt() * torch.sin(turn / 2) / (1 + 0.015 * mean_chroma * _hue_weight(hue))
    total: Tensor = d_light.square() + d_chroma.square() + d_hue.square()
    return (total + _rotation(mean_chroma, hue) * d_chroma * d_hue).sqrt()


def _hues(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """The turn from the first hue to the second, the shorter way, and the mean hue; radians.

    A grey has no hue, but then the chroma that both are multiplied by is 0, whatever they are.
    """
    first, second = first % _FULL, second % _FULL
    apart = second - first
    turn = torch.where(apart > math.pi, apart - _FULL, torch.where(apart < -math.pi, apart + _FULL, apart))
    total = first + second
    far = apart.abs() > math.pi
    mean = torch.where(far, torch.where(total < _FULL, total + _FULL, total - _FULL), total) / 2
    return turn, mean


def _chroma_share(chroma: Tensor) -> Tensor:
    """G: how much larger a is taken, from 1/2 for greys to 0 for vivid colours."""
    power = chroma**7
    return (1 - (power / (power + 25.0**7)).sqrt()) / 2


def _hue_weight(hue: Tensor) -> Tensor:
    """T."""
    terms = ((-0.17, 1, -30), (0.24, 2, 0), (0.32, 3, 6), (-0.20, 4, -63))
    waves = [weight * torch.cos(times * hue + math.radians(shift)) for weight, times, shift in terms]
    return torch.stack(waves).sum(0) + 1


def _rotation(chroma: Tensor, hue: Tensor) -> Tensor:
    """R_T, which couples chroma and hue where colours are blue."""
    angle = torch.exp(-((torch.rad2deg(hue) - 275) / 25).square()) * math.radians(30)
    power = chroma**7
    return -torch.sin(2 * angle) * 2 * (power / (power + 25.0**7)).sqrt()
