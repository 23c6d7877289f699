"""Two Ray workers against one, each with one thread, on a folder of pictures of mixed sizes; in turns, start-up apart.

A rate is that of the results between the first fifth and the last tenth: by then all workers have loaded the model,
and none has run out of pictures. Beside it the local engine with one thread, which has no start-up to leave out.

For example: python benchmarks/many_machines.py --pictures 60 --rounds 3
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import torch
from mixed import make_pictures

import residiff
from residiff.files import write_bytes
from residiff.restore import Job, Manifest, Options, Outcome, Restorer, plan, restore_all
from residiff.restore.cluster import Cluster, Loading, connected, restore_on_ray

COUNTS = (0, 1, 2)


def steady(outcomes: Iterable[Outcome]) -> float:
    """Megapixels a second between the first fifth of the results and the last tenth."""
    seen, pixels = [], []
    for outcome in outcomes:
        if outcome.error is not None:
            raise outcome.error
        seen.append(time.perf_counter())
        pixels.append(outcome.pixels)
    first, last = len(seen) // 5, len(seen) - 1 - len(seen) // 10
    return sum(pixels[first + 1 : last + 1]) / 1e6 / (seen[last] - seen[first])


def rate(workers: int, jobs: list[Job], restorer: Restorer, loading: Loading, options: Options, output: Path) -> float:
    """Megapixels a second by so many workers; by the local engine where there are none."""
    manifest = Manifest(output)
    try:
        if not workers:
            return steady(restore_all(jobs, restorer, options, manifest=manifest))
        cluster = Cluster(workers=workers)
        return steady(restore_on_ray(jobs, restorer, loading, options, cluster, manifest=manifest))
    finally:
        manifest.close()


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="denoise")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    restorer, loading = residiff.load(given.model, "cpu"), Loading.of(given.model, "cpu")
    options, found = Options(steps=given.steps), {count: list[float]() for count in COUNTS}
    load = os.getloadavg()[0] if os.name == "posix" else 0.0
    with tempfile.TemporaryDirectory() as name, connected(Cluster(), len(loading.model)):
        source, output = Path(name) / "in", Path(name) / "out"
        make_pictures(source, given.pictures)
        jobs = plan([source], output, options)
        for number in range(given.rounds):
            for count in COUNTS if number % 2 else reversed(COUNTS):
                found[count].append(rate(count, jobs, restorer, loading, options, output))
    print(f"{platform.machine()}, {os.cpu_count()} cores, load before {load:.1f}, {datetime.now(UTC):%Y-%m-%d}")
    print("| engine | megapixels a second | least, most | against one worker |\n|---|--:|--:|--:|")
    for count, rates in found.items():
        engine = f"Ray, {count} workers" if count else "local, one thread"
        against = median(rates) / median(found[1])
        print(f"| {engine} | {median(rates):.3f} | {min(rates):.3f}, {max(rates):.3f} | {against:.2f} |")
    if given.json:
        facts = {"rates": found, "pictures": given.pictures, "steps": given.steps, "load": load}
        write_bytes(given.json, (json.dumps(facts, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
