"""Many files: which file becomes which, refused before the first write if two would meet; one bad file stops no other."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from residiff.data import images
from residiff.data.images import Format
from residiff.data.picture import BitDepth
from residiff.errors import ConfigError, ImageError, ResidiffError, check_range
from residiff.files import write_bytes
from residiff.restore.restorer import Restorer

WRITABLE = {".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".avif", ".bmp"}


@dataclass(frozen=True)
class Options:
    """How pictures are restored and written; None leaves the choice to the model or the input."""

    steps: int | None = None
    seed: int = 0
    strength: float = 1.0
    format: Format | None = None
    quality: int = 95
    bit_depth: BitDepth | None = None
    suffix: str = ""
    max_pixels: int = images.MAX_PIXELS

    @classmethod
    def checked(
        cls,
        steps: int | None,
        seed: int,
        strength: float,
        format: str | None,
        quality: int,
        bit_depth: int | None,
        suffix: str,
        max_pixels: int,
    ) -> Options:
        """Options as a user words them; `ConfigError` or `ImageUnsupportedError` names what cannot be."""
        check_range("strength", strength, 0, 1)
        check_range("quality", quality, 1, 100)
        check_range("max-pixels", max_pixels, 1, 10**12)
        check_range("seed", seed, 0, 2**63 - 1)
        if bit_depth not in (None, 8, 16):
            raise ConfigError(f"bit-depth is {bit_depth}; allowed are 8 and 16")
        if "/" in suffix or "\\" in suffix:
            raise ConfigError(f"suffix is {suffix!r}; it is put after a name and holds no slashes")
        depth: BitDepth | None = 16 if bit_depth == 16 else 8 if bit_depth == 8 else None
        wanted = None if format is None else images.format_of(Path(f"picture.{format.lower()}"))
        return cls(steps, seed, strength, wanted, quality, depth, suffix, max_pixels)


@dataclass(frozen=True)
class Job:
    """One picture: what is read, with which mask, and what is written."""

    source: Path
    target: Path
    mask: Path | None = None


@dataclass(frozen=True)
class Outcome:
    """What became of a job; `error` is None where it was done."""

    job: Job
    error: ResidiffError | None = None


def plan(
    sources: Sequence[Path], output: Path, options: Options, mask: Path | None = None, *, recursive: bool = False
) -> list[Job]:
    """The jobs for files and folders; folders keep their shape below `output`.

    Raises
    ------
    ConfigError
        If a source is missing, no picture is found, two would be written to one place, or one over its own source.
    """
    alone = len(sources) == 1 and not sources[0].is_dir() and output.suffix.lower() in WRITABLE and not output.is_dir()
    jobs = [
        Job(path, output if alone else output / _renamed(relative, options), _mask_for(path, mask))
        for source in sources
        for path, relative in _expanded(source, recursive)
    ]
    if not jobs:
        raise ConfigError(f"no pictures found in {', '.join(map(str, sources))}; look at the path, or add --recursive")
    _refuse_collisions(jobs)
    return jobs


def _expanded(source: Path, recursive: bool) -> list[tuple[Path, Path]]:
    if source.is_dir():
        return [(path, path.relative_to(source)) for path in images.list_images(source, recursive)]
    if not source.exists():
        raise ConfigError(f"{source} does not exist; look at the path")
    return [(source, Path(source.name))]


def _renamed(relative: Path, options: Options) -> Path:
    suffix = relative.suffix if relative.suffix.lower() in WRITABLE else ".png"
    if options.format is not None:
        suffix = f".{options.format.value}"
    return relative.with_name(relative.stem + options.suffix + suffix)


def _mask_for(source: Path, mask: Path | None) -> Path | None:
    """`mask` itself, or the file of the folder `mask` with the stem of `source`."""
    if mask is None or not mask.is_dir():
        return mask
    found = [path for path in images.list_images(mask) if path.stem == source.stem]
    if len(found) != 1:
        raise ConfigError(f"{mask} holds {len(found)} masks for {source.name}; one file called {source.stem} is needed")
    return found[0]


def _refuse_collisions(jobs: Sequence[Job]) -> None:
    sources = {job.source.resolve() for job in jobs}
    taken: dict[str, Path] = {}
    for job in jobs:
        place = str(job.target.resolve())
        if job.target.resolve() in sources:
            raise ConfigError(f"{job.target} would be written over its own source; choose another output, or --suffix")
        if place.lower() in taken:
            first = taken[place.lower()]
            raise ConfigError(f"{first} and {job.source} would both become {job.target}; choose --format, or rename one")
        taken[place.lower()] = job.source


def restore_all(jobs: Sequence[Job], restorer: Restorer, options: Options, *, resume: bool = False) -> Iterator[Outcome]:
    """Do the jobs one after the other, yielding each outcome; with `resume` a target that exists is taken as done.

    Targets are written atomically, so that one that exists is whole. Errors of one picture end that picture alone.
    """
    for job in jobs:
        if resume and job.target.exists():
            yield Outcome(job)
            continue
        try:
            restore_file(job, restorer, options)
            yield Outcome(job)
        except ImageError as error:
            yield Outcome(job, error)
        except ConfigError as error:
            if len(jobs) == 1:
                raise
            yield Outcome(job, error)


def restore_file(job: Job, restorer: Restorer, options: Options) -> None:
    """Read, restore and write one picture."""
    mask = None if job.mask is None else images.read(job.mask, max_pixels=options.max_pixels)
    picture = images.read(job.source, max_pixels=options.max_pixels)
    result = restorer.restore(picture, mask, steps=options.steps, seed=options.seed, strength=options.strength)
    images.write(
        job.target, result, format=options.format, quality=options.quality, bit_depth=options.bit_depth
    )


def write_failures(path: Path, outcomes: Sequence[Outcome]) -> None:
    """Write the failed jobs to `path`, a JSON object a line."""
    rows = [
        {"source": str(outcome.job.source), "error": type(outcome.error).__name__, "message": str(outcome.error)}
        for outcome in outcomes
        if outcome.error is not None
    ]
    write_bytes(path, "".join(json.dumps(row) + "\n" for row in rows).encode())
