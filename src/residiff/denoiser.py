"""The trained thing: a backbone, its schedule, what it predicts, and what it is shown.

A `Denoiser` maps (x_t, level, x_in, condition) to an `Estimate`. Images inside are in [-1, 1]; `to_model` and
`from_model` are the one place where that range meets the public [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from residiff.errors import ConfigError
from residiff.prediction import Clamp, Estimate, Estimator, Outputs, Prediction
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


class MaskForm(NamedTuple):
    """How a mask (N, 1, H, W) in [0, 1] is shown to a network: as `channels` channels, by `encode`."""

    channels: int
    encode: Callable[[Tensor], Tensor]


def _unit_rgb(mask: Tensor) -> Tensor:
    """RDDM's: three times the mask, left in [0, 1]."""
    return mask.expand(-1, 3, -1, -1)


def _one_hot(mask: Tensor) -> Tensor:
    """Resfusion's: (not white, white) as -1 and 1; grey is not white."""
    white = (mask >= 1).to(mask.dtype)
    return to_model(torch.cat([1 - white, white], dim=1))


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
    self_condition : whether its own last x_0 stands before x_t in its input, zeros where there is none yet
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
        self_condition: bool = False,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.schedule = schedule
        self.prediction = prediction
        self.time_input = time_input
        self.shows_input = shows_input
        self.clamp = clamp
        self.self_condition = self_condition

    def with_backbone(self, backbone: nn.Module) -> Denoiser:
        """The same with another network of the same heads, one that computes the same faster say."""
        return Denoiser(
            backbone,
            self.schedule,
            self.prediction,
            time_input=self.time_input,
            shows_input=self.shows_input,
            clamp=self.clamp,
            self_condition=self.self_condition,
        ).train(self.training)

    def forward(
        self,
        x_t: Tensor,
        level: Level,
        x_in: Tensor,
        condition: Tensor | None = None,
        previous: Tensor | None = None,
    ) -> Estimate:
        """Estimate x_0, R and eps of `x_t` (N, C, H, W) at `level`.

        `condition` (N, K, H, W) is an encoded mask, `previous` (N, C, H, W) the x_0 estimated before.
        """
        outputs = self.outputs(x_t, level, x_in, condition, previous)
        return self.prediction.estimate(level, x_t, x_in, outputs, self.clamp)

    def outputs(
        self,
        x_t: Tensor,
        level: Level,
        x_in: Tensor,
        condition: Tensor | None = None,
        previous: Tensor | None = None,
    ) -> Outputs:
        """The heads' raw outputs."""
        before = [torch.zeros_like(x_t) if previous is None else previous] if self.self_condition else []
        shown = [*before, x_t, *([x_in] if self.shows_input else []), *([] if condition is None else [condition])]
        return self.backbone(torch.cat(shown, dim=1), self._times(level, x_t))  # type: ignore[no-any-return]

    def estimator(self) -> Estimator:
        """What one sampling run calls; with self-conditioning it remembers the last x_0, so each run takes its own."""
        if not self.self_condition:
            return self
        previous: Tensor | None = None

        def estimate(x_t: Tensor, level: Level, x_in: Tensor, condition: Tensor | None) -> Estimate:
            nonlocal previous
            found: Estimate = self(x_t, level, x_in, condition, previous)
            previous = found.x0
            return found

        return estimate

    def _times(self, level: Level, x_t: Tensor) -> tuple[Tensor, ...]:
        residual, noise = self.time_input(level, len(self.schedule))
        if self.prediction.heads == 1 and isinstance(level.t, int) and level.t != level.t_noise:
            raise ConfigError(
                "this network is told one time only: it cannot remove residual and noise one by one; take the order "
                "simultaneous, or a model of two heads"
            )
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
        posterior_weight: float = 0.0,
        looks_back: bool = False,
    ) -> Tensor:
        """Mean loss of each head at the times `t` (N,), summed over the heads (RDDM: L_res + L_eps).

        Parameters
        ----------
        x0, x_in : (N, C, H, W) in [-1, 1]
        t : (N,) whole numbers from 0 to T - 1
        condition : the encoded mask, (N, K, H, W)
        noise : N(0, I), of the shape of `x0`
        loss : of an output and its target
        posterior_weight : of the same loss between the mean of the ancestral step and its estimate (RDDM's optional
            loss, published with 10,000); 0 leaves it out
        looks_back : whether a self-conditioned network is shown an estimate of its own, made first without gradient
        """
        level = self.schedule(t)
        x_t = level.mix(x0, x_in - x0, noise)
        previous = None
        if looks_back and self.self_condition:
            with torch.no_grad():
                previous = self(x_t, level, x_in, condition).x0
        outputs = self.outputs(x_t, level, x_in, condition, previous)
        targets = self.prediction.target(level, x0, x_in, noise)
        total = torch.stack([loss(output, target) for output, target in zip(outputs, targets, strict=True)]).sum()
        if posterior_weight == 0:
            return total
        estimate = self.prediction.estimate(level, x_t, x_in, outputs)
        means = (self._posterior_mean(t, each) for each in (estimate, Estimate(x0, x_in - x0, noise)))
        return total + posterior_weight * loss(*means)

    def _posterior_mean(self, t: Tensor, estimate: Estimate) -> Tensor:
        """The mean of x at the time before `t`, but for x_t, which is the same in both."""
        x0, residual, noise = (
            self.schedule.posterior_weights[t.cpu()].to(t.device, torch.float32)[..., None, None, None].unbind(1)
        )
        return x0 * estimate.x0 + residual * estimate.residual + noise * estimate.noise


LOSSES: dict[str, Loss] = {"l1": F.l1_loss, "l2": F.mse_loss, "smooth-l1": F.smooth_l1_loss}
TIME_INPUTS: dict[str, TimeInput] = {"index": index_time, "coefficient": coefficient_time}
MASK_FORMS: dict[str, MaskForm] = {
    "signed": MaskForm(1, to_model),
    "rgb": MaskForm(3, _unit_rgb),
    "one-hot": MaskForm(2, _one_hot),
}
