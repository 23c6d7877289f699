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
from typing import Annotated, Any, Literal, Self

import tomli_w
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from torch import nn

from residiff.data.settings import DataSettings
from residiff.denoiser import MASK_FORMS, TIME_INPUTS, Denoiser
from residiff.errors import ConfigError, check_range
from residiff.nn import AnyBackbone, NAFNetSettings, UNetSettings
from residiff.prediction import AnyPrediction, Clamp, Residual
from residiff.schedule import DDPM, RDDM, AnySchedule, ConvertedDDPM

MAX_PARAMETERS = 2_000_000_000
MAX_TEXT = 32_000
# The longest summary fits, all of it escaped; TOML's cost grows with the square of a dotted key
MAX_LINE = 4_200


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, arbitrary_types_allowed=False)


class Network(_Settings):
    """What the network is and is shown: `shows_input` puts x_in beside x_t, `self_condition` its own last x_0.

    `mask` adds a mask, as one channel in [-1, 1] ("signed"), or as the papers do: RDDM as three in [0, 1] ("rgb"),
    Resfusion as two of -1 and 1 ("one-hot"). `preprocess` is done to the degraded image first: with "expose" x_in is
    the picture as if exposed for longer, with "equalise" its histogram is flattened.
    """

    backbone: Annotated[AnyBackbone, Field(discriminator="kind")] = Field(default_factory=NAFNetSettings)
    mask: bool = False
    mask_form: Literal["signed", "rgb", "one-hot"] = "signed"
    self_condition: bool = False
    shows_input: bool = True
    time_input: Literal["index", "coefficient"] = "index"
    preprocess: Literal["none", "expose", "equalise"] = "none"
    clamp: Clamp = Clamp.NONE


class Sampling(_Settings):
    """How the model is sampled unless the caller says otherwise; eta scales the variance of the fresh noise.

    `sampler` "general" is the step of the whole family, "direct" DDIM's, which differs where estimates are clamped,
    "multistep" the solver of second order. The "leading" grids are diffusers', for schedules that start from noise.
    `order` is in which order residual and noise are removed; all but "simultaneous" need a network that is told two
    times. `readjusted` is another schedule of the same length to walk, on estimates made as if at the trained one's
    levels (RDDM's test-time readjustment).
    """

    steps: int = Field(default=5, ge=1, le=100_000)
    eta: float = Field(default=0.0, ge=0, le=1)
    grid: Literal["published", "even", "quadratic", "leading", "leading-1"] = "published"
    sampler: Literal["general", "direct", "multistep"] = "general"
    order: Literal[
        "simultaneous", "residual-first", "noise-first", "published-residual-first", "residual-only", "noise-only"
    ] = "simultaneous"
    readjusted: Annotated[AnySchedule, Field(discriminator="kind")] | None = None


class Optimiser(_Settings):
    """What moves the weights; `per_head` gives each of two U-Nets its own, and its gradient is clipped alone."""

    kind: Literal["adamw", "adam", "radam", "sgd"] = "adamw"
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.9, 0.999)
    amsgrad: bool = False
    per_head: bool = False


class Plateau(_Settings):
    """A learning rate that is multiplied by `factor` when the loss has got no better for `patience` epochs.

    After that it is left alone for `cooldown` epochs. The defaults are Resfusion's.
    """

    factor: float = Field(default=0.8, gt=0, lt=1)
    patience: int = Field(default=20, ge=0, le=1_000_000)
    cooldown: int = Field(default=20, ge=0, le=1_000_000)


class Training(_Settings):
    """How it is trained. `start_share` of the times are the start's, where all must be inferred; the rest are even.

    An update is of `accumulate` times `batch` pairs, however many processes share it. The learning rate falls along a
    half cosine to `final_learning_rate`, stays ("constant"), or falls where the loss does not ("plateau"): at every
    update, or where `epoch` is given once in so many. Where `reference_batch` is given, it is meant for an update of
    so many pairs and scaled to this one's. `posterior_weight` is of RDDM's optional loss of the one-step posterior's
    mean.

    The running average of the weights, which is what a model file holds, follows every `ema_every` updates with a decay
    that rises to `ema`: as (1 + k) / (10 + k) at update k ("early"), as RDDM's does ("rddm": the weights themselves for
    100 updates, then 1 - k^(-2/3)), or not at all ("constant"). Each of `averages` is the decay of one more.

    `channels_last` lays the images out pixel by pixel, `compiled` is torch.compile, `checkpointed` computes activations
    twice to hold fewer, and `sharded` spreads weights and optimiser over the processes. Where a loss or gradient is not
    finite, training stops, or with `not_finite` "skip" goes on without that update. The state to continue from is
    written every `save_seconds` seconds, and the last `keep` of them are kept.
    """

    iterations: int = Field(default=10_000, ge=1, le=100_000_000)
    batch: int = Field(default=8, ge=1, le=65_536)
    accumulate: int = Field(default=1, ge=1, le=65_536)
    learning_rate: float = Field(default=1e-3, gt=0, le=1)
    final_learning_rate: float = Field(default=1e-6, ge=0, le=1)
    reference_batch: int = Field(default=0, ge=0, le=1_000_000)
    decay: Literal["cosine", "constant", "plateau"] = "cosine"
    epoch: int = Field(default=0, ge=0, le=100_000_000)
    plateau: Plateau = Plateau()
    warm_up: int = Field(default=200, ge=0)
    weight_decay: float = Field(default=0.0, ge=0, le=1)
    optimiser: Optimiser = Optimiser()
    clip: float = Field(default=1.0, gt=0)
    loss: Literal["l1", "l2", "smooth-l1"] = "l1"
    posterior_weight: float = Field(default=0.0, ge=0, le=1e9)
    ema: float = Field(default=0.999, ge=0, lt=1)
    ema_every: int = Field(default=1, ge=1, le=1_000_000)
    ema_rise: Literal["early", "rddm", "constant"] = "early"
    start_share: float = Field(default=0.0, ge=0, le=1)
    averages: tuple[Annotated[float, Field(ge=0, lt=1)], ...] = Field(default=(), max_length=8)
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    channels_last: bool = False
    compiled: bool = False
    checkpointed: bool = False
    sharded: bool = False
    not_finite: Literal["stop", "skip"] = "stop"
    seed: int = Field(default=10, ge=0, lt=2**63)
    save_seconds: float = Field(default=120.0, gt=0)
    keep: int = Field(default=3, ge=2, le=1000)


class Validation(_Settings):
    """What is held out of training, to see how it goes and to choose the best weights by.

    Of a set of pictures `share` of the pairs, at most `most`, are held out ("carved"); "test" takes those of the set's
    own test split instead, which a figure of that split then owes something to, and the model file says so. Every
    `every` updates, or where it is 0 ten times in the run, they are restored from the same noise, in crops of `crop`
    pixels (0: as in training), and of the first `shown` a strip of the steps is kept.
    """

    on: Literal["carved", "test", "none"] = "carved"
    share: float = Field(default=0.05, gt=0, le=0.5)
    most: int = Field(default=16, ge=1, le=100_000)
    every: int = Field(default=0, ge=0, le=100_000_000)
    crop: int = Field(default=0, ge=0, le=4096)
    shown: int = Field(default=4, ge=0, le=64)


class Origin(_Settings):
    """Where a preset's settings were published: the paper, the row, and the settings that were published nowhere."""

    paper: str = Field(max_length=200, pattern=r"^\P{Cc}*$")
    row: str = Field(max_length=200, pattern=r"^\P{Cc}*$")
    unknown: tuple[str, ...] = ()


class Recipe(_Settings):
    """A whole experiment. Immutable; equal recipes give equal models.

    `compat` "paper" brings back what the published code does and we mended: RDDM's residual and x_0, and Resfusion's
    x_0, are clamped to [-1, 1] in sampling, and two optimisers share one clipped gradient.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
    summary: str = Field(default="", max_length=2000, pattern=r"^\P{Cc}*$")
    task: Annotated[str, Field(pattern=r"^[a-z][a-z-]{0,31}$")]
    schedule: Annotated[AnySchedule, Field(discriminator="kind")] = Field(default_factory=RDDM)
    prediction: Annotated[AnyPrediction, Field(discriminator="kind")] = Field(default_factory=Residual)
    network: Network = Network()
    sampling: Sampling = Sampling()
    data: DataSettings
    training: Training = Training()
    validation: Validation = Validation()
    compat: Literal["repaired", "paper"] = "repaired"
    origin: Origin | None = None

    @cached_property
    def in_channels(self) -> int:
        """Channels of the network's input: x_t, and what else the network is shown."""
        network = self.network
        mask = MASK_FORMS[network.mask_form].channels if network.mask else 0
        return 3 + 3 * network.shows_input + 3 * network.self_condition + mask

    @property
    def clamp(self) -> Clamp:
        """What is clamped in sampling: the network's setting, or the paper's where it sets none and `compat` asks."""
        if self.compat == "repaired" or self.network.clamp is not Clamp.NONE:
            return self.network.clamp
        if self.prediction.kind == "resnoise":
            return Clamp.NONE
        return PUBLISHED_CLAMPS.get(self.schedule.kind, Clamp.NONE)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        parameters, size_multiple = _measured(self.network.backbone, self.in_channels, self.prediction.heads)
        if parameters > MAX_PARAMETERS:
            raise ConfigError(f"the network would have {parameters:.1e} parameters; allowed are {MAX_PARAMETERS:.0e}")
        if self.data.crop % size_multiple:
            raise ConfigError(f"data.crop is {self.data.crop}; this network needs a multiple of {size_multiple}")
        check_range("sampling.steps", self.sampling.steps, 1, len(self.schedule))
        self._check_sampling()
        self._check_origin()
        backbone = self.network.backbone
        two_networks = isinstance(backbone, UNetSettings) and not backbone.shared and self.prediction.heads == 2
        if self.training.optimiser.per_head and not two_networks:
            raise ConfigError(
                "training.optimiser.per_head needs two U-Nets: backbone unet, and a prediction of two heads"
            )
        return self

    def _check_origin(self) -> None:
        """Each setting that is said to be unknown is one of the recipe's."""
        for key in () if self.origin is None else self.origin.unknown:
            if not _holds(self.model_dump(mode="json"), key):
                raise ConfigError(f"origin.unknown names {key!r}, which is no setting of this recipe")

    def _check_sampling(self) -> None:
        sampling = self.sampling
        if sampling.order not in ("simultaneous", "published-residual-first") and self.prediction.heads == 1:
            raise ConfigError(
                f"sampling.order {sampling.order} removes residual and noise one by one, but this network is told one "
                "time only; take simultaneous, or train with a prediction of two heads"
            )
        alone = self.network.time_input == "coefficient" and self.prediction.heads == 1
        if alone and not self.schedule.table[:, 1].any():
            raise ConfigError("network.time_input coefficient tells nothing where no residual is added; take index")
        if sampling.sampler == "multistep" and (
            sampling.eta or sampling.order != "simultaneous" or sampling.readjusted
        ):
            raise ConfigError(
                "sampling.sampler multistep is deterministic and walks the trained levels; set sampling.eta = 0, "
                "sampling.order = simultaneous and no sampling.readjusted, or take general"
            )
        if sampling.grid.startswith("leading") and not isinstance(self.schedule, DDPM | ConvertedDDPM):
            raise ConfigError(f"sampling.grid {sampling.grid} starts below T - 1, which only DDPM's schedules may")
        if sampling.readjusted is not None:
            if sampling.order != "simultaneous":
                raise ConfigError("sampling.readjusted and sampling.order do not go together; leave one of them out")
            if len(sampling.readjusted) != len(self.schedule):
                lengths = f"{len(sampling.readjusted)} levels, the trained schedule {len(self.schedule)}"
                raise ConfigError(f"sampling.readjusted has {lengths}; make them equal")

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
            clamp=self.clamp,
            self_condition=settings.self_condition,
        )

    def toml(self) -> str:
        """The recipe as TOML, every value written out; `parse` reads it back to an equal recipe."""
        return tomli_w.dumps(self.model_dump(mode="json", exclude_none=True))


MISSING = object()
# Each value has settings of its own beside it
KINDS = ("schedule.kind", "prediction.kind", "network.backbone.kind", "sampling.readjusted.kind")
PUBLISHED_CLAMPS = {"rddm": Clamp.RESIDUAL, "converted-ddpm": Clamp.RESIDUAL, "resfusion": Clamp.X0}


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

    A new `kind` of schedule, prediction or backbone begins with that kind's own defaults.

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
        _set(data, key, _value(value))
    return parse(tomli_w.dumps(still_unknown(data)), f"{recipe.name} with {', '.join(settings) or 'no changes'}")


def _set(data: dict[str, Any], key: str, value: object) -> None:
    *parents, last = key.split(".")
    table = data
    for parent in parents:
        table = table.setdefault(parent, {})
        if not isinstance(table, dict):
            raise ConfigError(f"{key}: {parent} is a value, not a table")
    if key in KINDS and table.get("kind") != value:
        table.clear()
    table[last] = value


def still_unknown(data: dict[str, Any]) -> dict[str, Any]:
    """A recipe's tables without those of `origin.unknown` that name a setting which is there no more."""
    origin = data.get("origin")
    if not isinstance(origin, dict) or not isinstance(origin.get("unknown"), list | tuple):
        return data
    return data | {"origin": origin | {"unknown": [key for key in origin["unknown"] if _holds(data, str(key))]}}


def _holds(data: object, key: str) -> bool:
    return setting(data, key, MISSING) is not MISSING


def setting(data: object, key: str, default: object = None) -> object:
    """The value at `key`, "network.clamp" say, of a recipe's tables; `default` where there is none."""
    for part in key.split("."):
        if not isinstance(data, dict) or part not in data:
            return default
        data = data[part]
    return data


def _value(text: str) -> object:
    """`text` as TOML; a bare word is a string."""
    try:
        tables = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    return tables["value"] if len(tables) == 1 else text
