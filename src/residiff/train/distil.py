"""Distillation: a model learns to reach in few steps what another reaches in its own many.

The student begins with the teacher's weights. Both restore the same pictures from the same noise, the teacher in all
its steps, the student in few, and every estimate of x_0 that the student makes on its way is drawn to both ends:

    loss = the mean over its estimates of (1 - w) |x_0 - the teacher's result| + w |x_0 - the true picture|

with the recipe's loss for | |, the gradient going through the whole walk. To train on what a sampler arrives at is
Luhman and Luhman's (2021); to begin as the teacher and train the levels alone that will be visited is Salimans and Ho's
(2022, progressive distillation, which halves the steps again and again; here they fall at once). The true picture is
what regression would take; w is 0 where there is none. As every estimate has the same aim, and the first is made at the
start, a student of several steps serves for one step too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from residiff.checkpoint import ModelFile
from residiff.denoiser import LOSSES, Denoiser
from residiff.errors import ConfigError, check_range
from residiff.inference import Shown, sampled
from residiff.recipe import Recipe, override

# How far below the rate that made the teacher a student begins, and how much shorter its training is
GENTLER, SHORTER = 0.25, 0.4


@dataclass(frozen=True)
class Teacher:
    """A trained model, whose results in `steps` steps by its recipe the model of the recipe `student` is to reach."""

    denoiser: Denoiser
    recipe: Recipe
    steps: int
    student: Recipe
    truth: float

    @torch.no_grad()
    def results(self, batch: Shown, noise: Tensor) -> Tensor:
        """What it makes of a batch from `noise` (N, 3, H, W): as large, in [-1, 1] but for what exceeds it."""
        *_, last = sampled(
            self.denoiser, self.recipe, batch.x_in, lambda: noise, steps=self.steps, condition=batch.condition
        )
        return last.x

    def loss(self, denoiser: Denoiser, batch: Shown, noise: Tensor) -> Tensor:
        """The loss, a scalar, of the student's `denoiser`."""
        aims = [(1 - self.truth, self.results(batch, noise)), (self.truth, batch.x0)]
        loss = LOSSES[self.student.training.loss]
        *states, _ = sampled(denoiser, self.student, batch.x_in, lambda: noise, condition=batch.condition)
        parts = [weight * loss(state.estimate.x0, aim) for state in states for weight, aim in aims if weight]
        return torch.stack(parts).sum() / len(states)


def teacher_of(recipe: Recipe, model: ModelFile | None, device: torch.device) -> Teacher | None:
    """The teacher that `recipe` names, of its `model`; None where the recipe names none.

    Raises
    ------
    ConfigError
        If the recipe names a teacher and `model` is another or none, or names none and one is given.
    """
    settings = recipe.training.distil
    if settings is None:
        if model is not None:
            raise ConfigError("the recipe has no training.distil; make it of the teacher's own with --distill")
        return None
    if model is None or model.sha256 != settings.teacher:
        given = "none is given" if model is None else f"the one given has {model.sha256}"
        raise ConfigError(f"the teacher of this run has SHA-256 {settings.teacher}, {given}; give it with --distill")
    denoiser = model.denoiser().to(device)
    return Teacher(denoiser, _deterministic(model.recipe), settings.steps, recipe, settings.truth)


def distilled(model: ModelFile, steps: int, settings: Sequence[str] = ()) -> Recipe:
    """The recipe of a student that is to do in `steps` steps what `model` does, with `settings` in place of its own.

    It is the teacher's, gentler and shorter; the teacher takes its own number of steps, or twice the student's where
    those are not more. Half of the loss is to the true picture, where pairs have one.

    Raises
    ------
    ConfigError
        If a setting cannot be so, or the schedule has fewer steps.
    """
    teacher = _deterministic(model.recipe)
    check_range("steps", steps, 1, len(teacher.schedule))
    trained = teacher.training
    own = teacher.sampling.steps
    many = own if own > steps else min(2 * steps, len(teacher.schedule))
    truth = 0.5 if teacher.has_truth else 0.0
    return override(
        teacher,
        [
            f"name={teacher.name[:54]}-distilled",
            f"sampling.steps={steps}",
            f"training.distil={{teacher='{model.sha256}', steps={many}, truth={truth}}}",
            f"training.iterations={max(1, round(SHORTER * trained.iterations))}",
            f"training.learning_rate={GENTLER * trained.learning_rate}",
            f"training.final_learning_rate={GENTLER * trained.final_learning_rate}",
            *settings,
        ],
    )


def _deterministic(recipe: Recipe) -> Recipe:
    """The recipe without fresh noise, whose result depends on the first noise alone."""
    sampling = recipe.sampling.model_copy(update={"eta": 0.0})
    return recipe.model_copy(update={"sampling": sampling})
