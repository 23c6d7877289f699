"""A job: what was asked, where it stands, and what became of it, for any number of threads to look at."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from enum import StrEnum
from typing import NamedTuple

from residiff.web.faults import CANCELLED, DEADLINE, Failure
from residiff.web.work import Product, Progress, Work

logger = logging.getLogger(__name__)


class JobState(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Whether nothing more becomes of it."""
        return self not in (JobState.QUEUED, JobState.RUNNING)


class Snapshot(NamedTuple):
    """Where a job stands: `position` in the queue is 1 for the next, 0 for one that waits no more."""

    state: JobState
    position: int
    progress: Progress
    preview: bytes | None


class Job:
    """A job, made by `Jobs.submit`; what begins with an underscore is for the queue alone.

    Attributes
    ----------
    id : of 128 random bits: who does not know it cannot guess it
    work : what was asked; without the bytes of the files once the job has ended
    pixels : of the picture
    state, position, progress, preview : where it stands
    result : of one that is done
    error : of one that has failed or was cancelled
    seconds : from its arrival to its end, or until now
    """

    def __init__(self, work: Work, pixels: int, cost: float, steps: int, deadline: float) -> None:
        self.id = secrets.token_urlsafe(16)
        self.work, self.pixels, self.cost = work, pixels, cost
        self.state, self.position, self.progress = JobState.QUEUED, 0, Progress(0, steps)
        self.preview: bytes | None = None
        self.result: Product | None = None
        self.error: Failure | None = None
        self.attempts = 0
        self.born, self.ended = time.monotonic(), 0.0
        self.deadline = self.born + deadline
        self._stop: Failure | None = None
        self._changes = 0
        self._changed = threading.Condition()
        self._calls: list[Callable[[Job], None]] = []

    @property
    def is_finished(self) -> bool:
        """Whether nothing more becomes of it."""
        return self.state.is_final

    @property
    def seconds(self) -> float:
        """From its arrival to its end, or until now."""
        return (self.ended or time.monotonic()) - self.born

    def snapshot(self) -> Snapshot:
        """Where it stands."""
        return Snapshot(self.state, self.position, self.progress, self.preview)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for its end, `timeout` seconds at most; whether it has come."""
        with self._changed:
            return self._changed.wait_for(lambda: self.is_finished, timeout)

    def events(self) -> Iterator[Snapshot]:
        """Where it stands: at once, at each change (the latest, for who is slow), and at its end."""
        seen = -1
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._changes > seen)  # noqa: B023
                seen, now = self._changes, self.snapshot()
            yield now
            if now.state.is_final:
                return

    def cancel(self) -> None:
        """Have it stopped, within a step; nothing where it has ended."""
        self.stop(CANCELLED)

    def stop(self, why: Failure) -> None:
        """As `cancel`, for another reason; the first one counts."""
        with self._changed:
            self._stop = self._stop or why

    @property
    def stopping(self) -> Failure | None:
        """Why it is being stopped; None where it is not."""
        if self._stop is None and time.monotonic() > self.deadline:
            self.stop(DEADLINE)
        return self._stop

    def add_done_callback(self, call: Callable[[Job], None]) -> None:
        """Have `call` called at its end, by the thread of the queue; at once where that has come."""
        with self._changed:
            if not self.is_finished:
                self._calls.append(call)
                return
        call(self)

    def begin(self) -> None:
        """It is being computed."""
        self.attempts += 1
        self.move(JobState.RUNNING, 0)

    def move(self, state: JobState, position: int) -> None:
        """It stands elsewhere."""
        if (state, position) != (self.state, self.position):
            with self._changed:
                self.state, self.position = state, position
                self._notify()

    def step(self, progress: Progress, preview: bytes | None) -> None:
        """It has come further."""
        with self._changed:
            self.progress = progress
            self.preview = self.preview if preview is None else preview
            self._notify()

    def end(self, outcome: Product | Failure) -> None:
        """It has come to its end; nothing where it had before."""
        with self._changed:
            if self.is_finished:
                return
            if isinstance(outcome, Product):
                self.result, self.state = outcome, JobState.DONE
                self.progress = Progress(self.progress.steps, self.progress.steps)
            else:
                self.error = outcome
                self.state = JobState.CANCELLED if outcome.code == CANCELLED.code else JobState.FAILED
            self.position, self.ended = 0, time.monotonic()
            self.work = replace(self.work, image=b"", mask=None)
            calls, self._calls = self._calls, []
            self._notify()
        for call in calls:
            # The queue goes on
            try:
                call(self)
            except Exception:
                logger.exception("a callback of job %s", self.id)

    def _notify(self) -> None:
        self._changes += 1
        self._changed.notify_all()
