"""What a model is shown and how it is sampled."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from residiff.nn import NAFNetSettings
from residiff.prediction import Clamp
from residiff.recipe.base import Settings
from residiff.recipe.plugged import BackboneTable, ScheduleTable
from residiff.schedule import GRIDS, Level, Schedule


class Network(Settings):
    """What the network is and is shown.

    Parameters
    ----------
    backbone : the network itself, by its kind
    mask : show a mask
    mask_form : the mask as one channel in [-1, 1] ("signed"), or as the papers have it: RDDM as three in [0, 1]
        ("rgb"), Resfusion as two of -1 and 1 ("one-hot")
    self_condition : show the network its own last x_0
    shows_input : show x_in beside x_t
    time_input : what it is told of the time: the number of the level, or its coefficients
    preprocess : what is done to the degraded image first: with "expose" x_in is the picture as if exposed for longer,
        with "equalise" its histogram is flattened
    clamp : which estimates are held within [-1, 1] in sampling
    """

    backbone: BackboneTable = Field(default_factory=NAFNetSettings)
    mask: bool = False
    mask_form: Literal["signed", "rgb", "one-hot"] = "signed"
    self_condition: bool = False
    shows_input: bool = True
    time_input: Literal["index", "coefficient"] = "index"
    preprocess: Literal["none", "expose", "equalise"] = "none"
    clamp: Clamp = Clamp.NONE


class Sampling(Settings):
    """How the model is sampled unless the caller says otherwise.

    Parameters
    ----------
    steps : how often the network is asked, at most as often as the schedule has levels (orders in two halves ask twice
        as often)
    eta : the share of the full variance that the fresh noise has; 0 adds none
    grid : which levels are visited; the "leading" ones are diffusers', for schedules that start from noise
    times : the levels that are visited in place of the grid's, for each number of them that is given, as `residiff
        models tune` finds them: [[999, 420], [999, 600, 200]] say, each from T - 1 downwards
    sampler : "general" is the step of the whole family, "direct" DDIM's, which differs where estimates are clamped,
        "multistep" the solver of second order, "heun" one that visits half as many levels and asks twice at each
    order : in which order residual and noise are removed; all but "simultaneous" need a network that is told two times
    readjusted : another schedule of the same length to walk, on estimates made as if at the trained one's levels
        (RDDM's test-time readjustment)
    """

    steps: int = Field(default=5, ge=1, le=100_000)
    eta: float = Field(default=0.0, ge=0, le=1)
    grid: Literal["published", "even", "quadratic", "leading", "leading-1"] = "published"
    times: tuple[tuple[Annotated[int, Field(ge=0, lt=100_000)], ...], ...] = Field(default=(), max_length=64)
    sampler: Literal["general", "direct", "multistep", "heun"] = "general"
    order: Literal[
        "simultaneous", "residual-first", "noise-first", "published-residual-first", "residual-only", "noise-only"
    ] = "simultaneous"
    readjusted: ScheduleTable | None = None

    def visits(self, schedule: Schedule, count: int) -> tuple[Level, ...]:
        """The `count` levels of `schedule` that are visited, by `times` or else by `grid`, and the clean one last."""
        chosen = next((times for times in self.times if len(times) == count), None)
        return schedule.levels(count, GRIDS[self.grid] if chosen is None else lambda _length, _count: chosen)
