"""Model and training-state files: safetensors, with what they are in the header and a SHA-256 over every byte.

The header of a file holds its format version, its kind, the recipe as TOML, a card of facts (data, steps, time,
figures) and `sha256`, as `residiff.tensorfile` has it. No file that residiff writes, or reads here, can carry code.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from residiff import files, recipe, tensorfile
from residiff.denoiser import Denoiser
from residiff.errors import CheckpointError, ConfigError, ModelFileError
from residiff.recipe import Recipe
from residiff.tensorfile import DamagedError, Fetch, Take, on_cpu, whole

# What a run's folder holds: the averaged weights of now and of the best validation, and states to continue from
MODEL = "model.safetensors"
BEST = "best.safetensors"
STATES = "checkpoints"
# Differences of weights that a message lists
NAMED = 40
WEIGHT_TYPES = (torch.float32, torch.float16, torch.bfloat16)

Card = dict[str, Any]


class NotWholeError(CheckpointError):
    """A file that is no whole training state: missing, cut short, changed, or another thing altogether."""


@dataclass(frozen=True)
class ModelFile:
    """What a model file holds: its recipe, its weights and its card."""

    recipe: Recipe
    weights: Mapping[str, Tensor]
    card: Card = field(default_factory=dict)
    sha256: str = ""

    def denoiser(self) -> Denoiser:
        """The denoiser with these weights in float32, ready to sample.

        Raises
        ------
        ModelFileError
            Naming the weights that are missing, left over, or of another shape than the recipe's network has.
        """
        with torch.device("meta"):
            expected = self.recipe.backbone().state_dict()
        check_keys(expected, self.weights)
        denoiser = self.recipe.build()
        denoiser.backbone.load_state_dict({key: value.float() for key, value in self.weights.items()})
        return denoiser.eval().requires_grad_(False)


def check_keys(expected: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> None:
    """Raise `ModelFileError` unless both have the same names and shapes; the first 40 differences are named."""
    problems = [f"missing: {key}" for key in expected.keys() - given.keys()]
    problems += [f"unexpected: {key}" for key in given.keys() - expected.keys()]
    problems += [
        f"{key} is {tuple(given[key].shape)}, the recipe needs {tuple(expected[key].shape)}"
        for key in expected.keys() & given.keys()
        if expected[key].shape != given[key].shape
    ]
    if problems:
        more = f"\n  and {len(problems) - NAMED} more" if len(problems) > NAMED else ""
        listed = "\n  ".join(sorted(problems)[:NAMED])
        raise ModelFileError(f"the weights do not fit the recipe's network:\n  {listed}{more}")


def stated_hash(path: Path) -> str:
    """The SHA-256 in the header of a model file, which loading it verifies; empty if it has none."""
    try:
        with path.open("rb") as file:
            return tensorfile.stated_facts(file).get("sha256", "")
    except (OSError, ModelFileError):
        return ""


def save_model(path: Path, model: ModelFile, dtype: torch.dtype = torch.float32, *, fetch: Fetch = on_cpu) -> None:
    """Write a model file atomically, its weights as `dtype` (float16 halves it); `fetch` as for `tensorfile.write`."""
    facts = {"recipe": model.recipe.toml(), "card": json.dumps(model.card, sort_keys=True)}
    with files.replacing(path) as file:
        tensorfile.write(file, model.weights, "model", facts, dtype=dtype, fetch=fetch)


def load_model(path: Path, *, allow_not_finite: bool = False) -> ModelFile:
    """Read a model file, or the model of a training run's folder.

    Raises
    ------
    ModelFileError
        If the file is missing, damaged, not residiff's, or holds weights that are not finite (unless allowed).
    """
    if path.is_dir():
        path = path / MODEL
    try:
        if not path.is_file():
            raise FileNotFoundError(errno.ENOENT, "there is no such file")
        with path.open("rb") as file:
            weights, facts = tensorfile.read(file, "model")
        model = ModelFile(recipe.parse(facts["recipe"]), weights, _card(facts["card"]), facts["sha256"])
    except OSError as error:
        raise ModelFileError(f"cannot read model file {path}: {error.strerror}") from error
    except KeyError as error:
        raise ModelFileError(f"{path}: the header lacks {error}") from error
    except (ModelFileError, ConfigError) as error:
        raise ModelFileError(f"{path}: {error}") from error
    _check_values(path, weights, allow_not_finite)
    return model


def _card(text: str) -> Card:
    try:
        card = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"the card is not JSON: {error}") from error
    if not isinstance(card, dict):
        raise ModelFileError("the card is not a table")
    return card


def _check_values(path: Path, weights: Mapping[str, Tensor], allow_not_finite: bool) -> None:
    foreign = [f"{key} ({value.dtype})" for key, value in weights.items() if value.dtype not in WEIGHT_TYPES]
    if foreign:
        raise ModelFileError(f"{path}: weights that are not floating point: {', '.join(sorted(foreign)[:5])}")
    broken = [key for key, value in weights.items() if not torch.isfinite(value).all()]
    if broken and not allow_not_finite:
        names = ", ".join(sorted(broken)[:5])
        raise ModelFileError(f"{path}: weights that are not finite: {names}; train again from before")


@dataclass(frozen=True)
class TrainingState:
    """Everything a training run continues from: weights, their averages, the optimiser's moments, step and data.

    `facts` is what else there is that is no tensor, as JSON has it.
    """

    recipe: Recipe
    step: int
    source: str
    tensors: Mapping[str, Tensor]
    facts: Mapping[str, Any] = field(default_factory=dict)


def save_state(path: Path, state: TrainingState, *, fetch: Fetch = on_cpu) -> None:
    """Write a training state atomically; `fetch` as for `tensorfile.write`."""
    facts = {"recipe": state.recipe.toml(), "step": str(state.step), "source": state.source}
    with files.replacing(path) as file:
        tensorfile.write(file, state.tensors, "training state", facts | {"facts": json.dumps(state.facts)}, fetch=fetch)


def load_state(path: Path, take: Take = whole) -> TrainingState:
    """Read a training state; `take` gives what is kept of each tensor, as for `tensorfile.read`.

    Raises
    ------
    NotWholeError
        If it is missing or damaged.
    CheckpointError
        If it is whole, but cannot be read or used: by this version, or with these permissions.
    """
    try:
        with path.open("rb") as file:
            tensors, facts = tensorfile.read(file, "training state", take)
        known = _card(facts["facts"])
        return TrainingState(recipe.parse(facts["recipe"]), int(facts["step"]), facts["source"], tensors, known)
    except (FileNotFoundError, DamagedError) as error:
        raise NotWholeError(f"cannot continue from {path}: {error}") from error
    except (OSError, ModelFileError, ConfigError, KeyError, ValueError) as error:
        raise CheckpointError(f"cannot continue from {path}: {error}") from error
