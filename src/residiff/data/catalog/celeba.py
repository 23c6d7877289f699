"""CelebA: aligned faces in one folder, and a list that says which are for training and which for testing."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import final

from residiff.data.catalog.layouts import Columns, Request, by_domain
from residiff.data.catalog.matching import Files, refuse_missing
from residiff.data.catalog.tree import Tree, joined
from residiff.errors import ConfigError

FOLDERS = (
    "img_align_celeba",
    "img_align_celeba/img_align_celeba",
    "Img/img_align_celeba",
    "img_align_celeba_png",
    "Img/img_align_celeba_png",
)
LISTS = ("list_eval_partition.txt", "Eval/list_eval_partition.txt", "list_eval_partition.csv")
# What the list calls the splits; 1 are those to choose settings by
PARTITIONS = {"train": "0", "test": "2"}


@final
@dataclass(frozen=True)
class CelebA:
    """The folder, the list, and the split by it; pictures in the list may be of another format."""

    domains: tuple[str, ...] = ()

    def fits(self, tree: Tree) -> bool:
        """Whether there is the folder; whether the list is there too is told when it is opened."""
        return any(tree.holds(folder) for folder in FOLDERS)

    def open(self, request: Request) -> Columns:
        """The split's pictures, in the list's order; a `ConfigError` names those that are not there."""
        tree = request.tree
        listed = next((name for name in LISTS if tree.holds(name)), None)
        if listed is None:
            raise ConfigError(f"{request.root} has no {LISTS[0]}, which says what is for training; get it with the set")
        with_pictures = [folder for folder in FOLDERS if tree.holds(folder) and tree.pictures(folder)]
        if not with_pictures:
            raise ConfigError(f"{request.root} holds no images")
        folder = with_pictures[0]
        there = {os.path.splitext(name)[0]: name for name in tree.pictures(folder)}
        wanted = [stem for stem, part in _lines(request.root / listed) if part == PARTITIONS[request.split]]
        refuse_missing(request.root, [joined(folder, stem) for stem in wanted if stem not in there])
        paths = [joined(folder, there[stem]) for stem in wanted]
        return by_domain(request, (), lambda _: Files(request.root, paths), exclusive=False)


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    """Each picture's name without suffix, and its partition."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.reader(file) if path.suffix == ".csv" else (line.split() for line in file)
        for number, row in enumerate(rows, 1):
            if row == ["image_id", "partition"] or not row:
                continue
            if len(row) != 2 or row[1] not in ("0", "1", "2"):
                raise ConfigError(f"{path}, line {number}: not a picture and 0, 1 or 2; get the list again")
            yield os.path.splitext(row[0])[0], row[1]
