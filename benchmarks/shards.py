"""Memory and time of reading 100,000 small pictures from tar shards in shuffled order, with 0, 1 and 2 workers.

50,000 pairs of 32 x 32 pictures are written as shards, indexed, and read through torch's loader, each pass in the same
shuffled order. Told are the time of each step, the resident memory of the process, and of its largest worker, after a
tenth of a pass and at its end, and whether every pass gave the same pairs in the same order.

For example: python benchmarks/shards.py --out /tmp/shards
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import platform
import tempfile
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, RandomSampler

from residiff.data import images
from residiff.data.images import Picture
from residiff.data.parts import Chosen, FilePart, Part, PictureSet
from residiff.data.shards.reading import open_shards
from residiff.data.shards.writing import write_shards
from residiff.data.synthetic import clean_image
from residiff.seeds import generator

SIDE, DISTINCT, BATCH = 32, 16, 50
WORKERS = (0, 1, 2)
SHARD = 20_000_000


class Numbers(Dataset[Tensor]):
    """Of each pair its number and the sums of its two pictures: what shows which one was read."""

    def __init__(self, columns: dict[str, Sequence[Part]]) -> None:
        self.columns = columns

    def __len__(self) -> int:
        """How many pairs."""
        return len(self.columns["clean"])

    def __getitem__(self, index: int) -> Tensor:
        """Pair number `index`, (3,)."""
        sums = [parts[index].read().pixels.sum(dtype=torch.float64).item() for parts in self.columns.values()]
        return torch.tensor([index, *sums], dtype=torch.float64)


@dataclass(frozen=True)
class Pass:
    """One pass: seconds, resident MB of the process and of its largest worker at 10 % and 100 %, and a digest."""

    workers: int
    seconds: float
    early: tuple[float, float]
    late: tuple[float, float]
    digest: str


def resident(process: int | str = "self") -> float:
    """Resident memory in MB."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def memory() -> tuple[float, float]:
    """Resident memory of this process and of its largest worker, 0 without one, in MB."""
    workers = [child.pid for child in multiprocessing.active_children() if child.pid]
    return resident(), max(map(resident, workers), default=0.0)


def read_all(data: Numbers, workers: int) -> Pass:
    """Read every pair once."""
    order = RandomSampler(data, generator=generator(1))
    # libvips, once used, does not live through a fork
    context = "spawn" if workers else None
    loader = DataLoader(data, BATCH, sampler=order, num_workers=workers, multiprocessing_context=context)
    digest, taken, start = hashlib.sha256(), {}, time.perf_counter()
    for number, batch in enumerate(loader, 1):
        digest.update(batch.numpy().tobytes())
        if number in (max(1, len(loader) // 10), len(loader)):
            taken[number] = memory()
    early, late = taken.values()
    return Pass(workers, time.perf_counter() - start, early, late, digest.hexdigest())


def drawn(folder: Path) -> list[FilePart]:
    """A few procedural pictures as PNG without a profile, as most sets have them."""
    paths = [folder / f"{index}.png" for index in range(DISTINCT)]
    for index, path in enumerate(paths):
        images.to_pil(Picture(clean_image(index, SIDE, 0))).save(path)
    return [FilePart(path) for path in paths]


def make(folder: Path, count: int) -> float:
    """Write the shards, if they are not there; gives the seconds taken."""
    if (folder / "train").is_dir():
        return 0.0
    with tempfile.TemporaryDirectory() as apart:
        parts, start = drawn(Path(apart)), time.perf_counter()
        columns = {
            kind: Chosen(parts, [(index + shift) % DISTINCT for index in range(count)])
            for shift, kind in enumerate(("clean", "degraded"))
        }
        deque(write_shards(PictureSet("drawn", columns), folder, "train", size=SHARD), maxlen=0)
        return time.perf_counter() - start


def opened(folder: Path) -> tuple[Numbers, float]:
    """The set, and the seconds that opening it took."""
    start = time.perf_counter()
    columns = open_shards(folder, "train")
    return Numbers(columns), time.perf_counter() - start


def report(folder: Path, count: int) -> None:
    """Make, index, read, print a table in Markdown."""
    written, before = make(folder, count), resident()
    for index in (folder / "train").glob("*.safetensors"):
        index.unlink()
    (_, first), (data, again) = opened(folder), opened(folder)
    held = resident() - before
    print(
        f"{platform.machine()}, {multiprocessing.cpu_count()} cores, torch {torch.__version__}, {datetime.now(UTC):%F}"
    )
    print(f"{2 * count} pictures in {len(list((folder / 'train').glob('*.tar')))} shards, written in {written:.0f} s;")
    print(f"index made in {first:.1f} s, read again in {again:.3f} s, {held:.0f} MB more resident\n")
    print("| workers | seconds a pass | MB resident at 10 % (process, worker) | at 100 % |\n|--:|--:|--:|--:|")
    digests = set()
    for workers in WORKERS:
        one = read_all(data, workers)
        early, late = (" ".join(f"{value:.0f}" for value in pair) for pair in (one.early, one.late))
        print(f"| {one.workers} | {one.seconds:.0f} | {early} | {late} |", flush=True)
        digests.add(one.digest)
    print(f"\nEvery pass gave {'the same pairs in the same order' if len(digests) == 1 else 'OTHER PAIRS: a fault'}.")


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="keep the shards here; else they are deleted at the end")
    parser.add_argument("--pairs", type=int, default=50_000)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        report(options.out or Path(folder), options.pairs)


if __name__ == "__main__":
    main()
