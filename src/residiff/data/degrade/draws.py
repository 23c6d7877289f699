"""What every degradation is made of: parameters with limits, seeded draws, linear light and smooth random fields.

A `Parameter` is the one place that knows a parameter's default range and its limits. It always takes one number from
the generator, even where the range has equal ends, so fixing a parameter leaves every other draw as it was.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from residiff.errors import ConfigError

Range = tuple[float, float]


class Degraded(NamedTuple):
    """A degraded image (3, H, W), float32 in [0, 1], and its mask (1, H, W) in [0, 1] where the kind has one."""

    image: Tensor
    mask: Tensor | None = None


@dataclass(frozen=True)
class Parameter:
    """A number drawn from a range: uniformly, or uniformly in its logarithm where `log` is set.

    `limits` are what any range must lie within, both ends allowed. A `log` parameter has limits above zero.
    """

    name: str
    summary: str
    default: Range
    limits: Range
    log: bool = False

    def check(self, bounds: Range) -> None:
        """Raise `ConfigError` unless `bounds` are two finite numbers in order and within the limits."""
        low, high = bounds
        lowest, highest = self.limits
        if not lowest <= low <= high <= highest:
            allowed = f"(low, high) with {lowest:g} <= low <= high <= {highest:g}"
            raise ConfigError(f"{self.name} = ({low:g}, {high:g}) is not usable: give {allowed}")

    def draw(self, bounds: Range, generator: torch.Generator) -> float:
        """One number in `bounds`; `ConfigError` where they are not usable."""
        self.check(bounds)
        low, high = bounds
        share = torch.rand((), generator=generator).item()
        if self.log:
            return min(max(low * (high / low) ** share, low), high)
        return min(low + (high - low) * share, high)

    def draw_whole(self, bounds: Range, generator: torch.Generator) -> int:
        """One whole number, the nearest to a draw."""
        return round(self.draw(bounds, generator))


def check_clean(clean: Tensor) -> tuple[int, int]:
    """Height and width of `clean`; `ConfigError` unless it is float32 (3, H, W) on the CPU, with values in [0, 1]."""
    if clean.ndim != 3 or clean.shape[0] != 3 or clean.numel() == 0:
        raise ConfigError(f"clean has the shape {tuple(clean.shape)}: give (3, H, W) with H and W of at least 1")
    if clean.dtype != torch.float32 or clean.device.type != "cpu":
        raise ConfigError(f"clean is {clean.dtype} on {clean.device}: give torch.float32 on the CPU")
    low, high = (value.item() for value in clean.aminmax())
    if not (low >= 0 and high <= 1):
        raise ConfigError(f"clean has values from {low:g} to {high:g}: give values in [0, 1]")
    return clean.shape[1], clean.shape[2]


def uniform(low: float, high: float, size: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Uniform draws in [low, high) of shape `size`."""
    return torch.rand(size, generator=generator) * (high - low) + low


def to_8_bit(image: Tensor) -> Tensor:
    """`image` clipped to [0, 1] and rounded to the 256 grey levels; a new tensor."""
    return (image * 255).round_().clamp_(0, 255).div_(255)


def to_linear(image: Tensor) -> Tensor:
    """Light from sRGB values (IEC 61966-2-1), both in [0, 1]."""
    return torch.where(image <= 0.04045, image / 12.92, ((image + 0.055) / 1.055) ** 2.4)


def to_srgb(light: Tensor) -> Tensor:
    """Light to sRGB values (IEC 61966-2-1); light outside [0, 1] is clipped."""
    light = light.clamp(0, 1)
    return torch.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


def resize(field: Tensor, height: int, width: int) -> Tensor:
    """A (C, h, w) tensor at (C, height, width), linear in between."""
    return functional.interpolate(field[None], (height, width), mode="bilinear", align_corners=False)[0]


def smooth_field(height: int, width: int, cells: int, octaves: int, generator: torch.Generator) -> Tensor:
    """A random field (1, height, width) of about unit size whose largest features span 1 / `cells` of the longer side.

    Each of the `octaves` has features half as large, and half as strong, as the one before.
    """
    longest = max(height, width)
    field = torch.zeros(1, height, width)
    for octave in range(octaves):
        fine = cells * 2**octave
        grid = (2 + math.ceil(fine * height / longest), 2 + math.ceil(fine * width / longest))
        noise = torch.randn((1, 1, *grid), generator=generator)
        field += functional.interpolate(noise, (height, width), mode="bicubic", align_corners=False)[0] * 0.5**octave
    return field
