"""Training: pairs -> loss -> optimiser -> average of the weights -> checkpoint.

Every draw (pair, time, noise) depends on the recipe's seed and the step's number alone, so that a run which was stopped
and continued gives the weights of one that was not.
"""

from __future__ import annotations

import contextlib
import csv
import io
import logging
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from residiff import files
from residiff.checkpoint import (
    MODEL,
    STATE,
    ModelFile,
    TrainingState,
    check_keys,
    load_state,
    save_model,
    save_state,
)
from residiff.data.pair import Pair, Pairs
from residiff.data.pairs import PairedFolder, Stretch, SyntheticPairs
from residiff.denoiser import LOSSES, Denoiser
from residiff.errors import CheckpointError, ConfigError, DivergedError, ModelFileError
from residiff.inference import shown
from residiff.recipe import Recipe
from residiff.seeds import generator
from residiff.train.optimisers import Optimisers
from residiff.train.rules import average_decay, draw_times, learning_rate

logger = logging.getLogger(__name__)

METRICS = "metrics.csv"


@dataclass(frozen=True)
class Progress:
    """One step done: its number (1-based), loss, learning rate, and seconds since this process began training."""

    step: int
    loss: float
    learning_rate: float
    seconds: float


class Run:
    """A training run: the network, its running average and its optimiser, and where it stands.

    Parameters
    ----------
    recipe : what is trained, and how
    folder : where `model.safetensors` (the averaged weights), `state.safetensors` and `metrics.csv` are written
    device : where the arithmetic is done
    """

    def __init__(self, recipe: Recipe, folder: Path, device: str = "cpu") -> None:
        self.recipe = recipe
        self.folder = folder
        self.device = torch.device(device)
        self.step = 0
        self.rows: list[Progress] = []
        self.source = ""
        # torch's layers draw from the global generator: leave it as it was
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.training.seed)
            self.denoiser: Denoiser = recipe.build().to(self.device)
        self.average = {key: value.clone() for key, value in self.denoiser.backbone.state_dict().items()}
        self.optimisers = Optimisers(recipe, self.denoiser.backbone)

    def train(self, pairs: Pairs, workers: int = 0) -> Iterator[Progress]:
        """Train to the last step, saving on the way and at the end; yields after each step.

        Raises
        ------
        DivergedError
            If a loss or gradient is not finite; the weights are left as the last good step made them.
        CheckpointError
            If the run was begun on other data.
        """
        if self.source not in ("", pairs.source):
            raise CheckpointError(f"the run was begun on {self.source}, not on {pairs.source}; give the same --data")
        self.source = pairs.source
        settings = self.recipe.training
        began = saved = time.monotonic()
        count = settings.batch * settings.accumulate
        stretch = Stretch(pairs, self.step * count, settings.iterations * count)
        loader = DataLoader(stretch, batch_size=count, num_workers=workers)
        for batch in loader:
            rate = learning_rate(settings, self.step)
            loss = self._update(batch, rate)
            progress = Progress(self.step, loss, rate, time.monotonic() - began)
            self.rows.append(progress)
            if time.monotonic() - saved > settings.save_seconds and self.step < settings.iterations:
                self.save()
                saved = time.monotonic()
            yield progress
        self.save()

    def _update(self, pairs: Pair, rate: float) -> float:
        settings = self.recipe.training
        self.optimisers.zero_grad()
        loss = self._backward(pairs, generator(settings.seed, 4, self.step))
        if not math.isfinite(loss):
            raise DivergedError(f"loss {loss} at step {self.step + 1}; lower training.learning_rate")
        norm = self.optimisers.step(rate)
        if not torch.isfinite(norm):
            where = f"loss {loss} and gradient {norm.item()} at step {self.step + 1}"
            raise DivergedError(f"{where}; lower training.learning_rate")
        self.step += 1
        self._follow(average_decay(settings, self.step))
        return loss

    def _backward(self, pairs: Pair, source: torch.Generator) -> float:
        """The mean loss of an update's pairs, in parts of `batch`, and its gradient."""
        settings = self.recipe.training
        noise = torch.randn(pairs.clean.shape, generator=source)
        times = draw_times(settings, len(self.recipe.schedule), source)
        looks_back = bool(torch.rand((), generator=source) < 0.5)
        total = 0.0
        for part in zip(*(torch.split(whole, settings.batch) for whole in (*pairs, noise, times)), strict=True):
            clean, degraded, mask, drawn, t = part
            loss = self._loss(Pair(clean, degraded, mask), drawn, t, looks_back) / settings.accumulate
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.item()
        return total

    def _loss(self, pairs: Pair, noise: Tensor, times: Tensor, looks_back: bool) -> Tensor:
        settings = self.recipe.training
        batch = shown(self.recipe.network, pairs, self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=settings.precision == "bfloat16"):
            return self.denoiser.loss(
                batch.x0,
                batch.x_in,
                times.to(self.device),
                batch.condition,
                noise=noise.to(self.device),
                loss=LOSSES[settings.loss],
                posterior_weight=settings.posterior_weight,
                looks_back=looks_back,
            )

    def _follow(self, decay: float) -> None:
        if decay == 1:
            return
        current = self.denoiser.backbone.state_dict()
        torch._foreach_lerp_(list(self.average.values()), [current[key] for key in self.average], 1 - decay)

    def save(self) -> None:
        """Write the averaged model, the log, and last the state to continue from, each atomically."""
        images = self.step * self.recipe.training.batch * self.recipe.training.accumulate
        card = {"data": self.source, "iterations": self.step, "images": images}
        save_model(self.folder / MODEL, ModelFile(self.recipe, self.average, card))
        files.write_bytes(self.folder / METRICS, _csv(self.rows))
        save_state(self.folder / STATE, TrainingState(self.recipe, self.step, self.source, self._tensors()))

    def _tensors(self) -> dict[str, Tensor]:
        tensors = {f"average.{key}": value for key, value in self.average.items()}
        tensors |= {f"weights.{key}": value for key, value in self.denoiser.backbone.state_dict().items()}
        return tensors | {f"optimiser.{key}": value for key, value in self.optimisers.tensors().items()}

    def begin_from(self, model: ModelFile) -> None:
        """Start from a model's averaged weights in place of random ones.

        Raises
        ------
        ModelFileError
            Naming the weights that do not fit the recipe's network.
        """
        weights = model.denoiser().backbone.state_dict()
        check_keys(self.average, weights)
        self.denoiser.backbone.load_state_dict(weights)
        self.average = {key: value.clone() for key, value in self.denoiser.backbone.state_dict().items()}

    def resume(self) -> None:
        """Continue from the state in the folder.

        Raises
        ------
        CheckpointError
            If there is none, it is damaged, or it belongs to another recipe.
        """
        state = load_state(self.folder / STATE)
        if state.recipe != self.recipe:
            raise CheckpointError(f"{self.folder} was trained by another recipe; take that one, or another folder")
        try:
            rows = [row for row in _read_csv(self.folder / METRICS) if row.step <= state.step]
            if [row.step for row in rows] != list(range(1, state.step + 1)):
                raise CheckpointError(f"{METRICS} does not hold each step once")
            self._continue_from(state.tensors)
        except (OSError, LookupError, TypeError, ValueError, csv.Error, ModelFileError) as error:
            raise CheckpointError(f"cannot continue from {self.folder}: {error}") from error
        self.step, self.rows, self.source = state.step, rows, state.source

    def _continue_from(self, tensors: Mapping[str, Tensor]) -> None:
        like = {f"{group}.{key}": value for group in ("average", "weights") for key, value in self.average.items()}
        like |= {f"optimiser.{key}": value for key, value in self.optimisers.expected().items()}
        check_keys(like, tensors)
        self.denoiser.backbone.load_state_dict({key: tensors[f"weights.{key}"] for key in self.average})
        self.average = {key: tensors[f"average.{key}"].to(self.device) for key in self.average}
        kept = {key.removeprefix("optimiser."): value for key, value in tensors.items() if key.startswith("optimiser.")}
        self.optimisers.load(kept)


def pairs_for(recipe: Recipe, folder: Path | None) -> Pairs:
    """The training pairs of a folder, or procedural ones where none is given."""
    if folder is None:
        return SyntheticPairs(recipe.data, recipe.training.seed)
    return PairedFolder(folder, recipe.data, recipe.training.seed, mask=recipe.network.mask)


@contextlib.contextmanager
def open_run(
    recipe: Recipe, folder: Path, device: str = "cpu", *, resume: bool = False, init: ModelFile | None = None
) -> Iterator[Run]:
    """A run that holds `folder` for itself; with `resume` it continues, or says why it begins anew.

    A run that begins takes the weights of `init`, where one is given, in place of random ones.

    Raises
    ------
    ConfigError
        If the folder holds a run already and `resume` is false.
    LockedError
        If another process trains in the folder.
    CheckpointError
        If the state in the folder is whole, but belongs to another recipe or does not fit its log.
    """
    with files.lock(folder):
        run = Run(recipe, folder, device)
        if init is not None:
            run.begin_from(init)
        if resume:
            _continue_or_begin(run)
        elif (folder / STATE).exists():
            raise ConfigError(f"{folder} holds a run already; continue it with --resume, or take another folder")
        yield run


def _continue_or_begin(run: Run) -> None:
    try:
        load_state(run.folder / STATE)
    except CheckpointError as error:
        logger.warning("%s; starting from the beginning", error)
    else:
        run.resume()


def _csv(rows: list[Progress]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["step", "loss", "learning_rate", "seconds"])
    writer.writerows([row.step, f"{row.loss:.6g}", f"{row.learning_rate:.6g}", f"{row.seconds:.2f}"] for row in rows)
    return text.getvalue().encode()


def _read_csv(path: Path) -> list[Progress]:
    with path.open(encoding="utf-8", newline="") as file:
        return [
            Progress(int(row["step"]), float(row["loss"]), float(row["learning_rate"]), float(row["seconds"]))
            for row in csv.DictReader(file)
        ]
