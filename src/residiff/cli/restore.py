"""`residiff restore`."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from residiff.cli import options as given
from residiff.cli.cluster import cluster_of, hushed, is_uri, many_of
from residiff.cli.console import note
from residiff.cli.folder import Run, hold, run_jobs, show_estimate, watch_run
from residiff.cli.pipe import pipe, piped

if TYPE_CHECKING:
    from residiff.data.images import Picture
    from residiff.restore import Options, Restorer, Shard
    from residiff.restore.cluster import Cluster

EXAMPLE = "Example: residiff restore photos/ -o restored/ -m low-light --recursive"


@dataclass(frozen=True)
class Loading:
    """Which model restores, and on what."""

    model: str
    device: str
    backend: str = "eager"
    calibrate: Path | None = None
    budget: float | None = None

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """Those to calibrate on; `ConfigError` where there is nothing to calibrate."""
        from residiff.data import images
        from residiff.errors import ConfigError

        if self.calibrate is not None and self.backend != "openvino-int8":
            raise ConfigError(f"--calibrate is for --backend openvino-int8, not {self.backend}; leave it out")
        return () if self.calibrate is None else tuple(map(images.read, images.list_images(self.calibrate)))

    def load(self, options: Options) -> Restorer:
        """Load it; `ConfigError` where it is none that restores."""
        from residiff.errors import ConfigError
        from residiff.restore import load

        restorer = load(
            self.model,
            self.device,
            options.settings,
            backend=self.backend,
            calibration=self.pictures,
            budget=self.budget,
        )
        # An impossible side is told once, not of each picture
        if options.tile not in ("auto", 0):
            restorer.tiling(1, 1, options.tile)
        if restorer.recipe.task == "generate":
            raise ConfigError(f"model {restorer.descriptor.name!r} makes pictures from noise; use `residiff generate`")
        return restorer


@dataclass(frozen=True)
class Way:
    """What is done with many pictures, beside restoring each."""

    resume: bool = False
    skip_existing: bool = False
    shard: str | None = None
    deterministic: bool = False
    dry_run: bool = False
    watch: bool = False
    frames: bool = False
    cluster: Cluster | None = None


def restore(
    sources: given.Sources, output: given.Output, model: given.Model, mask: given.Mask = None,
    steps: given.Steps = None, budget: given.BudgetOf = None, seed: given.Seed = 0, strength: given.Strength = 1.0,
    tile: given.TileOf = "auto", keep: given.Keep = False,
    samples: given.Samples = 1, antithetic: given.Antithetic = False,
    device: given.Device = "auto", backend: given.Backend = "eager", calibrate: given.Calibrate = None,
    recursive: given.Recursive = False, resume: given.Resume = False, skip_existing: given.SkipExisting = False,
    shard: given.ShardOf = None, frames: given.Frames = False, watch: given.Watch = False,
    dry_run: given.DryRun = False, json: given.Json = False,
    batch: given.Batch = 1, deterministic: given.Deterministic = False,
    format: given.FormatOf = None, quality: given.Quality = 95, bit_depth: given.BitDepth = None,
    engine: given.EngineOf = given.Engine.LOCAL, address: given.Address = None,
    workers: given.Workers = None, cpus_per_worker: given.CpusPerWorker = None,
    suffix: given.Suffix = "", strip: given.Strip = False, max_pixels: given.MaxPixels = 150_000_000,
    allow_truncated: given.AllowTruncated = False, set_: given.Set = None, save_steps: given.SaveSteps = False,
) -> None:  # fmt: skip
    """Restore pictures of any size, 8 or 16 bits; alpha and metadata are kept."""
    with hold(output, shard, is_wanted=not (dry_run or is_uri(output))) as held:
        from residiff.restore import Options

        cluster = cluster_of(engine, address, workers, cpus_per_worker)
        way = Way(resume, skip_existing, shard, deterministic, dry_run, watch, frames, cluster)
        options = Options.checked(
            steps, seed, strength, format, quality, bit_depth, suffix, max_pixels, save_steps, strip=strip,
            allow_truncated=allow_truncated, settings=set_ or [], batch=batch,
            tile=tile, keep=keep, samples=samples, antithetic=antithetic,
        )  # fmt: skip
        _check(way, batch)
        loading = Loading(model, device, backend, calibrate, _seconds(budget, steps))
        if "-" in (*sources, output):
            source = piped(sources, output, way == Way() and not save_steps and samples == 1)
            return pipe(source, output, None if mask is None else Path(mask), loading.load(options), options)
        asked = _Asked(sources, output, mask, recursive, loading)
        if any(map(is_uri, (*sources, output, mask or ""))):
            return _restore_remote(asked, way, options)
        _restore(asked, way, options, held, json)


@dataclass(frozen=True)
class _Asked:
    names: list[str]
    place: str
    mask_name: str | None
    recursive: bool
    loading: Loading

    @property
    def sources(self) -> list[Path]:
        return [Path(name) for name in self.names]

    @property
    def output(self) -> Path:
        return Path(self.place)

    @property
    def mask(self) -> Path | None:
        return None if self.mask_name is None else Path(self.mask_name)

    def run(self, way: Way, options: Options, output: Path, shard: Shard | None, held: bool) -> Run:
        """How pictures are restored; by many workers, the model that is loaded here only says what can be."""
        many = None if way.cluster is None else many_of(self.loading, options, way.cluster)
        loading = self.loading if many is None else Loading(self.loading.model, "cpu", budget=self.loading.budget)
        restorer, (resume, skip) = loading.load(options), (way.resume, way.skip_existing)
        return Run(restorer, options, output, resume, skip, shard, way.deterministic, held, many)


def _restore(asked: _Asked, way: Way, options: Options, held: bool, as_json: bool) -> None:
    from residiff.restore import Shard, check_sizes, gaps, in_order, plan

    shard = None if way.shard is None else Shard.of(way.shard)
    if way.watch:
        return _watch(asked, options, held)
    jobs = plan(asked.sources, asked.output, options, asked.mask, recursive=asked.recursive, shard=shard)
    if way.frames:
        jobs = in_order(jobs)
        check_sizes(jobs)
        for gap in gaps(jobs):
            note(f"missing frames: {gap}")
    run = asked.run(way, options, asked.output, shard, held)
    if way.dry_run:
        return show_estimate(jobs, run, as_json)
    with hushed() if way.cluster else nullcontext():
        run_jobs(jobs, run)


def _restore_remote(asked: _Asked, way: Way, options: Options) -> None:
    """As `_restore`, where objects are in a store."""
    from residiff.errors import ConfigError
    from residiff.restore import Shard
    from residiff.restore.cluster import mirrored, plan_remote

    if way.cluster is None or way.frames:
        raise ConfigError("what has :// in it is in an object store; that goes with --engine ray, and without --frames")
    shard, afresh = None if way.shard is None else Shard.of(way.shard), not (way.resume or way.skip_existing)
    with hushed(), mirrored(asked.place) as folder:
        run = asked.run(way, options, folder, shard, held=False)
        jobs = plan_remote(
            asked.names,
            asked.place,
            options,
            asked.mask_name,
            folder=folder,
            recursive=asked.recursive,
            shard=shard,
            afresh=afresh,
        )
        run_jobs(jobs, run)


def _watch(asked: _Asked, options: Options, held: bool) -> None:
    from residiff.errors import ConfigError
    from residiff.restore import survey

    if asked.output.suffix and not asked.output.is_dir():
        raise ConfigError(f"{asked.output} is no folder; --watch writes into one")
    for place in asked.sources:
        if not place.is_dir():
            raise ConfigError(f"{place} is no folder; --watch takes folders, and goes on with what is put there")
    restorer = asked.loading.load(options)
    run = Run(restorer, options, asked.output, resume=True, held=held)
    watch_run(run, lambda: survey(asked.sources, asked.output, options, asked.mask, recursive=asked.recursive))


def _seconds(budget: str | None, steps: int | None) -> float | None:
    from residiff.errors import ConfigError
    from residiff.restore import parse_seconds

    if budget is not None and steps is not None:
        raise ConfigError("--steps says how many, and --budget chooses; leave one of them out")
    return None if budget is None else parse_seconds(budget)


def _check(way: Way, batch: int) -> None:
    """Raise `ConfigError` where two options contradict each other."""
    from residiff.errors import ConfigError

    if way.resume and way.skip_existing:
        raise ConfigError("--resume and --skip-existing say different things of what is there; take one of them")
    if way.deterministic and batch > 1:
        raise ConfigError(f"--deterministic is one picture at a time, --batch {batch} is more; leave one out")
    if way.cluster is not None and (way.watch or way.dry_run):
        raise ConfigError("--watch and --dry-run are for one process, here; leave out --engine ray")
    if way.watch and (way.dry_run or way.frames or way.shard or way.skip_existing):
        raise ConfigError("--watch goes with none of --dry-run, --frames, --shard and --skip-existing; leave them out")
