"""diffusers' parts made from a model file of residiff's."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from residiff.checkpoint import ModelFile
from residiff.errors import ConfigError
from residiff.interop.diffusers.network import ResidualDiffusionModel
from residiff.interop.diffusers.schedulers import RDDMScheduler, ResfusionScheduler, ResidualScheduler
from residiff.recipe import Recipe
from residiff.sample import STEPS
from residiff.schedule import RDDM, Resfusion


def network_of(model: ModelFile) -> ResidualDiffusionModel:
    """The network with the weights of `model`, float32, ready to sample."""
    recipe = model.recipe
    backbone = recipe.model_dump(mode="json")["network"]["backbone"]
    network: ResidualDiffusionModel = ResidualDiffusionModel(
        backbone=backbone, in_channels=recipe.in_channels, out_channels=3, heads=recipe.prediction.heads
    )
    network.net.load_state_dict(model.denoiser().backbone.state_dict())
    network.eval()
    return network


def scheduler_of(recipe: Recipe) -> ResidualScheduler:
    """The scheduler that walks as `recipe` is sampled.

    Raises
    ------
    ConfigError
        If the recipe's schedule or its way of sampling has no scheduler here.
    """
    sampling, schedule = recipe.sampling, recipe.schedule
    if sampling.sampler not in STEPS or sampling.order != "simultaneous" or sampling.readjusted is not None:
        raise ConfigError(
            "the schedulers for diffusers walk one step after the other: set sampling.sampler to general or direct, "
            "sampling.order to simultaneous, and no sampling.readjusted; residiff.load takes the model as it is"
        )
    made: ResidualScheduler
    if isinstance(schedule, RDDM):
        made = RDDMScheduler(**_rddm(schedule), **_common(recipe))
        return made
    if isinstance(schedule, Resfusion):
        made = ResfusionScheduler(**_resfusion(schedule), **_common(recipe))
        return made
    raise ConfigError(
        f"there is no scheduler for diffusers of kind {schedule.kind!r}; there are rddm and resfusion, and "
        "residiff.load takes the model as it is"
    )


def _common(recipe: Recipe) -> dict[str, Any]:
    prediction = asdict(recipe.prediction)
    return {
        "prediction_type": prediction["kind"],
        "drive": prediction.get("drive"),
        "guard": prediction.get("guard"),
        "clip_estimate": recipe.clamp.value,
        "eta": recipe.sampling.eta,
        "timestep_spacing": recipe.sampling.grid,
        "tuned_timesteps": [list(times) for times in recipe.sampling.times],
        "step_kind": recipe.sampling.sampler,
        "time_input": recipe.network.time_input,
    }


def _rddm(schedule: RDDM) -> dict[str, Any]:
    return {
        "num_train_timesteps": schedule.length,
        "residual_shape": schedule.residual.shape,
        "residual_exponent": schedule.residual.exponent,
        "noise_shape": schedule.noise.shape,
        "noise_exponent": schedule.noise.exponent,
        "total_noise": schedule.total_noise,
    }


def _resfusion(schedule: Resfusion) -> dict[str, Any]:
    return {
        "num_train_timesteps": schedule.length,
        "kept_timesteps": schedule.steps,
        "beta_schedule": schedule.betas,
        "threshold": schedule.threshold,
    }
