"""Which object becomes which: the plan of a run from prefix to prefix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from residiff.data.images import READABLE_SUFFIXES
from residiff.errors import ConfigError
from residiff.restore.cluster.places import as_base, bare_uri, stamp_of, stamps_below
from residiff.restore.jobs import Job, Place, Remote, Shard, name_in
from residiff.restore.options import Options
from residiff.restore.planning import renamed


def plan_remote(
    sources: Sequence[str],
    output: str,
    options: Options,
    mask: str | None = None,
    *,
    folder: Path,
    recursive: bool = False,
    shard: Shard | None = None,
    afresh: bool = False,
) -> list[Job]:
    """The jobs for prefixes, objects, folders and files, at least one of which, or `output`, is a URI.

    `folder` stands for `output` in the jobs' targets. With `shard`, those jobs that are its own. Where all is done
    `afresh`, no one asks what is in `output`. What lies there is never a source, as it was made by an earlier run.

    Raises
    ------
    ConfigError
        If no picture is found, a mask is missing, two pictures would be written to one place, or one over another.
    ResourceError
        If a store cannot be reached.
    """
    made = Place(as_base(output), "").uri
    found = [each for source in sources for each in _pictures(as_base(source), recursive)]
    found = [each for each in found if not each[0].uri.startswith(made) or each[0].base == as_base(output)]
    if not found:
        raise ConfigError(
            f"no pictures found in {', '.join(map(bare_uri, sources))}; look at the address, or add --recursive"
        )
    there = _Found(as_base(output), {} if afresh else stamps_below(as_base(output), recursive=True))
    masks = _Masks.of(mask, recursive)
    jobs = [_job(each, there, masks, options, folder) for each in found]
    _check(jobs)
    return [job for job in jobs if shard is None or shard.holds(name_in(job, folder))]


@dataclass(frozen=True)
class _Found:
    """Objects below a base, by name, with their stamps."""

    base: str
    stamps: dict[str, str]


def _pictures(base: str, recursive: bool) -> list[tuple[Place, str]]:
    """The picture that a base names, or those below it, with their stamps."""
    alone = _alone(base)
    if _is_picture(alone.name) and (stamp := stamp_of(alone)):
        return [(alone, stamp)]
    below = sorted(stamps_below(base, recursive=recursive).items())
    return [(Place(base, name), stamp) for name, stamp in below if _is_picture(name)]


def _alone(base: str) -> Place:
    """A base as an object of the prefix above it."""
    address, mark, way = base.partition("?")
    above, _, name = address.rpartition("/")
    return Place(above + mark + way, name)


def _is_picture(name: str) -> bool:
    path = PurePosixPath(name)
    return path.suffix.lower() in READABLE_SUFFIXES and not any(part.startswith(".") for part in path.parts)


@dataclass(frozen=True)
class _Masks:
    """One mask for all, or those that have the pictures' names, any suffix; none where there are none."""

    base: str = ""
    alone: tuple[Place, str] | None = None
    named: dict[str, list[tuple[Place, str]]] | None = None

    @classmethod
    def of(cls, mask: str | None, recursive: bool) -> _Masks:
        if mask is None:
            return cls()
        found = _pictures(as_base(mask), recursive)
        if not found:
            raise ConfigError(f"the mask {bare_uri(mask)} does not exist; look at the address")
        if len(found) == 1 and found[0][0].base != as_base(mask):
            return cls(mask, found[0])
        named: dict[str, list[tuple[Place, str]]] = {}
        for place, stamp in found:
            named.setdefault(_bare(place.name), []).append((place, stamp))
        return cls(mask, None, named)

    def of_picture(self, name: str) -> tuple[Place | None, str]:
        if self.named is None:
            return self.alone or (None, "")
        there = self.named.get(_bare(name), [])
        if len(there) != 1:
            wanted = _bare(name)
            raise ConfigError(
                f"{bare_uri(self.base)} holds {len(there)} masks for {name}; one called {wanted} is needed"
            )
        return there[0]


def _bare(name: str) -> str:
    return str(PurePosixPath(name).with_suffix(""))


def _job(found: tuple[Place, str], there: _Found, masks: _Masks, options: Options, folder: Path) -> Job:
    source, stamp = found
    mask, mask_stamp = masks.of_picture(source.name)
    name = renamed(Path(source.name), options).as_posix()
    stamps = stamp, mask_stamp, there.stamps.get(name, "")
    remote = Remote(source, Place(there.base, name), mask, stamps)
    return Job(Path(source.name), folder / name, None if mask is None else Path(mask.name), remote)


def _check(jobs: Sequence[Job]) -> None:
    """Raise `ConfigError` if a result would take the place of another, or of what is read."""
    remotes = [job.remote for job in jobs if job.remote is not None]
    read = {place.uri for each in remotes for place in (each.source, each.mask) if place is not None}
    taken: dict[str, str] = {}
    for each in remotes:
        target = each.target.uri
        if target in read:
            raise ConfigError(f"{target} would be written over what is read; choose another output or --suffix")
        if target in taken:
            raise ConfigError(f"{taken[target]} and {each.source.uri} would both become {target}; rename one")
        taken[target] = each.source.uri
