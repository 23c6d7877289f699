"""What a probe compares, and on what: objectives and schedules for one recipe, and pairs held out of its data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from residiff.data.settings import Pairing
from residiff.errors import ConfigError
from residiff.prediction import X0, AnyPrediction, Residual, ResidualNoise, ResNoise
from residiff.recipe import Recipe
from residiff.schedule import RDDM, AnySchedule, Resfusion
from residiff.train.data import TrainingData, training_data
from residiff.train.objective import NOISE, Candidate, changed, decided

# Of one pair there is no standard error: a fifth of too few would be one
SHARE, HELD_OUT = 0.2, 32
FEWEST_PAIRS = 8


def candidates_for(recipe: Recipe) -> tuple[Candidate, ...]:
    """The recipe itself, and each objective on RDDM with noise of three variances and on Resfusion with T = 12.

    Objectives that the recipe's network cannot have (two heads where it has one) are left out.

    Raises
    ------
    ConfigError
        If the recipe generates or translates, so that its results have no true picture to be compared with, or if it
        walks its levels in another way than its schedule's.
    """
    _check(recipe)
    found = {_name(recipe): Candidate(_name(recipe), recipe)}
    base = recipe.schedule if isinstance(recipe.schedule, RDDM) else RDDM()
    schedules: list[AnySchedule] = [replace(base, total_noise=total) for total in TOTAL_NOISES]
    for schedule in (*schedules, Resfusion(length=12)):
        for prediction in (*PREDICTIONS, *((ResNoise(),) if isinstance(schedule, Resfusion) else ())):
            candidate = _candidate(recipe, schedule, prediction)
            if candidate is not None:
                found.setdefault(candidate.name, candidate)
    return tuple(found.values())


def _check(recipe: Recipe) -> None:
    if recipe.task == "generate" or recipe.data.pairing is not Pairing.NAME:
        raise ConfigError(
            f"a probe compares restored pictures with the true ones, and those of the task {recipe.task!r} have none;"
            " choose the objective with --auto-objective"
        )
    if recipe.sampling.order != "simultaneous" or recipe.sampling.readjusted is not None:
        raise ConfigError("a probe compares schedules as they are; leave sampling.order and sampling.readjusted out")


def _candidate(recipe: Recipe, schedule: AnySchedule, prediction: AnyPrediction) -> Candidate | None:
    steps = min(recipe.sampling.steps, len(schedule))
    sampling = recipe.sampling.model_copy(update={"steps": steps})
    try:
        chosen = decided(changed(recipe, {"schedule": schedule, "sampling": sampling}), prediction)
    except ConfigError:
        return None
    return Candidate(_name(chosen), chosen)


def _name(recipe: Recipe) -> str:
    schedule = recipe.schedule
    kind = f"rddm-{schedule.total_noise:g}" if isinstance(schedule, RDDM) else f"{schedule.kind}-{len(schedule)}"
    return f"{kind}-{recipe.prediction.kind}"


def split(recipe: Recipe, folder: Path | None) -> TrainingData:
    """Training data, and of a set a fifth of the pairs held out, at most 32; of procedural pictures 32.

    Raises
    ------
    ConfigError
        If the set holds fewer than 8 pairs.
    """
    validation = recipe.validation.model_copy(update={"on": "carved", "share": SHARE, "most": HELD_OUT})
    data = training_data(recipe.model_copy(update={"validation": validation}), folder)
    total = data.training.size + len(data.held_out)
    if data.training.size and total < FEWEST_PAIRS:
        raise ConfigError(f"{folder} holds {total} pairs; a probe needs {FEWEST_PAIRS} or more, to hold some out")
    return data


TOTAL_NOISES = (0.01, 0.1, 1.0)
PREDICTIONS: tuple[AnyPrediction, ...] = (Residual(), ResidualNoise(), NOISE, X0())
