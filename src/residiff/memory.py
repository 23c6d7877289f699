"""Memory of the machine: how much is free, and how much a computation would take, found without taking any."""

from __future__ import annotations

import contextlib
import ctypes
import sys
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import psutil
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

CGROUP = Path("/sys/fs/cgroup")

# Parameters of mallopt(3), and what they come to by themselves once blocks of 32 MiB, the largest it heeds, were freed
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
_USUAL = {_TRIM_THRESHOLD: 2**26, _MMAP_THRESHOLD: 2**25, _MMAP_MAX: 65_536}
_REUSING = {_TRIM_THRESHOLD: 2**31 - 1, _MMAP_MAX: 0}


def pretend(backbone: nn.Module, mode: FakeTensorMode) -> None:
    """Put tensors of `mode`, which say that they are on the CPU, in place of the network's own."""
    for module in backbone.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            with mode:
                setattr(module, name, nn.Parameter(torch.empty_like(parameter, device="cpu")))
        for name, buffer in list(module.named_buffers(recurse=False)):
            with mode:
                setattr(module, name, torch.empty_like(buffer, device="cpu"))


class Held(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Follows the storage of all tensors that are made while it is on, but for those of `known` ones."""

    def __init__(self, known: Iterable[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.known = {id(storage): storage for storage in (tensor.untyped_storage() for tensor in known)}
        self.alive: dict[int, int] = {}
        self.now = self.peak = 0

    def __torch_dispatch__(
        self,
        func: Callable[..., object],
        types: object,
        args: tuple[object, ...] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        """Run the operation and take note of what it made."""
        made = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(made):
            if isinstance(leaf, Tensor):
                self._follow(leaf.untyped_storage())
        return made

    def _follow(self, storage: torch.UntypedStorage) -> None:
        key = id(storage)
        if key in self.known or key in self.alive:
            return
        self.alive[key] = storage.nbytes()
        self.now += storage.nbytes()
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._forget, key)

    def _forget(self, key: int) -> None:
        self.now -= self.alive.pop(key)


def available(device: torch.device) -> int:
    """Bytes that may still be taken on `device`: of a GPU its free memory, else the machine's, within its limits."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return max(0, min(int(psutil.virtual_memory().available), _left_of_cgroup(CGROUP), _left_of_address_space()))


def _left_of_cgroup(folder: Path) -> int:
    """What a container's limit leaves (control groups, version 2); the page cache is no hindrance."""
    try:
        limit, used = ((folder / name).read_text().strip() for name in ("memory.max", "memory.current"))
        cache = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())["inactive_file"]
    except (OSError, KeyError):
        return sys.maxsize
    return sys.maxsize if limit == "max" else int(limit) - int(used) + int(cache)


def _left_of_address_space() -> int:
    if sys.platform != "linux":
        return sys.maxsize
    process = psutil.Process()
    limit, _ = process.rlimit(psutil.RLIMIT_AS)
    return sys.maxsize if limit == psutil.RLIM_INFINITY else int(limit - process.memory_info().vms)


def give_back() -> None:
    """Return to the system what is free: glibc keeps it otherwise, most of all what threads freed between others."""
    # Only glibc has it
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


@contextlib.contextmanager
def freed_is_reused() -> Iterator[None]:
    """Keep what is freed for what is asked for next, where glibc would return each block of over 32 MiB at once.

    A block that comes anew from the system has all its pages cleared, which for tensors of that size takes as long as
    what is computed with them. Blocks that are kept leave holes: up to twice as much is taken in all. At the end what
    is free is returned. Settings are the process's: of two that run at a time, the first to end ends it for both.
    """
    _mallopt(_REUSING)
    try:
        yield
    finally:
        _mallopt(_USUAL)
        give_back()


def _mallopt(settings: Mapping[int, int]) -> None:
    # Only glibc has it
    with contextlib.suppress(AttributeError, OSError, TypeError):
        option = ctypes.CDLL(None).mallopt
        for name, value in settings.items():
            option(name, value)
