"""How well a network in training restores pictures held out from it: always the same ones, from the same noise."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from statistics import fmean

import torch
from torch import Tensor

from residiff.data.pair import Pair
from residiff.data.purposes import VALIDATION
from residiff.data.settings import Pairing
from residiff.denoiser import LOSSES, Denoiser, from_model
from residiff.errors import DivergedError
from residiff.inference import sampled, shown
from residiff.metrics import psnr, ssim
from residiff.metrics.similarity import WINDOW
from residiff.recipe import Recipe
from residiff.sample import seeded_noise
from residiff.seeds import generator
from residiff.train.log import Score
from residiff.train.strips import strip

# Above it two pictures are equal in 8 bits
EQUAL = 60.0
# Of a strip, between input and truth
COLUMNS = 8
Measure = Callable[[Tensor, Tensor], float]


def has_truth(recipe: Recipe) -> bool:
    """Whether there are true pictures to compare results with; generation and unpaired translation have none."""
    return recipe.task != "generate" and recipe.data.pairing is Pairing.NAME


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
    """

    def __init__(self, recipe: Recipe, pairs: Sequence[Pair], device: torch.device) -> None:
        self.recipe, self.pairs, self.device = recipe, pairs, device

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
        if not has_truth(self.recipe):
            return Score(step, loss)
        results = [(image, pair.clean) for image, pair in zip(self.restored(denoiser), self.pairs, strict=True)]
        inputs = [(pair.degraded, pair.clean) for pair in self.pairs]
        measures: list[Measure | None] = [decibels, ssim if min(self.pairs[0].clean.shape[1:]) >= WINDOW else None]
        figures = [_mean(measure, images) for images in (results, inputs) for measure in measures]
        return Score(step, loss, *figures)

    @torch.no_grad()
    def strips(self, denoiser: Denoiser, count: int) -> Tensor:
        """The first `count` pairs as rows (3, H, W) in [0, 1]: input, each state on the way, result, and the truth."""
        batch = _joined(self.pairs[:count])
        states = [from_model(state).cpu() for state in self._states(denoiser, batch)]
        places = torch.linspace(0, len(states) - 1, min(len(states), COLUMNS)).round().long().tolist()
        truth = [batch.clean] if has_truth(self.recipe) else []
        return strip([column.clamp(0, 1) for column in (batch.degraded, *(states[place] for place in places), *truth)])

    def _batches(self) -> Iterator[Pair]:
        size = self.recipe.training.batch
        for first in range(0, len(self.pairs), size):
            yield _joined(self.pairs[first : first + size])

    def _states(self, denoiser: Denoiser, batch: Pair) -> Iterator[Tensor]:
        """(N, 3, H, W) in [-1, 1] from the start to the end, all from the same noise."""
        inside = shown(self.recipe.network, batch, self.device)
        noise = seeded_noise(0, inside.x_in.shape, inside.x_in.device)
        for state in sampled(denoiser, self.recipe, inside.x_in, noise, condition=inside.condition):
            yield state.x

    def _loss(self, denoiser: Denoiser) -> float:
        """The training loss at times spread evenly over the pairs, and at noise that never changes."""
        length, total, done = len(self.recipe.schedule), 0.0, 0
        times = torch.linspace(0, length - 1, len(self.pairs)).round().long()
        for batch in self._batches():
            inside, count = shown(self.recipe.network, batch, self.device), len(batch.clean)
            noise = torch.randn(inside.x0.shape, generator=generator(self.recipe.training.seed, VALIDATION, done))
            loss = denoiser.loss(
                inside.x0,
                inside.x_in,
                times[done : done + count].to(self.device),
                inside.condition,
                noise=noise.to(self.device),
                loss=LOSSES[self.recipe.training.loss],
            )
            total, done = total + count * loss.item(), done + count
        return total / done


def _joined(pairs: Sequence[Pair]) -> Pair:
    return Pair(*(torch.stack(parts) for parts in zip(*pairs, strict=True)))


def _finite(results: Tensor) -> Tensor:
    if not torch.isfinite(results).all():
        raise DivergedError("what the network restores is not finite; lower training.learning_rate")
    return results


def _mean(measure: Measure | None, images: Sequence[tuple[Tensor, Tensor]]) -> float | None:
    return None if measure is None else fmean(measure(one, other) for one, other in images)
