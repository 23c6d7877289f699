"""Lists of paths, a list for each kind of picture as RDDM trains on, made into a manifest."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

from residiff.data.catalog.layouts import Kind, Split
from residiff.data.catalog.manifest import KINDS, file_of
from residiff.data.catalog.matching import some
from residiff.errors import ConfigError
from residiff.files import write_bytes


def import_lists(
    lists: Mapping[Kind, Path | None],
    output: Path,
    split: Split = "train",
    by: Literal["name", "line"] = "name",
    root: tuple[str, str] | None = None,
) -> int:
    """Write the manifest of a split from lists of paths, one a line, as RDDM's `.flist`; gives how many rows.

    Parameters
    ----------
    lists
        The list of each kind, or nothing: clean ("gt"), and maybe degraded ("input") and mask.
    output
        The folder to write `train.csv` or `test.csv` to.
    by
        What belongs together: files of one name without suffix, or what stands on the same line of each list.
    root
        The beginning of the paths on the machine that the lists are from, and what it is here.

    Raises
    ------
    ConfigError
        If there is no list of clean pictures, a file is not there, or the lists do not go together.
    """
    given = {kind: path for kind in KINDS if (path := lists.get(kind)) is not None}
    if "clean" not in given:
        raise ConfigError("a list of clean pictures is needed; give one with --clean")
    listed = {kind: list(_paths(path, root)) for kind, path in given.items()}
    missing = [str(path) for paths in listed.values() for path in paths if not path.is_file()]
    if missing:
        raise ConfigError(f"no file for {some(missing)}; say where they are now with --root OLD=NEW")
    rows = _by_line(given, listed) if by == "line" else _by_name(listed)
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(listed)
    writer.writerows([_relative(path, output) for path in row] for row in rows)
    write_bytes(output / file_of(split), table.getvalue().encode())
    return len(rows)


def parse_root(setting: str) -> tuple[str, str] | None:
    """`"OLD=NEW"` as a pair, nothing as none; `ConfigError` where it does not read so."""
    old, sign, new = setting.partition("=")
    if setting and not (old and sign and new):
        raise ConfigError(f"{setting!r} is not OLD=NEW, the beginning of the paths there and here")
    return (old, new) if setting else None


def _paths(path: Path, root: tuple[str, str] | None) -> Iterator[Path]:
    """The paths of a list; those that are relative are so to the list's folder."""
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is no list of paths that can be read ({error}); check the name") from error
    lines = [line.strip() for line in lines if line.strip()]
    if not lines:
        raise ConfigError(f"{path} lists no pictures")
    for line in lines:
        yield path.parent / (line if root is None else _moved(line, *root))


def _moved(line: str, old: str, new: str) -> str:
    """A path of another machine, here; one that does not begin with `old` stays."""
    # That of Windows may be written either way
    own, begin = line.replace("\\", "/"), old.replace("\\", "/").rstrip("/")
    return new.rstrip("/") + own[len(begin) :] if own == begin or own.startswith(f"{begin}/") else line


def _by_line(lists: Mapping[Kind, Path], listed: Mapping[Kind, Sequence[Path]]) -> list[tuple[Path, ...]]:
    if len({len(paths) for paths in listed.values()}) > 1:
        counts = ", ".join(f"{lists[kind]} has {len(paths)}" for kind, paths in listed.items())
        raise ConfigError(f"the lists are of different lengths: {counts}; make them equal")
    return list(zip(*listed.values(), strict=True))


def _by_name(listed: Mapping[Kind, Sequence[Path]]) -> list[tuple[Path, ...]]:
    names = {kind: [path.stem for path in paths] for kind, paths in listed.items()}
    everything = set().union(*names.values())
    if any(set(each) != everything or len(each) > len(everything) for each in names.values()):
        raise _not_by_name(listed)
    keyed = {kind: {path.stem: path for path in paths} for kind, paths in listed.items()}
    return [tuple(each[name] for each in keyed.values()) for name in sorted(everything)]


def _not_by_name(listed: Mapping[Kind, Sequence[Path]]) -> ConfigError:
    """What to say of lists whose names are not the same, or come twice."""
    stems = {kind: {path.stem for path in paths} for kind, paths in listed.items()}
    alone = [f"{kind} {name}" for kind in stems for name in sorted(set().union(*stems.values()) - stems[kind])]
    lack = f"no file for {some(alone)}" if alone else "some names come twice"
    return ConfigError(f"{lack}; if the lists go together line by line, say --by line")


def _relative(path: Path, folder: Path) -> str:
    """The path from `folder` on where it lies below, else the whole."""
    whole, base = Path(os.path.abspath(path)), Path(os.path.abspath(folder))
    return whole.relative_to(base).as_posix() if whole.is_relative_to(base) else str(whole)
