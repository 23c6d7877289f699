"""A recipe with another objective."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from residiff.prediction import AnyPrediction, Clamp, Noise, Residual
from residiff.recipe import Recipe

Objective: TypeAlias = Residual | Noise
RESIDUAL = Residual()
NOISE = Noise(guard=1e-6)


@dataclass(frozen=True)
class Candidate:
    """A recipe to compare; `name` says what is its own, "rddm-0.01-residual" say."""

    name: str
    recipe: Recipe


def changed(recipe: Recipe, changes: Mapping[str, object]) -> Recipe:
    """`recipe` with the fields of `changes` in place of its own, checked as a whole."""
    return Recipe.model_validate({**recipe.model_dump(), **changes})


def decided(recipe: Recipe, prediction: AnyPrediction) -> Recipe:
    """`recipe` with `prediction` as its objective.

    Noise with a guard says nothing of x_0 at the start, so that x_0 must be clamped there, as it was in the selection:
    where the recipe clamps nothing, it is made to clamp x_0. An optimiser for each head becomes one where one is left.
    """
    changes: dict[str, object] = {"prediction": prediction}
    if prediction.heads == 1:
        optimiser = recipe.training.optimiser.model_copy(update={"per_head": False})
        changes["training"] = recipe.training.model_copy(update={"optimiser": optimiser})
    result = changed(recipe, changes)
    if isinstance(prediction, Noise) and result.clamp is Clamp.NONE:
        return changed(result, {"network": recipe.network.model_copy(update={"clamp": Clamp.X0})})
    return result
