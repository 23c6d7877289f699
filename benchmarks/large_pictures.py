"""Large pictures through the command: time, peak memory of all its processes, seams; a run of the program a size.

python benchmarks/large_pictures.py --sides 4000 8000 10000 --json large.json
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import torch

from residiff.data import images
from residiff.data.images import Metadata
from residiff.environment import describe
from residiff.photographs import photographs

BAND = 512


def rows(side: int) -> Iterator[torch.Tensor]:
    """Bands of a square picture that a photograph fills, mirrored on and on, with noise of sigma 25 of 255."""
    photograph = photographs()["coffee"]
    tile = torch.cat([photograph, photograph.flip(2)], 2)
    tile = torch.cat([tile, tile.flip(1)], 1)
    across = torch.arange(side) % tile.shape[2]
    for top in range(0, side, BAND):
        down = torch.arange(top, min(side, top + BAND)) % tile.shape[1]
        clean = tile[:, down][:, :, across]
        grain = torch.randn(clean.shape, generator=torch.Generator().manual_seed(top))
        yield (clean + 25 / 255 * grain).clamp(0, 1)


def make(path: Path, side: int) -> None:
    """Write the picture as PNG."""
    with images.write_rows(path, images.Format.PNG, (3, side, side), 8, Metadata()) as writer:
        for band in rows(side):
            writer.add(band)
        writer.finish()


def measured(command: list[str]) -> tuple[float, int]:
    """Seconds that a command takes, and the most bytes that it and its children hold at one time."""
    began, peak = time.monotonic(), 0
    with subprocess.Popen(command) as process:
        ended = threading.Event()

        def watch() -> None:
            nonlocal peak
            while not ended.wait(0.05):
                peak = max(peak, _held(psutil.Process(process.pid)))

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        code = process.wait()
        ended.set()
    if code:
        raise SystemExit(code)
    return time.monotonic() - began, peak


def _held(process: psutil.Process) -> int:
    total = 0
    try:
        for each in (process, *process.children(recursive=True)):
            total += each.memory_info().rss
    except psutil.NoSuchProcess:
        return total
    return total


def seam_ratio(path: Path, core: int) -> float:
    """The mean step between neighbouring pixels across borders of tiles, over that beside them, in a middle part."""
    with images.open_rows(path, max_pixels=10**12) as reader:
        if reader is None:
            raise SystemExit(f"{path} cannot be read by rows")
        part = min(reader.height, 2 * core + BAND)
        image = torch.cat([reader.rows(top, min(part, top + BAND)) for top in range(0, part, BAND)], 1)
    at, beside = [], []
    for dim in (1, 2):
        steps = image.diff(dim=dim).abs().mean((0, 3 - dim))
        place = (torch.arange(len(steps)) + 1) % core
        at.append(steps[place == 0])
        beside.append(steps[torch.isin(place, torch.tensor([1, 2, 3, core - 3, core - 2, core - 1]))])
    return float(torch.cat(at).mean() / torch.cat(beside).mean())


def main() -> None:
    """Measure, and print a line a size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sides", type=int, nargs="+", default=[4000, 8000, 10_000])
    parser.add_argument("--model", default="denoise")
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--tile", default="auto")
    parser.add_argument("--core", type=int, default=512, help="of which seams are looked for")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--folder", type=Path, help="where pictures are put; a temporary one by default")
    options = parser.parse_args()
    found = []
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        for side in options.sides:
            source, target = Path(name) / f"{side}.png", Path(name) / "out" / f"{side}.png"
            make(source, side)
            command = [sys.executable, "-m", "residiff", "restore", str(source), "-o", str(target), "-m", options.model]
            seconds, peak = measured([*command, "--steps", str(options.steps), "--tile", options.tile])
            seams = [seam_ratio(path, options.core) for path in (source, target)]
            row = {"side": side, "seconds": seconds, "peak": peak, "seams": {"input": seams[0], "result": seams[1]}}
            found.append(row)
            print(f"{side:>6} {seconds:8.1f} s {peak / 2**30:6.2f} GiB  seams {seams[1]:.3f} (input {seams[0]:.3f})")
            source.unlink(), target.unlink()
    if options.json:
        facts = {"machine": describe(), "threads": os.environ.get("OMP_NUM_THREADS"), "rows": found}
        options.json.write_text(json.dumps(facts, indent=2, default=str) + "\n")


if __name__ == "__main__":
    main()
