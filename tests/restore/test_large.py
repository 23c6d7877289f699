"""Large pictures: tiles leave no trace, whatever the network sees of the whole, and are as large as memory allows."""

from __future__ import annotations

import random
from contextlib import nullcontext

import pytest
import torch
from torch import Tensor, nn

from residiff import recipe as recipes
from residiff.checkpoint import ModelFile
from residiff.data.images import Picture
from residiff.errors import ConfigError, ModelFileError
from residiff.metrics import psnr
from residiff.photographs import photographs
from residiff.restore import Restorer, load
from residiff.restore.looking import Part, Survey, parts_of, parts_together, survey
from residiff.restore.options import parse_tile
from residiff.restore.sources import Held, Sources
from residiff.restore.tile_size import bytes_per_pixel, tiling_for
from residiff.restore.tiling import Tiling


def seam_ratio(image: Tensor, core: int) -> float:
    """Mean step across the borders of tiles over the mean step beside them, in rows and columns."""
    steps = [image.diff(dim=dim).abs().mean((0, 3 - dim)) for dim in (1, 2)]
    at, beside = [], []
    for each in steps:
        places = torch.arange(len(each))
        border = (places + 1) % core == 0
        near = torch.isin((places + 1) % core, torch.tensor([1, 2, 3, core - 1, core - 2, core - 3]))
        at.append(each[border])
        beside.append(each[near])
    return float(torch.cat(at).mean() / torch.cat(beside).mean())


def noisy(seed: int = 0) -> Picture:
    image = photographs()["coffee"][:, :256, :288]
    grain = torch.randn(image.shape, generator=torch.Generator().manual_seed(seed))
    return Picture((image + 25 / 255 * grain).clamp(0, 1))


@pytest.fixture(scope="module")
def denoise() -> Restorer:
    return load("denoise", "cpu")


@pytest.fixture(scope="module")
def whole(denoise: Restorer) -> Picture:
    return denoise.restore(noisy(), tile=0)


@pytest.mark.parametrize("tile", [64, 128])
def test_tiles_of_a_network_that_sees_the_whole_leave_no_seams(denoise: Restorer, whole: Picture, tile: int) -> None:
    found = denoise.restore(noisy(), tile=tile)
    assert psnr(found.pixels, whole.pixels) > 50
    assert seam_ratio(found.pixels, tile) <= 1.05 * max(1.0, seam_ratio(whole.pixels, tile))


def test_dark_pictures_get_one_light(whole: Picture) -> None:
    """What is dark in one place and bright in another is exposed by all of it."""
    restorer = load("low-light", "cpu")
    shade = torch.linspace(0.05, 0.6, 288).expand(3, 256, -1)
    picture = Picture(noisy().pixels * shade)
    expected = restorer.restore(picture, tile=0)
    assert psnr(restorer.restore(picture, tile=128).pixels, expected.pixels) > 50


def test_the_same_twice_and_another_with_another_seed(tiny: Restorer) -> None:
    first, again, other = (tiny.restore(noisy(), tile=128, seed=seed).pixels for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)


@pytest.mark.parametrize("size", [(130, 67), (65, 300), (129, 129)])
def test_every_size(tiny: Restorer, size: tuple[int, int]) -> None:
    picture = Picture(torch.rand(3, *size, generator=torch.Generator().manual_seed(0)))
    found = tiny.restore(picture, tile=64)
    assert found.pixels.shape == picture.pixels.shape
    assert psnr(found.pixels, tiny.restore(picture, tile=0).pixels) > 40


def test_masks_grey_alpha_and_strength(masked: Restorer) -> None:
    source = torch.Generator().manual_seed(0)
    picture = Picture(torch.rand(1, 140, 150, generator=source), torch.rand(1, 140, 150, generator=source).round())
    mask = Picture(torch.zeros(1, 140, 150))
    mask.pixels[:, 30:100, 20:90] = 1
    tiled, plain = (masked.restore(picture, mask, tile=tile, strength=0.5) for tile in (64, 0))
    assert tiled.pixels.shape == (1, 140, 150) and torch.equal(tiled.alpha, picture.alpha)
    assert psnr(tiled.pixels, plain.pixels) > 40
    assert torch.equal(tiled.pixels[picture.alpha == 0], picture.pixels[picture.alpha == 0])
    with pytest.raises(ConfigError, match="the mask is 9 x 9"):
        masked.restore(picture, Picture(torch.zeros(1, 9, 9)), tile=64)


def test_rows_come_from_top_to_bottom_and_are_read_thrice(denoise: Restorer) -> None:
    picture, opened = noisy(), []

    class Watched(Held):
        def rows(self, top: int, bottom: int) -> Tensor:
            assert top == self.next
            self.next = bottom
            return super().rows(top, bottom)

    def open_it():
        source = Watched(picture.pixels)
        source.next = 0
        opened.append(source)
        return nullcontext(Sources(source, None, 8))

    large = denoise.large(denoise.tiling(256, 288, 96), open_it)
    spans = [span for span, _ in large.rows()]
    assert [span.start for span in spans] == [0, 96, 192] and spans[-1].stop == 256
    assert [source.next for source in opened] == [256, 256, 256]


def test_values_that_are_not_finite_are_told(untrained) -> None:
    model = untrained()
    broken = {key: value * (torch.nan if key == "ending.bias" else 1) for key, value in model.weights.items()}
    restorer = Restorer(ModelFile(model.recipe, broken))
    with pytest.raises(ModelFileError, match="not finite"):
        restorer.restore(Picture(torch.rand(3, 150, 150)), tile=64)


# ---------------------------------------------------------------- sizes of tiles


def chosen(size: tuple[int, int], tile="auto", each: float = 400.0, free: int = 2**30) -> Tiling | None:
    return tiling_for(recipes.read("denoise"), 8, size, tile, lambda: each, lambda: free)


def test_what_fits_is_not_cut() -> None:
    assert chosen((1000, 1000)) is None
    assert chosen((2500, 2500)) is not None
    assert chosen((2500, 2500), free=2**36) is None
    assert chosen((4000, 4000), tile=0) is None
    assert chosen((500, 500), free=0) is None


def test_tiles_do_not_depend_on_memory_where_there_is_enough() -> None:
    assert chosen((9000, 9000), free=2**33) == chosen((9000, 9000), free=2**40)
    assert chosen((9000, 9000), free=2**33).columns == chosen((4000, 9000), free=2**34).columns


def test_tiles_are_as_large_as_the_memory_allows() -> None:
    found = [chosen((9000, 9000), free=free) for free in (2**26, 2**28, 2**30, 2**32)]
    sizes = [each.core * each.across for each in found]
    assert sizes == sorted(sizes) and sizes[0] < sizes[-1]
    for free, each in zip((2**28, 2**30, 2**32), found[1:], strict=True):
        assert (each.core + 64) * (each.across + 64) * 400 <= free / 2
        assert 3 * each.core * 9000 * 12 <= free


def test_a_side_that_is_asked_for_is_taken() -> None:
    assert chosen((1000, 1000), tile=201).core == 208
    assert chosen((1000, 1000), tile=2000) is None
    with pytest.raises(ConfigError, match="tile is 8"):
        chosen((1000, 1000), tile=8)


def test_tiles_as_worded() -> None:
    assert [parse_tile(text) for text in ("auto", "0", "256")] == ["auto", 0, 256]
    for text in ("big", "-1", "1.5"):
        with pytest.raises(ConfigError, match="tile is"):
            parse_tile(text)


def test_memory_of_a_pixel() -> None:
    small, large = (bytes_per_pixel(recipes.read(name)) for name in ("denoise", "resfusion-lol"))
    assert 100 < small < 1000 < 4000 < large < 40_000
    assert parts_together(small) > 8 and parts_together(large) == 1


# ---------------------------------------------------------------- what is looked at


def look(pixels: Tensor) -> tuple[list[Part], Survey]:
    """The parts of a picture (3, H, W), whose sides are multiples of 8."""
    tiling = Tiling(*pixels.shape[1:], 8, 64, 32, 8)
    surveyed = survey(lambda: nullcontext(Sources(Held(pixels), None, 8)), tiling)
    return parts_of(tiling, surveyed.light), surveyed


@pytest.mark.parametrize("size", [(384, 560), (256, 256), (64, 1000), (1104, 200)])
def test_small_pictures_are_looked_at_as_a_whole(size: tuple[int, int]) -> None:
    covered = torch.zeros(size)
    pixels = torch.rand(3, *size, generator=torch.Generator().manual_seed(0))
    parts, surveyed = look(pixels)
    for part, light in zip(parts, sorted(surveyed.light), strict=True):
        assert part.rows.start >= 0 and part.rows.stop <= size[0] and part.columns.stop <= size[1]
        covered[slice(*part.noted_rows), slice(*part.noted_columns)] += 1
        assert light == pytest.approx(float(noted(pixels, part).mean()), rel=1e-6)
    assert torch.equal(covered, torch.ones(size))
    assert surveyed.counts.sum(1).tolist() == [size[0] * size[1]] * 3


def noted(pixels: Tensor, part: Part) -> Tensor:
    return pixels[:, slice(*part.noted_rows), slice(*part.noted_columns)]


def quilt(side: int, seed: int) -> Tensor:
    """Photographs beside one another, each darkened as it comes, with noise."""
    source, known = random.Random(seed), list(photographs().values())

    def patch() -> Tensor:
        photograph = source.choice(known)
        tile = torch.cat([photograph, photograph.flip(2)], 2)[:, :side, :side] * source.choice([1, 0.6, 0.3])
        return torch.cat([tile, tile.flip(1)], 1)[:, :side]

    clean = torch.cat([torch.cat([patch() for _ in range(4)], 2) for _ in range(4)], 1)
    return (clean + 0.02 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(seed))).clamp(0, 1)


@pytest.mark.parametrize("seed", range(4))
def test_of_large_ones_cells_as_light_as_the_picture(seed: int) -> None:
    pixels = quilt(384, seed)
    parts, _ = look(pixels)
    assert sum(part.noted for part in parts) == pytest.approx(1_000_000, rel=0.05)
    assert len({(part.noted_rows, part.noted_columns) for part in parts}) == len(parts)
    values = torch.cat([noted(pixels, part).flatten() for part in parts])
    assert float(values.mean()) == pytest.approx(float(pixels.mean()), abs=0.01)
    assert float(values.std()) == pytest.approx(float(pixels.std()), rel=0.05)


def test_of_even_ones_a_share_spread_evenly() -> None:
    parts = parts_of(Tiling(8000, 8000, 8, 512, 32, 8), [0.5] * 63**2)
    assert sum(part.noted for part in parts) == pytest.approx(0.03 * 64e6, rel=0.05)
    assert len({(part.rows, part.columns) for part in parts}) == len(parts)
    assert {part.rows.size for part in parts} == {part.columns.size for part in parts} == {192}
    for ends in ([part.rows.start for part in parts], [part.columns.start for part in parts]):
        quarters = torch.histc(torch.tensor(ends, dtype=torch.float32), 4, 0, 8000)
        assert quarters.min() > len(parts) / 8


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_large_dark_pictures_get_the_light_of_the_whole(seed: int) -> None:
    restorer, picture = load("low-light", "cpu"), Picture(0.15 * quilt(384, seed))
    expected = restorer.restore(picture, tile=0)
    assert psnr(restorer.restore(picture, tile=256).pixels, expected.pixels) > 40


def test_networks_without_a_view_of_the_whole_are_not_looked_through() -> None:
    settings = ["network.mask=false", "sampling.steps=2", "network.preprocess=none"]
    recipe = recipes.override(recipes.read("tiny"), settings)
    denoiser = recipe.build()
    denoiser.backbone = Local(recipe.in_channels)
    opened = []

    def open_it():
        opened.append(1)
        return nullcontext(Sources(Held(torch.rand(3, 96, 96)), None, 8))

    from residiff.restore.large import LargePicture

    list(LargePicture(denoiser.eval(), recipe, Tiling(96, 96, 8, 48, 8, 0), open_it).rows())
    assert len(opened) == 1


class Local(nn.Module):
    """A network that reaches a pixel far."""

    size_multiple = 8

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.only = nn.Conv2d(channels, 3, 3, padding=1)

    def forward(self, x: Tensor, times: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (self.only(x),)
