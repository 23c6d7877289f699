"""The recipe itself: a whole experiment as typed, frozen data."""

from __future__ import annotations

from functools import cached_property, lru_cache
from itertools import pairwise
from typing import Annotated, Literal, Self

import tomli_w
import torch
from pydantic import Field, model_validator
from torch import nn

from residiff.data.settings import DataSettings, Pairing
from residiff.denoiser import MASK_FORMS, TIME_INPUTS, Denoiser
from residiff.errors import ConfigError, check_range
from residiff.nn import AnyBackbone, UNetSettings
from residiff.prediction import AnyPrediction, Clamp, Residual
from residiff.recipe.base import Settings
from residiff.recipe.keys import holds
from residiff.recipe.plugged import ScheduleTable, built
from residiff.recipe.settings import Network, Sampling
from residiff.recipe.training import Training, Validation
from residiff.schedule import DDPM, RDDM, ConvertedDDPM

MAX_PARAMETERS = 2_000_000_000
# No control characters; in words that every dialect of regular expressions knows, for editors read the schema
ONE_LINE = r"^[^\x00-\x1f\x7f-\x9f]*$"


class Origin(Settings):
    """Where a preset's settings were published.

    Parameters
    ----------
    paper : the paper
    row : the row of its tables
    unknown : the settings that were published nowhere
    """

    paper: str = Field(max_length=200, pattern=ONE_LINE)
    row: str = Field(max_length=200, pattern=ONE_LINE)
    unknown: tuple[str, ...] = ()


class Recipe(Settings):
    """A whole experiment. Immutable; equal recipes give equal models.

    Parameters
    ----------
    name : small letters, digits and hyphens
    summary : what it is for, in one line
    task : what the model does, "denoise" say
    schedule : the way from the clean image to the start, by its kind
    prediction : what the network is asked for, by its kind
    network : what the network is and is shown
    sampling : how the model is sampled
    data : what it is trained on
    training : how it is trained
    validation : what is held out of training
    compat : "paper" brings back what the published code does and we mended: RDDM's residual and x_0, and Resfusion's
        x_0, are clamped to [-1, 1] in sampling, and two optimisers share one clipped gradient
    origin : where the settings were published
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
    summary: str = Field(default="", max_length=2000, pattern=ONE_LINE)
    task: Annotated[str, Field(pattern=r"^[a-z][a-z-]{0,31}$")]
    schedule: ScheduleTable = Field(default_factory=RDDM)
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

    @property
    def has_truth(self) -> bool:
        """Whether there are true pictures to compare results with; generation and unpaired translation have none."""
        return self.task != "generate" and self.data.pairing is Pairing.NAME

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        """Make every check, and tell the fault of each, a line each."""
        faults = []
        for check in (
            self._check_network,
            self._check_steps,
            self._check_times,
            self._check_order,
            self._check_solver,
            self._check_readjusted,
            self._check_optimiser,
            self._check_distil,
            self._check_origin,
        ):
            try:
                check()
            except ConfigError as error:
                faults.append(str(error))
        if faults:
            raise ConfigError("\n".join(faults))
        return self

    def _check_network(self) -> None:
        parameters, size_multiple = _measured(self.network.backbone, self.in_channels, self.prediction.heads)
        if parameters > MAX_PARAMETERS:
            raise ConfigError(f"the network would have {parameters:.1e} parameters; allowed are {MAX_PARAMETERS:.0e}")
        if any(side % size_multiple for side in self.data.crop_size):
            raise ConfigError(f"data.crop is {self.data.crop}; this network needs a multiple of {size_multiple}")

    def _check_optimiser(self) -> None:
        backbone = self.network.backbone
        two_networks = isinstance(backbone, UNetSettings) and not backbone.shared and self.prediction.heads == 2
        if self.training.optimiser.per_head and not two_networks:
            raise ConfigError(
                "training.optimiser.per_head needs two U-Nets: backbone unet, and a prediction of two heads"
            )

    def _check_distil(self) -> None:
        distil = self.training.distil
        if distil is None:
            return
        check_range("training.distil.steps", distil.steps, 1, len(self.schedule))
        if self.sampling.eta:
            raise ConfigError("training.distil is from noise to result, which sampling.eta makes many of; set it to 0")
        if distil.truth and not self.has_truth:
            raise ConfigError("training.distil.truth needs true pictures, and these data have none; set it to 0")

    def _check_origin(self) -> None:
        """Each setting that is said to be unknown is one of the recipe's."""
        for key in () if self.origin is None else self.origin.unknown:
            if not holds(self.model_dump(mode="json"), key):
                raise ConfigError(f"origin.unknown names {key!r}, which is no setting of this recipe")

    def _check_steps(self) -> None:
        check_range("sampling.steps", self.sampling.steps, 1, len(self.schedule))
        grid = self.sampling.grid
        if grid.startswith("leading") and not isinstance(self.schedule, DDPM | ConvertedDDPM):
            raise ConfigError(f"sampling.grid {grid} starts below T - 1, which only DDPM's schedules may")

    def _check_times(self) -> None:
        start, every = len(self.schedule) - 1, self.sampling.times
        for times in every:
            falls = all(later < earlier for earlier, later in pairwise(times))
            if not times or times[0] != start or not falls:
                needed = f"each begins with T - 1 = {start} and falls; with [] the grid says them all"
                raise ConfigError(f"sampling.times holds {list(times)}; {needed}")
        if len({len(times) for times in every}) < len(every):
            raise ConfigError("sampling.times says twice how to visit the same number of levels; leave one of them out")

    def _check_order(self) -> None:
        """A network of one head is told one time only, which must tell it something."""
        order = self.sampling.order
        if self.prediction.heads > 1:
            return
        if order not in ("simultaneous", "published-residual-first"):
            raise ConfigError(
                f"sampling.order {order} removes residual and noise one by one, but this network is told one "
                "time only; take simultaneous, or train with a prediction of two heads"
            )
        if self.network.time_input == "coefficient" and not self.schedule.table[:, 1].any():
            raise ConfigError("network.time_input coefficient tells nothing where no residual is added; take index")

    def _check_solver(self) -> None:
        sampling = self.sampling
        walks_otherwise = sampling.eta or sampling.order != "simultaneous" or sampling.readjusted
        if sampling.sampler in ("multistep", "heun") and walks_otherwise:
            raise ConfigError(
                f"sampling.sampler {sampling.sampler} is deterministic and walks the trained levels; set "
                "sampling.eta = 0, sampling.order = simultaneous and no sampling.readjusted, or take general"
            )

    def _check_readjusted(self) -> None:
        other = self.sampling.readjusted
        if other is None:
            return
        if self.sampling.order != "simultaneous":
            raise ConfigError("sampling.readjusted and sampling.order do not go together; leave one of them out")
        if len(other) != len(self.schedule):
            lengths = f"{len(other)} levels, the trained schedule {len(self.schedule)}"
            raise ConfigError(f"sampling.readjusted has {lengths}; make them equal")

    def backbone(self) -> nn.Module:
        """The network, with random weights."""
        return built(self.network.backbone, self.in_channels, self.prediction.heads)

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


@lru_cache(maxsize=256)
def _measured(backbone: AnyBackbone, in_channels: int, heads: int) -> tuple[int, int]:
    """Parameters (with what else a network holds) and size multiple; nothing is allocated."""
    with torch.device("meta"):
        network = built(backbone, in_channels, heads)
    return sum(value.numel() for value in network.state_dict().values()), int(network.size_multiple)  # type: ignore[arg-type]


PUBLISHED_CLAMPS = {"rddm": Clamp.RESIDUAL, "converted-ddpm": Clamp.RESIDUAL, "resfusion": Clamp.X0}
