"""Recipes: an experiment as typed, frozen data, read from TOML, written to TOML, stored in every checkpoint.

A recipe says what a model is (schedule, prediction, backbone, what it is shown), how it is sampled, what it is trained
on and how. Nothing of it is ever retyped at inference.
"""

from __future__ import annotations

from residiff.recipe.changing import difference, override
from residiff.recipe.checking import check
from residiff.recipe.documents import MAX_LINE, MAX_TEXT, Spot
from residiff.recipe.experiment import MAX_PARAMETERS, Origin, Recipe
from residiff.recipe.faults import Fault, RecipeError
from residiff.recipe.keys import KINDS, setting, still_unknown
from residiff.recipe.plugged import BackboneTable, ScheduleTable, built
from residiff.recipe.reading import MAX_FILES, names, parse, read
from residiff.recipe.schema import json_schema
from residiff.recipe.settings import Network, Sampling
from residiff.recipe.training import Distil, Optimiser, Plateau, Training, Validation

__all__ = [
    "KINDS",
    "BackboneTable",
    "Distil",
    "MAX_FILES",
    "MAX_LINE",
    "MAX_PARAMETERS",
    "MAX_TEXT",
    "Fault",
    "Network",
    "Optimiser",
    "Origin",
    "Plateau",
    "Recipe",
    "RecipeError",
    "Sampling",
    "ScheduleTable",
    "Spot",
    "Training",
    "Validation",
    "built",
    "check",
    "difference",
    "json_schema",
    "names",
    "override",
    "parse",
    "read",
    "setting",
    "still_unknown",
]
