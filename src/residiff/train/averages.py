"""Running averages of the weights: the one that a model file holds, and others of other decays beside it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from residiff.recipe import Training
from residiff.train.rules import average_decay
from residiff.train.sharding import like, local

Weights = dict[str, Tensor]


class Averages:
    """The averages of a run, each begun with the weights themselves.

    Parameters
    ----------
    weights : the network's state, whole or sharded
    settings : whose `ema` is the main one's decay, and `averages` those of the others
    """

    def __init__(self, weights: Mapping[str, Tensor], settings: Training) -> None:
        self.settings = settings
        self.decays = (settings.ema, *(decay for decay in settings.averages if decay != settings.ema))
        self.all: list[Weights] = [_copied(weights) for _ in self.decays]

    @property
    def main(self) -> Weights:
        """What the model file holds."""
        return self.all[0]

    def follow(self, weights: Mapping[str, Tensor], step: int) -> None:
        """Take in the weights after update number `step`, 1-based."""
        for decay, average in zip(self.decays, self.all, strict=True):
            kept = average_decay(self.settings, step, decay)
            if kept < 1:
                own = [local(value) for value in average.values()]
                torch._foreach_lerp_(own, [local(weights[key]) for key in average], 1 - kept)

    def begin(self, weights: Mapping[str, Tensor]) -> None:
        """Forget what was, and begin with `weights`."""
        self.all = [_copied(weights) for _ in self.decays]

    def tensors(self) -> dict[str, Tensor]:
        """All by decay and name, to be saved."""
        pairs = zip(self.decays, self.all, strict=True)
        return {f"{decay!r}.{key}": value for decay, average in pairs for key, value in average.items()}

    def name_of(self, key: str) -> str:
        """Which weight "average.0.999.intro.bias" is an average of: "intro.bias"."""
        decay = next(decay for decay in self.decays if key.startswith(f"average.{decay!r}."))
        return key.removeprefix(f"average.{decay!r}.")

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take what `tensors` gave."""
        for name, value in self.tensors().items():
            local(value).copy_(local(like(tensors[name], value)))


def _copied(weights: Mapping[str, Tensor]) -> Weights:
    return {key: value.detach().clone() for key, value in weights.items()}
