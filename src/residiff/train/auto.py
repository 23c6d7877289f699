r"""Which objective to train, residual or noise: a weight learnt along with the network decides (RDDM: AOSA).

While nothing is decided, the network's one output o is read as both, and the readings are mixed by alpha, which starts
at 1/2 and is trained like any other weight:

    R_hat   = alpha o + (1 - alpha) (x_in - clip(x_0 from o as eps))
    eps_hat = alpha (eps from o as R) + (1 - alpha) o
    loss    = alpha L(R_hat, R) + (1 - alpha) L(eps_hat, eps)

Once alpha has moved by 0.01, upwards is for the residual and downwards for the noise. The weights are then of no
further use: training begins anew with the objective fixed, and with the recipe that `decided` gives.
"""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Iterator
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import torch
from torch import Tensor, nn

from residiff import files
from residiff.data.loading import loader
from residiff.data.pair import Pair, Pairs
from residiff.data.purposes import UPDATE
from residiff.denoiser import LOSSES, Denoiser, Loss
from residiff.errors import ConfigError, DivergedError, check_range
from residiff.inference import Shown, shown
from residiff.prediction import Clamp
from residiff.recipe import Recipe
from residiff.schedule import Level
from residiff.seeds import generator
from residiff.train.keeping import is_begun, newest_recipe, states
from residiff.train.objective import NOISE, RESIDUAL, Objective, decided
from residiff.train.optimisers import Optimisers
from residiff.train.rules import draw_times

OBJECTIVE = "objective.csv"
START, MARGIN = 0.5, 0.01
# Published: Adam moves alpha by at most its rate a step, so that nothing is decided before about step 125
ALPHA_RATE = 8e-5
LIMIT = 5000


@dataclass(frozen=True)
class Weighing:
    """One step of the selection: its number (1-based), alpha after it, the losses before it, seconds since it began."""

    step: int
    alpha: float
    residual_loss: float
    noise_loss: float
    seconds: float

    @property
    def decision(self) -> Objective | None:
        """What alpha has decided by now."""
        return decide(self.alpha)

    def objective(self) -> Objective:
        """The decision; `ConfigError` where there is none."""
        if self.decision is None:
            raise ConfigError(
                f"undecided after {self.step} steps: alpha is {self.alpha:.4f}, between {START - MARGIN} and"
                f" {START + MARGIN}; raise alpha's rate, or choose the recipe's prediction yourself"
            )
        return self.decision


def decide(alpha: float) -> Objective | None:
    """The residual from 0.51 upwards, the noise from 0.49 downwards, None between them."""
    if alpha >= START + MARGIN:
        return RESIDUAL
    return NOISE if alpha <= START - MARGIN else None


def stored(recipe: Recipe, folder: Path) -> Recipe | None:
    """`recipe` with the objective that the run in `folder` is trained by; None where no run can be continued."""
    known = newest_recipe(folder)
    return None if known is None else decided(recipe, known.prediction)


def read_both(alpha: Tensor, level: Level, x_t: Tensor, x_in: Tensor, output: Tensor) -> tuple[Tensor, Tensor]:
    """(R_hat, eps_hat), each (N, C, H, W), of one output that is residual and noise at once."""
    as_noise = NOISE.estimate(level, x_t, x_in, (output,), Clamp.X0)
    as_residual = RESIDUAL.estimate(level, x_t, x_in, (output,))
    residual = alpha * output + (1 - alpha) * as_noise.residual
    noise = alpha * as_residual.noise + (1 - alpha) * output
    return residual, noise


def both_losses(
    alpha: Tensor, denoiser: Denoiser, batch: Shown, t: Tensor, noise: Tensor, loss: Loss
) -> tuple[Tensor, Tensor]:
    """(L(R_hat, R), L(eps_hat, eps)) at the times `t` (N,), `noise` being N(0, I) of the images' shape."""
    level = denoiser.schedule(t)
    residual = batch.x_in - batch.x0
    x_t = level.mix(batch.x0, residual, noise)
    (output,) = denoiser.outputs(x_t, level, batch.x_in, batch.condition)
    found = read_both(alpha, level, x_t, batch.x_in, output)
    return loss(found[0], residual), loss(found[1], noise)


class _Undecided:
    """A network of undecided objective, alpha, and the optimisers of both."""

    def __init__(self, recipe: Recipe, device: str, alpha_rate: float) -> None:
        self.recipe = decided(recipe, RESIDUAL)
        self.device = torch.device(device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.training.seed)
            self.denoiser = self.recipe.build().to(self.device)
        self.alpha = nn.Parameter(torch.tensor(START, device=self.device))
        self.optimisers = Optimisers(self.recipe, self.denoiser.backbone)
        self.alpha_optimiser = torch.optim.Adam([self.alpha], alpha_rate)
        self.unscaled = torch.amp.GradScaler(self.device.type, enabled=False)

    def update(self, batch: Pair, step: int) -> tuple[float, float]:
        """Train weights and alpha by a batch; both losses."""
        residual, noise = self._losses(batch, step)
        total = self.alpha * residual + (1 - self.alpha) * noise
        self.optimisers.zero_grad()
        self.alpha_optimiser.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]
        # A rate that warms up would let alpha judge weights that have learnt nothing: it is held
        norm = self.optimisers.step(self.recipe.training.learning_rate, self.unscaled)
        if not torch.isfinite(total + norm):
            losses = f"residual {residual.item()}, noise {noise.item()}"
            raise DivergedError(f"undecided, the losses were {losses} at step {step}; lower training.learning_rate")
        self.alpha_optimiser.step()
        return residual.item(), noise.item()

    def _losses(self, batch: Pair, step: int) -> tuple[Tensor, Tensor]:
        settings = self.recipe.training
        source = generator(settings.seed, UPDATE, step - 1)
        noise = torch.randn(batch.clean.shape, generator=source).to(self.device)
        times = draw_times(settings, len(self.recipe.schedule), source)[: len(noise)].to(self.device)
        batch_shown = shown(self.recipe.network, batch, self.device)
        # Of two optimisers, alpha's is not scaled: float16 is not for it
        half = settings.precision != "float32"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=half):
            return both_losses(self.alpha, self.denoiser, batch_shown, times, noise, LOSSES[settings.loss])


def select_objective(
    recipe: Recipe,
    pairs: Pairs,
    folder: Path,
    device: str = "cpu",
    *,
    alpha_rate: float = ALPHA_RATE,
    limit: int = LIMIT,
    workers: int = 0,
    resume: bool = False,
) -> Iterator[Weighing]:
    """Train until alpha decides; yields after each step, last the one that decided.

    The path of alpha is written to `objective.csv` in `folder` when the selection ends, however it does. Recipes, data
    and rates that are equal give equal decisions.

    Parameters
    ----------
    recipe : what is to be trained; its own prediction plays no part. An update is of `training.batch` pairs, at the
        full learning rate. For generation take the loss "l2", as published: "l1" was seen to choose the residual
    pairs : the data that it will be trained on
    folder : the run's, held for this process meanwhile
    alpha_rate : learning rate of alpha, 0 to 0.1; that of the weights is the recipe's
    limit : the most steps to take
    resume : whether a run in the folder of which no state is left may be begun over

    Raises
    ------
    ConfigError
        If nothing is decided within `limit` steps, the folder holds a run, or the schedule has no noise.
    DivergedError
        If a loss or gradient is not finite.
    """
    _check(recipe, alpha_rate, limit)
    with files.lock(folder):
        if states(folder) or (is_begun(folder) and not resume):
            raise ConfigError(f"{folder} holds a run already; continue it with --resume, or take another folder")
        rows: list[Weighing] = []
        try:
            for row in _weighings(_Undecided(recipe, device, alpha_rate), pairs, limit, workers):
                rows.append(row)
                yield row
        finally:
            files.write_bytes(folder / OBJECTIVE, as_csv(rows))
    rows[-1].objective()


def _check(recipe: Recipe, alpha_rate: float, limit: int) -> None:
    check_range("alpha_rate", alpha_rate, 1e-9, 0.1)
    check_range("limit", limit, 1, 10_000_000)
    if not recipe.schedule.table[:, 2].any():
        raise ConfigError("the recipe's schedule has no noise, so that the residual alone can be its objective")


def _weighings(undecided: _Undecided, pairs: Pairs, limit: int, workers: int) -> Iterator[Weighing]:
    began = time.monotonic()
    batch_size = undecided.recipe.training.batch
    for step, batch in enumerate(loader(pairs, 0, limit * batch_size, batch_size, workers), 1):
        losses = undecided.update(batch.pair, step)
        row = Weighing(step, undecided.alpha.item(), *losses, time.monotonic() - began)
        yield row
        if row.decision is not None:
            return


def as_csv(rows: list[Weighing]) -> bytes:
    """The path of alpha as CSV, a row a step."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([field.name for field in fields(Weighing)])
    writer.writerows([f"{value:.6g}" for value in astuple(row)] for row in rows)
    return text.getvalue().encode()
