"""Procedural clean photographs: training data with natural statistics and no photograph in it.

An image is a dead-leaves world (opaque shapes hiding one another, radii p(r) ~ r^-3, which is what makes natural
images scale invariant) with the rest of photography around it: shaded and textured surfaces, fur, thin structures,
lettering, depth of field, a lens and a tone curve. Shapes are drawn twice as fine as asked and box-averaged.

See Ruderman & Bialek 1994 (power ~ 1/f^2), Lee, Mumford & Huang 2001 (r^-3), Achddou et al. 2021 (training on leaves).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from torch import Tensor

from residiff.errors import ConfigError

Array = npt.NDArray[np.float32]
Rng = np.random.Generator

_FINE = 2  # drawn pixels per image pixel
_TILE = 256  # side of a periodic texture tile
_CORNERS = 32  # corners of an outline
_SLOPE_RANGE = 2.0  # shading and texture coefficients live in [-2, 2], stored in 8 bits


def clean_image(index: int, size: int | tuple[int, int], seed: int = 0) -> Tensor:
    """Draw clean image number ``index`` of the endless family ``seed``: (3, H, W) float32 in [0, 1].

    ``size`` is the side of a square or (height, width), in pixels. The result depends on the three arguments only:
    the same bytes in every process and in any order. Raises ConfigError on a negative index or seed or an empty size.
    """
    height, width = (size, size) if isinstance(size, int) else size
    if min(height, width) < 1:
        raise ConfigError(f"size {size!r} is not usable: height and width are at least 1 pixel")
    if index < 0 or seed < 0:
        raise ConfigError(f"index {index} and seed {seed} are not usable: both are at least 0")
    rng = np.random.default_rng([seed, index])
    scene = _Scene.blank(height, width, rng)
    for paint, chance in _choose_scene(rng):
        if rng.random() < chance:
            paint(scene, rng)
    picture = np.array(_finish(_develop(scene, rng), rng)).transpose(2, 0, 1)
    return torch.from_numpy(np.ascontiguousarray(picture)).float() / 255


@dataclass
class _Scene:
    """What is drawn so far, at ``_FINE`` times the size: display colours, and how each surface is shaded."""

    height: int
    width: int
    colour: Image.Image  # RGB
    surface: Image.Image  # slope in x, slope in y, offset, texture amount (128 is none), in the bands of CMYK
    palette: Array  # (n, 3) colours in [0, 1]

    @classmethod
    def blank(cls, height: int, width: int, rng: Rng) -> _Scene:
        palette = _draw_palette(rng)
        fine = (width * _FINE, height * _FINE)
        ground = tuple(_bytes(palette[rng.integers(len(palette))]).tolist())
        return cls(height, width, Image.new("RGB", fine, ground), _untold(fine), palette)

    @property
    def extent(self) -> Array:
        """(width, height) of the drawn canvas."""
        return np.array(self.colour.size, np.float32)


def _log_uniform(low: float, high: float, rng: Rng) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _untold(size: tuple[int, int]) -> Image.Image:
    return Image.new("CMYK", size, (128, 128, 128, 128))


def _bytes(values: Array) -> npt.NDArray[np.uint8]:
    return (np.clip(values, 0, 1) * 255 + 0.5).astype(np.uint8)


def _draw_palette(rng: Rng) -> Array:
    """Few materials, most of them dull, spread along the daylight axis (blue to orange) more than across it."""
    count = int(rng.integers(2, 7))
    vivid = np.exp(rng.normal(-2.0, 0.8, (count, 1)))
    tint = rng.normal(0.05, 0.12) + rng.normal(0.2, 1, (count, 1)) * vivid
    green = rng.normal(0, 0.04) + rng.normal(0, 0.4, (count, 1)) * vivid
    chroma = np.exp(tint * (1.4, -0.1, -1.3) + green * (-0.6, 1.0, -0.4))
    light = rng.beta(1.2, 1.8, (count, 1)) * 0.9 + 0.02
    return np.asarray(np.clip(light * chroma / chroma.mean(1, keepdims=True), 0.01, 1), np.float32)


def _pick_colours(scene: _Scene, count: int, rng: Rng, spread: float = 0.35) -> Array:
    """(count, 3) materials of the palette, each under its own light."""
    albedo = scene.palette[rng.integers(len(scene.palette), size=count)]
    return np.asarray(np.clip(albedo * np.exp(rng.normal(0, spread, (count, 1))), 0, 1), np.float32)


def _local_colours(scene: _Scene, centres: Array, rng: Rng) -> Array:
    """(n, 3) like ``_pick_colours``, but what lies near by is mostly made of one material under one light."""
    count, regions = len(centres), int(rng.integers(1, 8))
    seeds = rng.random((regions, 2)) * scene.extent
    distance = np.square(centres[:, None] - seeds).sum(-1)
    material = _pick_colours(scene, regions, rng)[distance.argmin(1)]
    contrast = _log_uniform(0.04, 0.5, rng)
    light = np.exp(rng.normal(0, contrast, (count, 1)) + rng.normal(0, 0.25 * contrast, (count, 3)))
    stray = rng.random((count, 1)) < rng.choice([0.02, 0.15, 0.6])
    return np.asarray(np.clip(np.where(stray, _pick_colours(scene, count, rng), material * light), 0, 1), np.float32)


@lru_cache(maxsize=1)
def _outlines() -> Array:
    """(n, _CORNERS, 2) outlines of unit radius: ellipses, rectangles, polygons and smooth blobs."""
    rng = np.random.default_rng(20010)
    turn = np.linspace(0, 2 * np.pi, _CORNERS, endpoint=False)
    circle = np.stack([np.cos(turn), np.sin(turn)], -1)
    shapes = [circle] * 12
    for corners in (3, 4, 4, 4, 4, 5, 6, 4, 4, 3, 4, 7):
        stops = np.sort(rng.uniform(0, 2 * np.pi, corners)) if corners != 4 else np.arange(4) * np.pi / 2
        shapes.append(np.stack([np.cos(stops), np.sin(stops)], -1)[np.arange(_CORNERS) * corners // _CORNERS])
    for _ in range(24):
        wave = sum(rng.normal(0, 0.35 / k) * np.cos(k * turn + rng.uniform(0, 6.3)) for k in (1, 2, 3, 4, 5))
        shapes.append(circle * np.exp(wave)[:, None])
    return np.asarray(shapes, np.float32)


def _radii(low: float, high: float, count: int, rng: Rng) -> Array:
    """Radii with density ~ r^-3 between low and high, by inverting the distribution function."""
    return np.asarray((low**-2 + rng.random(count) * (high**-2 - low**-2)) ** -0.5, np.float32)


def _centres(scene: _Scene, radii: Array, rng: Rng) -> Array:
    """Uniform for the large, gathered in a few clusters for a share of the small: detail is never spread evenly."""
    count = len(radii)
    spots = rng.uniform(-0.1, 1.1, (count, 2))
    heart = rng.random((3, 2))[rng.integers(3, size=count)] + rng.normal(0, 0.15, (count, 2))
    gathered = (rng.random(count) < rng.choice([0.0, 0.5, 0.9])) & (radii < 12 * _FINE)
    return np.asarray(np.where(gathered[:, None], heart, spots) * scene.extent, np.float32)


def _corners(centres: Array, radii: Array, rng: Rng) -> Array:
    """(n, _CORNERS, 2) outlines turned, stretched and put in place."""
    count = len(radii)
    shapes = _outlines()
    chosen = shapes[rng.integers(len(shapes), size=count)]
    stretch = np.exp(rng.normal(0, 0.4, count)) * radii
    upright = rng.random(count) < rng.choice([0.0, 0.3, 0.8])
    angle = np.where(upright, np.pi / 4, rng.uniform(0, 2 * np.pi, count))
    x, y = chosen[..., 0] * stretch[:, None], chosen[..., 1] * (radii**2 / stretch)[:, None]
    cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
    return np.asarray(np.stack([x * cos - y * sin, x * sin + y * cos], -1) + centres[:, None], np.float32)


def _surfaces(scene: _Scene, centres: Array, radii: Array, rng: Rng) -> npt.NDArray[np.uint8]:
    """(n, 4) shading of each leaf: a slope about its own centre, and how much texture it carries."""
    count = len(radii)
    roundness = np.minimum(scene.extent.max() / (4 * radii), 4)[:, None]
    steep = rng.normal(0, rng.uniform(0.05, 0.35), (count, 2)) * roundness
    offset = -(steep * (2 * centres / scene.extent - 1)).sum(1)
    amount = rng.normal(0, 0.7, count) * (rng.random(count) < rng.choice([0.3, 0.6, 0.9]))
    return _bytes(np.column_stack([steep, offset, amount]).astype(np.float32) / (2 * _SLOPE_RANGE) + 128 / 255)


def _scatter(scene: _Scene, rng: Rng, smallest: float, cover: float) -> None:
    """Drop leaves until ``cover`` times the canvas is covered; only leaves large enough to show it are shaded."""
    largest = max(0.5 * float(scene.extent.max()), smallest * 2)
    area = np.pi * 2 * smallest**2 * np.log(largest / smallest)
    radii = _radii(smallest, largest, int(cover * scene.extent.prod() / area) + 1, rng)
    radii = radii[np.argsort(-radii * np.exp(rng.normal(0, rng.choice([0.3, 1.0, 4.0]), len(radii))))]
    centres = _centres(scene, radii, rng)
    corners = _corners(centres, radii, rng)
    colours = _bytes(_local_colours(scene, centres, rng)).tolist()
    surfaces = _surfaces(scene, centres, radii, rng).tolist()
    colour, surface = ImageDraw.Draw(scene.colour), ImageDraw.Draw(scene.surface)
    for radius, corner, fill, shade in zip(radii.tolist(), corners, colours, surfaces, strict=True):
        outline = corner[:: 1 if radius > 24 else 2 if radius > 8 else 4].ravel().tolist()
        colour.polygon(outline, tuple(fill))
        if radius > 4 * _FINE:
            surface.polygon(outline, tuple(shade))


def _paint_leaves(scene: _Scene, rng: Rng) -> None:
    _scatter(scene, rng, _FINE * _log_uniform(1.5, 8, rng), float(rng.uniform(0.6, 2.0)))


def _paint_few(scene: _Scene, rng: Rng) -> None:
    _scatter(scene, rng, _FINE * _log_uniform(4, 40, rng), float(rng.uniform(0.1, 0.8)))


def _paint_dust(scene: _Scene, rng: Rng) -> None:
    _scatter(scene, rng, _FINE * float(rng.uniform(0.7, 2)), float(rng.uniform(0.03, 0.3)))


def _paint_strokes(scene: _Scene, rng: Rng) -> None:
    """Hair, fur or grass: many thin strokes that follow a slowly turning direction."""
    count = int(min(600, scene.extent.prod() * rng.uniform(0.002, 0.008)))
    start = rng.random((count, 2)) * rng.uniform(0.3, 1, 2) + rng.uniform(-0.1, 0.5, 2)
    phase = rng.uniform(0, 6.3, 3)
    angle = phase[0] + 0.8 * np.sin(start @ rng.normal(0, 3, 2) + phase[1]) + rng.normal(0, 0.15, count)
    step = np.stack([np.cos(angle), np.sin(angle)], -1) * rng.uniform(6, 30) * _FINE
    bend = step[:, ::-1] * (1, -1) * rng.normal(0, 0.15, (count, 1))
    lines = np.tile(start * scene.extent, 3) + np.concatenate([0 * step, step / 2 + bend, step], 1)
    colours = _bytes(_pick_colours(scene, 4, rng)[rng.integers(4, size=count)] * np.exp(rng.normal(0, 0.3, (count, 1))))
    draw = ImageDraw.Draw(scene.colour)
    for line, fill in zip(lines.tolist(), colours.tolist(), strict=True):
        draw.line(line, tuple(fill), int(rng.integers(1, 4)))


def _paint_curves(scene: _Scene, rng: Rng) -> None:
    """Wires, twigs and outlines: long curves, one to a few pixels wide."""
    count = int(rng.integers(1, 12))
    t = np.linspace(0, 1, 20)[:, None]
    ends = rng.uniform(-0.2, 1.2, (count, 3, 2)) * scene.extent
    colours = _bytes(_pick_colours(scene, count, rng, 0.8)).tolist()
    draw = ImageDraw.Draw(scene.colour)
    for (a, b, c), fill in zip(ends, colours, strict=True):
        path = (1 - t) ** 2 * a + 2 * t * (1 - t) * b + t**2 * c
        draw.line(path.ravel().tolist(), tuple(fill), int(rng.integers(1, 4 * _FINE)))


def _paint_bars(scene: _Scene, rng: Rng) -> None:
    """Fences, blinds, windows: parallel bars across a part of the picture, at times in both directions."""
    reach = float(scene.extent.max()) * rng.uniform(0.2, 1)
    centre = rng.random(2) * scene.extent
    pitch = _log_uniform(3, 24, rng) * _FINE
    angle = rng.choice([0.0, rng.normal(0, 0.15), rng.uniform(0, 3.2)])
    fill = tuple(_bytes(_pick_colours(scene, 1, rng, 0.6)[0]).tolist())
    draw = ImageDraw.Draw(scene.colour)
    thick = max(1, int(pitch * rng.uniform(0.1, 0.6)))
    for turn in (angle, angle + np.pi / 2)[: rng.integers(1, 3)]:
        along = np.array([np.cos(turn), np.sin(turn)])
        for shift in np.arange(-reach / 2, reach / 2, pitch)[:60]:
            middle = centre + along[::-1] * (-1, 1) * shift
            draw.line([*(middle - along * reach / 2), *(middle + along * reach / 2)], fill, thick)


@lru_cache(maxsize=64)
def _font(points: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(points)


def _paint_text(scene: _Scene, rng: Rng) -> None:
    """Lettering: a block of random signs in one colour, turned a little."""
    points = int(_log_uniform(8, 40, rng)) * _FINE
    signs = rng.integers(33, 127, (int(rng.integers(1, 5)), int(rng.integers(2, 10))))
    text = "\n".join("".join(map(chr, row)) for row in signs.tolist())
    reach = min(6 * points, 2 * max(scene.colour.size))
    stencil = Image.new("L", (reach, reach))
    ImageDraw.Draw(stencil).multiline_text((0, 0), text, 255, _font(points))
    stencil = stencil.rotate(float(rng.choice([0, rng.normal(0, 5), rng.uniform(0, 360)])), Image.Resampling.BILINEAR)
    fill = tuple(_bytes(_pick_colours(scene, 1, rng, 0.8)[0]).tolist())
    corner = (rng.uniform(-0.2, 0.8, 2) * scene.extent).astype(int)
    scene.colour.paste(fill, (int(corner[0]), int(corner[1])), stencil)


def _soften(image: Image.Image, sigma: float) -> Image.Image:
    """Gaussian blur; a wide one is done on a small copy, which costs a fraction and looks the same."""
    factor = min(4, int(sigma / 2), *image.size)
    if factor < 2:
        return image.filter(ImageFilter.GaussianBlur(sigma))
    small = image.reduce(factor).filter(ImageFilter.GaussianBlur(sigma / factor))
    return small.resize(image.size, Image.Resampling.BILINEAR)


def _paint_blur(scene: _Scene, rng: Rng) -> None:
    """What is drawn so far goes out of focus; at times so far that no surface is told."""
    sigma = _log_uniform(1.5, 14, rng) * _FINE
    scene.colour = _soften(scene.colour, sigma)
    scene.surface = _soften(scene.surface, sigma) if rng.random() < 0.5 else _untold(scene.colour.size)


def _paint_focus(scene: _Scene, rng: Rng) -> None:
    """A part of what is drawn so far goes out of focus, by a soft border across the picture."""
    sigma = _log_uniform(0.7, 6, rng) * _FINE
    ramp = Image.linear_gradient("L").rotate(float(rng.uniform(0, 360))).resize(scene.colour.size)
    scene.colour = Image.composite(_soften(scene.colour, sigma), scene.colour, ramp)
    scene.surface = Image.composite(_soften(scene.surface, sigma), scene.surface, ramp)


def _noise_tile(power: float, stretch: float, rng: Rng) -> Array:
    """Noise of amplitude 1/f^power, drawn out along one axis, with light or heavy tails."""
    fy, fx = np.fft.fftfreq(_TILE)[:, None], np.fft.rfftfreq(_TILE)[None]
    wave = np.fft.rfft2(rng.normal(size=(_TILE, _TILE))) * (np.hypot(fx * stretch, fy) + 1 / _TILE) ** -power
    tile = np.fft.irfft2(wave * np.exp(-((fx / 0.35) ** 2) - (fy / 0.35) ** 2), (_TILE, _TILE))
    tile *= rng.uniform(0.5, 1.5) / tile.std()
    return np.asarray((np.sinh(tile), np.tanh(tile), tile)[rng.integers(3)], np.float32)


def _lattice_tile(rng: Rng) -> Array:
    """Weave, stripes, ribs or boards: waves across and along, bent by smooth noise."""
    y, x = np.mgrid[:_TILE, :_TILE] * (2 * np.pi / _TILE)
    u = np.sin(rng.integers(3, 50) * x + rng.uniform(0, 2) * _noise_tile(1.8, 1, rng))
    v = np.sin(rng.integers(2, 50) * y + rng.uniform(0, 2) * _noise_tile(1.8, 1, rng))
    mixed = (u, u + v, u * v, np.maximum(u, v))[rng.integers(4)]
    return np.asarray(np.tanh(mixed * rng.uniform(0.5, 4)) + rng.uniform(0, 0.4) * _noise_tile(0.8, 1, rng), np.float32)


def _carpet_tile(count: int, outline: Array, turning: float, rng: Rng) -> Array:
    """Fur, grass, gravel or foliage: opaque pieces along a slowly turning direction, wrapped around the borders."""
    side = _TILE * _FINE
    start = rng.random((count, 2)) * side
    phase = start * (2 * np.pi / side) @ rng.integers(-2, 3, (2, 3))
    angle = rng.uniform(0, 6.3) + np.sin(phase + rng.uniform(0, 6.3, 3)).mean(1) + rng.normal(0, turning, count)
    shade = 110 + 60 * np.sin(phase[:, 0] + rng.uniform(0, 6.3)) * rng.random() + rng.normal(0, 35, count)
    spin = np.stack([np.cos(angle), np.sin(angle), -np.sin(angle), np.cos(angle)], -1).reshape(count, 1, 2, 2)
    pieces = (outline[None, :, None] @ spin)[:, :, 0] * np.exp(rng.normal(0, 0.4, (count, 1, 1))) + start[:, None]
    canvas = Image.new("L", (side, side), 90)
    draw = ImageDraw.Draw(canvas)
    reach = np.concatenate([pieces.min(1), pieces.max(1) - side], 1) * (-1, -1, 1, 1) > 0
    fills = np.clip(shade, 0, 255).astype(int).tolist()
    for piece, (left, top, right, bottom), fill in zip(pieces, reach.astype(int).tolist(), fills, strict=True):
        for dx, dy in product(sorted({0, left - right}), sorted({0, top - bottom})):
            draw.polygon((piece + (dx * side, dy * side)).ravel().tolist(), fill)
    return np.asarray(canvas.reduce(_FINE), np.float32)


@lru_cache(maxsize=1)
def _textures() -> list[list[Array]]:
    """Periodic (_TILE, _TILE) textures with mean 0 and deviation 1, shared by all images: noise, lattices, carpets."""
    rng = np.random.default_rng(19940)
    noise = [_noise_tile(p, s, rng) for p in (0.3, 0.6, 0.8, 1.0, 1.2, 1.5) for s in (1.0, 1.0, 3.0, 10.0)]
    lattices = [_lattice_tile(rng) for _ in range(10)]
    carpets = []
    for length, width, turning in ((60, 3, 0.1), (40, 2, 0.2), (30, 3, 0.4), (60, 5, 0.2), (20, 2, 0.3), (90, 3, 0.1)):
        hair = np.array([(0, -width / 2), (length / 2, -width / 2 + 1), (length, 0), (0, width / 2)], np.float32)
        carpets.append(_carpet_tile(60 * _TILE * _TILE // (length * width * 4), hair, turning, rng))
    for size, shape in ((4, 0), (7, 15), (12, 30), (6, 20)):
        carpets.append(_carpet_tile(3 * _TILE * _TILE // size**2, _outlines()[shape, ::4] * size, 3.0, rng))
    return [[(tile - tile.mean()) / tile.std() for tile in tiles] for tiles in (noise, lattices, carpets)]


def _texture(height: int, width: int, rng: Rng) -> Array:
    """(height, width) window on one texture tile, turned and zoomed."""
    kind = _textures()[rng.choice(3, p=(0.4, 0.15, 0.45))]
    zoom, angle = np.exp(rng.uniform(-0.7, 0.4)), rng.uniform(0, 2 * np.pi)
    reach = int(1.5 * zoom * np.hypot(height, width)) // _TILE + 2  # tiles that hold the window however it is turned
    source = Image.fromarray(np.tile(kind[rng.integers(len(kind))], (reach, reach)))
    a, b = zoom * np.cos(angle), zoom * np.sin(angle)
    middle = reach * _TILE / 2 + rng.uniform(-0.5, 0.5, 2) * _TILE / 2
    shift = middle - (a * width / 2 + b * height / 2, -b * width / 2 + a * height / 2)
    affine = Image.Transform.AFFINE, (a, b, shift[0], -b, a, shift[1])
    return np.asarray(source.transform((width, height), *affine, Image.Resampling.BICUBIC), np.float32)


def _develop(scene: _Scene, rng: Rng) -> Array:
    """Average to the asked size and light the surfaces: (H, W, 3)."""
    colour = np.asarray(scene.colour.reduce(_FINE), np.float32) / 255
    surface = (np.asarray(scene.surface.reduce(_FINE), np.float32) - 128) * (2 * _SLOPE_RANGE / 255)
    x = np.linspace(-1, 1, scene.width, dtype=np.float32)[None]
    y = np.linspace(-1, 1, scene.height, dtype=np.float32)[:, None]
    slope = rng.normal(0, 0.15, 2).astype(np.float32)
    dither = rng.random((scene.height, scene.width), np.float32) * (2 * _SLOPE_RANGE / 255)  # hides the 8-bit steps
    light = (surface[..., 0] + slope[0]) * x + (surface[..., 1] + slope[1]) * y + surface[..., 2] + dither
    amount = surface[..., 3] + np.float32(rng.laplace(0, 0.2))
    for side in (amount, -amount):
        if side.max() > 0.02:
            strength = np.float32(np.exp(rng.normal(-1.8, 0.6)))
            light += np.maximum(side, 0) * strength * _texture(scene.height, scene.width, rng)
    tint = (1 + rng.normal(0, 0.12, 3)).astype(np.float32)
    return np.asarray(colour * np.exp(np.clip(light, -2, 1.5)[..., None] * tint), np.float32)


def _finish(picture: Array, rng: Rng) -> Image.Image:
    """Camera: exposure, white balance, saturation, gamma, contrast, a soft shoulder to white, and the lens."""
    picture = picture * np.exp(rng.normal(0, 0.05, 3) + rng.normal(0.1, 0.3)).astype(np.float32)
    grey = picture.mean(-1, keepdims=True)
    picture = np.maximum(grey + (picture - grey) * np.float32(rng.uniform(0.7, 1.4)), 0)
    picture = np.minimum(picture, 0.6 + 0.4 * np.tanh((picture - 0.6) / 0.4))
    picture **= np.float32(np.exp(rng.normal(0, 0.15)))
    curve = np.float32(rng.uniform(-0.2, 0.6))
    picture += curve * picture * (1 - picture) * (2 * picture - 1)
    sigma = float(rng.choice([0.0, rng.uniform(0.3, 0.7), rng.uniform(0.4, 1.1)]))
    return Image.fromarray(_bytes(picture)).filter(ImageFilter.GaussianBlur(sigma))


_Painter = Callable[[_Scene, Rng], None]
_Recipe = tuple[tuple[_Painter, float], ...]


def _choose_scene(rng: Rng) -> _Recipe:
    """One row of the table below, by its weight."""
    weights = np.array([weight for weight, _ in _SCENES.values()])
    return list(_SCENES.values())[int(rng.choice(len(weights), p=weights / weights.sum()))][1]


_SCENES: dict[str, tuple[float, _Recipe]] = {
    "leaves": (4.0, ((_paint_leaves, 1.0), (_paint_curves, 0.3), (_paint_text, 0.1), (_paint_focus, 0.3))),
    "depth": (5.0, ((_paint_few, 1.0), (_paint_blur, 1.0), (_paint_few, 1.0), (_paint_leaves, 0.3))),
    "fur": (2.0, ((_paint_few, 1.0), (_paint_focus, 0.5), (_paint_strokes, 1.0), (_paint_few, 0.5))),
    "street": (2.0, ((_paint_few, 1.0), (_paint_bars, 0.9), (_paint_few, 0.7), (_paint_text, 0.8), (_paint_bars, 0.4))),
    "sky": (1.5, ((_paint_few, 0.7), (_paint_blur, 1.0), (_paint_curves, 0.5), (_paint_dust, 0.2))),
    "surface": (2.0, ((_paint_few, 0.5), (_paint_focus, 0.5), (_paint_dust, 0.2))),
}
