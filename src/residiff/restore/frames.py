"""Numbered frames: in the order of their numbers, all of one size, so that all meet the same noise.

The noise of a picture depends on the seed and on its size alone. Frames of one size have one field of it, fixed to the
picture's edges, so that what the network makes up does not flicker; a frame of another size would have another.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

from residiff.data import images
from residiff.errors import ConfigError, ImageError
from residiff.restore.jobs import Job

_NUMBER = re.compile(r"\d+(?=\D*$)", re.ASCII)
_NAMED = 5


def in_order(jobs: Sequence[Job]) -> list[Job]:
    """The jobs by folder, then by the text before the last number of a name, then by that number.

    Raises
    ------
    ConfigError
        If a name has no number.
    """
    return sorted(jobs, key=lambda job: (*_place(job.source), job.source.name))


def gaps(jobs: Sequence[Job]) -> list[str]:
    """What numbers are missing between frames, in words: "walk/f: 4 to 7"."""
    numbers: dict[str, set[int]] = defaultdict(set)
    for job in jobs:
        folder, before, number = _place(job.source)
        numbers[f"{folder.name}/{before}"].add(number)
    return [
        f"{series}: {low + 1}" if high == low + 2 else f"{series}: {low + 1} to {high - 1}"
        for series, found in sorted(numbers.items())
        for low, high in pairwise(sorted(found))
        if high > low + 1
    ]


def check_sizes(jobs: Sequence[Job]) -> None:
    """Raise `ConfigError` unless all frames that can be read are of one size, going by their headers."""
    sizes: dict[Job, tuple[int, int]] = {}
    for job in jobs:
        with suppress(ImageError):
            sizes[job] = images.size_of(job.source)
    if len(set(sizes.values())) <= 1:
        return
    (height, width), _ = Counter(sizes.values()).most_common(1)[0]
    others = [(job.source.name, size) for job, size in sizes.items() if size != (height, width)]
    named = ", ".join(f"{name} ({size[1]} x {size[0]})" for name, size in others[:_NAMED])
    more = f" and {len(others) - _NAMED} more" if len(others) > _NAMED else ""
    raise ConfigError(
        f"frames are {width} x {height}, but not {named}{more}: they would have other noise; restore them apart"
    )


def _place(path: Path) -> tuple[Path, str, int]:
    found = _NUMBER.search(path.stem)
    if found is None:
        raise ConfigError(f"{path} has no number; frames are called frame-0001.png and so on")
    return path.parent, path.stem[: found.start()], int(found[0])
