"""The states that a run may be continued from: the last few, each whole or not there at all."""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path

import torch

from residiff import files
from residiff.checkpoint import BEST, MODEL, STATES, NotWholeError, TrainingState, load_state, save_state
from residiff.recipe import Recipe
from residiff.tensorfile import Fetch, Take, on_cpu, whole
from residiff.train.log import METRICS, STRIPS

DIVERGED = "diverged.json"
logger = logging.getLogger(__name__)


def states(folder: Path) -> list[Path]:
    """The files of states in a run's folder, newest first, whole or not."""
    return sorted((folder / STATES).glob("step-*.safetensors"), reverse=True)


def keep(folder: Path, state: TrainingState, count: int, fetch: Fetch = on_cpu) -> Path:
    """Write `state`, and only then remove all but the newest `count`; gives the file.

    `fetch` gives what is written of each tensor.

    Raises
    ------
    ResourceError
        If it cannot be written; nothing has been removed then.
    """
    path = _place(folder, state.step)
    save_state(path, state, fetch=fetch)
    # A run that went back past a damaged state leaves it behind
    later = [other for other in states(folder) if other > path]
    for other in later + states(folder)[len(later) + count :]:
        other.unlink(missing_ok=True)
    return path


def load(folder: Path, step: int, take: Take = whole) -> TrainingState:
    """The state after update number `step`; `CheckpointError` where it is missing or damaged.

    `take` gives what is kept of each tensor.
    """
    return load_state(_place(folder, step), take)


def newest_recipe(folder: Path) -> Recipe | None:
    """The recipe of the newest whole state, whose tensors are checked and not kept."""
    nothing = torch.empty(0)
    state = newest(folder, lambda _name, _tensor: nothing)
    return None if state is None else state.recipe


def newest(folder: Path, take: Take = whole) -> TrainingState | None:
    """The newest whole state of a run's folder, None where there is none; says of each that it is damaged.

    `take` gives what is kept of each tensor.

    Raises
    ------
    CheckpointError
        If that is whole, but cannot be read or used: by this version, or with these permissions.
    """
    for path in states(folder):
        try:
            return load_state(path, take)
        except NotWholeError as error:
            logger.warning("%s; trying the one before", error)
    return None


def clear_remains(folder: Path) -> None:
    """Remove what a killed process left half-written; the folder must be held by this process."""
    for place in (folder, folder / STATES, folder / STRIPS):
        for remains in place.glob(f"{files.PREFIX}*{files.SUFFIX}"):
            with contextlib.suppress(OSError):
                remains.unlink()


def is_begun(folder: Path) -> bool:
    """Whether the folder holds a run: a model, a state, or a table with an update."""
    if states(folder) or (folder / MODEL).exists() or (folder / BEST).exists():
        return True
    if not (folder / METRICS).is_file():
        return False
    with (folder / METRICS).open("rb") as file:
        return bool(file.readline() and file.readline())


def clear_run(folder: Path) -> None:
    """Remove what an earlier run left that the one which begins now would not write over; its model is."""
    with files.environment_errors(folder):
        for path in (folder / BEST, folder / DIVERGED, *folder.glob("model-*.safetensors")):
            path.unlink(missing_ok=True)
        for path in (folder / STRIPS).glob("step-*.png"):
            path.unlink()


def _place(folder: Path, step: int) -> Path:
    return folder / STATES / f"step-{step:012d}.safetensors"
