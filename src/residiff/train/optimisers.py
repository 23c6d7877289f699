"""The optimisers of a run as one: its groups of weights, each clipped and moved alone, and its state as tensors."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from residiff.nn.unet import TwoUNets
from residiff.recipe import Recipe, Training
from residiff.train.sharding import like, whole

Parameters = list[nn.Parameter]
# What they keep of a parameter
ADAM = ("step", "exp_avg", "exp_avg_sq")
MOMENTUM = ("momentum_buffer",)


class Optimisers:
    """One optimiser for each group of weights.

    Parameters
    ----------
    recipe : whose `training` says which, at what rate, and whether each head has its own
    backbone : the network
    """

    def __init__(self, recipe: Recipe, backbone: nn.Module) -> None:
        self.settings = recipe.training
        groups = _groups(backbone, self.settings.optimiser.per_head)
        self.optimisers = [OPTIMISERS[self.settings.optimiser.kind](group, self.settings) for group in groups]
        # The published code clips the joint norm of both networks
        self.clipped = [sum(groups, [])] if recipe.compat == "paper" else groups

    def step(self, rate: float, scaler: torch.amp.GradScaler) -> float:
        """Clip the gradients and move the weights at the learning rate `rate`; gives the norm before clipping.

        Where the norm is not finite nothing is moved. `scaler` is what the loss was scaled by.
        """
        for optimiser in self.optimisers:
            scaler.unscale_(optimiser)
        norms = [whole(nn.utils.clip_grad_norm_(group, self.settings.clip)).item() for group in self.clipped]
        if all(map(math.isfinite, norms)):
            for optimiser in self.optimisers:
                for group in optimiser.param_groups:
                    group["lr"] = rate
                scaler.step(optimiser)
        scaler.update()
        return max(norms, key=lambda norm: math.inf if math.isnan(norm) else norm)

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for optimiser in self.optimisers:
            optimiser.zero_grad(set_to_none=True)

    def tensors(self) -> dict[str, Tensor]:
        """The state by name: optimiser, parameter, moment."""
        return {
            f"{number}.{index}.{key}": value
            for number, optimiser in enumerate(self.optimisers)
            for index, moments in optimiser.state_dict()["state"].items()
            for key, value in moments.items()
            if key in self._moments
        }

    def expected(self) -> dict[str, Tensor]:
        """Tensors of the names and shapes that `load` needs."""
        return {
            f"{number}.{index}.{key}": torch.empty(()) if key == "step" else parameter
            for number, optimiser in enumerate(self.optimisers)
            for index, parameter in enumerate(optimiser.param_groups[0]["params"])
            for key in self._moments
        }

    @property
    def _moments(self) -> tuple[str, ...]:
        chosen = self.settings.optimiser
        if chosen.kind == "sgd":
            return MOMENTUM if chosen.betas[0] else ()
        return ADAM + (("max_exp_avg_sq",) if chosen.amsgrad and chosen.kind != "radam" else ())

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take the state that `tensors` gave."""
        for number, optimiser in enumerate(self.optimisers):
            indices = range(len(optimiser.param_groups[0]["params"]))
            moments = {index: self._moments_of(optimiser, number, index, tensors) for index in indices}
            optimiser.load_state_dict({**optimiser.state_dict(), "state": moments})

    def _moments_of(
        self, optimiser: torch.optim.Optimizer, number: int, index: int, tensors: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        parameter = optimiser.param_groups[0]["params"][index]
        named = {key: tensors[f"{number}.{index}.{key}"] for key in self._moments}
        return {key: value if key == "step" else like(value, parameter) for key, value in named.items()}


def _groups(backbone: nn.Module, per_head: bool) -> list[Parameters]:
    parts: Sequence[nn.Module] = [backbone]
    if per_head and isinstance(backbone, TwoUNets):
        parts = [backbone.unet0, backbone.unet1]
    return [list(part.parameters()) for part in parts]


def _adam(
    method: type[torch.optim.Adam | torch.optim.AdamW], group: Parameters, settings: Training
) -> torch.optim.Optimizer:
    chosen, decay = settings.optimiser, settings.weight_decay
    return method(group, settings.learning_rate, chosen.betas, weight_decay=decay, amsgrad=chosen.amsgrad)


def _radam(group: Parameters, settings: Training) -> torch.optim.Optimizer:
    return torch.optim.RAdam(
        group, settings.learning_rate, settings.optimiser.betas, weight_decay=settings.weight_decay
    )


def _sgd(group: Parameters, settings: Training) -> torch.optim.Optimizer:
    momentum = settings.optimiser.betas[0]
    decay = settings.weight_decay
    return torch.optim.SGD(group, settings.learning_rate, momentum, weight_decay=decay, nesterov=momentum > 0)


OPTIMISERS: dict[str, Callable[[Parameters, Training], torch.optim.Optimizer]] = {
    "adamw": partial(_adam, torch.optim.AdamW),
    "adam": partial(_adam, torch.optim.Adam),
    "radam": _radam,
    "sgd": _sgd,
}
