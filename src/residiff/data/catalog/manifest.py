"""Sets that are listed in a table, a manifest, which says where its pictures lie.

It is `train.csv` or `test.csv`, with columns clean and maybe degraded and mask; what stands in a row belongs
together. Paths are relative to the manifest's folder.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import final, get_args

from residiff.data.catalog.layouts import Columns, Kind, Request, Split, by_domain
from residiff.data.catalog.matching import Files, refuse_missing
from residiff.data.catalog.tree import Tree
from residiff.errors import ConfigError

KINDS: tuple[Kind, ...] = get_args(Kind)


@final
@dataclass(frozen=True)
class Manifest:
    """A table of the paths of a split."""

    domains: tuple[str, ...] = ()

    def fits(self, tree: Tree) -> bool:
        """Whether there is a table of either split that begins with the names of columns."""
        return any(_begins_well(tree.root / file_of(split)) for split in get_args(Split))

    def open(self, request: Request) -> Columns:
        """The pictures in the table's order; a `ConfigError` names lines that do not read, and missing files."""
        path = request.root / file_of(request.split)
        if not path.is_file():
            raise ConfigError(f"{request.root} has no {path.name}, which would list the {request.split} pictures")
        columns = _read(path)
        wanted = request.kinds or tuple(kind for kind in KINDS if kind in columns)
        absent = [kind for kind in wanted if kind not in columns]
        if absent:
            raise ConfigError(f"{path} has no column {absent[0]!r}; there are {', '.join(columns)}")
        paths = [columns[kind] for kind in wanted]
        missing = [each for column in paths for each in column if not (request.root / each).is_file()]
        refuse_missing(request.root, missing)
        by_domain(request, (), lambda _: (), exclusive=False)
        return {kind: Files(request.root, column) for kind, column in zip(wanted, paths, strict=True)}


def file_of(split: Split) -> str:
    """What the manifest of a split is called."""
    return f"{split}.csv"


def _begins_well(path: Path) -> bool:
    """Whether the file is a manifest's, and not another table of this name."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return b"clean" in file.readline(4096).lower()


def _read(path: Path) -> dict[str, list[str]]:
    """The columns of a manifest by name; a `ConfigError` names the first line that is not as it should be."""
    try:
        rows = list(csv.reader(io.StringIO(path.read_text("utf-8-sig")), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path} is no table in CSV and UTF-8 ({error}); save it so") from error
    head = [cell.strip().lower() for cell in rows[0]] if rows else []
    if "clean" not in head or len(set(head)) < len(head) or not set(head) <= set(KINDS):
        raise ConfigError(f"{path} begins with {','.join(head)!r}; its columns are clean and maybe degraded and mask")
    lines = [(number, row) for number, row in enumerate(rows[1:], 2) if row]
    for number, row in lines:
        if len(row) != len(head) or not all(row):
            raise ConfigError(f"{path}, row {number}: {len(head)} paths are needed, {','.join(head)}")
    if not lines:
        raise ConfigError(f"{path} holds no images")
    return {kind: [row[place] for _, row in lines] for place, kind in enumerate(head)}
