"""Training: pairs -> loss -> optimiser -> average of the weights -> checkpoint.

Every draw (pair, time, noise, dropout) depends on the recipe's seed and the update's number alone, so that a run which
was stopped and continued, or shared by several processes, gives the weights of one that was not.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from residiff import files
from residiff.checkpoint import BEST, MODEL, Card, ModelFile, TrainingState, save_model
from residiff.data.loading import Drawn, Faults, loader
from residiff.data.pair import Pair, Pairs
from residiff.errors import CheckpointError, ConfigError, DivergedError, ModelFileError, memory_errors
from residiff.recipe import Recipe, difference
from residiff.train.clock import Clock
from residiff.train.keeping import clear_remains, keep, load, newest, states
from residiff.train.learner import Learner, Outcome
from residiff.train.log import Progress, RunLog, Score
from residiff.train.processes import Processes
from residiff.train.rules import Descent, epoch_of, learning_rate
from residiff.train.sharding import gathered, hand_over
from residiff.train.trackers import Tracker
from residiff.train.watching import Watcher

logger = logging.getLogger(__name__)

RECIPE, DIVERGED = "recipe.toml", "diverged.json"
# Updates in a row that may be left out because they are not finite
SKIPS = 100
NO_ROOM = (
    "training does not fit into memory; take a smaller training.batch (--auto-batch finds the largest that fits) or"
    " data.crop, or set training.checkpointed=true"
)


def _never() -> bool:
    return False


class Run:
    """A training run: the network in training, its log, and where it stands.

    Parameters
    ----------
    recipe : what is trained, and how
    folder : what it writes, and continues from
    processes : those that train it together, and the device; alone on the CPU if None
    """

    def __init__(self, recipe: Recipe, folder: Path, processes: Processes | None = None) -> None:
        self.recipe, self.folder = recipe, folder
        self.processes = Processes(torch.device("cpu")) if processes is None else processes
        with memory_errors(NO_ROOM):
            self.learner = Learner(recipe, self.processes)
        self.log = RunLog(folder, writes=self.processes.is_first)
        self.step = 0
        self.source = ""
        self.descent = Descent()
        self.skips = 0
        self.changes: list[str] = []
        # Whether it was told to end before its last update
        self.stopped = False
        # What the model file says of its validation
        self.held_out: dict[str, object] = {}

    def train(
        self,
        pairs: Pairs,
        workers: int = 0,
        *,
        held_out: Sequence[Pair] = (),
        stop: Callable[[], bool] = _never,
        trackers: Sequence[Tracker] = (),
    ) -> Iterator[Progress]:
        """Train to the last update, saving on the way and at the end; yields after each update.

        Parameters
        ----------
        pairs : what to train on
        workers : processes that prepare the data
        held_out : pairs to validate by, (3, H, W) in [0, 1]
        stop : asked after each update; where it says so in any process, the run is saved and ends
        trackers : who else is told of figures and pictures

        Raises
        ------
        DivergedError
            If a loss or gradient is not finite; the weights are left, and saved, as the last good update made them.
        CheckpointError
            If the run was begun on other data.
        ImageError
            If too many of the pictures cannot be read.
        ResourceError
            If the disk is full or memory runs out; the saves before stay.
        """
        settings = self.recipe.training
        watcher = Watcher(self.recipe, self.folder, self.log, held_out, self.processes.device, trackers)
        clock = Clock(settings.save_seconds, settings.batch * settings.accumulate, self.processes.device)
        with contextlib.closing(self.log), memory_errors(NO_ROOM):
            self._begin(pairs)
            yield from self._updates(pairs, workers, watcher, clock, stop)

    def _updates(
        self, pairs: Pairs, workers: int, watcher: Watcher, clock: Clock, stop: Callable[[], bool]
    ) -> Iterator[Progress]:
        self._validate(watcher)
        for batch in self._batches(pairs, workers):
            rate = learning_rate(self.recipe.training, self.step, self.descent.falls)
            outcome = self._update(batch, rate, pairs)
            progress = clock.progress(self.step, outcome.loss, rate, outcome.norm)
            watcher.updated(progress)
            stops, saves = self.processes.any_of(stop(), clock.is_due())
            if not stops:
                self._validate(watcher)
            if stops or (saves and self.step < self.recipe.training.iterations):
                self.save()
                clock.restart()
            yield progress
            if stops:
                self.stopped = True
                return
        self.save()
        self._save_others()

    def _begin(self, pairs: Pairs) -> None:
        if self.source not in ("", pairs.source):
            raise CheckpointError(f"the run was begun on {self.source}, not on {pairs.source}; give the same --data")
        self.source, self.epoch = pairs.source, epoch_of(self.recipe.training, pairs.size)
        if self.processes.is_first:
            if self.step == 0:
                self.log.back_to(0)
            elif self.step < self.recipe.training.iterations:
                self.log.event(self.step, "resumed", "; ".join(self.changes))
            files.write_bytes(self.folder / RECIPE, self.recipe.toml().encode())

    def _batches(self, pairs: Pairs, workers: int) -> Iterator[Drawn]:
        """Of each update to come this process's share; what could not be read is noted, within bounds."""
        settings = self.recipe.training
        count = settings.batch * settings.accumulate
        faults = Faults(pairs.size)
        for text in self.log.events("fault"):
            faults.add(text)
        first, last = self.step * count, settings.iterations * count
        for batch in loader(pairs, first, last, count, workers, slot=self.processes.share(count)):
            (is_faulty,) = self.processes.any_of(any(batch.fault))
            for text in self.processes.gathered(batch.fault) if is_faulty else ():
                if text and faults.add(text):
                    logger.warning("%s; another picture takes its place", text)
                    self.log.event(self.step, "fault", text)
            yield batch

    def _update(self, batch: Drawn, rate: float, pairs: Pairs) -> Outcome:
        outcome = self.learner.update(batch.pair, self.step, rate)
        if outcome.is_finite:
            self.descent = self.descent.after(outcome.loss, self.epoch, self.recipe.training.plateau)
            self.skips = 0
        else:
            self._leave_out(outcome, [pairs.name(index) for index in batch.index])
        self.step += 1
        return outcome

    def _leave_out(self, outcome: Outcome, names: list[str]) -> None:
        """Go on without an update, or end the run as the one before left it."""
        where = f"loss {outcome.loss} and gradient {outcome.norm} at step {self.step + 1}"
        self.skips += 1
        if outcome.overflowed or (self.recipe.training.not_finite == "skip" and self.skips <= SKIPS):
            self.log.event(self.step, "overflow" if outcome.overflowed else "skipped", where)
            return
        self.save()
        shown = self.processes.gathered(names)
        facts = {"step": self.step + 1, "loss": str(outcome.loss), "gradient": str(outcome.norm), "pairs": shown}
        path = self.folder / DIVERGED
        if self.processes.is_first:
            files.write_bytes(path, (json.dumps(facts, indent=2) + "\n").encode())
        mend = "lower training.learning_rate; where the loss had grown before, remove the newest checkpoints as well"
        raise DivergedError(f"{where}; its pairs are in {path}; {mend}")

    def _validate(self, watcher: Watcher) -> None:
        sharded = self.recipe.training.sharded
        if not watcher.is_due(self.step) or not (sharded or self.processes.is_first):
            return
        with self.learner.averaged() as denoiser:
            score = watcher.validate(denoiser, self.step)
        is_best = self.log.best is None or score.worth > self.log.best.worth
        if sharded:
            (is_best,) = self.processes.any_of(is_best and self.processes.is_first)
        if is_best:
            self._save_model(BEST, self.average, self.card(score))
            figure = f"loss {score.loss:.6g}" if score.psnr is None else f"{score.psnr:.2f} dB"
            self.log.event(self.step, "best", figure)
        # Last: what the table holds is not done again by a run that goes on
        self.log.score(score)

    @property
    def average(self) -> dict[str, Tensor]:
        """The averaged weights; of a sharded network, this process's parts."""
        return self.learner.averages.main

    def card(self, score: Score | None = None) -> Card:
        """What a model file says of its training; `score` is the validation of its weights."""
        images = self.step * self.recipe.training.batch * self.recipe.training.accumulate
        known = {"data": self.source, "iterations": self.step, "images": images}
        figures = {} if score is None else {key: value for key, value in vars(score).items() if value is not None}
        return known | ({"validation": self.held_out | figures} if self.held_out else {})

    @memory_errors(NO_ROOM)
    def save(self) -> None:
        """Write the averaged model, the log, and last the state to continue from, each atomically."""
        self.processes.check_equal(self.learner.backbone)
        score = next((score for score in self.log.scores if score.step == self.step), None)
        self._save_model(MODEL, self.average, self.card(score))
        tensors = self.learner.tensors()
        if not self.processes.is_first:
            return hand_over(tensors)
        self.log.sync()
        state = TrainingState(self.recipe, self.step, self.source, tensors, {"descent": vars(self.descent)})
        keep(self.folder, state, self.recipe.training.keep, gathered)

    def _save_model(self, name: str, weights: Mapping[str, Tensor], card: Card) -> None:
        """Write a model file; where `weights` are parts, all processes must call it."""
        if not self.processes.is_first:
            return hand_over(weights)
        save_model(self.folder / name, ModelFile(self.recipe, weights, card), fetch=gathered)

    def _save_others(self) -> None:
        """Write a model for each of the other averages."""
        for decay, weights in self.learner.other_averages().items():
            self._save_model(f"model-{decay!r}.safetensors", weights, self.card() | {"average": decay})

    @memory_errors(NO_ROOM)
    def begin_from(self, model: ModelFile) -> None:
        """Start from a model's averaged weights in place of random ones.

        Raises
        ------
        ModelFileError
            If they do not fit the recipe's network, naming the settings in which it differs from the model's.
        """
        try:
            self.learner.begin_from(model.weights)
        except ModelFileError as error:
            changes = difference(model.recipe, self.recipe)
            networks = [change for change in changes if change.startswith(("network.", "prediction."))]
            listed = "".join(f"\n  {change}" for change in networks)
            raise ModelFileError(
                f"{error}\nset these as the model has them, or train its own recipe:{listed}"
            ) from error

    @memory_errors(NO_ROOM)
    def resume(self, state: TrainingState, *, override: bool = False) -> None:
        """Continue from `state`, with this run's recipe.

        Raises
        ------
        CheckpointError
            If it belongs to another recipe, unless `override` is set, or does not fit this one's network, or the log.
        """
        changes = difference(state.recipe, self.recipe)
        if changes and not override:
            listed = "\n  ".join(changes)
            mends = "take that one, or another folder, or continue by the new one all the same with --override"
            raise CheckpointError(f"{self.folder} was trained by another recipe:\n  {listed}\n{mends}")
        if state.step > self.recipe.training.iterations:
            done = f"{self.folder} has done {state.step} updates"
            raise CheckpointError(
                f"{done}, more than training.iterations = {self.recipe.training.iterations}; raise it"
            )
        try:
            descent = Descent(**state.facts["descent"])
            self.log.check(state.step)
            self.learner.load(state.tensors, changed=bool(changes))
            self.log.back_to(state.step)
        except (LookupError, TypeError, ValueError, ModelFileError) as error:
            raise CheckpointError(f"cannot continue from {self.folder}: {error}") from error
        # Another recipe may hold other pairs out
        self.step, self.source, self.descent = state.step, "" if changes else state.source, descent
        self.changes = changes


@contextlib.contextmanager
def open_run(
    recipe: Recipe,
    folder: Path,
    processes: Processes | None = None,
    *,
    resume: bool = False,
    override: bool = False,
    init: ModelFile | None = None,
) -> Iterator[Run]:
    """A run that holds `folder` for itself; with `resume` it continues, or says why it begins anew.

    A run that begins takes the weights of `init`, where one is given, in place of random ones. With `override` a run is
    continued though the recipe has changed.

    Raises
    ------
    ConfigError
        If the folder holds a run already and `resume` is false.
    LockedError
        If another process trains in the folder.
    CheckpointError
        If the newest whole state in the folder belongs to another recipe or does not fit its log.
    """
    run = Run(recipe, folder, processes)
    with files.lock(folder) if run.processes.is_first else contextlib.nullcontext():
        if run.processes.is_first:
            clear_remains(folder)
        run.processes.wait()
        if init is not None:
            run.begin_from(init)
        if resume:
            _continue_or_begin(run, override)
        elif states(folder):
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
