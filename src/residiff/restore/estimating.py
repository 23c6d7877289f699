"""What a run will take: pictures and pixels by their headers, time and space by restoring a few of them."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from residiff.data import images
from residiff.errors import ImageError
from residiff.restore.batch import LARGEST_IN_BATCH, restore_all, restore_stream
from residiff.restore.jobs import Job, Outcome
from residiff.restore.options import Options
from residiff.restore.streaming import RestoresRows

# How long, and how many pictures, are measured
SECONDS = 20.0
MOST = 24


@dataclass(frozen=True)
class Estimate:
    """What a run will take.

    Attributes
    ----------
    pictures : that will be restored
    unreadable : that cannot be, going by their headers
    pixels : of them all
    seconds : from the first to the last, when the model is loaded
    bytes : of the results
    free : bytes there are where they go
    measured : how many were restored to find out
    """

    pictures: int
    unreadable: int
    pixels: int
    seconds: float
    bytes: int
    free: int
    measured: int


def estimate(
    jobs: Sequence[Job], restorer: RestoresRows, options: Options, output: Path, *, seconds: float = SECONDS
) -> Estimate:
    """Restore some of the pictures into a temporary folder, for at most about `seconds`, and reckon from them.

    Raises
    ------
    ConfigError
        If the model cannot run so.
    ResourceError
        If memory, or the disk of temporary files, is too small.
    """
    sizes = _sizes(jobs, options)
    measured = _measured(sizes, restorer, options, seconds)
    known = {"pictures": len(sizes), "unreadable": len(jobs) - len(sizes), "pixels": sum(sizes.values())}
    return Estimate(
        **known,
        seconds=measured.seconds(list(sizes.values())),
        bytes=measured.bytes(sizes),
        free=_free(output),
        measured=len(measured.outcomes),
    )


def _sizes(jobs: Sequence[Job], options: Options) -> dict[Job, int]:
    """The pixels of each picture that can be read, as far as its header goes."""
    found: dict[Job, int] = {}
    for job in jobs:
        with suppress(ImageError):
            height, width = images.size_of(job.source)
            if 0 < height * width <= options.max_pixels:
                found[job] = height * width
    return found


@dataclass(frozen=True)
class _Measured:
    """Pictures that were restored, the bytes of each result, and how long they took together."""

    outcomes: list[Outcome]
    sizes: list[int]
    wall: float

    def seconds(self, pixels: Sequence[int]) -> float:
        """How long pictures of so many pixels take: as the slower of the network and all around it does."""
        if not self.outcomes:
            return 0.0
        sides = [[(each.pixels, getter(each)) for each in self.outcomes] for getter in (_network, _around)]
        here = max(sum(time for _, time in points) for points in sides)
        return self.wall / here * max(_total(points, pixels) for points in sides)

    def bytes(self, pixels: dict[Job, int]) -> int:
        """How many bytes the results of jobs have that hold so many pixels, by what those of their kind have."""
        rates = {kind: self._rate(kind) for kind in {job.target.suffix for job in pixels}}
        return round(sum(rates[job.target.suffix] * count for job, count in pixels.items()))

    def _rate(self, kind: str) -> float:
        pairs = list(zip(self.outcomes, self.sizes, strict=True))
        same = [pair for pair in pairs if pair[0].job.target.suffix == kind] or pairs
        return sum(size for _, size in same) / max(1, sum(outcome.pixels for outcome, _ in same))


def _measured(sizes: dict[Job, int], restorer: RestoresRows, options: Options, seconds: float) -> _Measured:
    chosen = list(islice(_spread(sorted(sizes, key=lambda job: sizes[job])), MOST))
    deadline = time.perf_counter() + seconds
    with tempfile.TemporaryDirectory(prefix="residiff-") as folder:
        groups = [
            list(_copies(job, Path(folder) / str(number), sizes[job], options)) for number, job in enumerate(chosen)
        ]
        # The first one of all makes the machine ready, and is not counted
        list(restore_all(groups[0][:1] if groups else [], restorer, options))
        began = time.perf_counter()
        done = restore_stream(_until(deadline, groups), restorer, options)
        outcomes = [outcome for outcome in done if outcome.error is None]
        wall = time.perf_counter() - began
        return _Measured(outcomes, [outcome.job.target.stat().st_size for outcome in outcomes], wall)


def _until(deadline: float, groups: Sequence[Sequence[Job]]) -> Iterator[Job]:
    """The jobs of the groups, the first in any case, until it is time to end."""
    for number, group in enumerate(groups):
        if number and time.perf_counter() > deadline:
            return
        yield from group


def _copies(job: Job, place: Path, pixels: int, options: Options) -> Iterator[Job]:
    """The job as often as pictures of its size are computed at once, writing into `place`."""
    for copy in range(options.batch if pixels <= LARGEST_IN_BATCH else 1):
        yield replace(job, target=place / f"{copy}{job.target.suffix}")


def _spread(jobs: Sequence[Job]) -> Iterator[Job]:
    """All of them, the first few far apart: the middle one, those at the quarters, and so on."""
    taken: set[int] = set()
    denominator = 2
    while len(taken) < len(jobs):
        for numerator in range(1, denominator, 2):
            place = numerator * len(jobs) // denominator
            if place not in taken:
                taken.add(place)
                yield jobs[place]
        denominator *= 2


def _network(outcome: Outcome) -> float:
    return outcome.seconds


def _around(outcome: Outcome) -> float:
    return outcome.around


def _total(points: Sequence[tuple[float, float]], pixels: Sequence[int]) -> float:
    """The time of pictures of so many pixels, by that of some."""
    fixed, each = _line(points)
    return sum(fixed + each * count for count in pixels)


def _line(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """(fixed, each) of time = fixed + each * pixels, neither negative, with the least squared relative error."""
    weights = [1 / max(time, 1e-9) ** 2 for _, time in points]
    total = sum(weights)
    x, y = (sum(w * point[axis] for w, point in zip(weights, points, strict=True)) / total for axis in (0, 1))
    slope = 0.0
    if len({p for p, _ in points}) > 1:
        spread = sum(w * (p - x) ** 2 for w, (p, _) in zip(weights, points, strict=True))
        slope = sum(w * (p - x) * (t - y) for w, (p, t) in zip(weights, points, strict=True)) / spread
    if slope > 0 and y - slope * x >= 0:
        return y - slope * x, slope
    through_origin = sum(w * p * t for w, (p, t) in zip(weights, points, strict=True))
    return 0.0, through_origin / sum(w * p * p for w, (p, _) in zip(weights, points, strict=True))


def _free(output: Path) -> int:
    place = output.absolute()
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free
