"""Which file becomes which, and what cannot be: refused before the first write."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path

from residiff.data import images
from residiff.errors import ConfigError
from residiff.nearest import path_hint
from residiff.restore.jobs import Job, Outcome, Shard, name_in
from residiff.restore.options import Options


def plan(
    sources: Sequence[Path],
    output: Path,
    options: Options,
    mask: Path | None = None,
    *,
    recursive: bool = False,
    shard: Shard | None = None,
) -> list[Job]:
    """The jobs for files and folders; folders keep their shape below `output`. With `shard`, those that are its own.

    Raises
    ------
    ConfigError
        If a source or mask is missing, no picture is found, `output` names one picture for several, two would be
        written to one place, one over a source or mask, or one outside of `output`.
    """
    alone = _names_one_picture(sources, output, options)
    found = [pair for source in sources for pair in _expanded(source, output, recursive)]
    if not found:
        raise ConfigError(f"no pictures found in {', '.join(map(str, sources))}; look at the path, or add --recursive")
    jobs = [Job(path, output if alone else output / renamed(relative, options)) for path, relative in found]
    jobs, refused = _sorted_out(jobs, [relative for _, relative in found], output, mask, recursive)
    for outcome in refused:
        if outcome.error is not None:
            raise outcome.error
    return [job for job in jobs if shard is None or shard.holds(name_in(job, output))]


def survey(
    folders: Sequence[Path], output: Path, options: Options, mask: Path | None = None, *, recursive: bool = False
) -> tuple[list[Job], list[Outcome]]:
    """The jobs for what lies in folders now, and those that cannot be done, which hinder no other.

    Raises
    ------
    ConfigError
        If a folder or the mask is missing.
    """
    found = [pair for folder in folders for pair in _expanded(folder, output, recursive)]
    jobs = [Job(path, output / renamed(relative, options)) for path, relative in found]
    return _sorted_out(jobs, [relative for _, relative in found], output, mask, recursive)


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
        raise ConfigError(f"{source} does not exist; {path_hint(source)}")
    if not source.is_dir():
        return [(source, Path(source.name))]
    paths, made = images.list_images(source, recursive), _real(output)
    if _real(source) in made.parents:
        paths = [path for path in paths if made not in _real(path).parents]
    return [(path, path.relative_to(source)) for path in paths]


def _real(path: Path) -> Path:
    # Path.resolve fails on links in a circle
    return Path(os.path.realpath(path))


def renamed(relative: Path, options: Options) -> Path:
    """The path of a result in the output folder, of its source's in its own."""
    suffix = relative.suffix if relative.suffix.lower() in images.WRITABLE_SUFFIXES else ".png"
    if options.format is not None:
        suffix = f".{options.format.value}"
    return relative.with_name(relative.stem + options.suffix + suffix)


def _sorted_out(
    jobs: Sequence[Job], names: Sequence[Path], output: Path, mask: Path | None, recursive: bool
) -> tuple[list[Job], list[Outcome]]:
    """The jobs with their masks, and those that cannot be; `names` are the sources' paths in their folders."""
    masked, refused = [], []
    for job, matte in zip(jobs, _masks_for(names, mask, recursive), strict=True):
        if isinstance(matte, ConfigError):
            refused.append(Outcome(job, matte))
        else:
            masked.append(Job(job.source, job.target, matte))
    errors = dict(_refusals(masked, output))
    refused += [Outcome(masked[place], error) for place, error in errors.items()]
    return [job for place, job in enumerate(masked) if place not in errors], refused


def _masks_for(names: Sequence[Path], mask: Path | None, recursive: bool) -> Iterator[Path | ConfigError | None]:
    """For each picture `mask` itself, or that file of the folder `mask` which has its place and name, any suffix."""
    if mask is None or mask.is_file():
        yield from [mask] * len(names)
        return
    if not mask.is_dir():
        raise ConfigError(f"the mask {mask} does not exist; {path_hint(mask)}")
    found: dict[Path, list[Path]] = {}
    for path in images.list_images(mask, recursive):
        found.setdefault(path.relative_to(mask).with_suffix(""), []).append(path)
    for name in names:
        there = found.get(name.with_suffix(""), [])
        if len(there) == 1:
            yield there[0]
        else:
            wanted = name.with_suffix("")
            yield ConfigError(f"{mask} holds {len(there)} masks for {name}; one called {wanted} is needed")


def _refusals(jobs: Sequence[Job], output: Path) -> Iterator[tuple[int, ConfigError]]:
    """Which jobs cannot be done beside the others before them, and why."""
    read = {_real(path) for job in jobs for path in (job.source, job.mask) if path is not None}
    inside = _real(output) if any(job.target != output for job in jobs) else _real(output.parent)
    taken: dict[str, Path] = {}
    for number, job in enumerate(jobs):
        place, folder = _real(job.target), _real(job.target.parent)
        # Some file systems see no difference
        key = unicodedata.normalize("NFC", str(place)).casefold()
        if place in read:
            over = f"{job.target} would be written over a picture to read; choose another output or --suffix"
            yield number, ConfigError(over)
        elif folder != inside and inside not in folder.parents:
            yield number, ConfigError(f"{job.target} leads out of {output}, to {folder}; remove the link on the way")
        elif key in taken:
            both = f"{taken[key]} and {job.source} would both become {job.target}; rename one"
            yield number, ConfigError(both)
        else:
            taken[key] = job.source
