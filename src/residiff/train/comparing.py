"""How well a model restores the same pictures from the same noise, by how it is sampled."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

import torch
from torch import Tensor

from residiff.data.pair import Pair
from residiff.denoiser import Denoiser
from residiff.recipe import Recipe
from residiff.train.validation import Validation, decibels


class Judge:
    """Pairs (3, H, W) in [0, 1], one or more, and what results are compared with.

    That is the true pictures, or what `denoiser` makes of them in `many` steps: where `own` asks for it, or the task of
    the recipe has no true pictures.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        recipe: Recipe,
        many: int,
        pairs: Sequence[Pair],
        device: torch.device,
        *,
        own: bool = False,
    ) -> None:
        self.pairs, self.device = tuple(pairs), device
        own = own or not recipe.has_truth
        self.against = f"its own results in {many} steps" if own else "the true pictures"
        self.truths = [pair.clean for pair in self.pairs]
        if own:
            self.truths = self.restored(denoiser, in_steps(recipe, many))

    def restored(self, denoiser: Denoiser, recipe: Recipe) -> list[Tensor]:
        """What it makes of the pairs, (3, H, W) each in [0, 1]; `DivergedError` where that is not finite."""
        return list(Validation(recipe, self.pairs, self.device).restored(denoiser))

    def psnr(self, denoiser: Denoiser, recipe: Recipe) -> float:
        """Mean PSNR in dB, each at most 60; `DivergedError` as `restored`."""
        found = zip(self.restored(denoiser, recipe), self.truths, strict=True)
        return fmean(decibels(image, truth) for image, truth in found)


def in_steps(recipe: Recipe, steps: int, times: Sequence[int] | None = None) -> Recipe:
    """`recipe` sampled in `steps` steps, and at `times`, where they are given, for as many levels."""
    changes: dict[str, object] = {"steps": steps}
    if times is not None:
        others = tuple(each for each in recipe.sampling.times if len(each) != len(times))
        changes["times"] = tuple(sorted((*others, tuple(times)), key=len))
    return recipe.model_copy(update={"sampling": recipe.sampling.model_copy(update=changes)})
