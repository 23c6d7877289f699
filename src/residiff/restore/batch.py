"""Many pictures: read ahead, restored one after the other, written behind; one bad file stops no other.

What a result is made of is in the output folder's manifest, by which a later run knows what need not be done again.
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TypeVar, final

from residiff.data import images
from residiff.data.images import Format, Picture
from residiff.errors import ConfigError, ImageError, ResidiffError
from residiff.files import sha256, write_bytes
from residiff.restore.jobs import Job, Outcome, name_in, shown
from residiff.restore.manifest import Ledger, Record, damage, difference
from residiff.restore.memory import memory_errors
from residiff.restore.options import Options
from residiff.restore.pipeline import Limits, overlapped
from residiff.restore.provenance import Provenance
from residiff.restore.streaming import RestoresRows, Streamed, hashes_of, restore_rows, tiling_of
from residiff.restore.tiling import Tiling
from residiff.restore.work import Decoded, Hashes, Result, Sources, compute, decode, encode, settings_of

Part = TypeVar("Part")
# Larger pictures keep the network busy alone
LARGEST_IN_BATCH = 512 * 512
_MOST_THREADS = 8


class There(Enum):
    """What is done where a target is there already."""

    REPLACE = "replace"
    # What the manifest vouches for stays
    RESUME = "resume"
    # Whatever it is stays
    SKIP = "skip"


def restore_all(
    jobs: Sequence[Job],
    restorer: RestoresRows,
    options: Options,
    *,
    there: There = There.REPLACE,
    manifest: Ledger | None = None,
    exactly: bool = False,
) -> Iterator[Outcome]:
    """Do the jobs, yielding their outcomes in order; errors of one picture end that picture alone.

    Parameters
    ----------
    jobs : of `plan`
    restorer, options : how
    there : what is done where a target is there already; RESUME needs a manifest that has been read
    manifest : of the output folder, to which results are added as they come to be
    exactly : whether RESUME trusts only what was computed as many pictures at once as `options.batch` says

    Raises
    ------
    ConfigError
        Before the first picture, if the model cannot run so; or if a picture and its mask, being alone, do not fit.
    ResourceError
        If the disk is full, the place may not be written to, or memory runs out.
    """
    for job in jobs[:1]:
        masked = job.mask is not None
        restorer.check(steps=options.steps, seed=options.seed, masked=masked, keep=options.keep)
    for outcome in restore_stream(jobs, restorer, options, there=there, manifest=manifest, exactly=exactly):
        if isinstance(outcome.error, ConfigError) and len(jobs) == 1:
            raise outcome.error
        yield outcome


def restore_stream(
    jobs: Iterable[Job],
    restorer: RestoresRows,
    options: Options,
    *,
    there: There = There.REPLACE,
    manifest: Ledger | None = None,
    exactly: bool = False,
    threads: int | None = None,
) -> Iterator[Outcome]:
    """As `restore_all`, of jobs that become known as it goes, from an iterable that a thread reads; nothing is checked.

    The last ones are given back when it ends. So many `threads` read, and as many write; a few if it is None.
    """
    run = _Run(restorer, options, there, manifest, options.batch if exactly else None)
    threads = max(1, min(_MOST_THREADS, (os.cpu_count() or 1) // 2)) if threads is None else threads
    limits = Limits(batch=options.batch, threads=threads)
    for task in overlapped((_Task(run, job) for job in jobs), run.compute, limits):
        yield task.outcome


def left_to_do(
    jobs: Sequence[Job],
    restorer: RestoresRows,
    options: Options,
    *,
    there: There,
    manifest: Ledger | None = None,
    exactly: bool = False,
) -> list[Job]:
    """The jobs that `restore_all` would not skip, going by the same files; nothing is written."""
    run = _Run(restorer, options, there, manifest, options.batch if exactly else None)
    return [job for job in jobs if not run.spares(job)]


@dataclass(frozen=True)
class _Run:
    restorer: RestoresRows
    options: Options
    there: There
    manifest: Ledger | None
    batch: int | None

    def format_of(self, job: Job) -> Format:
        """Of the file to be written."""
        return self.options.format or images.format_of(job.target)

    def spares(self, job: Job) -> bool:
        """Whether what is there stays."""
        if self.there is There.SKIP:
            return os.path.lexists(job.target)
        if self.there is There.REPLACE or not job.target.is_file():
            return False
        with contextlib.suppress(ImageError):
            return not self.stale(job, hashes_of(job))
        return False

    def stale(self, job: Job, hashes: Hashes) -> str:
        """Why a target that is there must be made again; empty if it need not be. `hashes` are those of its files."""
        if self.manifest is None or not (records := self.manifest.of(job)):
            return "in no manifest"
        settings = settings_of(self.options, self.restorer, self.format_of(job))
        model = self.restorer.descriptor.sha256

        def fault(record: Record) -> str:
            then = record.provenance
            made = difference(record, model, settings, self.batch)
            changed = "" if (then.source_sha256, then.mask_sha256) == hashes else "made of another picture or mask"
            return made or changed or damage(record, job.target)

        faults = [fault(record) for record in records]
        return "" if "" in faults else faults[0]

    def compute(self, tasks: Sequence[_Task]) -> None:
        """Restore the pictures of some tasks: in one call, or one by one where that fails."""
        try:
            if len(tasks) > 1:
                return self._together(tasks)
        except ResidiffError:
            # One of them may be to blame, or memory be too little for all
            pass
        for task in tasks:
            task.compute()

    def _together(self, tasks: Sequence[_Task]) -> None:
        decoded, options = [task.decoded for task in tasks], self.options
        masks = [each.mask for each in decoded if each.mask is not None]
        began = time.perf_counter()
        with memory_errors():
            restored = self.restorer.restore_together(
                [each.picture for each in decoded],
                masks or None,
                steps=options.steps,
                seed=options.seed,
                strength=options.strength,
                keep=options.keep,
            )
        seconds = (time.perf_counter() - began) / len(tasks)
        for task, picture in zip(tasks, restored, strict=True):
            task.take(picture, seconds, len(tasks))

    def enter(self, outcome: Outcome, digest: str, provenance: Provenance) -> None:
        """Add a result that is in its place, of SHA-256 `digest`, to the manifest, where there is one."""
        job = outcome.job
        if self.manifest is not None:
            self.manifest.add(
                Record(
                    target=shown(name_in(job, self.manifest.output)),
                    sha256=digest,
                    source=shown(job.source.absolute()),
                    mask=None if job.mask is None else shown(job.mask.absolute()),
                    provenance=provenance,
                    pixels=outcome.pixels,
                    seconds=outcome.seconds,
                    change=outcome.change,
                )
            )


@final
@dataclass(eq=False)
class _Task:
    """A job on its way through the pipeline; what it no longer needs is let go."""

    run: _Run
    job: Job
    outcome: Outcome = field(init=False)
    settled: bool = False
    _sources: Sources | None = None
    _decoded: Decoded | None = None
    _restored: Picture | None = None
    _result: Result | None = None
    _batch: int = 1
    _tiling: Tiling | None = None
    _hashes: Hashes | None = None
    _streamed: Streamed | None = None

    def __post_init__(self) -> None:
        self.outcome = Outcome(self.job)

    @property
    def kind(self) -> Hashable | None:
        """Padded size, and whether there is a mask."""
        if self._tiling is not None:
            return None
        (height, width), options = self.decoded.picture.pixels.shape[1:], self.run.options
        if height * width > LARGEST_IN_BATCH or options.save_steps or options.samples > 1:
            return None
        multiple = self.run.restorer.descriptor.size_multiple
        return -(-height // multiple), -(-width // multiple), self.decoded.mask is None

    @property
    def decoded(self) -> Decoded:
        """The picture and its mask."""
        return _made(self._decoded)

    def fetch(self) -> int:
        """Read the files, unless the result is there already."""
        with self._guarding(), self._timing():
            if self.run.there is There.SKIP and os.path.lexists(self.job.target):
                return self._settle(skipped=True)
            run = self.run
            self._tiling = tiling_of(self.job, run.restorer, run.options, run.format_of(self.job))
            self._sources = None if self._tiling is not None else Sources.of(self.job)
            self._hashes = hashes_of(self.job) if self._sources is None else self._sources.hashes
            if run.there is There.RESUME and self.job.target.is_file():
                stale = run.stale(self.job, self._hashes)
                if not stale:
                    return self._settle(skipped=True)
                self.outcome = replace(self.outcome, remade=stale)
            height, width = images.size_of(self.job.source if self._sources is None else self._sources.picture)
            return height * width if height * width > LARGEST_IN_BATCH else 0
        return 0

    def decode(self) -> None:
        """Decode picture and mask, unless they are to be streamed."""
        if self._tiling is not None:
            return
        with self._guarding(), self._timing():
            self._decoded = decode(_made(self._sources), self.run.options, self.run.format_of(self.job))
            height, width = self.decoded.picture.pixels.shape[1:]
            self.outcome = replace(self.outcome, pixels=height * width, whole=self.decoded.picture.whole)
            self._sources = None

    def compute(self) -> None:
        """Run the network on this picture alone."""
        with self._guarding():
            began = time.perf_counter()
            if self._tiling is not None:
                return self._stream(self._tiling, began)
            restored = compute(self.decoded, self.run.restorer, self.run.options, self.job.target)
            self.take(restored, time.perf_counter() - began)

    def _stream(self, tiling: Tiling, began: float) -> None:
        run, format = self.run, self.run.format_of(self.job)
        done = restore_rows(self.job, run.restorer, run.options, format, tiling, _made(self._hashes))
        self._streamed, seconds = done, time.perf_counter() - began
        pixels = math.prod(images.size_of(self.job.source))
        self.outcome = replace(self.outcome, seconds=seconds, pixels=pixels, change=done.change)

    def take(self, restored: Picture, seconds: float, batch: int = 1) -> None:
        """What was computed, in how many seconds, with how many pictures at once."""
        self._restored, self._batch = restored, batch
        self.outcome = replace(self.outcome, seconds=seconds)

    def encode(self) -> None:
        """Encode the result, unless that has been done."""
        run = self.run
        if self._streamed is not None:
            return
        with self._guarding(), self._timing():
            format, restored = run.format_of(self.job), _made(self._restored)
            self._result = encode(self.decoded, restored, run.restorer, run.options, format, self._batch)
            self.outcome = replace(self.outcome, change=self._result.change)
            self._decoded = self._restored = None

    def write(self) -> None:
        """Put the result in its place, and then into the manifest."""
        with self._timing():
            if self._streamed is not None:
                self.run.enter(self.outcome, self._streamed.sha256, self._streamed.provenance)
            else:
                result = _made(self._result)
                write_bytes(self.job.target, result.data)
                self.run.enter(self.outcome, sha256(result.data), result.provenance)
        self._settle()

    def _settle(self, error: ResidiffError | None = None, *, skipped: bool = False) -> int:
        self.outcome = replace(self.outcome, error=error, skipped=skipped)
        self._sources = self._decoded = self._restored = self._result = None
        self.settled = True
        return 0

    @contextlib.contextmanager
    def _timing(self) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self.outcome = replace(self.outcome, around=self.outcome.around + time.perf_counter() - began)

    @contextlib.contextmanager
    def _guarding(self) -> Iterator[None]:
        try:
            with memory_errors():
                yield
        except (ImageError, ConfigError) as error:
            self._settle(error)


def _made(part: Part | None) -> Part:
    if part is None:
        raise RuntimeError("a picture came to a stage before the one that is before it")
    return part
