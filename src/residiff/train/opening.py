"""The beginning of a run in a folder, or its continuing there."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

from residiff import files
from residiff.checkpoint import ModelFile
from residiff.errors import ConfigError, memory_errors
from residiff.recipe import Recipe
from residiff.train.engine import NO_ROOM, Run
from residiff.train.keeping import clear_remains, is_begun, load, newest
from residiff.train.processes import Processes

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def open_run(
    recipe: Recipe,
    folder: Path,
    processes: Processes | None = None,
    *,
    resume: bool = False,
    override: bool = False,
    init: ModelFile | None = None,
    teacher: ModelFile | None = None,
) -> Iterator[Run]:
    """A run that holds `folder` for itself; with `resume` it continues, or says why it begins anew.

    A run that begins takes the weights of `init`, where one is given, or of the `teacher` that its recipe names, in
    place of random ones. With `override` a run is continued though the recipe has changed.

    Raises
    ------
    ConfigError
        If the folder holds a run already and `resume` is false, its recipe has changed and `override` is false, or the
        recipe names another teacher.
    LockedError
        If another process trains in the folder.
    CheckpointError
        If the newest whole state in the folder does not fit its log, or the network.
    """
    run = Run(recipe, folder, processes, teacher)
    with files.lock(folder) if run.processes.is_first else contextlib.nullcontext():
        if run.processes.is_first:
            clear_remains(folder)
        run.processes.wait()
        if init is not None:
            run.begin_from(init)
        if resume:
            _continue_or_begin(run, override)
        elif run.processes.told(int(run.processes.is_first and is_begun(folder))):
            raise ConfigError(f"{folder} holds a run already; continue it with --resume, or take another folder")
        with contextlib.closing(run.log):
            yield run


@memory_errors(NO_ROOM)
def _continue_or_begin(run: Run, override: bool) -> None:
    """All processes take the state that the first one chooses."""
    take = run.learner.taking()
    state = newest(run.folder, take) if run.processes.is_first else None
    step = run.processes.told(-1 if state is None else state.step)
    if step >= 0:
        run.resume(state or load(run.folder, step, take), override=override)
    elif run.processes.is_first:
        logger.warning("there is no whole checkpoint in %s; starting from the beginning", run.folder)
