"""Many files: which becomes which, refused before the first write if two would meet; one bad file stops no other."""

from __future__ import annotations

import contextlib
import difflib
import json
import os
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from residiff.data import images
from residiff.data.images import BitDepth, Format
from residiff.errors import (
    ConfigError,
    ImageError,
    ImageUnsupportedError,
    ResidiffError,
    check_range,
    memory_errors,
)
from residiff.files import environment_errors, write_bytes
from residiff.restore.restorer import MAX_SEED, TOO_LARGE, Restorer


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
    save_steps: bool = False

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
        save_steps: bool = False,
    ) -> Options:
        """Options as a user words them; `ConfigError` names what cannot be."""
        check_range("strength", strength, 0, 1)
        check_range("quality", quality, 1, 100)
        check_range("max-pixels", max_pixels, 1, 10**12)
        check_range("seed", seed, 0, MAX_SEED)
        if bit_depth not in (None, 8, 16):
            raise ConfigError(f"bit-depth is {bit_depth}; allowed are 8 and 16")
        if "/" in suffix or "\\" in suffix:
            raise ConfigError(f"suffix is {suffix!r}; it is put after a name and holds no slashes")
        depth: BitDepth | None = 16 if bit_depth == 16 else 8 if bit_depth == 8 else None
        kind = _format_called(format)
        if depth == 16 and kind not in (None, Format.PNG, Format.TIFF):
            raise ConfigError(f"{format} holds 8 bits; for 16 take png or tiff")
        return cls(steps, seed, strength, kind, quality, depth, suffix, max_pixels, save_steps)


def _format_called(name: str | None) -> Format | None:
    try:
        return None if name is None else images.format_of(Path(f"picture.{name.lower()}"))
    except ImageUnsupportedError as error:
        allowed = sorted(suffix[1:] for suffix in images.WRITABLE_SUFFIXES)
        raise ConfigError(f"format is {name!r}; allowed are {', '.join(allowed)}") from error


@dataclass(frozen=True)
class Job:
    """One picture: what is read, with which mask, and what is written."""

    source: Path
    target: Path
    mask: Path | None = None


@dataclass(frozen=True)
class Outcome:
    """What became of a job; `error` is None where it was done, or `skipped` since its target was there."""

    job: Job
    error: ResidiffError | None = None
    skipped: bool = False


def plan(
    sources: Sequence[Path], output: Path, options: Options, mask: Path | None = None, *, recursive: bool = False
) -> list[Job]:
    """The jobs for files and folders; folders keep their shape below `output`.

    Raises
    ------
    ConfigError
        If a source or mask is missing, no picture is found, `output` names one picture for several, two would be
        written to one place, or one over a source or mask.
    """
    alone = _names_one_picture(sources, output, options)
    found = [pair for source in sources for pair in _expanded(source, output, recursive)]
    if not found:
        raise ConfigError(f"no pictures found in {', '.join(map(str, sources))}; look at the path, or add --recursive")
    masks = _masks_for([relative for _, relative in found], mask, recursive)
    jobs = [
        Job(path, output if alone else output / _renamed(relative, options), matte)
        for (path, relative), matte in zip(found, masks, strict=True)
    ]
    _refuse_collisions(jobs)
    return jobs


def _names_one_picture(sources: Sequence[Path], output: Path, options: Options) -> bool:
    """Whether `output` is the name of a picture, not of a folder; `ConfigError` where it cannot be what it seems."""
    suffix = output.suffix.lower()
    several = len(sources) > 1 or sources[0].is_dir()
    if output.is_dir() or (not output.exists() and (several and suffix not in images.READABLE_SUFFIXES or not suffix)):
        return False
    if suffix not in images.WRITABLE_SUFFIXES:
        raise ConfigError(f"cannot write {output}: name a folder, or a picture ending in {images.WRITABLE}")
    if several:
        raise ConfigError(f"{output} is the name of one picture, but there are more; give a folder")
    if options.suffix or options.format not in (None, images.format_of(output)):
        raise ConfigError(f"{output} says name and format; leave out --suffix and --format, or give a folder")
    return True


def _expanded(source: Path, output: Path, recursive: bool) -> list[tuple[Path, Path]]:
    """Each picture of `source` and its path inside; what lies in the folder `output` was made by an earlier run."""
    if not source.exists():
        raise ConfigError(f"{source} does not exist; {_nearest(source)}")
    if not source.is_dir():
        return [(source, Path(source.name))]
    paths, made = images.list_images(source, recursive), _real(output)
    if _real(source) in made.parents:
        paths = [path for path in paths if made not in _real(path).parents]
    return [(path, path.relative_to(source)) for path in paths]


def _real(path: Path) -> Path:
    # Path.resolve fails on links in a circle
    return Path(os.path.realpath(path))


def _nearest(path: Path) -> str:
    names: list[str] = []
    with contextlib.suppress(OSError):
        names = [entry.name for entry in path.parent.iterdir()]
    near = difflib.get_close_matches(path.name, names, 1)
    return f"did you mean {path.with_name(near[0])}?" if near else "look at the path"


def _renamed(relative: Path, options: Options) -> Path:
    suffix = relative.suffix if relative.suffix.lower() in images.WRITABLE_SUFFIXES else ".png"
    if options.format is not None:
        suffix = f".{options.format.value}"
    return relative.with_name(relative.stem + options.suffix + suffix)


def _masks_for(names: Sequence[Path], mask: Path | None, recursive: bool) -> list[Path | None]:
    """For each picture `mask` itself, or that file of the folder `mask` which has its place and name, any suffix."""
    if mask is None or mask.is_file():
        return [mask] * len(names)
    if not mask.is_dir():
        raise ConfigError(f"the mask {mask} does not exist; {_nearest(mask)}")
    found: dict[Path, list[Path]] = {}
    for path in images.list_images(mask, recursive):
        found.setdefault(path.relative_to(mask).with_suffix(""), []).append(path)
    for name in names:
        count = len(found.get(name.with_suffix(""), []))
        if count != 1:
            raise ConfigError(f"{mask} holds {count} masks for {name}; one called {name.with_suffix('')} is needed")
    return [found[name.with_suffix("")][0] for name in names]


def _refuse_collisions(jobs: Sequence[Job]) -> None:
    read = {_real(path) for job in jobs for path in (job.source, job.mask) if path is not None}
    taken: dict[str, Path] = {}
    for job in jobs:
        place = _real(job.target)
        if place in read:
            raise ConfigError(
                f"{job.target} would be written over a picture to read; choose another output or --suffix"
            )
        # Some file systems see no difference
        key = unicodedata.normalize("NFC", str(place)).casefold()
        if key in taken:
            raise ConfigError(f"{taken[key]} and {job.source} would both become {job.target}; rename one")
        taken[key] = job.source


def restore_all(
    jobs: Sequence[Job], restorer: Restorer, options: Options, *, resume: bool = False
) -> Iterator[Outcome]:
    """Do the jobs one after the other, yielding each outcome; with `resume` a target that exists is taken as done.

    Targets are written atomically, so that one that exists is whole. Errors of one picture end that picture alone.

    Raises
    ------
    ConfigError
        Before the first picture, if the model cannot run so; or if a picture and its mask, being alone, do not fit.
    ResourceError
        If the disk is full, the place may not be written to, or memory runs out.
    """
    for job in jobs[:1]:
        restorer.check(steps=options.steps, seed=options.seed, masked=job.mask is not None)
    for job in jobs:
        if resume and job.target.is_file():
            yield Outcome(job, skipped=True)
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
    """Read, restore and write one picture, and if need be what each step made of it, in a folder beside it."""
    with memory_errors(TOO_LARGE):
        chosen = options.format or images.format_of(job.target)
        steps = job.target.with_suffix(".steps") if options.save_steps else None
        write_bytes(job.target, restore_bytes(job.source, job.mask, restorer, options, chosen, steps))


def restore_bytes(
    source: Path | bytes,
    mask: Path | None,
    restorer: Restorer,
    options: Options,
    format: Format,
    steps_folder: Path | None = None,
) -> bytes:
    """Read one picture, or the bytes of one, restore it, and encode it as `format`.

    With `steps_folder`, x_t and the estimate of x_0 of every step are written there, `00-x.png` and `00-x0.png`.

    Raises
    ------
    ImageUnsupportedError
        If the picture has alpha that `format` cannot hold; before anything is restored.
    """
    matte = None if mask is None else images.read(mask, max_pixels=options.max_pixels)
    picture = images.read(source, max_pixels=options.max_pixels)
    if picture.alpha is not None and format in (Format.JPEG, Format.BMP):
        raise ImageUnsupportedError(f"{format.value} holds no alpha; use png, webp or tiff")
    for number, state in enumerate(restorer.states(picture, matte, steps=options.steps, seed=options.seed)):
        if steps_folder is not None:
            for name, x in (("x", state.x), ("x0", state.estimate.x0)):
                images.write(steps_folder / f"{number:02d}-{name}.png", restorer.picture_of(x, picture))
    result = restorer.picture_of(state.x, picture, options.strength)
    return images.encode(result, format, quality=options.quality, bit_depth=options.bit_depth)


def write_failures(path: Path, outcomes: Sequence[Outcome]) -> None:
    """Write the failed jobs to `path`, a JSON object a line; where none failed, an earlier run's list is removed."""
    rows = [
        {"source": str(outcome.job.source), "error": type(outcome.error).__name__, "message": str(outcome.error)}
        for outcome in outcomes
        if outcome.error is not None
    ]
    if rows:
        write_bytes(path, "".join(json.dumps(row) + "\n" for row in rows).encode())
    else:
        with environment_errors(path):
            path.unlink(missing_ok=True)
