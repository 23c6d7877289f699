"""Model and training-state files: safetensors, with what they are in the header and a SHA-256 over every byte.

The header of a file holds its format version, its kind, the recipe as TOML, a card of facts (data, steps, time,
figures) and `sha256`: the hash of the whole file with those 64 digits set to zeros, so that one changed bit anywhere is
found. No file that residiff writes, or reads here, can carry code.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from residiff import files, recipe
from residiff.denoiser import Denoiser
from residiff.errors import CheckpointError, ConfigError, ModelFileError
from residiff.recipe import Recipe

FORMAT_VERSION = 1
# What a run's folder holds: the averaged weights of now and of the best validation, and states to continue from
MODEL = "model.safetensors"
BEST = "best.safetensors"
STATES = "checkpoints"
# The state of the largest network that a recipe allows has 12 MB; JSON costs 30 times its size
MAX_HEADER = 16_000_000
# Differences of weights that a message lists
NAMED = 40
WEIGHT_TYPES = (torch.float32, torch.float16, torch.bfloat16)
_HASH_KEY = b'"sha256":"'
_NO_HASH = "0" * 64

Card = dict[str, Any]


class NotWholeError(CheckpointError):
    """A file that is no whole training state: missing, cut short, changed, or another thing altogether."""


class _DamagedError(ModelFileError):
    """A file that is not as it was written."""


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


def pack(tensors: Mapping[str, Tensor], kind: str, facts: Mapping[str, str]) -> bytes:
    """A safetensors file of `tensors` with `facts` in its header and its own hash."""
    header = {**facts, "format": "residiff", "format_version": str(FORMAT_VERSION), "kind": kind, "sha256": _NO_HASH}
    data = save_tensors({key: value.detach().cpu().contiguous() for key, value in tensors.items()}, header)
    data = _in_order(data)
    start = _hash_start(data)
    return data[:start] + files.sha256(data).encode() + data[start + 64 :]


def _in_order(data: bytes) -> bytes:
    """The file with the facts of its header in order, which safetensors shuffles: equal contents are equal bytes."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[8 + length :]


def unpack(data: bytes, kind: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and header facts of a file that `pack` wrote.

    Raises
    ------
    ModelFileError
        If the file is not whole, not unchanged, not residiff's, of another kind, or of a later format.
    """
    facts = _header(data)
    if facts.get("format") != "residiff":
        raise ModelFileError("this safetensors file was not written by residiff; give one that was")
    start = _hash_start(data)
    if files.sha256(data[:start] + _NO_HASH.encode() + data[start + 64 :]) != facts.get("sha256"):
        raise _DamagedError("the file is damaged: its SHA-256 does not match; fetch or copy it again")
    if facts.get("format_version") != str(FORMAT_VERSION):
        version = facts.get("format_version")
        raise ModelFileError(f"the file has format version {version}; this residiff reads {FORMAT_VERSION}: update it")
    if facts.get("kind") != kind:
        raise _DamagedError(f"the file holds a {facts.get('kind')}, not a {kind}")
    try:
        return load_tensors(data), facts
    except (SafetensorError, ValueError, KeyError, RuntimeError) as error:
        raise ModelFileError(f"the file is not a valid safetensors file: {error}") from error


def stated_hash(path: Path) -> str:
    """The SHA-256 in the header of a model file, which loading it verifies; empty if it has none."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            head = length.to_bytes(8, "little") + (file.read(length) if length <= MAX_HEADER else b"")
        return _header(head).get("sha256", "")
    except (OSError, ModelFileError):
        return ""


def _header(data: bytes) -> dict[str, str]:
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or length > min(MAX_HEADER, len(data) - 8):
        raise _DamagedError("the file is not a safetensors file, or it is cut short")
    try:
        header = json.loads(data[8 : 8 + length])
    except (ValueError, RecursionError) as error:
        raise _DamagedError("the file is not a safetensors file: its header is not JSON") from error
    facts = header.get("__metadata__", {}) if isinstance(header, dict) else None
    if not isinstance(facts, dict) or not all(isinstance(value, str) for value in facts.values()):
        raise _DamagedError("the file is not a safetensors file: its header is not a table")
    return facts


def _hash_start(data: bytes) -> int:
    length = int.from_bytes(data[:8], "little")
    start = data.find(_HASH_KEY, 8, 8 + length)
    if start < 0:
        raise _DamagedError("the file has no SHA-256 in its header; it is damaged or was written by another program")
    return start + len(_HASH_KEY)


def save_model(path: Path, model: ModelFile, dtype: torch.dtype = torch.float32) -> None:
    """Write a model file atomically, its weights as `dtype` (float16 halves it)."""
    weights = {key: value.to(dtype) for key, value in model.weights.items()}
    facts = {"recipe": model.recipe.toml(), "card": json.dumps(model.card, sort_keys=True)}
    files.write_bytes(path, pack(weights, "model", facts))


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
            raise ModelFileError(f"cannot read model file {path}: there is no such file")
        data = path.read_bytes()
    except OSError as error:
        raise ModelFileError(f"cannot read model file {path}: {error.strerror}") from error
    try:
        weights, facts = unpack(data, "model")
        model = ModelFile(recipe.parse(facts["recipe"]), weights, _card(facts["card"]), facts["sha256"])
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


def save_state(path: Path, state: TrainingState) -> None:
    """Write a training state atomically."""
    facts = {"recipe": state.recipe.toml(), "step": str(state.step), "source": state.source}
    files.write_bytes(path, pack(state.tensors, "training state", facts | {"facts": json.dumps(state.facts)}))


def load_state(path: Path) -> TrainingState:
    """Read a training state.

    Raises
    ------
    NotWholeError
        If it is missing or damaged.
    CheckpointError
        If it is whole, but cannot be read or used: by this version, or with these permissions.
    """
    try:
        tensors, facts = unpack(path.read_bytes(), "training state")
        known = _card(facts["facts"])
        return TrainingState(recipe.parse(facts["recipe"]), int(facts["step"]), facts["source"], tensors, known)
    except (FileNotFoundError, _DamagedError) as error:
        raise NotWholeError(f"cannot continue from {path}: {error}") from error
    except (OSError, ModelFileError, ConfigError, KeyError, ValueError) as error:
        raise CheckpointError(f"cannot continue from {path}: {error}") from error
