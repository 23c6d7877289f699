"""How well a network in training restores pictures held out from it: always the same ones, from the same noise."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from statistics import fmean

import torch
from torch import Tensor

from residiff.data.pair import Pair
from residiff.data.purposes import VALIDATION
from residiff.denoiser import LOSSES, Denoiser, from_model
from residiff.errors import DivergedError
from residiff.inference import Criterion, Shown, sampled, shown
from residiff.metrics import psnr, ssim
from residiff.metrics.similarity import WINDOW
from residiff.noise import seeded_noise
from residiff.recipe import Recipe
from residiff.seeds import generator
from residiff.train.log import Score
from residiff.train.strips import strip

# Above it two pictures are equal in 8 bits
EQUAL = 60.0
# Of a strip, between input and truth
COLUMNS = 8
Measure = Callable[[Tensor, Tensor], float]


def decibels(image: Tensor, clean: Tensor) -> float:
    """PSNR in dB of (3, H, W), at most 60, so that one equal picture is not the mean of all."""
    return min(EQUAL, psnr(image, clean))


class Validation:
    """Held-out pairs (3, H, W) in [0, 1], and what a recipe's network makes of them.

    Parameters
    ----------
    recipe : whose sampling is followed
    pairs : one or more
    device : where the arithmetic is done
    objective : what is trained for, where that is not the denoiser's own loss
    """

    def __init__(
        self, recipe: Recipe, pairs: Sequence[Pair], device: torch.device, objective: Criterion | None = None
    ) -> None:
        self.recipe, self.pairs, self.device, self.objective = recipe, pairs, device, objective

    @torch.no_grad()
    def restored(self, denoiser: Denoiser) -> Iterator[Tensor]:
        """Each result (3, H, W), in [0, 1] but for what exceeds it.

        Raises
        ------
        DivergedError
            If a result is not finite.
        """
        for batch in self._batches():
            *_, last = self._states(denoiser, batch)
            yield from from_model(_finite(last)).cpu()

    @torch.no_grad()
    def score(self, denoiser: Denoiser, step: int) -> Score:
        """The figures after update number `step`; `DivergedError` as `restored`."""
        loss = self._loss(denoiser)
        if not self.recipe.has_truth:
            return Score(step, loss)
        results = [(image, pair.clean) for image, pair in zip(self.restored(denoiser), self.pairs, strict=True)]
        inputs = [(pair.degraded, pair.clean) for pair in self.pairs]
        measures: list[Measure | None] = [decibels, ssim if min(self.pairs[0].clean.shape[1:]) >= WINDOW else None]
        figures = [_mean(measure, images) for images in (results, inputs) for measure in measures]
        return Score(step, loss, *figures)

    @torch.no_grad()
    def strips(self, denoiser: Denoiser, count: int) -> Tensor:
        """The first `count` pairs as rows (3, H, W) in [0, 1]: input, each state on the way, result, and the truth."""
        batch = joined(self.pairs[:count])
        states = [from_model(state).cpu() for state in self._states(denoiser, batch)]
        places = torch.linspace(0, len(states) - 1, min(len(states), COLUMNS)).round().long().tolist()
        truth = [batch.clean] if self.recipe.has_truth else []
        return strip([column.clamp(0, 1) for column in (batch.degraded, *(states[place] for place in places), *truth)])

    def _batches(self) -> Iterator[Pair]:
        size = self.recipe.training.batch
        for first in range(0, len(self.pairs), size):
            yield joined(self.pairs[first : first + size])

    def _states(self, denoiser: Denoiser, batch: Pair) -> Iterator[Tensor]:
        """(N, 3, H, W) in [-1, 1] from the start to the end, all from the same noise."""
        inside = shown(self.recipe.network, batch, self.device)
        noise = seeded_noise(0, inside.x_in.shape, inside.x_in.device)
        for state in sampled(denoiser, self.recipe, inside.x_in, noise, condition=inside.condition):
            yield state.x

    def _loss(self, denoiser: Denoiser) -> float:
        """The training loss at times spread evenly over the pairs, and at noise that never changes."""
        length, total, done = len(self.recipe.schedule), 0.0, 0
        every = torch.linspace(0, length - 1, len(self.pairs)).round().long()
        for batch in self._batches():
            inside, count = shown(self.recipe.network, batch, self.device), len(batch.clean)
            noise = torch.randn(inside.x0.shape, generator=generator(self.recipe.training.seed, VALIDATION, done))
            times = every[done : done + count].to(self.device)
            total, done = total + count * self._loss_of(denoiser, inside, times, noise.to(self.device)), done + count
        return total / done

    def _loss_of(self, denoiser: Denoiser, inside: Shown, times: Tensor, noise: Tensor) -> float:
        if self.objective is not None:
            return self.objective(denoiser, inside, noise).item()
        loss = LOSSES[self.recipe.training.loss]
        return denoiser.loss(inside.x0, inside.x_in, times, inside.condition, noise=noise, loss=loss).item()


def joined(pairs: Sequence[Pair]) -> Pair:
    """Pairs of one size as one, of (N, C, H, W)."""
    return Pair(*(torch.stack(parts) for parts in zip(*pairs, strict=True)))


def _finite(results: Tensor) -> Tensor:
    if not torch.isfinite(results).all():
        raise DivergedError("what the network restores is not finite; lower training.learning_rate")
    return results


def _mean(measure: Measure | None, images: Sequence[tuple[Tensor, Tensor]]) -> float | None:
    return None if measure is None else fmean(measure(one, other) for one, other in images)
