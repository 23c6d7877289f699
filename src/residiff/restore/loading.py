"""Models made ready to restore: by a bundled name, a file, a folder or a hub id, on the device that is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from residiff import models
from residiff.checkpoint import load_model
from residiff.data.images import Picture
from residiff.errors import ConfigError
from residiff.recipe import Recipe, override
from residiff.restore.restorer import Descriptor, Restorer


def load(
    source: str | Path,
    device: str = "auto",
    settings: Sequence[str] = (),
    *,
    backend: str = "eager",
    calibration: Sequence[Picture] = (),
    budget: float | None = None,
) -> Restorer:
    """A restorer of the model `source`: a bundled name, a model file, a folder, or a hub id.

    `settings` such as "sampling.order=residual-first" or "prediction.drive=residual" stand in place of the recipe's.
    `backend`, `calibration` and `budget` are those of `Restorer`.

    Raises
    ------
    ModelFileError
        If there is no such model, its file is damaged, or its weights do not fit the settings.
    ConfigError
        If a setting or the backend does not exist or cannot be so.
    ResourceError
        If the packages of the backend are missing.
    """
    model = load_model(models.find(source))
    if settings:
        model = replace(model, recipe=_resettled(model.recipe, list(settings)))
    return Restorer(model, device, backend, calibration, budget=budget)


def _resettled(recipe: Recipe, settings: list[str]) -> Recipe:
    changed = override(recipe, settings)
    if changed.prediction.kind != recipe.prediction.kind:
        trained = recipe.prediction.kind
        raise ConfigError(f"the model was trained to predict {trained!r}, not {changed.prediction.kind!r}; leave it so")
    return changed


def descriptors() -> list[Descriptor]:
    """Of every bundled model."""
    return [Restorer(load_model(path)).descriptor for path in models.bundled().values()]
