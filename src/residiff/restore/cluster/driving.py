"""Many processes that restore, run by Ray Data: jobs go out a few at a time, outcomes come back as they are done."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from residiff.data import images
from residiff.errors import ConfigError, ResourceError, check_range
from residiff.restore import There
from residiff.restore.cluster.loading import Loading
from residiff.restore.cluster.messages import Errand, Reply
from residiff.restore.cluster.worker import Kit, Tries, Worker
from residiff.restore.jobs import Job, Outcome
from residiff.restore.manifest import Manifest, difference, record_of
from residiff.restore.options import Options
from residiff.restore.streaming import RestoresRows
from residiff.restore.work import settings_of

# Jobs for which workers are started at once: what the driver and its store hold is bounded by it
WAVE = 20_000
# The most jobs that a worker is handed at once, and into how many handfuls, for each worker, a wave is divided
_HANDFUL, _HANDFULS = 16, 32
# Bytes that Ray's store has on this machine: a model and some lines
_STORE = 256 << 20
# Of which there are no types
Library: TypeAlias = Any


@dataclass(frozen=True)
class Cluster:
    """Where the workers are, and how many.

    Attributes
    ----------
    address : of a Ray cluster, "auto" or "HOST:PORT" say; None for one on this machine that lasts as long as the run
    workers : how many; None for as many as there are GPUs or, where there are none, cores
    cpus_per_worker : what each reserves. A whole number is also how many threads its network has, less is one. With
        whole ones, stages of a pipeline that are not the network's may find no core free, and Ray waits for ever

    Raises
    ------
    ConfigError
        If there cannot be so many.
    """

    address: str | None = None
    workers: int | None = None
    cpus_per_worker: float = 0.5

    def __post_init__(self) -> None:
        check_range("workers", 1 if self.workers is None else self.workers, 1, 100_000)
        check_range("cpus-per-worker", self.cpus_per_worker, 0.01, 1024)

    @property
    def threads(self) -> int:
        """Of a worker's network."""
        return max(1, int(self.cpus_per_worker))


def restore_on_ray(
    jobs: Sequence[Job],
    restorer: RestoresRows,
    loading: Loading,
    options: Options,
    cluster: Cluster = Cluster(),  # noqa: B008
    *,
    there: There = There.REPLACE,
    manifest: Manifest | None = None,
    exactly: bool = False,
) -> Iterator[Outcome]:
    """As `restore_all`, by the workers of a Ray cluster; outcomes come in the order in which they are done.

    Paths must lead to the same files on each machine; the jobs of `plan_remote` need none. Each picture is read,
    restored and written by one worker. Where a worker dies, its pictures are begun again, and one of which three die
    is given up.

    Parameters
    ----------
    jobs : of `plan`, or of `plan_remote`
    restorer : the same model, here: what it is asked is what can be, and what was done before
    loading : of the model, by each worker
    manifest : of the output folder, to which results are added; it has been read if RESUME is to find anything

    Raises
    ------
    ConfigError
        Before the first picture, if the model or the cluster cannot run so; or if a picture and its mask, being alone,
        do not fit.
    ResourceError
        If Ray is not installed or no cluster is found; if a disk is full, or memory runs out.
    """
    if not jobs:
        return
    restorer.check(steps=options.steps, seed=options.seed, masked=jobs[0].mask is not None, keep=options.keep)
    errands, kept = [], _Kept(restorer, options, there, options.batch if exactly else None)
    for number, job in enumerate(jobs):
        records = manifest.of(job) if manifest is not None and there is There.RESUME else []
        known = tuple(record.line() for record in records)
        errand = Errand(number, _absolute(job), known)
        if kept.spares(errand):
            yield Outcome(job, skipped=True)
        else:
            errands.append(errand)
    output = jobs[0].target.parent if manifest is None else manifest.output
    kit = Kit(loading, options, output.absolute(), there, exactly, cluster.threads)
    for reply in _replies(errands, kit, cluster):
        yield _taken(reply, jobs, manifest)


def _absolute(job: Job) -> Job:
    if job.remote is not None:
        return job
    return Job(job.source.absolute(), job.target.absolute(), None if job.mask is None else job.mask.absolute())


def _taken(reply: Reply, jobs: Sequence[Job], manifest: Manifest | None) -> Outcome:
    outcome = reply.outcome(jobs[reply.number])
    if outcome.error is not None and (reply.ends or (isinstance(outcome.error, ConfigError) and len(jobs) == 1)):
        raise outcome.error
    if manifest is not None and reply.record is not None and (record := record_of(reply.record)) is not None:
        manifest.add(record)
    return outcome


@dataclass(frozen=True)
class _Kept:
    """Which objects stay as they are, going by what their store says of them, and by what the manifest does."""

    restorer: RestoresRows
    options: Options
    there: There
    batch: int | None

    def spares(self, errand: Errand) -> bool:
        """Whether nothing is to be done; of files the workers know it themselves."""
        remote = errand.job.remote
        if remote is None or self.there is There.REPLACE or not remote.stamps[-1]:
            return False
        if self.there is There.SKIP:
            return True
        format = self.options.format or images.format_of(errand.job.target)
        settings, model = settings_of(self.options, self.restorer, format), self.restorer.descriptor.sha256
        records = [record for line in errand.known if (record := record_of(line)) is not None]
        same = [record for record in records if not difference(record, model, settings, self.batch)]
        return any(record.stamps == remote.stamps and record.source == remote.source.uri for record in same)


def _replies(errands: Sequence[Errand], kit: Kit, cluster: Cluster) -> Iterator[Reply]:
    """What the workers say, each errand's reply once."""
    if not errands:
        return
    with connected(cluster, len(kit.loading.model)) as ray:
        workers, gpus = _workers(ray, cluster, kit.loading.device)
        tries = ray.remote(num_cpus=0)(Tries).remote()
        arguments = (ray.put(kit), tries)
        for start in range(0, len(errands), WAVE):
            wave = errands[start : start + WAVE]
            size = max(kit.options.batch, min(_HANDFUL, len(wave) // (_HANDFULS * workers)), 1)
            count = -(-len(wave) // size)
            with _quiet_context(ray):
                rows = ray.data.from_items([{"errand": each.text()} for each in wave], override_num_blocks=count)
                done = rows.map_batches(
                    Worker,
                    fn_constructor_args=arguments,
                    compute=ray.data.ActorPoolStrategy(size=min(workers, count)),
                    batch_size=None,
                    num_cpus=cluster.cpus_per_worker,
                    num_gpus=gpus,
                )
            for row in done.iter_rows():
                yield Reply.of(row["reply"])


@contextlib.contextmanager
def connected(cluster: Cluster, model: int = 0) -> Iterator[Library]:
    """Ray, connected, with room for a model of so many bytes; a connection that was there before is used, and left.

    Several runs within it share one cluster. Raises `ResourceError` if Ray is not installed, or no cluster is found.
    """
    ray = _library()
    if ray.is_initialized():
        yield ray
        return
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    common = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        if cluster.address is None:
            store = max(_STORE, 4 * model)
            ray.init(include_dashboard=False, object_store_memory=store, **common)
        else:
            ray.init(address=cluster.address, **common)
    except (ConnectionError, ValueError, RuntimeError) as error:
        where = "here" if cluster.address is None else f"at {cluster.address}"
        raise ResourceError(f"cannot use a Ray cluster {where}: {error}; look at `ray status`") from error
    _put_back(handlers)
    try:
        yield ray
    finally:
        ray.shutdown()


def _put_back(handlers: dict[signal.Signals, Any]) -> None:
    """The handlers of signals as they were: Ray's own ends the program with another code."""
    if threading.current_thread() is threading.main_thread():
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _library() -> Library:
    """Ray with its data sets, quiet."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise ResourceError('--engine ray needs Ray; install it: pip install "residiff[ray]"') from error
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return ray


@contextlib.contextmanager
def _quiet_context(ray: Library) -> Iterator[None]:
    """Within it, data sets are made that show no bars, and give each row on as soon as it is there."""
    context = ray.data.DataContext.get_current()
    wanted = {"enable_progress_bars": False, "print_on_execution_start": False, "target_max_block_size": 1}
    before = {name: getattr(context, name) for name in wanted}
    try:
        for name, value in wanted.items():
            setattr(context, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(context, name, value)


def _workers(ray: Library, cluster: Cluster, device: str) -> tuple[int, float]:
    """How many workers there are, and the share of a GPU that each has."""
    if device.startswith("cuda:"):
        raise ConfigError(f"device is {device}, but Ray gives each worker its GPU; say cuda, or auto")
    there = ray.cluster_resources()
    cpus, gpus = there.get("CPU", 0.0), int(there.get("GPU", 0.0)) if device in ("auto", "cuda") else 0
    if device == "cuda" and not gpus:
        raise ConfigError("device is cuda, but the Ray cluster has no GPU; take auto, or cpu")
    workers = cluster.workers or gpus or max(1, int(cpus // max(1.0, cluster.cpus_per_worker)))
    if cluster.address is None and workers * cluster.cpus_per_worker > cpus:
        asked = f"{workers} workers with {cluster.cpus_per_worker:g} cores each"
        raise ConfigError(f"{asked} are more than there are, {cpus:g}; take fewer, or a smaller --cpus-per-worker")
    return workers, 1 / math.ceil(workers / gpus) if gpus else 0.0
