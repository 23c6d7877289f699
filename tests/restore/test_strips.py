"""Sampling in strips is sampling the whole picture: for every sampler, order and tiling, whatever is drawn or shown."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor, nn

from residiff import recipe as recipes
from residiff.errors import ConfigError, ResourceError
from residiff.inference import sampled
from residiff.nn.local import localised, look
from residiff.noise import NoiseField, seeded_noise
from residiff.restore.strips import Rows, StripSampler
from residiff.restore.tiling import Span, Tiling

HEIGHT, WIDTH = 152, 136


class Reach(nn.Module):
    """A network that reaches 6 pixels far, no further."""

    size_multiple = 4

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.first = nn.Conv2d(channels, 8, 7, padding=3)
        self.last = nn.Conv2d(8, 3 * heads, 7, padding=3)

    def forward(self, x: Tensor, times: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        told = sum(t.reshape(-1, 1, 1, 1) for t in times) / 1000
        return self.last(torch.tanh(self.first(x) + told)).chunk(self.heads, dim=1)


def made(*settings: str, network: type[nn.Module] = Reach):
    """A recipe and its denoiser, of the network above."""
    recipe = recipes.override(recipes.read("tiny"), ["network.mask=false", "sampling.steps=3", *settings])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        denoiser = recipe.build()
        denoiser.backbone = network(recipe.in_channels, recipe.prediction.heads)
    return recipe, denoiser.eval().requires_grad_(False)


def draw(channels: int = 3) -> Tensor:
    return torch.rand(1, channels, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(1)) * 2 - 1


def whole(recipe, denoiser, x_in: Tensor, condition: Tensor | None = None) -> Tensor:
    *_, last = sampled(denoiser, recipe, x_in, seeded_noise(4, x_in.shape), condition=condition)
    return last.x


def in_strips(recipe, denoiser, x_in: Tensor, tiling: Tiling, condition: Tensor | None = None, **more) -> Tensor:
    field = NoiseField(4, 3, HEIGHT, WIDTH)

    def rows(span: Span) -> Rows:
        part = slice(span.start, span.stop)
        return Rows(span, x_in[:, :, part], None if condition is None else condition[:, :, part])

    def sample(ask, strip: Rows) -> Tensor:
        numbers = itertools.count()
        noise = lambda: field.rows(next(numbers), *strip.span)[None]  # noqa: E731
        *_, last = sampled(Standing(ask), recipe, strip.x_in, noise, condition=strip.condition)
        return last.x

    with torch.inference_mode():
        made = list(StripSampler(denoiser, tiling, rows, sample, **more))
    assert [span for span, _ in made] == tiling.strips
    return torch.cat([part for _, part in made], dim=2)


class Standing:
    """Stands for a denoiser: its calls are answered by others."""

    def __init__(self, ask) -> None:
        self.ask = ask

    def estimator(self):
        return self.ask


SAMPLINGS = {
    "general": (),
    "ancestral": ("sampling.sampler=general", "sampling.eta=1.0"),
    "multistep": ("sampling.sampler=multistep", "sampling.eta=0.0"),
    "residual-first": ("sampling.order=residual-first", "sampling.sampler=general", "prediction.kind=residual-noise"),
    "resfusion": ("schedule={kind='resfusion', length=12}", "prediction.kind=resnoise", "sampling.eta=1.0"),
    "self-conditioned": ("network.self_condition=true",),
}


@pytest.mark.parametrize("settings", SAMPLINGS.values(), ids=SAMPLINGS)
def test_a_halo_as_wide_as_the_network_reaches_leaves_no_difference(settings) -> None:
    recipe, denoiser = made(*settings)
    expected = whole(recipe, denoiser, draw())
    for core, overlap in ((24, 0), (32, 2), (64, 0), (152, 0)):
        found = in_strips(recipe, denoiser, draw(), Tiling(HEIGHT, WIDTH, 4, core, 8, overlap))
        assert (found - expected).abs().max() < 1e-5, (core, overlap)


def test_a_narrow_halo_does() -> None:
    recipe, denoiser = made()
    found = in_strips(recipe, denoiser, draw(), Tiling(HEIGHT, WIDTH, 4, 32, 4, 0))
    assert (found - whole(recipe, denoiser, draw())).abs().max() > 1e-4


def test_masks_are_cut_alike() -> None:
    recipe, denoiser = made("network.mask=true")
    mask = draw(1).sign()
    found = in_strips(recipe, denoiser, draw(), Tiling(HEIGHT, WIDTH, 4, 32, 8, 0), mask)
    assert (found - whole(recipe, denoiser, draw(), mask)).abs().max() < 1e-5
    assert (found - whole(recipe, denoiser, draw(), -mask)).abs().max() > 1e-3


def test_a_network_that_sees_the_whole() -> None:
    settings = ["network.mask=false", "sampling.steps=2", "network.backbone.width=8"]
    recipe = recipes.override(recipes.read("tiny"), settings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        denoiser = recipe.build().eval().requires_grad_(False)
    for parameter in denoiser.parameters():
        parameter.add_(0.2 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(parameter.numel())))
    expected = whole(recipe, denoiser, draw())
    denoiser.backbone = localised(denoiser.backbone)
    wholes = []
    for state in sampled(denoiser, recipe, draw(), seeded_noise(4, draw().shape)):
        with look(1.0) as noted:
            denoiser(state.x, state.level, draw())
        wholes.append(noted())
    tiling = Tiling(HEIGHT, WIDTH, 8, 64, 48, 8)
    alike = in_strips(recipe, denoiser, draw(), tiling, wholes=wholes[:2])
    apart = in_strips(recipe, denoiser, draw(), tiling)
    assert (alike - expected).abs().max() * 20 < (apart - expected).abs().max()


def test_few_strips_are_in_memory() -> None:
    recipe, denoiser = made()
    begun: list[int] = []
    tiling = Tiling(HEIGHT, WIDTH, 4, 12, 8, 0)
    field = NoiseField(4, 3, HEIGHT, WIDTH)

    def rows(span: Span) -> Rows:
        begun.append(span.start)
        return Rows(span, draw()[:, :, span.start : span.stop], None)

    def sample(ask, strip: Rows) -> Tensor:
        *_, last = sampled(Standing(ask), recipe, strip.x_in, lambda: field.rows(0, *strip.span)[None])
        return last.x

    for done, (span, _) in enumerate(StripSampler(denoiser, tiling, rows, sample), start=1):
        assert begun == sorted(begun)
        assert len(begun) - done <= 2 * recipe.sampling.steps, span


def test_tiles_are_halved_where_memory_runs_out(monkeypatch) -> None:
    recipe, denoiser = made()
    expected, sizes = whole(recipe, denoiser, draw()), []

    class Small(Reach):
        def forward(self, x: Tensor, times: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            sizes.append(x.shape[-1])
            if x.shape[-1] > 60:
                raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
            return super().forward(x, times)

    denoiser.backbone.__class__ = Small
    found = in_strips(recipe, denoiser, draw(), Tiling(HEIGHT, WIDTH, 4, 72, 8, 0), smallest=16)
    assert (found - expected).abs().max() < 1e-5 and max(sizes) > 60
    with pytest.raises(ResourceError, match="smaller --tile"):
        in_strips(recipe, denoiser, draw(), Tiling(HEIGHT, WIDTH, 4, 72, 8, 0), smallest=64)


def test_other_errors_end_all_threads() -> None:
    import threading

    recipe, denoiser = made()

    class Broken(Reach):
        def forward(self, x: Tensor, times: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            raise ValueError("broken")

    denoiser.backbone.__class__ = Broken
    before = threading.active_count()
    with pytest.raises(ValueError, match="broken"):
        in_strips(recipe, denoiser, draw(), Tiling(HEIGHT, WIDTH, 4, 32, 8, 0))
    assert threading.active_count() == before


def test_errors_of_a_sampler_are_raised() -> None:
    recipe, denoiser = made()

    def sample(ask, strip: Rows) -> Tensor:
        raise ConfigError("no")

    rows = lambda span: Rows(span, draw()[:, :, span.start : span.stop], None)  # noqa: E731
    with pytest.raises(ConfigError, match="no"):
        list(StripSampler(denoiser, Tiling(HEIGHT, WIDTH, 4, 32, 8, 0), rows, sample))
    assert recipe


@pytest.mark.parametrize("length", [8, 40, 100, 104, 152])
@pytest.mark.parametrize(("core", "overlap"), [(16, 0), (16, 4), (32, 16), (64, 8)])
def test_weights_add_up_to_one(length, core, overlap) -> None:
    tiling = Tiling(length, length, 4, core, 16, overlap)
    total = torch.zeros(length)
    for span in tiling.strips:
        used = span.widened(overlap, length)
        total[used.start : used.stop] += tiling.weights(span, length)
    torch.testing.assert_close(total, torch.ones(length))
    assert [span.start for span in tiling.strips[1:]] == [span.stop for span in tiling.strips[:-1]]


@pytest.mark.parametrize(
    "sides", [(152, 136, 4, 30, 8, 0), (152, 136, 4, 32, 40, 0), (152, 136, 4, 16, 16, 12), (150, 136, 4, 32, 8, 0)]
)
def test_tiles_that_do_not_fit_together(sides) -> None:
    with pytest.raises(ConfigError):
        Tiling(*sides)


@pytest.mark.parametrize("across", [0, 48])
def test_what_all_tiles_are_shown(across) -> None:
    tiling = Tiling(136, 152, 8, 32, 16, 8, across)
    areas = [
        row.widened(16, 136).size * column.widened(16, 152).size for row in tiling.strips for column in tiling.columns
    ]
    assert tiling.shown == sum(areas) > 136 * 152
