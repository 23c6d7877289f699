"""Where a worker's errands become jobs, and outcomes replies; objects of a store are fetched, and results put there."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import final

from residiff.errors import ImageError
from residiff.restore.cluster.messages import Errand, Reply
from residiff.restore.cluster.places import fetch, put, stamp_of
from residiff.restore.jobs import Job, Outcome, Place, Remote, name_in, shown
from residiff.restore.manifest import Record, record_of

_AT_ONCE = 2


@final
class Desk:
    """Takes errands in hand; it is the ledger of their results.

    Parameters
    ----------
    errands : of one kind, files or objects
    output : the folder that the manifest is of
    folder : where objects are put; None for files, which stay where they are
    """

    def __init__(self, errands: Sequence[Errand], output: Path, folder: Path | None) -> None:
        self.output = output if folder is None else folder
        self._folder = folder
        self._records: dict[str, Record] = {}
        self._errands = {self._local(errand): errand for errand in errands}
        self._replies: dict[int, Future[Reply]] = {}
        self._left = [errand.number for errand in errands]
        self._pool = ThreadPoolExecutor(_AT_ONCE)

    def jobs(self) -> Iterator[Job]:
        """The jobs as files; those whose objects cannot be had are answered at once."""
        for job, errand in self._errands.items():
            try:
                if errand.job.remote is not None:
                    _fetch(errand.job.remote, job)
            except ImageError as error:
                self._replies[errand.number] = self._pool.submit(Reply.failed, errand.number, error)
            else:
                yield job

    def _local(self, errand: Errand) -> Job:
        job = errand.job
        if self._folder is None:
            return job
        place = self._folder / str(errand.number)
        mask = None if job.mask is None else place / "mask" / job.mask.name
        return Job(place / "source" / job.source.name, place / "target" / job.target.name, mask)

    def add(self, record: Record) -> None:
        """Take note of a result that is in its place."""
        self._records[record.target] = record

    def of(self, job: Job) -> list[Record]:
        """What is known of a job's target."""
        return [record for line in self._errands[job].known if (record := record_of(line)) is not None]

    def take(self, outcome: Outcome) -> None:
        """Answer an errand, once its results are where they belong."""
        errand = self._errands[outcome.job]
        self._replies[errand.number] = self._pool.submit(self._reply, errand, outcome)

    def ready(self) -> Iterator[Reply]:
        """The replies that are there, in the order of the errands."""
        while self._left and self._left[0] in self._replies and self._replies[self._left[0]].done():
            yield self._replies.pop(self._left.pop(0)).result()

    def rest(self) -> Iterator[Reply]:
        """The other replies, which are waited for."""
        while self._left:
            yield self._replies.pop(self._left.pop(0)).result()

    def close(self) -> None:
        """Wait for what is under way."""
        self._pool.shutdown(cancel_futures=True)

    def _reply(self, errand: Errand, outcome: Outcome) -> Reply:
        job, record = outcome.job, self._records.pop(shown(name_in(outcome.job, self.output)), None)
        remote = errand.job.remote
        if remote is not None:
            if record is not None:
                record = _delivered(job, remote, record)
            shutil.rmtree(job.source.parents[1], ignore_errors=True)
        reply = Reply.told(errand.number, outcome, None if record is None else record.line())
        return reply if remote is None else _named(reply, job, remote)


def _fetch(remote: Remote, job: Job) -> None:
    fetch(remote.source, job.source)
    if remote.mask is not None and job.mask is not None:
        fetch(remote.mask, job.mask)


def _delivered(job: Job, remote: Remote, record: Record) -> Record:
    """Put what was made of a job in its place, the result last; gives the record of it there."""
    made = [path for path in job.target.parent.rglob("*") if path.is_file() and path != job.target]
    for path in [*made, job.target]:
        name = path.relative_to(job.target.parent).as_posix()
        put(path, Place(remote.target.base, (PurePosixPath(remote.target.name).parent / name).as_posix()))
    found = {"target": shown(remote.target.name), "source": remote.source.uri}
    mask = None if remote.mask is None else remote.mask.uri
    stamps = (*remote.stamps[:2], stamp_of(remote.target))
    return record.model_copy(update=found | {"mask": mask, "stamps": stamps})


def _named(reply: Reply, job: Job, remote: Remote) -> Reply:
    """The reply with the names of objects in place of those of files."""
    message = reply.message.replace(str(job.source), remote.source.uri)
    if job.mask is not None and remote.mask is not None:
        message = message.replace(str(job.mask), remote.mask.uri)
    return replace(reply, message=message)
