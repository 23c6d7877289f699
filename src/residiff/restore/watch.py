"""Folders into which pictures are put while we look: which of them are new, and no longer growing."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias, final

from residiff.restore.jobs import Job, Outcome

Found: TypeAlias = tuple[list[Job], list[Outcome]]
_Stamp: TypeAlias = tuple[int, int]


@final
class Watcher:
    """Tells which jobs are to be done, look by look.

    A file is taken once its size and its time of change are what they were at the look before, so that one that is
    still being written is left until it has stopped; one that is changed later is taken again.

    Parameters
    ----------
    look : finds the jobs that there are now, and those that cannot be done
    """

    def __init__(self, look: Callable[[], Found]) -> None:
        self._look = look
        self._seen: dict[Job, _Stamp] = {}
        self._taken: dict[Job, _Stamp] = {}
        self._refused: set[tuple[Job, str]] = set()

    def ready(self) -> Found:
        """The jobs whose files have come to rest since, and those that cannot be done and were not named before."""
        jobs, refused = self._look()
        stamps = {job: stamp for job in jobs if (stamp := _stamp(job)) is not None}
        ready = [job for job, stamp in stamps.items() if self._seen.get(job) == stamp != self._taken.get(job)]
        # Of files that have gone nothing is kept
        self._seen = stamps
        self._taken = {job: stamp for job, stamp in self._taken.items() if job in stamps}
        self._taken |= {job: stamps[job] for job in ready}
        named = {(outcome.job, str(outcome.error)) for outcome in refused}
        fresh = [outcome for outcome in refused if (outcome.job, str(outcome.error)) not in self._refused]
        self._refused = named
        return ready, fresh


def _stamp(job: Job) -> _Stamp | None:
    """Size and time of change of a job's files; None while one is missing or empty."""
    size, changed = 0, 0
    for path in (job.source, job.mask):
        if path is None:
            continue
        try:
            state = path.stat()
        except OSError:
            return None
        if not state.st_size:
            return None
        size, changed = size + state.st_size, max(changed, state.st_mtime_ns)
    return size, changed
