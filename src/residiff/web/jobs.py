"""The queue of a server: jobs wait in it, are done by its worker one after the other, and can be looked at meanwhile.

A job is taken where there is room for it, its headers are good and pixels x steps x samples are within the limit. It
ends by its deadline, in the queue or out of it. A worker that dies is started again; the job that it died of is tried
once more, and no further.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import Counter, deque
from types import TracebackType
from typing import Self

from residiff.data.images import Format
from residiff.errors import ResidiffError
from residiff.restore import load as load_model
from residiff.web.faults import DIED, DRAINING, BusyError, Failure
from residiff.web.job import Job, JobState
from residiff.web.process import Worker, WorkerDiedError
from residiff.web.settings import Settings
from residiff.web.wire import Message
from residiff.web.work import Limits, ModelEntry, Product, Progress, Work, admit, entry_of
from residiff.web.worker import Loader, Setup

logger = logging.getLogger(__name__)

# Finished jobs that are kept at most, and the bytes of their results
MOST_KEPT, MOST_KEPT_BYTES = 64, 2**29
_ATTEMPTS = 2
# Seconds: how often an idle queue looks whether its worker is there, and the longest that it waits to start another
_LOOK, _LONGEST_WAIT = 0.1, 30.0
_LONGEST_RETRY = 120


class Jobs:
    """A queue and its worker, which is being started.

    The worker imports the main module: a script that makes a queue does so under `if __name__ == "__main__":`.

    Parameters
    ----------
    settings : what is allowed
    load : loads the models in the worker; a function of a module, since it is called in another process
    """

    def __init__(self, settings: Settings = Settings(), load: Loader = load_model) -> None:  # noqa: B008
        self.settings = settings
        self.models: tuple[ModelEntry, ...] = ()
        self.unfit: ResidiffError | None = None
        self.outcomes: Counter[str] = Counter()
        self.restarts = 0
        self._setup = Setup(
            settings.catalogue(), settings.device, settings.backend, settings.threads, settings.loaded, load
        )
        self._limits = Limits(settings.max_pixels, settings.max_work)
        self._changed = threading.Condition()
        self._queue: deque[Job] = deque()
        self._running: Job | None = None
        self._known: dict[str, Job] = {}
        self._worker: Worker | None = None
        self._pace = 0.0
        self._is_ready = self._is_draining = self._is_closed = False
        self._thread = threading.Thread(target=self._serve, name="residiff-jobs", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def ready(self) -> bool:
        """Whether jobs are taken and done."""
        return self._is_ready and not self._is_draining

    @property
    def draining(self) -> bool:
        """Whether the queue is about to end."""
        return self._is_draining

    @property
    def waiting(self) -> int:
        """How many jobs wait."""
        return len(self._queue)

    @property
    def running(self) -> int:
        """How many jobs are being computed."""
        return int(self._running is not None)

    @property
    def worker_number(self) -> int:
        """Of the worker's process; 0 where there is none."""
        worker = self._worker
        return 0 if worker is None else worker.number

    @property
    def default_model(self) -> str:
        """The model of who asks for none: "denoise", or else the first."""
        names = list(self._setup.models)
        return Work.model if Work.model in names else names[0]

    def wait_ready(self, timeout: float) -> bool:
        """Wait until jobs are taken, `timeout` seconds at most; False also where the models cannot be loaded."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_ready or self.unfit is not None, timeout)
            return self.ready

    def check_room(self) -> None:
        """Raise `BusyError` where no job would be taken now."""
        if self._is_draining:
            raise BusyError("draining", "the server is about to end; ask again in a while", DRAINING.retry_after or 1)
        if not self._is_ready:
            raise BusyError("starting", "the process that computes is being started; ask again in a while", 5)
        if len(self._queue) >= self.settings.queue:
            raise BusyError("queue_full", f"{len(self._queue)} jobs wait already; ask again in a while", self._retry())

    def submit(self, work: Work, deadline: float | None = None) -> Job:
        """Take a job that is to be done in `deadline` seconds, the settings' if None.

        Raises
        ------
        BusyError
            If there is no room, or the worker is not there.
        ResidiffError
            If the work cannot be done, as `residiff.web.work.admit` has it.
        """
        self.check_room()
        pixels = admit(work, self.models, self._limits)
        entry = entry_of(work.model, self.models)
        steps = (entry.steps if work.steps is None else work.steps) * work.samples
        job = Job(work, pixels, pixels * steps / 1e6, steps, self.settings.deadline if deadline is None else deadline)
        with self._changed:
            self.check_room()
            self._forget_old()
            self._queue.append(job)
            self._known[job.id] = job
            self._count()
            self._changed.notify_all()
        return job

    def get(self, id: str) -> Job | None:
        """The job of that id; None where there is none, or it has been forgotten."""
        with self._changed:
            self._forget_old()
            return self._known.get(id)

    def forget(self, job: Job) -> None:
        """Keep a job no longer once it has ended."""
        with self._changed:
            self._known.pop(job.id, None)

    def drain(self, grace: float) -> bool:
        """Take no more jobs, and end those there are, in `grace` seconds at most; whether all came to their end."""
        with self._changed:
            self._is_draining = True
            self._changed.notify_all()
            ended = self._changed.wait_for(lambda: not self._queue and self._running is None, grace)
            for job in [*self._queue, *([] if self._running is None else [self._running])]:
                job.stop(DRAINING)
            self._changed.wait_for(lambda: not self._queue and self._running is None, self.settings.grace + 1)
            return ended

    def close(self) -> None:
        """End: the worker too, at once."""
        with self._changed:
            self._is_draining = self._is_closed = True
            for job in self._known.values():
                job.stop(DRAINING)
            self._changed.notify_all()
        if (worker := self._worker) is not None:
            worker.cut()
        self._thread.join()

    def _retry(self) -> int:
        """Seconds after which there should be room: what the next job takes, by the pace of those before."""
        first = self._running or (self._queue[0] if self._queue else None)
        seconds = 1.0 if first is None else self._pace * first.cost
        return min(_LONGEST_RETRY, max(1, math.ceil(seconds)))

    def _serve(self) -> None:
        """What the thread does: keep a worker, and give it the jobs."""
        failures = 0
        while not self._is_closed:
            if self._start():
                failures = 0
                self._work()
            elif self.unfit is not None:
                break
            else:
                failures += 1
                self._pause(min(_LONGEST_WAIT, 0.5 * 2**failures))
        self._end()

    def _start(self) -> bool:
        """Start a worker; whether it is there."""
        worker = self._worker = Worker(self._setup, self.settings.grace)
        try:
            models = worker.entries(lambda: self._is_closed or self._expire())
        except WorkerDiedError:
            logger.error("the worker ended while it was being started")
            return False
        except ResidiffError as error:
            logger.error("the worker cannot load the models: %s", error)
            worker.kill()
            with self._changed:
                # Once they could be loaded, they may be again
                self.unfit = None if self.models else error
                self._changed.notify_all()
            return False
        with self._changed:
            self.models, self._is_ready = models, True
            self._changed.notify_all()
        return True

    def _work(self) -> None:
        """Do jobs while the worker lives."""
        worker = self._worker
        while worker is not None and worker.is_alive and not self._is_closed:
            self._expire()
            if (job := self._next()) is not None:
                self._do(worker, job)
        with self._changed:
            self._is_ready = False
            self.restarts += not self._is_closed
        if not self._is_closed:
            code = None if worker is None else worker.exit_code
            logger.warning("the worker ended (%s); another one is started", code)

    def _next(self) -> Job | None:
        with self._changed:
            if not self._queue:
                self._changed.wait(_LOOK)
            if not self._queue or self._is_closed:
                return None
            job = self._running = self._queue.popleft()
            job.begin()
            self._count()
            return job

    def _do(self, worker: Worker, job: Job) -> None:
        began = time.monotonic()
        try:
            message = worker.run(job.id, job.work, lambda step: _tell(job, step), lambda: self._is_stopping(job))
        except WorkerDiedError:
            self._is_ready = False
            if worker.is_alive:
                worker.kill()
            if job.stopping is None and job.attempts < _ATTEMPTS:
                with self._changed:
                    self._running = None
                    self._queue.appendleft(job)
                    self._count()
                return
            self._finish(job, job.stopping or DIED)
            return
        outcome = _outcome(message)
        if isinstance(outcome, Product):
            pace = (time.monotonic() - began) / job.cost
            self._pace = pace if not self._pace else 0.7 * self._pace + 0.3 * pace
        elif job.stopping is not None:
            outcome = job.stopping
        self._finish(job, outcome)

    def _is_stopping(self, job: Job) -> bool:
        self._expire()
        return job.stopping is not None

    def _expire(self) -> bool:
        """End those in the queue that are to stop; False."""
        if any(job.stopping is not None for job in list(self._queue)):
            with self._changed:
                over = [job for job in self._queue if job.stopping is not None]
                self._queue = deque(job for job in self._queue if job not in over)
                self._count()
            for job in over:
                self._finish(job, job.stopping or DRAINING)
        return False

    def _finish(self, job: Job, outcome: Product | Failure) -> None:
        self.outcomes["done" if isinstance(outcome, Product) else outcome.code] += 1
        with self._changed:
            if self._running is job:
                self._running = None
            self._forget_old()
        job.end(outcome)
        with self._changed:
            self._changed.notify_all()

    def _count(self) -> None:
        """Tell those in the queue where they stand."""
        for position, job in enumerate(self._queue, 1):
            job.move(JobState.QUEUED, position)

    def _forget_old(self) -> None:
        ended = sorted(
            (job for job in self._known.values() if job.is_finished), key=lambda job: job.ended, reverse=True
        )
        held = 0
        for place, job in enumerate(ended):
            held += 0 if job.result is None else sum(map(len, (job.result.data, *job.result.more.values())))
            if place >= MOST_KEPT or held > MOST_KEPT_BYTES or time.monotonic() - job.ended > self.settings.keep:
                del self._known[job.id]

    def _pause(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed, seconds)

    def _end(self) -> None:
        if self._worker is not None and self._worker.is_alive:
            self._worker.kill()
        with self._changed:
            self._is_ready, left = False, list(self._queue)
            self._queue.clear()
        for job in left:
            self._finish(job, DRAINING)


def _tell(job: Job, message: Message) -> None:
    job.step(Progress(*message.facts["progress"]), message.blobs.get("preview"))


def _outcome(message: Message) -> Product | Failure:
    facts = dict(message.facts)
    if message.kind == "failed":
        return Failure.of_facts(facts["failure"])
    more = dict(message.blobs)
    return Product(
        data=more.pop("data"),
        format=Format(facts["format"]),
        name=facts["name"],
        seconds=facts["seconds"],
        change=facts["change"],
        hint=facts["hint"],
        warnings=tuple(facts["warnings"]),
        more=more,
    )
