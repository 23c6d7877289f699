"""The server's side of its worker: started, given one job at a time, told to stop, killed where it does not."""

from __future__ import annotations

import contextlib
import multiprocessing
import time
from collections.abc import Callable, Iterator

from residiff.errors import ConfigError, ModelFileError, ResidiffError, ResourceError
from residiff.web.wire import Message, receive, send
from residiff.web.work import ModelEntry, Work
from residiff.web.worker import Setup, work

# Seconds: how often it is looked whether a job is to stop, and how long loading the models may take
_LOOK = 0.03
_START = 600.0


class WorkerDiedError(Exception):
    """The worker is not there any more."""


class Worker:
    """A process that does jobs. Used by one thread, but for `cut`.

    Parameters
    ----------
    setup : what it works with
    grace : seconds that it has to stop what it was told to, before it is killed
    """

    def __init__(self, setup: Setup, grace: float) -> None:
        self._grace = grace
        context = multiprocessing.get_context("spawn")
        self._connection, far = context.Pipe()
        self._process = context.Process(target=work, args=(far, setup), name="residiff-worker", daemon=True)
        self._process.start()
        # Else its end would not be noticed
        far.close()

    @property
    def number(self) -> int:
        """Of its process."""
        return self._process.pid or 0

    @property
    def exit_code(self) -> int | None:
        """What it ended with, the negative number of a signal where it was one; None while it lives."""
        return self._process.exitcode

    @property
    def is_alive(self) -> bool:
        """Whether it can be given jobs."""
        return self._process.is_alive()

    def entries(self, is_closing: Callable[[], bool]) -> tuple[ModelEntry, ...]:
        """Wait for it to load its models, and give what they are.

        Raises
        ------
        ResidiffError
            If one of them cannot be loaded.
        WorkerDiedError
            If it died, was too slow, or `is_closing`.
        """
        until = time.monotonic() + _START
        while not self._has_said():
            if is_closing() or time.monotonic() > until:
                self.kill()
                raise WorkerDiedError
        message = self._receive()
        if message.kind == "ready":
            return tuple(ModelEntry(**entry) for entry in message.facts["models"])
        raise _ERRORS.get(message.facts["exit_code"], ResidiffError)(message.facts["message"])

    def run(self, job: str, asked: Work, tell: Callable[[Message], None], is_stopping: Callable[[], bool]) -> Message:
        """Have a job done: what became of it, after `tell` has been told of each step.

        `is_stopping` is asked all the time; where the worker does not stop in time it is killed.

        Raises
        ------
        WorkerDiedError
            If it died on the way.
        """
        facts, blobs = asked.packed()
        self._send("job", {"id": job, "work": facts}, blobs)
        kill_at = float("inf")
        while True:
            if self._has_said():
                message = self._receive()
                if message.kind != "step":
                    return message
                tell(message)
            elif kill_at == float("inf") and is_stopping():
                self._send("stop", {"id": job}, {})
                kill_at = time.monotonic() + self._grace
            elif time.monotonic() > kill_at:
                self.kill()
                raise WorkerDiedError

    def cut(self) -> None:
        """Have it end at once, whatever it does; any thread may ask for it."""
        self._process.kill()

    def kill(self) -> None:
        """End it at once, and wait for that."""
        self._process.kill()
        self._process.join()
        self._connection.close()

    def _has_said(self) -> bool:
        with _deaths():
            return self._connection.poll(_LOOK)

    def _receive(self) -> Message:
        with _deaths():
            return receive(self._connection)

    def _send(self, kind: str, facts: dict[str, object], blobs: dict[str, bytes]) -> None:
        with _deaths():
            send(self._connection, kind, facts, blobs)


@contextlib.contextmanager
def _deaths() -> Iterator[None]:
    """Turn what a broken connection raises into `WorkerDiedError`."""
    try:
        yield
    except (EOFError, OSError) as error:
        raise WorkerDiedError from error


_ERRORS: dict[int, type[ResidiffError]] = {
    kind.exit_code: kind for kind in (ConfigError, ModelFileError, ResourceError)
}
