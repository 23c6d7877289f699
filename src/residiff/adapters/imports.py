"""Importing: from a published file or folder to a `ModelFile`, whole or not at all."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import tomli_w
import torch
from torch import Tensor

from residiff import recipe as recipes
from residiff.adapters import archive, ddpm, pipelines, rddm, resfusion, tables
from residiff.adapters.found import Found, Table
from residiff.adapters.keys import KeysError, compared, shapes
from residiff.checkpoint import ModelFile
from residiff.errors import ConfigError, ModelFileError
from residiff.recipe import Recipe
from residiff.schedule import Schedule


@dataclass(frozen=True)
class ImportOptions:
    """How to import.

    Attributes
    ----------
    recipe : a preset's name or a .toml file, for all that the file does not say (task, crop, sampling, ...)
    settings : changes to the recipe, "prediction.kind=noise" say; they come last and overrule the file too
    length : T before the cut, for Resfusion's files, which do not say it
    weights : "ema" for the running average, "plain", or None for the average where there is one
    name : the model's; the file's by default
    """

    recipe: str | None = None
    settings: tuple[str, ...] = ()
    length: int | None = None
    weights: str | None = None
    name: str | None = None

    def sets(self, key: str) -> bool:
        """Whether the caller set `key`, the table that it is in, or something in it where it is a table."""
        given = [f"{setting.partition('=')[0]}." for setting in self.settings]
        return any(f"{key}.".startswith(other) or other.startswith(f"{key}.") for other in given)

    def gives(self, key: str) -> bool:
        """Whether the caller answers for `key`, "schedule" or "sampling.steps" say."""
        return self.recipe is not None or self.sets(key)


DEFAULT = ImportOptions()
# What trainers say of how long they trained
CLOCKS = ("step", "epoch", "global_step")


def import_model(source: str | Path, options: ImportOptions = DEFAULT) -> ModelFile:
    """Read a published checkpoint (RDDM, Resfusion, DiffUIR, DDPM), bare weights, or a diffusers pipeline.

    Parameters
    ----------
    source : a file, a diffusers folder, or a hub id
    options : what the file does not say, and which of its weights to take

    Raises
    ------
    KeysError
        A `ModelFileError` whose report names each weight that is missing, unexpected or of another shape.
    ModelFileError
        If the file is damaged, holds anything but weights, or is of no known format.
    ConfigError
        If an option is not usable, or something that the file does not say must be given.
    ResourceError
        If it is a hub id and huggingface_hub is not installed, or the hub cannot be reached.
    """
    folder = pipelines.find(source)
    if folder is not None:
        found, path = pipelines.read(folder), pipelines.weights_file(folder)
    else:
        path = Path(source)
        found = _recognised(path, options)
    recipe = _recipe(found, options, options.name or _slug(Path(source).stem))
    weights = _fitted(found, recipe, str(source))
    return ModelFile(recipe, weights, _card(found, recipe, path, options))


def _recognised(path: Path, options: ImportOptions) -> Found:
    held = archive.read(path)
    try:
        table = tables.choose(held, options.weights)
    except ModelFileError as error:
        raise ModelFileError(f"{path}: {error}") from error
    found = _read(table, options.length)
    if options.length is not None and found.origin != resfusion.ORIGIN:
        raise ConfigError(f"--length is for Resfusion's files; {path} is of {found.origin}, leave it out")
    return replace(found, card={key: held.plain[key] for key in CLOCKS if key in held.plain})


def _read(table: tables.WeightTable, length: int | None) -> Found:
    if rddm.is_rddm(table):
        return rddm.read(table)
    if ddpm.is_ddpm(table):
        return ddpm.read(table)
    if resfusion.is_resfusion(table):
        return resfusion.read(table, length)
    return ddpm.read_bare(table)


def _recipe(found: Found, options: ImportOptions, name: str) -> Recipe:
    """What the file says over the given recipe or the published settings, then the caller's changes."""
    for table, why in (("schedule", found.schedule_missing), ("prediction", found.prediction_missing)):
        if why and not options.gives(table):
            raise ConfigError(f"{why}; give it by --recipe, or by --set {table}...")
    given = recipes.read(options.recipe).model_dump(mode="json", exclude_none=True) if options.recipe else found.assumed
    data = _merged(given, found.said) | {"name": name}
    if "schedule" in found.said:
        data["schedule"] = _table(found.said["schedule"])
    recipe = recipes.parse(tomli_w.dumps(_merged({"sampling": {"steps": 1}}, data)), f"the recipe of {name}")
    recipe = recipes.override(recipe, list(options.settings))
    if recipe.prediction.heads != found.network.heads:
        kind = recipe.prediction.kind
        raise ConfigError(f"{kind} has {recipe.prediction.heads} heads, the file {found.network.heads}; set prediction")
    if options.gives("sampling.steps"):
        return recipe
    return recipes.override(recipe, [f"sampling.steps={min(found.steps, len(recipe.schedule))}"])


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> Table:
    """`base` with the entries of `over`, table by table."""
    joined = dict(base)
    for key, value in over.items():
        # A network of another kind has settings of its own
        both = isinstance(value, dict) and isinstance(base.get(key), dict)
        same = both and value.get("kind") in (None, base[key].get("kind"))
        joined[key] = _merged(base[key], value) if same else value
    return joined


def _table(schedule: Schedule | Table) -> Table:
    """The schedule as a recipe has it, without what it leaves open."""
    if isinstance(schedule, dict):
        return schedule
    return {key: value for key, value in asdict(schedule).items() if value is not None}


def _fitted(found: Found, recipe: Recipe, source: str) -> dict[str, Tensor]:
    """The network's weights under its own names; every name and shape is compared first."""
    with torch.device("meta"):
        expected = shapes(recipe.backbone().state_dict())
    prefix = found.network.prefix
    needed = {**{prefix + key: shape for key, shape in expected.items()}, **found.buffers}
    if report := compared(needed, shapes(found.weights)):
        raise KeysError(source, report)
    weights = {key: found.weights[key] for key in needed if key not in found.buffers}
    foreign = [key for key, value in weights.items() if not value.is_floating_point()]
    if foreign:
        raise ModelFileError(f"{source}: weights that are not floating point: {', '.join(foreign[:5])}")
    broken = [key for key, value in weights.items() if not torch.isfinite(value).all()]
    if broken:
        raise ModelFileError(f"{source}: weights that are not finite: {', '.join(broken[:5])}; take another checkpoint")
    return {key.removeprefix(prefix): value.float() for key, value in weights.items()}


def _card(found: Found, recipe: Recipe, path: Path, options: ImportOptions) -> Table:
    data = recipe.model_dump(mode="json", exclude_none=True)
    doubts = (key for key in found.doubts if not options.gives(key))
    assumed = {key: value for key in doubts if (value := recipes.setting(data, key)) is not None}
    return {
        "imported_from": found.origin,
        "source": path.name,
        "source_sha256": archive.sha256(path),
        "weights": "running average" if found.averaged else "plain",
        "assumed": assumed,
        **found.card,
    }


def _slug(name: str) -> str:
    """A recipe's name made of a file's."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:64].strip("-") or "imported"
