"""What a launcher (torchrun, srun) says of the processes that it started, and how these meet."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import NamedTuple

from torch import distributed as dist
from torch.distributed import Store, TCPStore  # type: ignore[attr-defined]

from residiff.errors import ConfigError, ResourceError

# How long one process may keep another waiting, in whatever they do together
TIMEOUT = timedelta(minutes=30)
# How long who listens there may take to answer
ANSWER = timedelta(seconds=30)
# Seconds between two looks for processes that have not come yet
PAUSE = 0.2
_KEY = "residiff/came"


class Launch(NamedTuple):
    """Of a process: its number, how many there are, and where number 0 is met."""

    rank: int
    size: int
    host: str
    port: int


def launched() -> Launch | None:
    """What the launcher says of this process; None where it is alone.

    Raises
    ------
    ConfigError
        If it says nonsense, or not all of it: WORLD_SIZE, RANK, LOCAL_RANK, MASTER_ADDR and MASTER_PORT.
    """
    size = _number("WORLD_SIZE", 1, 2**31) if os.environ.get("WORLD_SIZE") else 1
    if size == 1:
        return None
    _number("LOCAL_RANK", 0, size - 1)
    return Launch(_number("RANK", 0, size - 1), size, _said("MASTER_ADDR"), _number("MASTER_PORT", 1, 2**16 - 1))


def _said(name: str) -> str:
    value = os.environ.get(name, "")
    if not value:
        raise ConfigError(
            f"WORLD_SIZE is {os.environ['WORLD_SIZE']}, but {name} is not set; let torchrun start the processes,"
            " or unset WORLD_SIZE to train by one"
        )
    return value


def _number(name: str, low: int, high: int) -> int:
    text = _said(name)
    if not (text.isascii() and text.isdecimal() and low <= int(text) <= high):
        raise ConfigError(
            f"{name} is {text!r}; allowed are {low} to {high}; let torchrun start the processes, which sets it,"
            " or unset WORLD_SIZE to train by one"
        )
    return int(text)


def torchrun() -> int | None:
    """The process number of the torchrun that started this one, None where another or nobody did.

    torchrun outlives what it started: where it has gone, it was killed. Of other parents, a shell say, this is not so.
    """
    return os.getppid() if dist.is_torchelastic_launched() else None


@contextlib.contextmanager
def others_lost() -> Iterator[None]:
    """Turn what torch says where another process has ended meanwhile into a `ResourceError`."""
    try:
        yield
    except RuntimeError as error:
        # gloo has no class of its own
        if not isinstance(error, dist.DistError) and "gloo/transport" not in str(error):
            raise
        raise ResourceError(
            "another process of this training has ended; see what it said, and continue with --resume"
        ) from error


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """Let signals end this process as they end any other: where torch waits, no handler of Python's is called."""
    numbers = {signal.SIGTERM, signal.SIGINT, getattr(signal, "SIGHUP", signal.SIGTERM)}
    handled = {number: handler for number in numbers if callable(handler := signal.getsignal(number))}
    if threading.current_thread() is not threading.main_thread():
        handled = {}
    for number in handled:
        signal.signal(number, signal.SIG_DFL)
    try:
        yield
    finally:
        for number, handler in handled.items():
            signal.signal(number, handler)


def meet(launch: Launch, patience: float) -> Store:
    """Wait until all processes have come, at most `patience` seconds; gives the store by which they find each other.

    Raises
    ------
    ResourceError
        If not all came, or process 0 cannot be met, or has gone.
    """
    deadline = time.monotonic() + patience
    where = f"{launch.host}:{launch.port} (MASTER_ADDR, MASTER_PORT)"
    # torchrun has a store of its own there
    hosts = launch.rank == 0 and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
    if not hosts:
        _reach(launch, deadline, where)
    came, reason = 0, f"no more within {patience:g} s"
    try:
        store = TCPStore(launch.host, launch.port, launch.size, hosts, ANSWER, wait_for_workers=False)
        came = store.add(_KEY, 1)
        for _ in _looks(deadline):
            if came >= launch.size:
                store.set_timeout(TIMEOUT)
                return store
            came = store.add(_KEY, 0)
    except dist.DistError as error:
        reason = str(error).splitlines()[0]
    raise ResourceError(
        f"of {launch.size} processes {came} came to {where}: {reason}; start all of them, and see why others ended"
    )


def _reach(launch: Launch, deadline: float, where: str) -> None:
    """Wait for somebody to listen there; torch's own trying fills the screen with traces."""
    reason: OSError | None = None
    for left in _looks(deadline):
        try:
            socket.create_connection((launch.host, launch.port), timeout=min(left, 1.0)).close()
            return
        except OSError as error:
            reason = error
    raise ResourceError(f"process 0 did not come to {where}: {reason}; start it, or mend the address")


def _looks(deadline: float) -> Iterator[float]:
    """The seconds left, again and again until there are none; at least once."""
    left = max(deadline - time.monotonic(), PAUSE)
    while left > 0:
        yield left
        time.sleep(PAUSE)
        left = deadline - time.monotonic()
