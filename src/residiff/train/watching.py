"""What is seen of a run as it goes: figures for trackers, and validations with strips of pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from torch import Tensor

from residiff.data.images import Picture, write
from residiff.denoiser import Denoiser
from residiff.errors import ConfigError
from residiff.recipe import Recipe
from residiff.train.log import STRIPS, Progress, RunLog, Score
from residiff.train.trackers import Tracker, Trackers

VALIDATIONS = 10
# Of the log, in updates
EVERY = 10


class Validates(Protocol):
    """What judges weights: `validation.Validation`."""

    def score(self, denoiser: Denoiser, step: int) -> Score:
        """The figures after update number `step`."""

    def strips(self, denoiser: Denoiser, count: int) -> Tensor:
        """The first `count` pictures as rows (3, H, W) in [0, 1]."""


class Watcher:
    """Validates a run, and tells its log and the trackers how it goes.

    Parameters
    ----------
    recipe, folder, log : the run's
    validation : by the pairs held out; None for none
    trackers : who is told, beside the log
    """

    def __init__(
        self,
        recipe: Recipe,
        folder: Path,
        log: RunLog,
        validation: Validates | None,
        trackers: Sequence[Tracker],
    ) -> None:
        self.recipe, self.folder, self.log = recipe, folder, log
        self.trackers = Trackers(trackers, log)
        self.validation = validation
        self.every = recipe.validation.every or max(1, recipe.training.iterations // VALIDATIONS)

    def is_due(self, step: int) -> bool:
        """Whether the weights after update number `step` are to be validated, and have not been."""
        on_time = step % self.every == 0 or step == self.recipe.training.iterations
        return self.validation is not None and step > 0 and on_time and self.log.at(step) is None

    def validate(self, denoiser: Denoiser, step: int, ask: Callable[[], None]) -> Score:
        """Score a denoiser, and keep a strip of pictures; `ConfigError` where nothing is held out.

        `ask` is called before each call of the network, and may raise to leave all undone.
        """
        if self.validation is None:
            raise ConfigError("nothing is held out to validate by")
        shown = self.recipe.validation.shown
        # First of all hooks: a network that is left unasked for is not gathered either
        with denoiser.backbone.register_forward_pre_hook(lambda *_: ask(), prepend=True):
            score = replace(self.validation.score(denoiser, step), by=self.log.by)
            strip = self.validation.strips(denoiser, shown) if shown else None
        self.trackers.figures(step, {f"validation/{key}": value for key, value in score.figures().items()})
        if strip is not None:
            if self.log.writes:
                write(self.folder / STRIPS / f"step-{step:08d}.png", Picture(strip))
            self.trackers.picture(step, "validation", strip)
        return score

    def updated(self, progress: Progress) -> None:
        """Note an update."""
        self.log.update(progress)
        if progress.step % EVERY == 0 or progress.step == 1:
            names = ("loss", "learning_rate", "gradient_norm", "images_per_second", "memory")
            self.trackers.figures(progress.step, {f"training/{name}": float(vars(progress)[name]) for name in names})
