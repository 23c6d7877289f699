"""The processes that train one network together, started by torchrun; most often there is one."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.distributed.tensor import DTensor

from residiff.errors import ConfigError, ResourceError


@dataclass(frozen=True)
class Processes:
    """How many processes there are, which one this is, and the device that it computes on.

    Each update's pairs are shared among them; number 0 alone writes files and talks.
    """

    device: torch.device
    count: int = 1
    rank: int = 0

    @property
    def is_first(self) -> bool:
        """Whether this is the one that writes."""
        return self.rank == 0

    @property
    def are_many(self) -> bool:
        """Whether there are others."""
        return self.count > 1

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


def started(device: str = "cpu", expected: int | None = None) -> Processes:
    """The processes that torchrun started, this one among them, each on a device of its own where there are several.

    Parameters
    ----------
    device : the kind of device, or where there is one process the very one
    expected : how many must have been started; None takes what there is

    Raises
    ------
    ConfigError
        If there are more or fewer than `expected`, or than the launcher says.
    """
    said = int(os.environ.get("WORLD_SIZE", "1"))
    found = _joined(device) if said > 1 else Processes(torch.device(device))
    wanted = said if expected is None else expected
    if found.count != wanted:
        raise ConfigError(
            f"{wanted} processes were asked for, but {found.count} started; start them by"
            f" `torchrun --nproc_per_node {wanted} -m residiff train ...`"
        )
    return found


def _joined(device: str) -> Processes:
    """One of several, joined to the others."""
    from accelerate import PartialState

    # The others wait while the first one validates
    state = PartialState(cpu=torch.device(device).type == "cpu", timeout=timedelta(hours=4))
    return Processes(state.device, state.num_processes, state.process_index)
