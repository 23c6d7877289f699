"""Pictures from noise: generation is restoration of a picture of which nothing is left, x_in = 0."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from residiff.denoiser import from_model
from residiff.errors import ConfigError, ModelFileError, check_range
from residiff.noise import seeded_noises
from residiff.restore.gallery import Generated
from residiff.restore.restorer import Restorer
from residiff.seeds import MAX_SEED

MAX_SIDE = 16_384


def generate(
    restorer: Restorer,
    count: int,
    *,
    steps: int | None = None,
    seed: int = 0,
    size: int | None = None,
    batch: int = 16,
    keep_moments: bool = False,
) -> Iterator[Generated]:
    """Make `count` pictures; number i has the noise of `seed` + i, whatever else is in its batch.

    Parameters
    ----------
    restorer : a model whose task is to generate
    count : how many, at least 1
    steps : how many, 1 to T; the recipe's own number if None
    seed : of the first picture's noise
    size : the side of the pictures, a multiple of the model's size multiple; what it was trained on if None
    batch : how many are made at a time; another number may change a value by one grey level of 255
    keep_moments : whether x_t and the estimate of x_0 are kept at every step

    Raises
    ------
    ConfigError
        At once, if the model does not generate, or an argument is out of range.
    ModelFileError
        If a result is not finite.
    """
    name, multiple = restorer.descriptor.name, restorer.descriptor.size_multiple
    if restorer.recipe.task != "generate":
        raise ConfigError(f"model {name!r} is for {restorer.recipe.task!r}, not to generate; use `residiff restore`")
    check_range("count", count, 1, MAX_SEED)
    check_range("batch", batch, 1, 65_536)
    restorer.check(steps=steps, seed=seed + count - 1, masked=False)
    sides = restorer.recipe.data.crop_size if size is None else (size, size)
    for side in sides:
        check_range("size", side, multiple, MAX_SIDE)
        if side % multiple:
            raise ConfigError(f"size is {side}; model {name!r} makes multiples of {multiple}")
    everyone = range(seed, seed + count)
    groups = (everyone[first : first + batch] for first in range(0, count, batch))
    return (made for seeds in groups for made in _made(restorer, seeds, sides, steps, keep_moments))


def _made(
    restorer: Restorer, seeds: Sequence[int], sides: tuple[int, int], steps: int | None, keep: bool
) -> Iterator[Generated]:
    shape = (len(seeds), 3, *sides)
    noise = seeded_noises(seeds, shape, restorer.device)
    moments: list[tuple[Tensor, Tensor]] = []
    for state in restorer.sample(torch.zeros(shape, device=restorer.device), noise, steps):
        if keep:
            moments.append((from_model(state.x).cpu(), from_model(state.estimate.x0).cpu()))
    if not torch.isfinite(state.x).all():
        raise ModelFileError(f"model {restorer.descriptor.name!r} gave values that are not finite; take another model")
    for index, (seed, picture) in enumerate(zip(seeds, from_model(state.x).cpu(), strict=True)):
        yield Generated(seed, picture, tuple((x[index], x0[index]) for x, x0 in moments))
