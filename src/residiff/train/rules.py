"""What each update is drawn and done by: learning rate, decay of the running average, times."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from residiff.recipe import Training


def learning_rate(settings: Training, step: int) -> float:
    """Linear warm-up, then a half cosine from `learning_rate` down to `final_learning_rate`, or no change."""
    if step < settings.warm_up:
        return settings.learning_rate * (step + 1) / settings.warm_up
    if settings.decay == "constant":
        return settings.learning_rate
    span = max(1, settings.iterations - settings.warm_up)
    share = (1 + math.cos(math.pi * (step - settings.warm_up) / span)) / 2
    return settings.final_learning_rate + (settings.learning_rate - settings.final_learning_rate) * share


def average_decay(settings: Training, step: int) -> float:
    """The decay of the running average after update number `step`, 1-based; 1 where it is left as it is.

    RDDM's rule is that of ema_pytorch 0.0.10: every tenth update, the weights themselves for the first 100.
    """
    done = step - 1
    if done % settings.ema_every:
        return 1.0
    if settings.ema_rise == "constant":
        return settings.ema
    if settings.ema_rise == "rddm":
        return min(settings.ema, 1 - math.pow(max(1, done - 99), -2 / 3))
    return min(settings.ema, (1 + step) / (10 + step))


def draw_times(settings: Training, length: int, source: torch.Generator) -> Tensor:
    """Times of an update (batch * accumulate,): T - 1 with probability `start_share`, otherwise evenly from 0 up."""
    count = settings.batch * settings.accumulate
    times = torch.randint(length, (count,), generator=source)
    at_start = torch.rand(count, generator=source) < settings.start_share
    return torch.where(at_start, length - 1, times)
