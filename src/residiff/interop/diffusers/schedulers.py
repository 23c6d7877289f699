r"""`RDDMScheduler` and `ResfusionScheduler`: residiff's levels and steps behind diffusers' interface.

A step needs what diffusers' own schedulers do not: x_in, the degraded image, in [-1, 1] and shaped as the sample. Where
it is left out x_in = 0, which is generation. The arithmetic is `Schedule`, `Prediction` and `residiff.sample.STEPS`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, final

import torch
from diffusers import ConfigMixin, SchedulerMixin
from diffusers.configuration_utils import register_to_config
from diffusers.utils import BaseOutput
from diffusers.utils.torch_utils import randn_tensor
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from residiff.denoiser import TIME_INPUTS, TimeInput
from residiff.errors import ConfigError
from residiff.noise import NoiseSource
from residiff.prediction import AnyPrediction, Clamp, Prediction
from residiff.recipe import Sampling
from residiff.sample import STEPS
from residiff.schedule import RDDM, Increments, Level, Resfusion, Schedule

Made = TypeVar("Made")
Generators = torch.Generator | list[torch.Generator] | None
_PREDICTION: TypeAdapter[AnyPrediction] = TypeAdapter(AnyPrediction)


@dataclass
class ResidualSchedulerOutput(BaseOutput):  # type: ignore[misc]
    """What a step gives, each (N, C, H, W).

    Attributes
    ----------
    prev_sample : the state at the next level; after the last step the result
    pred_original_sample, pred_residual, pred_noise : the estimates of x_0, R and eps that the step was made on
    """

    prev_sample: Tensor
    pred_original_sample: Tensor
    pred_residual: Tensor
    pred_noise: Tensor


class ResidualScheduler(SchedulerMixin, ConfigMixin):  # type: ignore[misc]
    """What both schedulers share; `schedule`, `prediction` and `time_input` are residiff's own.

    Attributes
    ----------
    timesteps : (steps,) int64, from T - 1 downwards
    init_noise_sigma : n, the weight of the noise in the state that sampling starts from
    """

    order = 1
    schedule: Schedule
    prediction: Prediction
    time_input: TimeInput
    timesteps: Tensor
    num_inference_steps: int | None

    def _set_up(self, schedule: Schedule) -> None:
        """Make what the configuration names; `ConfigError` where it names what is not."""
        config = self.config
        more = {name: config[name] for name in ("drive", "guard") if config[name] is not None}
        self.schedule = schedule
        self.prediction = _checked(_PREDICTION, {"kind": config.prediction_type, **more}, "prediction_type")
        self.clamp = _checked(TypeAdapter(Clamp), config.clip_estimate, "clip_estimate")
        self.sampling = _checked(
            TypeAdapter(Sampling),
            {
                "steps": len(schedule),
                "eta": config.eta,
                "grid": config.timestep_spacing,
                "times": config.tuned_timesteps,
                "sampler": config.step_kind,
            },
            "the scheduler's settings",
        )
        self.step_by = _named(STEPS, config.step_kind, "step_kind")
        self.time_input = _named(TIME_INPUTS, config.time_input, "time_input")
        self.set_timesteps(len(schedule))
        self.num_inference_steps = None

    def __len__(self) -> int:
        """T, the number of levels above the clean one."""
        return len(self.schedule)

    @property
    def init_noise_sigma(self) -> float:
        """The weight of the noise at the start."""
        return float(self.schedule(len(self) - 1).noise)

    def set_timesteps(self, num_inference_steps: int, device: torch.device | str | None = None) -> None:
        """Visit `num_inference_steps` levels, 1 to T; outside that a `ConfigError`."""
        self._levels = self.sampling.visits(self.schedule, num_inference_steps)
        self.num_inference_steps = num_inference_steps
        self.timesteps = torch.tensor([int(level.t) for level in self._levels[:-1]], device=device)

    def scale_model_input(self, sample: Tensor, timestep: int | Tensor | None = None) -> Tensor:
        """The sample as it is: these networks take x_t unscaled."""
        return sample

    def start(self, degraded: Tensor, noise: Tensor) -> Tensor:
        """The state (N, C, H, W) that sampling starts from: a x_in + n eps."""
        return self.schedule.start(degraded, noise)

    def add_noise(
        self, original_samples: Tensor, noise: Tensor, timesteps: Tensor, degraded: Tensor | None = None
    ) -> Tensor:
        """x_t = a x_0 + r R + n eps of `original_samples` x_0 (N, C, H, W) at `timesteps` (N,) whole numbers."""
        x_in = torch.zeros_like(original_samples) if degraded is None else degraded
        level = self.schedule(timesteps.to(original_samples.device).expand(len(original_samples)))
        return level.mix(original_samples, x_in - original_samples, noise).to(original_samples.dtype)

    def level(self, timestep: int | Tensor) -> Level:
        """The level at `timestep`, one of `timesteps`; any other is a `ConfigError`."""
        return self._levels[self._index(timestep)]

    def step(
        self,
        model_output: Tensor,
        timestep: int | Tensor,
        sample: Tensor,
        degraded: Tensor | None = None,
        generator: Generators = None,
        return_dict: bool = True,
        *,
        noise: NoiseSource | None = None,
    ) -> ResidualSchedulerOutput | tuple[Tensor, ...]:
        """From `sample`, x_t at `timestep`, to the next of `timesteps`; behind the last one to x_0.

        Parameters
        ----------
        model_output : (N, heads C, H, W), one head's channels after the other's
        timestep : one of `timesteps`
        sample : x_t, (N, C, H, W)
        degraded : x_in in [-1, 1], like `sample`; None is x_in = 0, generation
        generator : of the fresh noise that eta above 0 calls for
        return_dict : whether an output with names is returned, or a tuple
        noise : a source of fresh noise in place of the generator
        """
        x_in = torch.zeros_like(sample) if degraded is None else degraded
        index = self._index(timestep)
        here, there = self._levels[index], self._levels[index + 1]
        outputs = model_output.chunk(self.prediction.heads, dim=1)
        estimate = self.prediction.estimate(here, sample, x_in, outputs, self.clamp)
        fresh = noise or _drawn(sample, generator)
        before = self.step_by(sample, estimate, here, there, self.sampling.eta, fresh)
        found = ResidualSchedulerOutput(before, estimate.x0, estimate.residual, estimate.noise)
        return found if return_dict else found.to_tuple()

    def _index(self, timestep: int | Tensor) -> int:
        visited = [level.t for level in self._levels[:-1]]
        if int(timestep) not in visited:
            first = ", ".join(map(str, visited[:5]))
            raise ConfigError(f"timestep {int(timestep)} is not visited; give one of timesteps: {first}, ...")
        return visited.index(int(timestep))


@final
class RDDMScheduler(ResidualScheduler):
    """RDDM's schedule (CVPR 2024): x_t = x_0 + abar_t R + bbar_t eps.

    Parameters
    ----------
    num_train_timesteps : T
    residual_shape, residual_exponent : `Increments` of abar_t
    noise_shape, noise_exponent : `Increments` of bbar_t^2
    total_noise : bbar_T^2, 0 to 100
    prediction_type : what the network gives, a `kind` of `residiff.prediction`
    drive, guard : of that prediction, where it has them
    clip_estimate : "none", "x0" or "residual" (`Clamp`)
    eta : share of the variance of fresh noise, 0 (deterministic) to 1 (ancestral); diffusers' is of the deviation
    timestep_spacing : a name of `residiff.schedule.GRIDS`
    tuned_timesteps : the times to visit for each number of steps that is listed, in place of the grid's
    step_kind : "general" or "direct" (`residiff.sample.STEPS`)
    time_input : what the network is told of the time, "index" or "coefficient"
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        *,
        num_train_timesteps: int = 1000,
        residual_shape: str = "decreasing",
        residual_exponent: float = 1.0,
        noise_shape: str = "increasing",
        noise_exponent: float = 1.0,
        total_noise: float = 0.01,
        prediction_type: str = "residual",
        drive: str | None = None,
        guard: float | None = None,
        clip_estimate: str = "none",
        eta: float = 0.0,
        timestep_spacing: str = "published",
        tuned_timesteps: Sequence[Sequence[int]] = (),
        step_kind: str = "general",
        time_input: str = "index",
    ) -> None:
        residual = _increments(residual_shape, residual_exponent)
        noise = _increments(noise_shape, noise_exponent)
        self._set_up(RDDM(length=num_train_timesteps, residual=residual, noise=noise, total_noise=total_noise))


@final
class ResfusionScheduler(ResidualScheduler):
    """Resfusion's schedule (NeurIPS 2024), cut at its acceleration point: T = 12 leaves 5 levels.

    Parameters
    ----------
    num_train_timesteps : T before the cut; None where `kept_timesteps` is given
    kept_timesteps : T', how many levels remain
    beta_schedule : "linear" or "squared-cosine"
    threshold : how far below 1/2 the last sqrt(A) may stay, 0 to 0.5
    prediction_type, drive, guard, clip_estimate, eta, timestep_spacing, tuned_timesteps, step_kind, time_input : as of
        `RDDMScheduler`
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        *,
        num_train_timesteps: int | None = 12,
        kept_timesteps: int | None = None,
        beta_schedule: str = "linear",
        threshold: float = 0.01,
        prediction_type: str = "resnoise",
        drive: str | None = None,
        guard: float | None = None,
        clip_estimate: str = "none",
        eta: float = 1.0,
        timestep_spacing: str = "published",
        tuned_timesteps: Sequence[Sequence[int]] = (),
        step_kind: str = "general",
        time_input: str = "index",
    ) -> None:
        settings = {"length": num_train_timesteps, "steps": kept_timesteps}
        more = {"betas": beta_schedule, "threshold": threshold}
        self._set_up(_checked(TypeAdapter(Resfusion), settings | more, "the schedule's settings"))


def _increments(shape: str, exponent: float) -> Increments:
    return _checked(TypeAdapter(Increments), {"shape": shape, "exponent": exponent}, "the schedule's settings")


def _checked(kind: TypeAdapter[Made], value: object, what: str) -> Made:
    """`value` as the type that it stands for; what pydantic finds wrong is told as a `ConfigError`."""
    try:
        return kind.validate_python(value)
    except ValidationError as error:
        told = "; ".join(f"{'.'.join(map(str, one['loc']))} {one['msg']}".strip() for one in error.errors())
        raise ConfigError(f"{what}: {told}") from error


def _named(table: dict[str, Any], name: str, setting: str) -> Any:  # noqa: ANN401  a value of that table
    if name not in table:
        raise ConfigError(f"{setting} is {name!r}; allowed are {', '.join(table)}")
    return table[name]


def _drawn(sample: Tensor, generator: Generators) -> NoiseSource:
    return lambda: randn_tensor(sample.shape, generator=generator, device=sample.device, dtype=sample.dtype)
