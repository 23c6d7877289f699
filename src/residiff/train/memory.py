"""What training needs of a machine's memory, known before any of it is taken, and recipes changed to fit."""

from __future__ import annotations

import logging
import math
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from residiff.denoiser import LOSSES, MASK_FORMS, Denoiser
from residiff.errors import ResourceError
from residiff.memory import Held, available, pretend
from residiff.nn import checkpoint_blocks
from residiff.recipe import Recipe, override
from residiff.train.keeping import newest_recipe
from residiff.train.optimisers import Optimisers
from residiff.train.processes import Processes

logger = logging.getLogger(__name__)

# Of the memory that is free: the rest is for what is not counted, the interpreter and reading of pictures among it
SHARE = 0.8
# Bytes that a process takes for one that comes and goes with each update, not checkpointed and checkpointed: glibc
# leaves holes, more of them where what is kept lies among what is not (measured: benchmarks/README.md)
HOLES = {False: 1.6, True: 2.2}
# Code and buffers of the kernels
KERNELS = 60_000_000
# What a recipe allows for `batch` and for `accumulate`
MOST = 65_536


@dataclass(frozen=True)
class Footprint:
    """Bytes that one process needs to train.

    `moments` are the optimiser's, `averages` those of the weights. `activations` is the most that making the loss and
    its gradient adds to the other four at any moment, with the holes that the allocator leaves. `saving` is what a save
    adds at most: the largest tensor, to be written in order.
    """

    weights: int
    gradients: int
    moments: int
    averages: int
    activations: int
    saving: int

    @property
    def total(self) -> int:
        """What an update or the start of a continued run takes, whichever is more, and the kernels for themselves."""
        # What is read of weights and averages is copied to where they lie; the moments stay where they were read to
        most = max(self.gradients + self.activations, self.weights + self.averages)
        return self.weights + self.moments + self.averages + most + self.saving + KERNELS


def footprint(recipe: Recipe, batch: int | None = None, *, processes: int = 1) -> Footprint:
    """What training by `recipe` needs, in parts of `batch` pairs (the recipe's own by default).

    Found by making a loss and its gradient with tensors that have shapes and no values, and following what of them
    lives when: so precision, checkpointing, heads and self-conditioning count as they do in truth. The kernels are
    taken to be the CPU's. Not counted: what a kernel takes for itself while it runs, `compiled`, and the gathered
    weights of the blocks that run where `training.sharded` spreads the rest over `processes`.
    """
    settings = recipe.training
    size = settings.batch if batch is None else batch
    with torch.device("meta"):
        denoiser = recipe.build()
    backbone = denoiser.backbone
    parameters, state = _bytes(backbone.parameters()), _bytes(backbone.state_dict().values())
    moments = _bytes(Optimisers(recipe, backbone).expected().values())
    averages = state * (1 + sum(decay != settings.ema for decay in settings.averages))
    peak = round(HOLES[settings.checkpointed] * _peak(recipe, denoiser, size))
    # In the first part of an update the gradients grow while the activations go; in the others they lie there already
    accumulates = settings.batch * settings.accumulate > size * processes
    beyond = peak if accumulates else max(0, peak - parameters)
    parts = processes if settings.sharded else 1
    weights, gradients, moments, averages = (-(-each // parts) for each in (state, parameters, moments, averages))
    largest = max(_bytes([tensor]) for tensor in backbone.state_dict().values())
    return Footprint(weights, gradients, moments, averages, beyond, largest)


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _peak(recipe: Recipe, denoiser: Denoiser, size: int) -> int:
    """The most bytes, those of weights left out, that live while `size` pairs give their loss and its gradient."""
    settings = recipe.training
    # Real tensors mix with the others: the levels of the schedule are checked by value
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    pretend(denoiser.backbone, mode)
    if settings.checkpointed:
        checkpoint_blocks(denoiser.backbone)
    held = Held(denoiser.backbone.state_dict().values())
    with held:
        with mode:
            x0, x_in, noise = (torch.empty(size, 3, *recipe.data.crop_size) for _ in range(3))
        mask = MASK_FORMS[recipe.network.mask_form].encode(x0[:, :1]) if recipe.network.mask else None
        precision = getattr(torch, settings.precision)
        with torch.autocast("cpu", precision, enabled=precision is not torch.float32):
            loss = denoiser.loss(
                x0,
                x_in,
                torch.zeros(size, dtype=torch.int64),
                mask,
                noise=noise,
                loss=LOSSES[settings.loss],
                posterior_weight=settings.posterior_weight,
                looks_back=True,
            )
        loss.backward()  # type: ignore[no-untyped-call]
    return held.peak


def fitted(recipe: Recipe, device: torch.device, *, memory: int | None = None, processes: int = 1) -> Recipe:
    """`recipe` with the largest part of an update that fits in 80 % of `memory`, the update itself as large as before.

    `batch` x `accumulate` stays; `batch` becomes a divisor of each process's share. Where not even one pair fits,
    float32 becomes bfloat16, and if that is not enough activations are computed twice (`checkpointed`). On a GPU that
    has bfloat16 it is taken from the first. What was chosen and why is logged.

    Parameters
    ----------
    recipe : what is to be trained
    device : where
    memory : bytes that may be taken; by default what is free
    processes : how many share an update; on a CPU they share the memory too

    Raises
    ------
    ResourceError
        If nothing fits, naming the bytes needed and those there are.
    ConfigError
        If an update cannot be shared evenly.
    """
    free = available(device) if memory is None else memory
    limit = int(SHARE * free) // (processes if device.type == "cpu" else 1)
    update = recipe.training.batch * recipe.training.accumulate
    sizes = _sizes(update, len(Processes(device, processes).share(update)))
    for easier, why in _easings(recipe, device):
        eased = override(recipe, easier)
        fitting = bisect_right(sizes, limit, key=lambda size: footprint(eased, size, processes=processes).total)
        if fitting:
            size = sizes[fitting - 1]
            return _chosen(eased, size, update // size, f"{why}{limit / 1e6:,.0f} MB")
    need = footprint(eased, sizes[0], processes=processes).total
    raise ResourceError(
        f"training needs {need:,} bytes for one part of {sizes[0]} even in {eased.training.precision} and checkpointed,"
        f" but {limit:,} ({SHARE:.0%} of what is free) are there; take a smaller data.crop or network.backbone"
    )


def fitted_before(recipe: Recipe, folder: Path) -> Recipe | None:
    """`recipe` as the run in `folder` was made to fit, whatever is free now; None where there is no run."""
    known = newest_recipe(folder)
    if known is None:
        return None
    settings = known.training
    kept = {"batch": settings.batch, "accumulate": settings.accumulate, "precision": settings.precision}
    same = [f"training.{key}={value}" for key, value in kept.items()]
    return override(recipe, [*same, f"training.checkpointed={str(settings.checkpointed).lower()}"])


def _chosen(recipe: Recipe, batch: int, accumulate: int, why: str) -> Recipe:
    chosen = override(recipe, [f"training.batch={batch}", f"training.accumulate={accumulate}"])
    settings = chosen.training
    how = "checkpointed" if settings.checkpointed else "not checkpointed"
    logger.info("training.batch %d x %d, %s, %s: %s", batch, accumulate, settings.precision, how, why)
    return chosen


def _sizes(update: int, own: int) -> list[int]:
    """The parts that a process's `own` pairs can be computed in, smallest first, and that a recipe can name."""
    low = [size for size in range(1, math.isqrt(own) + 1) if own % size == 0]
    return sorted(size for size in {*low, *(own // size for size in low)} if size <= MOST and update // size <= MOST)


def _easings(recipe: Recipe, device: torch.device) -> list[tuple[list[str], str]]:
    """What to change, first to last, and why."""
    half, twice = "training.precision=bfloat16", "training.checkpointed=true"
    if recipe.training.precision != "float32":
        return [([], "the most that fits in "), ([twice], "checkpointed to fit in ")]
    first: tuple[list[str], str] = ([], "the most that fits in ")
    if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
        first = ([half], "bfloat16, which this GPU has; the most that fits in ")
    return [first, ([half], "bfloat16 to fit in "), ([half, twice], "bfloat16 and checkpointed to fit in ")]
