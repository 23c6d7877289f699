"""What a run is judged by: validations by other pairs, or of other restoring, say nothing of one another."""

from __future__ import annotations

import json
from collections.abc import Mapping

from residiff.files import sha256
from residiff.recipe import Recipe

# Of a recipe, what decides which pairs are restored, how, and what the loss of the result is
_JUDGING: Mapping[str, set[str] | bool] = {
    "schedule": True,
    "prediction": True,
    "sampling": True,
    "data": True,
    "network": {"mask"},
    "training": {"loss", "seed", "distil"},
    "validation": {"crop"},
}


def judged_by(recipe: Recipe, record: Mapping[str, object]) -> str:
    """Eight digits that change with what is restored in a validation, and how.

    Parameters
    ----------
    recipe : the run's
    record : what `training_data` says of the pairs held out: from which set, its fingerprint, and how many
    """
    # How crops are turned is no matter of those that are held out
    settings = recipe.model_dump(mode="json", include=_JUDGING)
    settings["data"].pop("augment")
    return sha256(json.dumps([settings, record], sort_keys=True, default=str).encode())[:8]
