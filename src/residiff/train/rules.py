"""What each update is drawn and done by: learning rate, decay of the running average, times."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from residiff.errors import ConfigError
from residiff.recipe import Plateau, Training

# Of torch's ReduceLROnPlateau: a loss is better if it is lower by this share
BETTER = 1e-4


def learning_rate(settings: Training, step: int, falls: float = 1.0) -> float:
    """The learning rate of the update after `step` others, each of `settings.batch * settings.accumulate` pairs.

    Linear warm-up, then a half cosine from `learning_rate` down to `final_learning_rate`, or no change; `falls` is what
    a plateau has multiplied it by. With `epoch` it changes once in so many updates, with `reference_batch` it grows in
    proportion to the pairs of an update.
    """
    pairs = settings.batch * settings.accumulate
    rate = settings.learning_rate * (pairs / settings.reference_batch if settings.reference_batch else 1)
    if step < settings.warm_up:
        return rate * (step + 1) / settings.warm_up
    if settings.decay != "cosine":
        return rate * falls
    done = step - step % settings.epoch if settings.epoch else step
    span = max(1, settings.iterations - settings.warm_up)
    share = (1 + math.cos(math.pi * max(0, done - settings.warm_up) / span)) / 2
    return settings.final_learning_rate + (rate - settings.final_learning_rate) * share


def epoch_of(settings: Training, size: int) -> int:
    """How many updates an epoch of `size` pictures has, unless the recipe says; 1 where neither is known.

    Raises
    ------
    ConfigError
        If the learning rate falls by epochs, and there are none.
    """
    if settings.decay == "plateau" and not settings.epoch and not size:
        raise ConfigError("training.decay plateau counts epochs, and these pictures never end; set training.epoch")
    return settings.epoch or max(1, size // (settings.batch * settings.accumulate))


@dataclass(frozen=True)
class Descent:
    """How the loss has gone, epoch by epoch, for a learning rate that falls where the loss does not.

    `falls` is what the rate is multiplied by; `best` the lowest mean loss of an epoch, `waited` epochs ago; for
    `cooling` epochs more the rate is left alone; `total` and `updates` are of the epoch that is under way.
    """

    falls: float = 1.0
    best: float = math.inf
    waited: int = 0
    cooling: int = 0
    total: float = 0.0
    updates: int = 0

    def after(self, loss: float, epoch: int, settings: Plateau) -> Descent:
        """After one more update, an epoch being of `epoch` of them."""
        summed = replace(self, total=self.total + loss, updates=self.updates + 1)
        return summed._ended(settings) if summed.updates >= epoch else summed

    def _ended(self, settings: Plateau) -> Descent:
        mean = self.total / self.updates
        is_better = mean < self.best * (1 - BETTER)
        waited = 0 if is_better or self.cooling else self.waited + 1
        ended = Descent(self.falls, mean if is_better else self.best, waited, max(0, self.cooling - 1))
        if waited <= settings.patience:
            return ended
        return replace(ended, falls=self.falls * settings.factor, waited=0, cooling=settings.cooldown)


def average_decay(settings: Training, step: int, highest: float | None = None) -> float:
    """The decay of the running average after update number `step`, 1-based; 1 where it is left as it is.

    It rises to `highest`, or else to `settings.ema`. RDDM's rule is that of ema_pytorch 0.0.10: every tenth update, the
    weights themselves for the first 100.
    """
    most, done = settings.ema if highest is None else highest, step - 1
    if done % settings.ema_every:
        return 1.0
    if settings.ema_rise == "constant":
        return most
    if settings.ema_rise == "rddm":
        return min(most, 1 - math.pow(max(1, done - 99), -2 / 3))
    return min(most, (1 + step) / (10 + step))


def draw_times(settings: Training, length: int, source: torch.Generator) -> Tensor:
    """Times of an update (batch * accumulate,): T - 1 with probability `start_share`, otherwise evenly from 0 up."""
    count = settings.batch * settings.accumulate
    times = torch.randint(length, (count,), generator=source, device=source.device)
    at_start = torch.rand(count, generator=source, device=source.device) < settings.start_share
    return torch.where(at_start, length - 1, times)
