"""What a recipe's network is shown of a batch, and how the recipe samples: the same in training and restoring."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from residiff.data.pair import Pair
from residiff.data.preprocess import PREPROCESS
from residiff.denoiser import MASK_FORMS, Denoiser, to_model
from residiff.errors import ConfigError, check_range
from residiff.noise import NoiseSource
from residiff.prediction import Asked
from residiff.recipe import Network, Recipe
from residiff.sample import ORDERS, STEPS, Move, State, heun, multistep, readjusted, step, walk


class Shown(NamedTuple):
    """A batch in the model's range: x_0 and x_in (N, 3, H, W), and the encoded mask (N, K, H, W) or None."""

    x0: Tensor
    x_in: Tensor
    condition: Tensor | None


# What is minimised, given the denoiser, a batch and the noise (N, 3, H, W), where that is not the denoiser's own loss
Criterion = Callable[[Denoiser, Shown, Tensor], Tensor]


def shown(network: Network, batch: Pair, device: torch.device) -> Shown:
    """The images (N, 3, H, W) in [0, 1] of a batch as the network sees them.

    Raises
    ------
    ConfigError
        If the network is shown a mask, but the batch has none.
    """
    clean, degraded, mask = (part.to(device) for part in batch)
    if network.mask and mask.shape[1] == 0:
        raise ConfigError("the recipe's network is shown a mask, but the data have none")
    x_in = to_model(PREPROCESS[network.preprocess](degraded))
    return Shown(to_model(clean), x_in, MASK_FORMS[network.mask_form].encode(mask) if network.mask else None)


def sampled(
    denoiser: Asked,
    recipe: Recipe,
    x_in: Tensor,
    noise: NoiseSource,
    *,
    steps: int | None = None,
    condition: Tensor | None = None,
    order: str | None = None,
) -> Iterator[State]:
    """Sample from `x_in` (N, 3, H, W) in [-1, 1] as the recipe says, a state for each move and the last one.

    `condition` is the encoded mask, `order` a name of `sample.ORDERS` in place of the recipe's. `ConfigError` where
    there is no such order, or the network cannot follow it.
    """
    settings = recipe.sampling
    count = settings.steps if steps is None else steps
    walked = settings.readjusted or recipe.schedule
    estimate, x = denoiser.estimator(), walked.start(x_in, noise())
    check_range("steps", count, 1, len(walked))
    if settings.sampler == "multistep" and order is None:
        yield from multistep(estimate, x, x_in, settings.visits(walked, count), condition)
    elif settings.sampler == "heun" and order is None:
        # Two calls at each level but the last; of an even number the first level gets one
        levels, plain = settings.visits(walked, count // 2 + 1), 1 - count % 2
        yield from heun(estimate, x, x_in, levels, condition, plain=plain)
    else:
        # Readjustment is published with the general step
        by = step if settings.readjusted is not None else STEPS.get(settings.sampler, step)
        moves = _moves(recipe, count, order or settings.order)
        yield from walk(estimate, x, x_in, moves, condition, eta=settings.eta, noise=noise, by=by)


def check_order(order: str | None) -> None:
    """Raise `ConfigError` unless `order` is None or a name of `sample.ORDERS`."""
    if order is not None and order not in ORDERS:
        raise ConfigError(f"no order {order!r}; there are {', '.join(ORDERS)}")


def _moves(recipe: Recipe, steps: int, order: str) -> tuple[Move, ...]:
    check_order(order)
    settings = recipe.sampling
    levels = settings.visits(recipe.schedule, steps)
    if settings.readjusted is None:
        return ORDERS[order](levels)
    if order != "simultaneous":
        raise ConfigError(f"a readjusted schedule is walked in one order; take simultaneous, not {order}")
    return readjusted(levels, settings.visits(settings.readjusted, steps))
