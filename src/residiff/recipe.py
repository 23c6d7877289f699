"""Recipes: an experiment as typed, frozen data, read from TOML, written to TOML, stored in every checkpoint.

A recipe says what a model is (schedule, prediction, backbone, what it is shown), how it is sampled, what it is trained
on and how. Nothing of it is ever retyped at inference.
"""

from __future__ import annotations

import difflib
import json
import tomllib
from functools import cached_property, lru_cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal, Self

import tomli_w
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from torch import nn

from residiff.data.settings import DataSettings
from residiff.denoiser import TIME_INPUTS, Denoiser
from residiff.errors import ConfigError, check_range
from residiff.nn import AnyBackbone, NAFNetSettings
from residiff.prediction import AnyPrediction, Clamp, Residual
from residiff.schedule import RDDM, AnySchedule

MAX_PARAMETERS = 2_000_000_000
MAX_TEXT = 32_000
# The longest summary fits, all of it escaped; TOML's cost grows with the square of a dotted key
MAX_LINE = 4_200


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, arbitrary_types_allowed=False)


class Network(_Settings):
    """What the network is and is shown: `mask` adds a channel, `shows_input` puts x_in beside x_t.

    `preprocess` is done to the degraded image first: with "expose" x_in is the picture as if exposed for longer.
    """

    backbone: Annotated[AnyBackbone, Field(discriminator="kind")] = Field(default_factory=NAFNetSettings)
    mask: bool = False
    shows_input: bool = True
    time_input: Literal["index", "coefficient"] = "index"
    preprocess: Literal["none", "expose"] = "none"
    clamp: Clamp = Clamp.NONE


class Sampling(_Settings):
    """How the model is sampled unless the caller says otherwise; eta scales the variance of the fresh noise."""

    steps: int = Field(default=5, ge=1, le=100_000)
    eta: float = Field(default=0.0, ge=0, le=1)
    grid: Literal["published", "even", "quadratic"] = "published"
    sampler: Literal["general", "multistep"] = "general"


class Training(_Settings):
    """How it is trained. `start_share` of the times are the start's, where all must be inferred; the rest are even."""

    iterations: int = Field(default=10_000, ge=1, le=100_000_000)
    batch: int = Field(default=8, ge=1, le=65_536)
    learning_rate: float = Field(default=1e-3, gt=0, le=1)
    final_learning_rate: float = Field(default=1e-6, ge=0, le=1)
    warm_up: int = Field(default=200, ge=0)
    weight_decay: float = Field(default=0.0, ge=0, le=1)
    clip: float = Field(default=1.0, gt=0)
    loss: Literal["l1", "l2", "smooth-l1"] = "l1"
    ema: float = Field(default=0.999, ge=0, lt=1)
    start_share: float = Field(default=0.0, ge=0, le=1)
    precision: Literal["float32", "bfloat16"] = "float32"
    seed: int = Field(default=10, ge=0, lt=2**63)
    save_seconds: float = Field(default=120.0, gt=0)


class Recipe(_Settings):
    """A whole experiment. Immutable; equal recipes give equal models."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
    summary: str = Field(default="", max_length=2000, pattern=r"^\P{Cc}*$")
    task: Annotated[str, Field(pattern=r"^[a-z][a-z-]{0,31}$")]
    schedule: Annotated[AnySchedule, Field(discriminator="kind")] = Field(default_factory=RDDM)
    prediction: Annotated[AnyPrediction, Field(discriminator="kind")] = Field(default_factory=Residual)
    network: Network = Network()
    sampling: Sampling = Sampling()
    data: DataSettings
    training: Training = Training()

    @cached_property
    def in_channels(self) -> int:
        """Channels of the network's input: x_t, x_in where it is shown, the mask where there is one."""
        return 3 + 3 * self.network.shows_input + self.network.mask

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        parameters, size_multiple = _measured(self.network.backbone, self.in_channels, self.prediction.heads)
        if parameters > MAX_PARAMETERS:
            raise ConfigError(f"the network would have {parameters:.1e} parameters; allowed are {MAX_PARAMETERS:.0e}")
        if self.data.crop % size_multiple:
            raise ConfigError(f"data.crop is {self.data.crop}; this network needs a multiple of {size_multiple}")
        check_range("sampling.steps", self.sampling.steps, 1, len(self.schedule))
        if self.sampling.sampler == "multistep" and self.sampling.eta:
            raise ConfigError("sampling.sampler multistep is deterministic; set sampling.eta = 0, or take general")
        return self

    def backbone(self) -> nn.Module:
        """The network, with random weights."""
        return self.network.backbone.build(self.in_channels, 3, self.prediction.heads)

    def build(self) -> Denoiser:
        """The denoiser, with random weights."""
        settings = self.network
        return Denoiser(
            self.backbone(),
            self.schedule,
            self.prediction,
            time_input=TIME_INPUTS[settings.time_input],
            shows_input=settings.shows_input,
            clamp=settings.clamp,
        )

    def toml(self) -> str:
        """The recipe as TOML, every value written out; `parse` reads it back to an equal recipe."""
        return tomli_w.dumps(self.model_dump(mode="json", exclude_none=True))


@lru_cache(maxsize=256)
def _measured(backbone: AnyBackbone, in_channels: int, heads: int) -> tuple[int, int]:
    """Parameters (with what else a network holds) and size multiple; nothing is allocated."""
    with torch.device("meta"):
        network = backbone.build(in_channels, 3, heads)
    return sum(value.numel() for value in network.state_dict().values()), int(network.size_multiple)  # type: ignore[arg-type]


def parse(text: str, origin: str = "recipe") -> Recipe:
    """Read a recipe from TOML.

    Raises
    ------
    ConfigError
        Naming each key that is unknown, missing, of another type or out of range, with what is allowed.
    """
    try:
        return Recipe.model_validate_json(_json(text, origin), strict=True)
    except ValidationError as error:
        problems = "\n".join(f"  {_where(item['loc'])}: {item['msg']}" for item in error.errors())
        raise ConfigError(f"{origin} cannot be used:\n{problems}") from error


def _json(text: str, origin: str) -> str:
    """TOML as JSON, whose strict mode takes arrays as tuples and names as enums, but no truth value as a number."""
    if len(text) > MAX_TEXT or max(map(len, text.split("\n"))) > MAX_LINE:
        raise ConfigError(f"{origin} is too long: allowed are {MAX_TEXT} characters, {MAX_LINE} in a line")
    try:
        return json.dumps(tomllib.loads(text))
    except TypeError as error:
        raise ConfigError(f"{origin} holds a date or a time; no setting is one") from error
    except RecursionError as error:
        raise ConfigError(f"{origin} is nested too deeply") from error
    except ValueError as error:
        raise ConfigError(f"{origin} is not TOML: {error}") from error


def _where(place: tuple[str | int, ...]) -> str:
    return ".".join(str(part) for part in place) or "recipe"


def read(name: str) -> Recipe:
    """Read a recipe by the name of a preset, or from a .toml file."""
    path = Path(name)
    if path.suffix == ".toml":
        try:
            text = path.read_text("utf-8")
        except (OSError, ValueError) as error:
            raise ConfigError(f"cannot read recipe {name!r}: {error}") from error
        return parse(text, name)
    presets = names()
    if name not in presets:
        near = difflib.get_close_matches(name, presets, 1)
        hint = f"did you mean {near[0]!r}?" if near else "see `residiff recipes list`"
        raise ConfigError(f"no recipe {name!r}; {hint}")
    return parse((resources.files("residiff.recipes") / f"{name}.toml").read_text("utf-8"), name)


def names() -> list[str]:
    """Names of the presets, sorted."""
    entries = resources.files("residiff.recipes").iterdir()
    return sorted(entry.name.removesuffix(".toml") for entry in entries if entry.name.endswith(".toml"))


def override(recipe: Recipe, settings: list[str]) -> Recipe:
    """`recipe` with settings such as "training.batch=4" in place of its own; values are read as TOML.

    Raises
    ------
    ConfigError
        If a setting is not KEY=VALUE, or the recipe that results cannot be used.
    """
    data = recipe.model_dump(mode="json", exclude_none=True)
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise ConfigError(f"{setting!r} is not KEY=VALUE, training.batch=4 say")
        *parents, last = key.split(".")
        table = data
        for parent in parents:
            table = table.setdefault(parent, {})
            if not isinstance(table, dict):
                raise ConfigError(f"{key}: {parent} is a value, not a table")
        table[last] = _value(value)
    return parse(tomli_w.dumps(data), f"{recipe.name} with {', '.join(settings) or 'no changes'}")


def _value(text: str) -> object:
    """`text` as TOML; a bare word is a string."""
    try:
        tables = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    return tables["value"] if len(tables) == 1 else text
