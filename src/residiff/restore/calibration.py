"""The network of a model made ready for a backend, and the calls of it that 8-bit integers are calibrated on."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import final

import torch
from torch import Tensor, nn

from residiff.backends import Backend, Call, prepare
from residiff.data.images import Picture
from residiff.data.pair import Pair
from residiff.data.pairs import SyntheticPairs
from residiff.denoiser import Denoiser
from residiff.errors import ConfigError
from residiff.inference import sampled, shown
from residiff.nearest import name_hint
from residiff.noise import seeded_noise
from residiff.recipe import Recipe

PROCEDURAL = 6
SIDE = 128


def prepared(denoiser: Denoiser, recipe: Recipe, backend: str, pictures: Sequence[Picture] = ()) -> Denoiser:
    """The denoiser as `backend` runs it; see `residiff.backends.prepare` for what is raised.

    `pictures` are what 8-bit integers are calibrated on, in place of procedural ones; `ConfigError` if there is no
    such backend, or the model needs masks, which they do not have.
    """
    if backend not in list(Backend):
        raise ConfigError(f"backend {backend!r} is not known; {name_hint(backend, Backend)}")
    if pictures and recipe.network.mask:
        raise ConfigError("pictures to calibrate on have no masks, which this model needs; leave them out")
    return prepare(denoiser, Backend(backend), lambda: calls(denoiser, recipe, pictures))


def calls(denoiser: Denoiser, recipe: Recipe, pictures: Sequence[Picture] = ()) -> list[Call]:
    """Every call of the network in restoring the middles of `pictures`, or procedural ones as in training."""
    multiple = int(denoiser.backbone.size_multiple)  # type: ignore[arg-type]
    side = -(-SIDE // multiple) * multiple
    pairs = (_middle(each, side) for each in pictures) if pictures else _procedural(recipe, side)
    device = next(denoiser.parameters()).device
    recorder = _Recorder(denoiser.backbone)
    recording = denoiser.with_backbone(recorder)
    with torch.inference_mode():
        for number, pair in enumerate(pairs):
            batch = Pair(*(part[None] for part in pair))
            seen = shown(recipe.network, batch, device)
            noise = seeded_noise(number, seen.x_in.shape, device)
            deque(sampled(recording, recipe, seen.x_in, noise, condition=seen.condition), maxlen=0)
    return recorder.calls


def _procedural(recipe: Recipe, side: int) -> Iterator[Pair]:
    data = replace(recipe.data, crop=side, picture=max(recipe.data.picture, side))
    pairs = SyntheticPairs(data, recipe.training.seed, mask=recipe.network.mask)
    return (pairs(recipe.data.reuse * number) for number in range(PROCEDURAL))


def _middle(picture: Picture, side: int) -> Pair:
    pixels = picture.pixels.expand(3, -1, -1)
    height, width = pixels.shape[1:]
    if min(height, width) < side:
        raise ConfigError(f"a picture to calibrate on is {width} x {height}; needed are {side} x {side} at least")
    top, left = (height - side) // 2, (width - side) // 2
    cut = pixels[:, top : top + side, left : left + side]
    return Pair(cut, cut, cut[:0])


@final
class _Recorder(nn.Module):
    """A network that keeps what it is given."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.calls = network, list[Call]()
        self.size_multiple = int(network.size_multiple)  # type: ignore[arg-type]

    def forward(self, x: Tensor, times: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        self.calls.append((x, tuple(t[:1] for t in times)))
        result: tuple[Tensor, ...] = self.network(x, times)
        return result
