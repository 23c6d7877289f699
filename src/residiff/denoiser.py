"""The trained thing: a backbone, its schedule, what it predicts, and what it is shown.

A `Denoiser` maps (x_t, level, x_in, condition) to an `Estimate`. Images inside are in [-1, 1]; `to_model` and
`from_model` are the one place where that range meets the public [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from residiff.errors import ConfigError
from residiff.prediction import Clamp, Estimate, Outputs, Prediction
from residiff.schedule import Level, Schedule

Loss = Callable[[Tensor, Tensor], Tensor]
TimeInput = Callable[[Level, int], tuple[Tensor | float, Tensor | float]]


class Backbone(Protocol):
    """A network: (N, in_channels, H, W) and one (N,) time a head -> one (N, C, H, W) tensor a head."""

    size_multiple: int

    def __call__(self, x: Tensor, times: tuple[Tensor, ...]) -> Outputs:
        """Run the network."""
        ...


def to_model(image: Tensor) -> Tensor:
    """[0, 1] -> [-1, 1]."""
    return image * 2 - 1


def from_model(x: Tensor) -> Tensor:
    """[-1, 1] -> [0, 1], clamped."""
    return ((x + 1) / 2).clamp(0, 1)


def index_time(level: Level, length: int) -> tuple[Tensor | float, Tensor | float]:
    """The time indices (t of the residual, t of the noise), as most published experiments feed."""
    return level.t, level.t_noise


def coefficient_time(level: Level, length: int) -> tuple[Tensor | float, Tensor | float]:
    """(abar_t T, bbar_t T), so that residual and noise may be removed in any order (RDDM: path-independence)."""
    return level.residual * length, level.noise * length


class Denoiser(nn.Module):
    """A network that estimates x_0, R and eps from x_t.

    Parameters
    ----------
    backbone : the network
    schedule : the levels it was trained on
    prediction : what its heads give
    time_input : what it is told of the time
    shows_input : whether x_in stands beside x_t in its input (restoration) or not (translation, generation)
    clamp : what of its estimates is clamped to [-1, 1]
    """

    def __init__(
        self,
        backbone: nn.Module,
        schedule: Schedule,
        prediction: Prediction,
        *,
        time_input: TimeInput = index_time,
        shows_input: bool = True,
        clamp: Clamp = Clamp.NONE,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.schedule = schedule
        self.prediction = prediction
        self.time_input = time_input
        self.shows_input = shows_input
        self.clamp = clamp

    def forward(self, x_t: Tensor, level: Level, x_in: Tensor, condition: Tensor | None = None) -> Estimate:
        """Estimate x_0, R and eps of `x_t` (N, C, H, W) at `level`; `condition` (N, K, H, W) is a mask, say."""
        return self.prediction.estimate(level, x_t, x_in, self.outputs(x_t, level, x_in, condition), self.clamp)

    def outputs(self, x_t: Tensor, level: Level, x_in: Tensor, condition: Tensor | None = None) -> Outputs:
        """The heads' raw outputs."""
        shown = [x_t, *([x_in] if self.shows_input else []), *([] if condition is None else [condition])]
        return self.backbone(torch.cat(shown, dim=1), self._times(level, x_t))  # type: ignore[no-any-return]

    def _times(self, level: Level, x_t: Tensor) -> tuple[Tensor, ...]:
        residual, noise = self.time_input(level, len(self.schedule))
        if self.prediction.heads == 1 and isinstance(level.t, int) and level.t != level.t_noise:
            raise ConfigError("this network is told one time only: it cannot remove residual and noise one by one")
        pair = (residual, noise)[: self.prediction.heads]
        flat = (torch.as_tensor(t, device=x_t.device, dtype=torch.float32).reshape(-1) for t in pair)
        return tuple(t.expand(len(x_t)) for t in flat)

    def loss(
        self,
        x0: Tensor,
        x_in: Tensor,
        t: Tensor,
        condition: Tensor | None = None,
        *,
        noise: Tensor,
        loss: Loss = F.l1_loss,
    ) -> Tensor:
        """Mean loss of each head at the times `t` (N,), summed over the heads (RDDM: L_res + L_eps).

        `x0` and `x_in` are (N, C, H, W) in [-1, 1]; `noise` is N(0, I) of the same shape.
        """
        level = self.schedule(t)
        x_t = level.mix(x0, x_in - x0, noise)
        targets = self.prediction.target(level, x0, x_in, noise)
        outputs = self.outputs(x_t, level, x_in, condition)
        return torch.stack([loss(output, target) for output, target in zip(outputs, targets, strict=True)]).sum()


LOSSES: dict[str, Loss] = {"l1": F.l1_loss, "l2": F.mse_loss, "smooth-l1": F.smooth_l1_loss}
TIME_INPUTS: dict[str, TimeInput] = {"index": index_time, "coefficient": coefficient_time}
