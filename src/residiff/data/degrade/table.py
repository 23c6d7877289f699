"""Degradations: seeded pure functions from a clean image to a degraded one, and the table that names them.

Every function takes `clean`, float32 (3, H, W) in [0, 1] of any size, on the CPU, never changes it, and returns a
`Degraded` of the same size, rounded to 8 bits as a file would hold it; only pixels that a mask calls untouched are left
as they are, and what is missing is 0.5. Its parameters are ranges (low, high) from which one value is drawn; the same
generator state gives the same bytes. A bad range or image is a `ConfigError`.
"""

from __future__ import annotations

import difflib
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from residiff.data.degrade import holes, optics, strokes, weather
from residiff.data.degrade.draws import Degraded, Parameter, Range, check_clean, to_8_bit, to_linear, to_srgb, uniform
from residiff.data.degrade.shadows import shadow_matte
from residiff.errors import ConfigError
from residiff.plugins import Group, Guarded, Plugin, Table

Row = TypeVar("Row")

# Of the channels in grey: of sRGB values, and of linear light.
_REC_601 = (0.299, 0.587, 0.114)
_REC_709 = (0.2126, 0.7152, 0.0722)

_SIGMA = Parameter("sigma", "standard deviation in grey levels of 255", (5, 50), (0, 255))
_GAIN = Parameter("gain", "light of one electron, of full light", (0.0005, 0.01), (1e-6, 0.1), log=True)
_READ = Parameter("read", "deviation of the read noise, of full light", (0.0005, 0.01), (1e-6, 0.1), log=True)
_CORRELATION = Parameter("correlation", "weight of a pixel's neighbours in its noise", (0, 0.5), (0, 1))
_EXPOSURE = Parameter("exposure", "share of the light that is left", (0.035, 0.15), (0.001, 1), log=True)
_GAMMA = Parameter("gamma", "exponent on the dark picture's sRGB values", (1.0, 1.15), (0.5, 3))
_DARK_NOISE = Parameter("grain", "sensor noise, in thousandths of full light", (0.1, 1.5), (0, 50))
_DRIFT = Parameter("drift", "largest relative error of a channel's white balance", (0.0, 0.12), (0, 0.5))
_COVERAGE = Parameter("coverage", "share of the image in shadow", (0.05, 0.6), (0, 1))
_LIGHT = Parameter("light", "share of the light that is left in full shadow", (0.25, 0.7), (0, 1))
_CAST = Parameter("cast", "how much bluer than red the light in the shadow is", (0.0, 0.2), (0, 0.5))
_QUALITY = Parameter("quality", "JPEG quality", (10, 60), (1, 100))
_MOONLIGHT = Parameter("light", "share of the light that is left", (0.1, 0.2), (0.001, 1), log=True)
_COLOUR = Parameter("colour", "share of the colour that is left", (0.4, 0.5), (0, 1))
_BLUE = Parameter("blue", "how much bluer than red the light is", (0.4, 0.5), (0, 1))
_PENUMBRA = Parameter("penumbra", "width of the soft edge, of the longer side", (0.01, 0.08), (0, 1))


def noise(clean: Tensor, generator: torch.Generator, *, sigma: Range = _SIGMA.default) -> Degraded:
    """White Gaussian noise, clipped and rounded to 8 bits. `sigma` in [0, 255] grey levels; larger is worse."""
    check_clean(clean)
    deviation = _SIGMA.draw(sigma, generator) / 255
    return Degraded(to_8_bit(torch.randn(clean.shape, generator=generator).mul_(deviation).add_(clean)))


def sensor_noise(
    clean: Tensor,
    generator: torch.Generator,
    *,
    gain: Range = _GAIN.default,
    read: Range = _READ.default,
    correlation: Range = _CORRELATION.default,
) -> Degraded:
    """A camera's noise: Poisson counts of light / `gain`, and Gaussian noise of deviation `read`, in linear light.

    `gain` and `read` are log-uniform in [1e-6, 0.1]; larger is worse. As after demosaicing, each pixel's noise is mixed
    with its neighbours', weighted by `correlation` (in [0, 1]) in rows and columns; its variance stays.
    """
    check_clean(clean)
    electron = _GAIN.draw(gain, generator)
    deviation = _READ.draw(read, generator)
    weights = torch.tensor([1.0, 0.0, 1.0]) * _CORRELATION.draw(correlation, generator)
    weights[1] = 1
    kernel = torch.outer(weights, weights) / weights.square().sum()
    light = to_linear(clean)
    error = torch.poisson(light / electron, generator=generator).mul_(electron).sub_(light)
    error += torch.randn(clean.shape, generator=generator) * deviation
    return Degraded(to_8_bit(to_srgb(light + optics.convolve(error, kernel))))


def low_light(
    clean: Tensor,
    generator: torch.Generator,
    *,
    exposure: Range = _EXPOSURE.default,
    gamma: Range = _GAMMA.default,
    grain: Range = _DARK_NOISE.default,
    drift: Range = _DRIFT.default,
) -> Degraded:
    """A picture taken with too little light, rounded to 8 bits.

    Linear light is scaled by `exposure` (log-uniform in [0.001, 1]; smaller is worse) and by each channel's
    white-balance error of at most `drift` (in [0, 0.5]), gets shot and read noise of size `grain` (in [0, 50]) / 1000,
    and goes back to sRGB, raised to `gamma` (in [0.5, 3]).
    """
    check_clean(clean)
    scale = _EXPOSURE.draw(exposure, generator)
    exponent = _GAMMA.draw(gamma, generator)
    size = _DARK_NOISE.draw(grain, generator) / 1000
    error = _DRIFT.draw(drift, generator)
    balance = uniform(1 - error, 1 + error, (3, 1, 1), generator)
    light = to_linear(clean) * (scale * balance)
    # Read noise of deviation `size`, and shot noise that equals it where light = size.
    light += torch.randn(clean.shape, generator=generator) * (light * size + size * size).sqrt_()
    return Degraded(to_8_bit(to_srgb(light) ** exponent))


def shadow(
    clean: Tensor,
    generator: torch.Generator,
    *,
    coverage: Range = _COVERAGE.default,
    light: Range = _LIGHT.default,
    cast: Range = _CAST.default,
    penumbra: Range = _PENUMBRA.default,
) -> Degraded:
    """Cast shadows with soft edges; the mask is the matte (1 = full shadow), and where it is 0 the image is unchanged.

    The matte is above one half on `coverage` (in [0, 1]) of the image; its edge is `penumbra` (in [0, 1]) of the longer
    side wide. In full shadow `light` (in [0, 1]; smaller is worse) of the linear light is left, times 1 - `cast` in red
    and 1 + `cast` in blue (`cast` in [0, 0.5]), for the sky lights it.
    """
    height, width = check_clean(clean)
    area = _COVERAGE.draw(coverage, generator)
    left = _LIGHT.draw(light, generator)
    tint = _CAST.draw(cast, generator)
    matte = shadow_matte(height, width, area, _PENUMBRA.draw(penumbra, generator), generator)
    factor = left * torch.tensor([1 - tint, 1.0, 1 + tint]).view(3, 1, 1)
    shaded = to_8_bit(to_srgb(to_linear(clean) * (1 - matte * (1 - factor.clamp_(max=1)))))
    return Degraded(torch.where(matte > 0, shaded, clean), matte)


def jpeg(clean: Tensor, generator: torch.Generator, *, quality: Range = _QUALITY.default) -> Degraded:
    """JPEG in memory and back, at a whole `quality` in [1, 100]; smaller is worse.

    The codec is the degradation itself: no file is read or written, so that this does not pass by the image door.
    """
    check_clean(clean)
    level = _QUALITY.draw_whole(quality, generator)
    stored = io.BytesIO()
    Image.fromarray((clean * 255).round().byte().permute(1, 2, 0).numpy()).save(stored, "JPEG", quality=level)
    pixels = torch.from_numpy(np.array(Image.open(stored)))
    return Degraded(pixels.permute(2, 0, 1).contiguous().float().div_(255))


def grey(clean: Tensor, generator: torch.Generator) -> Degraded:
    """The luma 0.299 R + 0.587 G + 0.114 B (Rec. 601) of the sRGB values, in all three channels.

    Those are the weights with which Pillow, OpenCV and MATLAB, and with them the published colourisation sets, turn a
    picture grey; Rec. 709's are for linear light.
    """
    check_clean(clean)
    return Degraded(to_8_bit(_weighted(clean, _REC_601).expand_as(clean)))


def night(
    clean: Tensor,
    generator: torch.Generator,
    *,
    light: Range = _MOONLIGHT.default,
    colour: Range = _COLOUR.default,
    blue: Range = _BLUE.default,
) -> Degraded:
    """Day as if night, as films have it: little light, pale and bluish; a domain to translate from.

    `light` (log-uniform in [0.001, 1]; smaller is worse) of the linear light is left, with `colour` (in [0, 1]) of its
    distance to grey, times 1 - `blue` in red and 1 + `blue` in blue (`blue` in [0, 1]).
    """
    check_clean(clean)
    left = _MOONLIGHT.draw(light, generator)
    share = _COLOUR.draw(colour, generator)
    tint = _BLUE.draw(blue, generator)
    linear = to_linear(clean)
    pale = torch.lerp(_weighted(linear, _REC_709), linear, share)
    return Degraded(to_8_bit(to_srgb(pale * (left * torch.tensor([1 - tint, 1.0, 1 + tint])).view(3, 1, 1))))


def _weighted(image: Tensor, weights: tuple[float, float, float]) -> Tensor:
    """The weighted sum (1, H, W) of the channels of (3, H, W)."""
    return (image * torch.tensor(weights).view(3, 1, 1)).sum(0, keepdim=True)


@dataclass(frozen=True)
class Degradation:
    """A row of the table: the function, what it does in a line, its parameters, and whether its result has a mask."""

    function: Callable[..., Degraded]
    summary: str
    parameters: tuple[Parameter, ...]
    gives_mask: bool = False


def degrade(
    name: str,
    clean: Tensor,
    generator: torch.Generator,
    parameters: Mapping[str, Range | float] | None = None,
) -> Degraded:
    """`clean` (3, H, W) degraded by the row called `name`, with `parameters` in place of its default ranges.

    A parameter is a range (low, high), or one number for both ends. An unknown name is a `ConfigError`.
    """
    row = _look_up(DEGRADATIONS, name, "degradation")
    known = {parameter.name: parameter for parameter in row.parameters}
    ranges: dict[str, Range] = {}
    for key, value in (parameters or {}).items():
        _look_up(known, key, f"parameter of {name}")
        ranges[key] = _as_range(key, value)
    return row.function(clean, generator, **ranges)


def _look_up(table: Mapping[str, Row], name: str, what: str) -> Row:
    """The row called `name`; `ConfigError` with the nearest name where there is none."""
    if name in table:
        return table[name]
    near = difflib.get_close_matches(name, table, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"choose from {', '.join(table)}"
    raise ConfigError(f"{name!r} is not a {what}: {hint}")


def _as_range(name: str, value: Range | float) -> Range:
    """`value`, a number or two, as a range."""
    if isinstance(value, (int, float)):
        return (value, value)
    if len(value) != 2:
        raise ConfigError(f"{name} = {value!r} is not usable: give one number or (low, high)")
    return (value[0], value[1])


def _plugged(plugin: Plugin, value: object) -> Degradation:
    if not isinstance(value, Degradation):
        raise plugin.fault("it is no residiff.data.degrade.Degradation")
    return replace(value, function=Guarded(plugin, value.function))


_BOX = (holes.TALL, holes.WIDE, holes.MARGIN)
_ZIGZAG = (strokes.ZIGZAGS, strokes.THICKNESS)

_OWN: dict[str, Degradation] = {
    "noise": Degradation(noise, "white Gaussian noise", (_SIGMA,)),
    "sensor-noise": Degradation(sensor_noise, "a camera's shot and read noise", (_GAIN, _READ, _CORRELATION)),
    "low-light": Degradation(low_light, "too little light", (_EXPOSURE, _GAMMA, _DARK_NOISE, _DRIFT)),
    "shadow": Degradation(shadow, "cast shadows", (_COVERAGE, _LIGHT, _CAST, _PENUMBRA), gives_mask=True),
    "rain": Degradation(
        weather.rain,
        "streaks of falling rain",
        (weather.AMOUNT, weather.LENGTH, weather.SLANT, weather.STRENGTH),
    ),
    "raindrops": Degradation(weather.raindrops, "drops on the glass", (weather.DROPS, weather.SIZE)),
    "motion-blur": Degradation(optics.motion_blur, "a camera that moves", (optics.LENGTH, optics.ANGLE, optics.BEND)),
    "defocus-blur": Degradation(optics.defocus_blur, "a lens out of focus", (optics.RADIUS,)),
    "jpeg": Degradation(jpeg, "JPEG compression", (_QUALITY,)),
    "haze": Degradation(weather.haze, "haze that grows with distance", (weather.DENSITY, weather.AIRLIGHT)),
    "grey": Degradation(grey, "no colour left", ()),
    "night": Degradation(night, "day as if night: dark, bluish, pale", (_MOONLIGHT, _COLOUR, _BLUE)),
    "blank": Degradation(holes.blank, "nothing is left: what generation starts from", ()),
    "missing-centre": Degradation(holes.missing_centre, "a hole in the middle", (holes.FRACTION,), gives_mask=True),
    "missing-box": Degradation(holes.missing_box, "a box missing", (holes.FRACTION, holes.ASPECT), gives_mask=True),
    "missing-rectangle": Degradation(holes.missing_rectangle, "a box missing, off the border", _BOX, gives_mask=True),
    "missing-brush": Degradation(
        strokes.missing_brush,
        "brush strokes missing",
        (holes.FRACTION, strokes.STROKES),
        gives_mask=True,
    ),
    "missing-irregular": Degradation(
        strokes.missing_irregular,
        "irregular scribbles missing",
        (strokes.IRREGULAR_FRACTION,),
        gives_mask=True,
    ),
    "missing-free-form": Degradation(strokes.missing_free_form, "zigzag strokes missing", _ZIGZAG, gives_mask=True),
    "missing-hybrid": Degradation(strokes.missing_hybrid, "a box and strokes missing", _BOX + _ZIGZAG, gives_mask=True),
    "missing-side": Degradation(holes.missing_side, "one side missing", (holes.SIDE_FRACTION,), gives_mask=True),
    "missing-border": Degradation(holes.missing_border, "all sides missing", (holes.BORDER_FRACTION,), gives_mask=True),
}
DEGRADATIONS: Table[Degradation] = Table(_OWN, Group.DEGRADATIONS, _plugged)
