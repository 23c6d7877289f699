"""A recipe with another objective."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from pydantic import BaseModel, TypeAdapter, ValidationError

from residiff.errors import ConfigError
from residiff.nn import UNetSettings
from residiff.prediction import AnyPrediction, Clamp, Noise, Residual
from residiff.recipe import Recipe, still_unknown

Objective: TypeAlias = Residual | Noise
RESIDUAL = Residual()
NOISE = Noise(guard=1e-6)


@dataclass(frozen=True)
class Candidate:
    """A recipe to compare; `name` says what is its own, "rddm-0.01-residual" say."""

    name: str
    recipe: Recipe


def changed(recipe: Recipe, changes: Mapping[str, object]) -> Recipe:
    """`recipe` with the fields of `changes` in place of its own, checked as a whole; `ConfigError` if it cannot be."""
    plain = {key: value.model_dump() if isinstance(value, BaseModel) else value for key, value in changes.items()}
    tables = TypeAdapter(dict[str, Any]).dump_python({**recipe.model_dump(), **plain})
    try:
        return Recipe.model_validate(still_unknown(tables))
    except ValidationError as error:
        raise ConfigError("; ".join(item["msg"] for item in error.errors())) from error


def decided(recipe: Recipe, prediction: AnyPrediction) -> Recipe:
    """`recipe` with `prediction` as its objective.

    Noise with a guard says nothing of x_0 at the start, so that x_0 must be clamped there, as it was in the selection:
    where the recipe clamps nothing, it is made to clamp x_0. Where one head is left, an optimiser for each becomes one,
    and a shared encoder a U-Net.
    """
    changes: dict[str, object] = {"prediction": prediction}
    if prediction.heads == 1:
        optimiser = recipe.training.optimiser.model_copy(update={"per_head": False})
        changes["training"] = recipe.training.model_copy(update={"optimiser": optimiser})
        backbone = recipe.network.backbone
        if isinstance(backbone, UNetSettings) and backbone.shared:
            changes["network"] = recipe.network.model_copy(update={"backbone": replace(backbone, shared=False)})
    result = changed(recipe, changes)
    if isinstance(prediction, Noise) and result.clamp is Clamp.NONE:
        return changed(result, {"network": result.network.model_copy(update={"clamp": Clamp.X0})})
    return result
