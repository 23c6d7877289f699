"""The processes that train one network together, started by torchrun; most often there is one."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.distributed.tensor import DTensor

from residiff.errors import ConfigError, ResourceError
from residiff.train.launch import TIMEOUT, Launch, ended_by_signals, launched, meet, torchrun

# Seconds that processes wait for others that have not come
PATIENCE = 300.0


class _Left(Exception):
    """What the first process does alone is left undone."""


@dataclass(frozen=True)
class Processes:
    """How many processes there are, which one this is, and the device that it computes on.

    Each update's pairs are shared among them; number 0 alone writes files and talks. `launcher` is the process number
    of the torchrun that started them, where one did.
    """

    device: torch.device
    count: int = 1
    rank: int = 0
    launcher: int | None = None

    @property
    def is_first(self) -> bool:
        """Whether this is the one that writes."""
        return self.rank == 0

    @property
    def are_many(self) -> bool:
        """Whether there are others."""
        return self.count > 1

    def stopped_by(self, stop: Callable[[], bool]) -> Callable[[], bool]:
        """Asks whether to stop: since `stop` says so, or torchrun has gone, so that nobody would end this process."""
        return lambda: stop() or self.launcher not in (None, os.getppid())

    def share(self, pairs: int) -> range:
        """Which of an update's `pairs` this process computes; `ConfigError` where they cannot be shared evenly."""
        if pairs % self.count:
            raise ConfigError(
                f"an update of {pairs} pairs cannot be shared by {self.count} processes;"
                " let training.batch x training.accumulate be a multiple of their number"
            )
        own = pairs // self.count
        return range(self.rank * own, (self.rank + 1) * own)

    def mean(self, values: Tensor) -> Tensor:
        """The mean of each process's `values`, in place."""
        if self.are_many:
            dist.all_reduce(values)
            values /= self.count
        return values

    def any_of(self, *flags: bool) -> list[bool]:
        """Of each flag, whether it is set in any process."""
        if not self.are_many:
            return list(flags)
        found = torch.tensor(flags, dtype=torch.int32, device=self.device)
        dist.all_reduce(found, dist.ReduceOp.MAX)
        return [bool(flag) for flag in found.tolist()]

    def first_alone(self, work: Callable[[Callable[[], None]], None], stop: Callable[[], bool]) -> bool:
        """Let the first process do `work` while the others wait; whether any of them was told to stop meanwhile.

        `work` is given a function that it must call now and then, by which all hear of a stop; it raises where `work`
        is to be left undone. All processes must call this.
        """
        if not self.is_first:
            stops, works = False, True
            while works and not stops:
                stops, works = self.any_of(stop(), False)
            return stops

        return _left(work, lambda works: self.any_of(stop(), works)[0])

    def together(self, work: Callable[[Callable[[], None]], None], stop: Callable[[], bool]) -> bool:
        """As `first_alone`, but all processes do `work`, and call the function that they are given alike."""
        return _left(work, lambda _works: self.any_of(stop())[0])

    def told(self, number: int) -> int:
        """The first process's `number`, for all."""
        told = torch.tensor(number, device=self.device)
        if self.are_many:
            dist.broadcast(told, 0)
        return int(told.item())

    def gathered(self, texts: Sequence[str]) -> list[str]:
        """Each process's `texts`, one after another."""
        if not self.are_many:
            return list(texts)
        found: list[list[str]] = [[] for _ in range(self.count)]
        dist.all_gather_object(found, list(texts))
        return [text for own in found for text in own]

    def check_equal(self, network: nn.Module) -> None:
        """Raise `ResourceError` unless all processes hold the same weights, bit for bit; shards are not compared."""
        if not self.are_many:
            return
        digest = hashlib.sha256()
        for value in network.state_dict().values():
            if not isinstance(value, DTensor):
                digest.update(value.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
        if len(set(self.gathered([digest.hexdigest()]))) > 1:
            raise ResourceError("the processes' weights differ; let all machines run the same residiff and torch")

    def told_text(self, text: str) -> str:
        """The first process's `text`, for all."""
        told = [text]
        if self.are_many:
            dist.broadcast_object_list(told, 0)
        return told[0]

    def wait(self) -> None:
        """Until all are here."""
        if self.are_many:
            dist.barrier()


def _left(work: Callable[[Callable[[], None]], None], stops: Callable[[bool], bool]) -> bool:
    """Whether a stop was heard of in `work` or after it; `stops` is told whether it still goes on."""

    def ask() -> None:
        if stops(True):
            raise _Left

    try:
        work(ask)
    except _Left:
        return True
    return stops(False)


def started(device: str = "cpu", expected: int | None = None, *, patience: float = PATIENCE) -> Processes:
    """The processes that torchrun started, this one among them, each on a device of its own where there are several.

    Parameters
    ----------
    device : the kind of device, or where there is one process the very one
    expected : how many must have been started; None takes what there is
    patience : seconds to wait for those that have not come yet; a signal ends the waiting

    Raises
    ------
    ConfigError
        If there are more or fewer than `expected`, or than the launcher says, or if that says nonsense.
    ResourceError
        If not all come in time, or cannot meet.
    """
    launch = launched()
    count = 1 if launch is None else launch.size
    wanted = count if expected is None else expected
    found = Processes(torch.device(device), launcher=torchrun())
    if launch is not None and count == wanted:
        found = _joined(device, launch, patience)
        count = found.count
    if count != wanted:
        raise ConfigError(
            f"{wanted} processes were asked for, but {count} started; start them by"
            f" `torchrun --nproc_per_node {wanted} -m residiff train ...`"
        )
    return found


def _joined(device: str, launch: Launch, patience: float) -> Processes:
    """One of several, joined to the others."""
    from accelerate import PartialState

    is_cpu = torch.device(device).type == "cpu"
    with ended_by_signals():
        store = meet(launch, patience)
        state = PartialState(cpu=is_cpu, store=store, rank=launch.rank, world_size=launch.size, timeout=TIMEOUT)
    return Processes(state.device, state.num_processes, state.process_index, torchrun())
