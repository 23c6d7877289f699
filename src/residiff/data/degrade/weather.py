"""Rain in the air, drops on the lens, and haze; all rounded to 8 bits."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from residiff.data.degrade.draws import Degraded, Parameter, Range, check_clean, smooth_field, to_8_bit, uniform
from residiff.data.degrade.fields import pixel_centres

AMOUNT = Parameter("amount", "streaks per thousand pixels", (1, 10), (0, 200))
LENGTH = Parameter("length", "length of the nearest streaks in pixels", (15, 45), (1, 500))
SLANT = Parameter("slant", "degrees from the vertical", (-35, 35), (-90, 90))
STRENGTH = Parameter("strength", "how opaque the brightest streaks are", (0.4, 0.9), (0, 1))
DROPS = Parameter("drops", "number of drops", (15, 60), (0, 500))
SIZE = Parameter("size", "radius of the largest drop, of the longer side", (0.04, 0.1), (0.001, 0.5))
DENSITY = Parameter("density", "optical depth of the haze at the far end", (0.7, 2.5), (0, 10))
AIRLIGHT = Parameter("airlight", "brightness of the haze itself", (0.7, 0.95), (0, 1))

# Layers of rain from far to near: share of the streaks, relative length, width in pixels, brightness.
_LAYERS = ((0.6, 0.4, 0.5, 0.5), (0.3, 0.7, 0.7, 0.75), (0.1, 1.0, 1.1, 1.0))


def rain(
    clean: Tensor,
    generator: torch.Generator,
    *,
    amount: Range = AMOUNT.default,
    length: Range = LENGTH.default,
    slant: Range = SLANT.default,
    strength: Range = STRENGTH.default,
) -> Degraded:
    """Bright, motion-blurred streaks in three layers of depth.

    `amount` in [0, 200] streaks per thousand pixels and `strength` in [0, 1]: larger is worse. `length` in [1, 500]
    pixels, `slant` in [-90, 90] degrees.
    """
    height, width = check_clean(clean)
    per_pixel = AMOUNT.draw(amount, generator) / 1000
    longest = LENGTH.draw(length, generator)
    angle = math.radians(SLANT.draw(slant, generator))
    opacity = STRENGTH.draw(strength, generator)
    veil = torch.zeros(height, width)
    for share, relative, thickness, brightness in _LAYERS:
        tilt = angle + math.radians(uniform(-4, 4, (), generator).item())
        streak = (relative * longest, thickness, tilt)
        veil += brightness * _streaks(height, width, per_pixel * share, streak, generator)
    veil = opacity * veil.clamp_(0, 1)
    return Degraded(to_8_bit(clean + (0.92 - clean).clamp_(min=0) * veil))


def _streaks(
    height: int, width: int, density: float, streak: tuple[float, float, float], generator: torch.Generator
) -> Tensor:
    """Streaks (height, width) of (length, thickness, tilt), `density` a pixel, each of a peak of 0.3 to 1.

    Points are blurred in the frequency domain: by a box along the streak (a sinc) and by a Gaussian across it.
    """
    length, thickness, tilt = streak
    margin = math.ceil(length)
    size = (height + margin, width + margin)
    seeds = torch.rand(size, generator=generator)
    # A seed below the density is a streak, and how far below decides how bright it is.
    points = torch.where(seeds < density, 0.3 + 0.7 * seeds / max(density, 1e-9), 0.0)
    down, right = torch.fft.fftfreq(size[0])[:, None], torch.fft.rfftfreq(size[1])
    along = down * math.cos(tilt) + right * math.sin(tilt)
    spread = torch.exp(-2 * (math.pi * thickness) ** 2 * (down**2 + right**2))
    peak = length * thickness * math.sqrt(2 * math.pi)
    blurred: Tensor = torch.fft.irfft2(torch.fft.rfft2(points) * torch.sinc(along * length) * spread, s=size)
    return blurred[:height, :width].mul_(peak).clamp_(min=0)


def raindrops(
    clean: Tensor, generator: torch.Generator, *, drops: Range = DROPS.default, size: Range = SIZE.default
) -> Degraded:
    """Drops on the glass before the lens: soft discs that show the scene small, blurred and upside down.

    `drops` in [0, 500] and `size` in [0.001, 0.5] of the longer side: larger is worse.
    """
    height, width = check_clean(clean)
    count = DROPS.draw_whole(drops, generator)
    largest = SIZE.draw(size, generator)
    glass = _Glass(height, width)
    for _ in range(count):
        glass.add_drop(largest, generator)
    seen = glass.look_through(clean, largest)
    return Degraded(to_8_bit(clean + glass.cover * (seen - clean)))


class _Glass:
    """A pane of glass: how much of each pixel drops cover, where the light there comes from, and how bright it is."""

    def __init__(self, height: int, width: int) -> None:
        """A clean pane."""
        self.points = pixel_centres(height, width)
        self.extent = torch.tensor([width, height]) / (2 * max(height, width))
        self.source = self.points.clone()
        self.cover = torch.zeros(1, height, width)
        self.shade = torch.ones(1, height, width)

    def add_drop(self, largest: float, generator: torch.Generator) -> None:
        """Add one drop of radius up to `largest`, somewhere; where drops meet, the one that covers more is seen."""
        x, y, size, aspect, phase, dent = torch.rand(6, generator=generator).tolist()
        centre = self.extent * torch.tensor([2 * x - 1, 2 * y - 1])
        radius = largest * (0.25 + 0.75 * size**2)
        rows, columns = self._window(centre, radius)
        offset = self.points[:, rows, columns] - centre.view(2, 1, 1)
        across, down = offset / radius * torch.tensor([1 + 0.4 * aspect, 1.0]).view(2, 1, 1)
        outline = 1 + 0.12 * dent * torch.cos(2 * torch.atan2(down, across) + 2 * math.pi * phase) + 0.15 * dent * down
        away = torch.hypot(across, down) / outline
        cover = ((1.1 - away) / 0.35).clamp_(0, 1)[None]
        upside_down = centre.view(2, 1, 1) - offset * (1.5 + 2.5 * away**2)
        # The sky, seen at the foot of the drop, is bright; the rim, seen at a glancing angle, dark.
        shade = (1.0 + 0.2 * down - 0.3 * away**4).clamp_(0.4, 1.3)[None]
        front = cover > self.cover[:, rows, columns]
        for whole, part in ((self.source, upside_down), (self.shade, shade), (self.cover, cover)):
            whole[:, rows, columns] = torch.where(front, part, whole[:, rows, columns])

    def _window(self, centre: Tensor, radius: float) -> tuple[slice, slice]:
        """Rows and columns that hold a drop, at least one of each."""
        height, width = self.cover.shape[1:]
        longest = max(height, width)
        low = ((centre + self.extent - 1.6 * radius) * longest).floor().clamp(min=0).int().tolist()
        high = ((centre + self.extent + 1.6 * radius) * longest).ceil().int().tolist()
        return slice(low[1], max(high[1], low[1] + 1)), slice(low[0], max(high[0], low[0] + 1))

    def look_through(self, clean: Tensor, largest: float) -> Tensor:
        """What the drops show of `clean`, (3, H, W); it is made small first, for they are out of focus."""
        height, width = self.cover.shape[1:]
        step = 1 + round(largest * max(height, width) / 6)
        small = functional.adaptive_avg_pool2d(clean, (math.ceil(height / step), math.ceil(width / step)))
        grid = (self.source / self.extent.view(2, 1, 1)).permute(1, 2, 0)[None]
        seen = functional.grid_sample(small[None], grid, padding_mode="reflection", align_corners=False)[0]
        return seen * self.shade


def haze(
    clean: Tensor,
    generator: torch.Generator,
    *,
    density: Range = DENSITY.default,
    airlight: Range = AIRLIGHT.default,
) -> Degraded:
    """Haze I = J t + A (1 - t), t = exp(-density * depth), on sRGB values as the published haze sets have it.

    The depth, in [0, 1], is larger at the top and smooth at random. `density` in [0, 10]: larger is worse; `airlight` A
    in [0, 1], the same in all channels to within 0.03.
    """
    height, width = check_clean(clean)
    thickness = DENSITY.draw(density, generator)
    light = AIRLIGHT.draw(airlight, generator) + uniform(-0.03, 0.03, (3, 1, 1), generator)
    rise = pixel_centres(height, width)[1:]
    depth = (0.55 - 0.7 * rise + 0.12 * smooth_field(height, width, 2, 3, generator)).clamp_(0.05, 1)
    transmission = torch.exp(-thickness * depth)
    return Degraded(to_8_bit(clean * transmission + light.clamp_(0, 1) * (1 - transmission)))
