"""One update of a network: loss, gradient, optimiser, running averages; in one process or in several that share it."""

from __future__ import annotations

import contextlib
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.nn.parallel import DistributedDataParallel

from residiff.checkpoint import ModelFile, check_keys
from residiff.data.pair import Pair
from residiff.data.purposes import LAYERS, UPDATE
from residiff.denoiser import LOSSES, Denoiser
from residiff.errors import ConfigError
from residiff.inference import Criterion, shown
from residiff.nn import checkpoint_blocks
from residiff.recipe import Recipe
from residiff.seeds import generator, seed_of
from residiff.tensorfile import Take
from residiff.train.averages import Averages
from residiff.train.optimisers import Optimisers
from residiff.train.processes import Processes
from residiff.train.rules import draw_times
from residiff.train.sharding import like, local, reshard, shard, sharding

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Outcome:
    """An update's mean loss and the norm of its gradient before clipping; where either is not finite, nothing moved.

    `overflowed` tells that only float16's range was left, which scaling the loss less will mend.
    """

    loss: float
    norm: float
    overflowed: bool = False

    @property
    def is_finite(self) -> bool:
        """Whether it is an update at all."""
        return math.isfinite(self.loss) and math.isfinite(self.norm)


@dataclass(frozen=True)
class Draws:
    """What an update draws for its pairs: noise (N, 3, H, W), times (N,), and whether it looks back at its own x_0."""

    noise: Tensor
    times: Tensor
    looks_back: bool


class _Objective(nn.Module):
    """The loss as a module, which is what several processes share."""

    def __init__(self, denoiser: Denoiser, recipe: Recipe, loss: Criterion | None) -> None:
        super().__init__()
        self.denoiser, self.recipe, self.loss = denoiser, recipe, loss

    def forward(self, pairs: Pair, draws: Draws) -> Tensor:
        """The mean loss of pairs that are on the device."""
        settings, device = self.recipe.training, draws.noise.device
        batch = shown(self.recipe.network, pairs, device)
        precision = PRECISIONS[settings.precision]
        with torch.autocast(device.type, precision, enabled=precision is not torch.float32):
            if self.loss is not None:
                return self.loss(self.denoiser, batch, draws.noise)
            return self.denoiser.loss(
                batch.x0,
                batch.x_in,
                draws.times,
                batch.condition,
                noise=draws.noise,
                loss=LOSSES[settings.loss],
                posterior_weight=settings.posterior_weight,
                looks_back=draws.looks_back,
            )


class Learner:
    """A network in training, with its averages and optimisers.

    Parameters
    ----------
    recipe : what is trained, and how
    processes : those that share each update, and the device
    loss : what is minimised, where that is not the denoiser's own loss
    """

    def __init__(self, recipe: Recipe, processes: Processes, loss: Criterion | None = None) -> None:
        self.recipe, self.processes, self.device = recipe, processes, processes.device
        settings = recipe.training
        self.denoiser = self._sharded() if settings.sharded else self._whole()
        self.backbone = self.denoiser.backbone
        if settings.compiled:
            self.backbone.compile()
        self.objective = self._shared(_Objective(self.denoiser, recipe, loss))
        self.optimisers = Optimisers(recipe, self.backbone)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=settings.precision == "float16")
        self.averages = Averages(self.backbone.state_dict(), settings)

    def _whole(self) -> Denoiser:
        settings = self.recipe.training
        denoiser = self._drawn().to(self.device)
        if settings.channels_last:
            denoiser.backbone.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if settings.checkpointed:
            checkpoint_blocks(denoiser.backbone)
        return denoiser

    def _sharded(self) -> Denoiser:
        if not self.processes.are_many:
            raise ConfigError("training.sharded spreads the network over processes, and there is one; start more")
        if self.recipe.training.precision == "float16":
            raise ConfigError("training.sharded does not go with float16; take bfloat16")
        with sharding(self.device):
            denoiser = self._drawn()
        if self.recipe.training.checkpointed:
            checkpoint_blocks(denoiser.backbone)
        shard(denoiser.backbone, self.device)
        return denoiser

    def _drawn(self) -> Denoiser:
        """The denoiser as the seed has it; torch's layers draw from the global generator, which is left as it was."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.recipe.training.seed)
            return self.recipe.build()

    def _shared(self, objective: _Objective) -> nn.Module:
        if not self.processes.are_many or self.recipe.training.sharded:
            return objective
        return DistributedDataParallel(objective, gradient_as_bucket_view=True)

    def update(self, pairs: Pair, step: int, rate: float) -> Outcome:
        """One update at the learning rate `rate` by this process's share of its pairs; `step` are done before it."""
        self.optimisers.zero_grad()
        loss = self._backward(pairs, step)
        if not math.isfinite(loss):
            return Outcome(loss, math.nan)
        norm = self.optimisers.step(rate, self.scaler)
        if math.isfinite(norm):
            self.averages.follow(self.backbone.state_dict(), step + 1)
        is_scaled = self.scaler.is_enabled() and self.scaler.get_scale() >= 1
        return Outcome(loss, norm, overflowed=is_scaled and not math.isfinite(norm))

    def _backward(self, pairs: Pair, step: int) -> float:
        """The mean loss of all processes' pairs; each computes its own in parts of `batch`."""
        size, share = self.recipe.training.batch, len(pairs.clean)
        draws = self._draws(step, pairs.clean.shape[1:])
        first, done = self.processes.rank * share, torch.zeros((), device=self.device)
        for start in range(0, share, size):
            part = slice(start, min(start + size, share))
            place = slice(first + part.start, first + part.stop)
            own = Draws(draws.noise[place], draws.times[place], draws.looks_back)
            is_last = part.stop == share
            with self._layers_draw(step, place.start), self._in_step(is_last):
                loss = self.objective(self._on_device(pairs, part), own) * ((part.stop - part.start) / share)
                self.scaler.scale(loss).backward()
            done += loss.detach()
        return float(self.processes.mean(done).item())

    def _draws(self, step: int, shape: torch.Size) -> Draws:
        """The draws of a whole update, whoever computes it."""
        settings = self.recipe.training
        source = generator(settings.seed, UPDATE, step, device=self.device)
        count = settings.batch * settings.accumulate
        noise = torch.randn((count, *shape), generator=source, device=self.device)
        times = draw_times(settings, len(self.recipe.schedule), source)
        looks_back = bool(torch.rand((), generator=source, device=self.device) < 0.5)
        return Draws(noise, times, looks_back)

    def _on_device(self, pairs: Pair, part: slice) -> Pair:
        kind = torch.channels_last if self.recipe.training.channels_last else torch.contiguous_format
        return Pair(*(whole[part].to(self.device, memory_format=kind, non_blocking=True) for whole in pairs))

    @contextlib.contextmanager
    def _layers_draw(self, step: int, place: int) -> Iterator[None]:
        """Let what layers draw (dropout) depend on the update and the pair's place in it, and on nothing before it."""
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(seed_of(self.recipe.training.seed, LAYERS, step, place))
            yield

    def _in_step(self, is_last: bool) -> contextlib.AbstractContextManager[None]:
        """Processes exchange gradients once an update, not once a part."""
        if isinstance(self.objective, DistributedDataParallel) and not is_last:
            return self.objective.no_sync()
        if isinstance(self.backbone, FSDPModule):
            self.backbone.set_requires_gradient_sync(is_last)
        return contextlib.nullcontext()

    def begin_from(self, weights: Mapping[str, Tensor]) -> None:
        """Start from a model's weights; `ModelFileError` names those that do not fit."""
        check_keys(self.backbone.state_dict(), weights)
        self._load_weights(weights)
        self.averages.begin(self.backbone.state_dict())

    def _load_weights(self, weights: Mapping[str, Tensor]) -> None:
        for key, value in self.backbone.state_dict().items():
            local(value).copy_(local(like(weights[key].to(value.dtype), value)))

    @contextlib.contextmanager
    def averaged(self) -> Iterator[Denoiser]:
        """A denoiser of the main average, to be called within without gradients.

        A sharded network is itself that, and holds its own weights again afterwards; all processes must call it alike.
        """
        if not self.recipe.training.sharded:
            yield ModelFile(self.recipe, self.averages.main).denoiser().to(self.device)
            return
        self._exchange()
        self.denoiser.eval()
        try:
            yield self.denoiser
        finally:
            self.denoiser.train()
            self._exchange()

    def _exchange(self) -> None:
        """Put each weight in its average's place, and that in the weight's."""
        reshard(self.backbone)
        for key, value in self.backbone.state_dict().items():
            weight, average = local(value), local(self.averages.main[key])
            kept = weight.clone()
            weight.copy_(average)
            average.copy_(kept)

    def other_averages(self) -> dict[float, dict[str, Tensor]]:
        """The others by their decays; of a sharded network, this process's parts."""
        return dict(list(zip(self.averages.decays, self.averages.all, strict=True))[1:])

    def tensors(self) -> dict[str, Tensor]:
        """Everything to continue from; of a sharded network, this process's parts."""
        return self._named(self.optimisers.tensors())

    def taking(self) -> Take:
        """What is to be kept of each tensor as a file of `tensors` is read: this process's part of it."""
        expected = self._named(self.optimisers.expected())

        def take(name: str, tensor: Tensor) -> Tensor:
            held = expected.get(name, tensor)
            return like(tensor, held) if held.shape == tensor.shape else tensor

        return take

    def load(self, tensors: Mapping[str, Tensor], *, changed: bool = False) -> None:
        """Continue from what `tensors` gave; where the recipe has `changed`, what it needs anew begins anew.

        Raises
        ------
        ModelFileError
            Naming what is missing, left over, or of another shape.
        """
        if changed:
            tensors = self._adapted(tensors)
        # Before the first update that moves anything, an optimiser keeps nothing
        moved = any(key.startswith("optimiser.") for key in tensors)
        check_keys(self._named(self.optimisers.expected() if moved else {}), tensors)
        groups: dict[str, dict[str, Tensor]] = defaultdict(dict)
        for key, value in tensors.items():
            group, _, name = key.partition(".")
            groups[group][name] = value
        self._load_weights(groups["weights"])
        self.averages.load(groups["average"])
        if moved:
            self.optimisers.load(groups["optimiser"])
        if self.scaler.is_enabled():
            scaling = {"scale": groups["scaler"]["scale"].item(), "_growth_tracker": int(groups["scaler"]["growth"])}
            self.scaler.load_state_dict(self.scaler.state_dict() | scaling)

    def _adapted(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Another recipe's tensors for this one: new averages begin with the weights, new optimisers with nothing."""
        expected = self._named(self.optimisers.expected())
        averages = {key for key in expected if key.startswith("average.")}
        begun = {key: tensors.get(f"weights.{self.averages.name_of(key)}") for key in averages - tensors.keys()}
        moments = {key for key in expected if key.startswith("optimiser.")}
        kept = {key: value for key, value in tensors.items() if key in expected or key.startswith("weights.")}
        if moments - tensors.keys():
            kept = {key: value for key, value in kept.items() if not key.startswith("optimiser.")}
        scaling = {key: value for key, value in expected.items() if key.startswith("scaler.")}
        return {**scaling, **{key: value for key, value in begun.items() if value is not None}, **kept}

    def _named(self, moments: Mapping[str, Tensor]) -> dict[str, Tensor]:
        kept = self.scaler.state_dict()
        scaling = {"scale": kept["scale"], "growth": kept["_growth_tracker"]} if kept else {}
        parts = {
            "weights": self.backbone.state_dict(),
            "average": self.averages.tensors(),
            "optimiser": moments,
            "scaler": {key: torch.tensor(value) for key, value in scaling.items()},
        }
        return {f"{group}.{key}": value for group, part in parts.items() for key, value in part.items()}
