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
from residiff.errors import CheckpointError, ConfigError, DivergedError, ImageError, ModelFileError, memory_errors
from residiff.recipe import Recipe, difference
from residiff.train.clock import Clock
from residiff.train.distil import teacher_of
from residiff.train.judging import judged_by
from residiff.train.keeping import DIVERGED, clear_run, keep
from residiff.train.learner import Learner, Outcome
from residiff.train.log import Progress, RunLog, Score
from residiff.train.processes import Processes
from residiff.train.rules import Descent, epoch_of, learning_rate
from residiff.train.sharding import gathered, hand_over
from residiff.train.trackers import Tracker
from residiff.train.validation import Validation
from residiff.train.watching import Watcher

logger = logging.getLogger(__name__)

RECIPE, FAILURES = "recipe.toml", "failures.jsonl"
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
    teacher : the model that the recipe's `training.distil` names, and None where it has none; `ConfigError` otherwise
    """

    def __init__(
        self, recipe: Recipe, folder: Path, processes: Processes | None = None, teacher: ModelFile | None = None
    ) -> None:
        self.recipe, self.folder = recipe, folder
        self.processes = Processes(torch.device("cpu")) if processes is None else processes
        with memory_errors(NO_ROOM):
            learned = teacher_of(recipe, teacher, self.processes.device)
            self.loss = None if learned is None else learned.loss
            self.learner = Learner(recipe, self.processes, self.loss)
        self.log = RunLog(folder, writes=self.processes.is_first)
        self.step = 0
        self.source = ""
        # What else it was trained on, and up to which update, as the model file says
        self.before: list[str] = []
        # Faults noted of that, which are not of what is trained on now
        self.settled = 0
        self.descent = Descent()
        self.skips = 0
        self.changes: list[str] = []
        self.overrides = False
        # Whether it was told to end before its last update
        self.stopped = False
        # What the model file says of its validation
        self.held_out: dict[str, object] = {}
        if teacher is not None:
            self.begin_from(teacher)

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
        stop : asked after each update, and between the steps of a validation, which is then left undone; where it says
            so in any process, or their launcher has gone, the run is saved and ends
        trackers : who else is told of figures and pictures

        Raises
        ------
        DivergedError
            If a loss or gradient is not finite; the weights are left, and saved, as the last good update made them.
        ConfigError
            If the run was begun on other data, unless that is overridden.
        ImageError
            If too many of the pictures cannot be read; the run is saved, and `failures.jsonl` lists them.
        ResourceError
            If the disk is full or memory runs out; the saves before stay.
        """
        settings = self.recipe.training
        device = self.processes.device
        validation = Validation(self.recipe, held_out, device, self.loss) if held_out else None
        watcher = Watcher(self.recipe, self.folder, self.log, validation, trackers)
        clock = Clock(settings.save_seconds, settings.batch * settings.accumulate, device)
        with contextlib.closing(self.log), memory_errors(NO_ROOM):
            self._begin(pairs)
            yield from self._updates(pairs, workers, watcher, clock, self.processes.stopped_by(stop))

    def _updates(
        self, pairs: Pairs, workers: int, watcher: Watcher, clock: Clock, stop: Callable[[], bool]
    ) -> Iterator[Progress]:
        self.stopped = self._validate(watcher, stop)
        if self.stopped:
            return
        for batch in self._batches(pairs, workers):
            rate = learning_rate(self.recipe.training, self.step, self.descent.falls)
            outcome = self._update(batch, rate, pairs)
            progress = clock.progress(self.step, outcome.loss, rate, outcome.norm)
            watcher.updated(progress)
            stops, saves = self.processes.any_of(stop(), clock.is_due())
            stops = stops or self._validate(watcher, stop)
            if stops or (saves and self.step < self.recipe.training.iterations):
                self.save()
                clock.restart()
            yield progress
            if stops:
                # Launchers end the others when one has ended, and the first may still be saving
                self.processes.wait()
                self.stopped = True
                return
        self.save()
        self._save_others()

    def _begin(self, pairs: Pairs) -> None:
        self._train_on(pairs.source)
        self.epoch = epoch_of(self.recipe.training, pairs.size)
        self.log.by = judged_by(self.recipe, self.held_out)
        if self.log.scores and self.log.scores[-1].by != self.log.by:
            logger.warning("validated by other pairs, or in another way, than before: the best is chosen anew")
        if self.processes.is_first:
            self._begin_files()

    def _train_on(self, source: str) -> None:
        if self.source not in ("", source):
            if not self.overrides:
                mend = "give the same --data, or continue on this all the same with --override"
                raise ConfigError(f"the run was begun on {self.source}, not on {source}; {mend}")
            self.before.append(f"{self.source}, to step {self.step}")
            self.changes.append(f"data: {self.source} -> {source}")
            self.settled = len(self.log.events("fault"))
        self.source = source

    def _begin_files(self) -> None:
        if self.step == 0:
            clear_run(self.folder)
            self.log.back_to(0)
        elif self.step < self.recipe.training.iterations:
            self.log.event(self.step, "resumed", "; ".join(self.changes))
        with files.environment_errors(self.folder / FAILURES):
            (self.folder / FAILURES).unlink(missing_ok=True)
        files.write_bytes(self.folder / RECIPE, self.recipe.toml().encode())

    def _batches(self, pairs: Pairs, workers: int) -> Iterator[Drawn]:
        """Of each update to come this process's share; what could not be read is noted, within bounds."""
        settings = self.recipe.training
        count = settings.batch * settings.accumulate
        faults = Faults(pairs.size)
        for text in self.log.events("fault")[self.settled :]:
            faults.add(text)
        first, last = self.step * count, settings.iterations * count
        batches = loader(pairs, first, last, count, workers, slot=self.processes.share(count))
        try:
            while (batch := self._next(batches, faults)) is not None:
                yield batch
        except ImageError as error:
            self._end(faults, error)
            raise

    def _next(self, batches: Iterator[Drawn], faults: Faults) -> Drawn | None:
        """The next share, None after the last; an `ImageError` in all processes alike where too much is faulty."""
        batch, failed = None, ""
        try:
            batch = next(batches, None)
        except ImageError as error:
            failed = str(error)
            faults.known[failed] = None
        is_over, is_faulty = self.processes.any_of(bool(failed), batch is not None and any(batch.fault))
        if is_over:
            raise ImageError(next(filter(None, self.processes.gathered([failed]))))
        for text in self.processes.gathered(batch.fault) if is_faulty and batch is not None else ():
            if text and faults.add(text):
                logger.warning("%s; another picture takes its place", text)
                self.log.event(self.step, "fault", text)
        return batch

    def _end(self, faults: Faults, error: ImageError) -> None:
        """Leave the run as the update before made it, with a list of what could not be read."""
        self.log.event(self.step, "ended", str(error))
        if self.step:
            self.save()
        if self.processes.is_first:
            lines = (json.dumps({"error": type(error).__name__, "message": text}) + "\n" for text in faults.known)
            files.write_bytes(self.folder / FAILURES, "".join(lines).encode())

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

    def _validate(self, watcher: Watcher, stop: Callable[[], bool]) -> bool:
        """Validate where that is due; whether any process was told to stop meanwhile, which leaves it undone."""
        if not watcher.is_due(self.step):
            return False
        share = self.processes.together if self.recipe.training.sharded else self.processes.first_alone
        return share(lambda ask: self._score(watcher, ask), stop)

    def _score(self, watcher: Watcher, ask: Callable[[], None]) -> None:
        with self.learner.averaged() as denoiser:
            score = watcher.validate(denoiser, self.step, ask)
        is_best = self.log.best is None or score.worth > self.log.best.worth
        if self.recipe.training.sharded:
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
        before = {"before": list(self.before)} if self.before else {}
        figures = {} if score is None else {"step": score.step, **score.figures()}
        return known | before | ({"validation": self.held_out | figures} if self.held_out else {})

    @memory_errors(NO_ROOM)
    def save(self) -> None:
        """Write the averaged model, the log, and last the state to continue from, each atomically."""
        self.processes.check_equal(self.learner.backbone)
        self._save_model(MODEL, self.average, self.card(self.log.at(self.step)))
        tensors = self.learner.tensors()
        if not self.processes.is_first:
            return hand_over(tensors)
        self.log.sync()
        facts = {"descent": vars(self.descent), "before": self.before, "settled": self.settled}
        keep(
            self.folder,
            TrainingState(self.recipe, self.step, self.source, tensors, facts),
            self.recipe.training.keep,
            gathered,
        )

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
        before = model.card.get("before")
        sources = [*(before if isinstance(before, list) else []), model.card.get("data", "data that it does not name")]
        self.before = [f"{source}, in the model that it began from" for source in sources]

    @memory_errors(NO_ROOM)
    def resume(self, state: TrainingState, *, override: bool = False) -> None:
        """Continue from `state`, with this run's recipe.

        Raises
        ------
        ConfigError
            If it belongs to another recipe, unless `override` is set and that has its network and no fewer updates.
        CheckpointError
            If it does not fit its own recipe, or the log.
        """
        changes = difference(state.recipe, self.recipe)
        if changes and not override:
            listed = "\n  ".join(changes)
            mends = "take that one, or another folder, or continue by the new one all the same with --override"
            raise ConfigError(f"{self.folder} was trained by another recipe:\n  {listed}\n{mends}")
        if state.step > self.recipe.training.iterations:
            more = f"more than training.iterations = {self.recipe.training.iterations}; raise it"
            # Of its own recipe no state has done more
            kind = ConfigError if changes else CheckpointError
            raise kind(f"{self.folder} has done {state.step} updates, {more}")
        try:
            descent = Descent(**state.facts["descent"])
            self.log.check(state.step)
            self.learner.load(state.tensors, changed=bool(changes))
            self.log.back_to(state.step)
        except (LookupError, TypeError, ValueError, ModelFileError) as error:
            kind = ConfigError if changes and isinstance(error, ModelFileError) else CheckpointError
            raise kind(f"cannot continue from {self.folder}: {error}") from error
        self.step, self.source, self.descent = state.step, state.source, descent
        self.before, self.settled = list(state.facts.get("before", ())), int(state.facts.get("settled", 0))
        self.changes, self.overrides = changes, override
