"""Scoring a folder of 1,000 pairs: one process and two, and one process of scikit-image for the same figures.

PSNR and SSIM (Gaussian window) of 512 x 512 RGB in PNG, decoding included, in turns in one run; each contender is a
process of its own, whose start-up counts, and whose peak memory, children included, is told.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from statistics import median

import psutil

OURS = """
import sys
from pathlib import Path
from residiff.evaluate import evaluate
if __name__ == "__main__":
    means = evaluate(Path(sys.argv[1]), Path(sys.argv[2]), processes=int(sys.argv[3])).mean
    print(means["psnr"], means["ssim"])
"""
THEIRS = """
import sys
from pathlib import Path
from statistics import fmean
from skimage.io import imread
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
scores = []
for path in sorted(Path(sys.argv[1]).iterdir()):
    a, b = imread(path), imread(Path(sys.argv[2]) / path.name)
    similarity = structural_similarity(a, b, channel_axis=2, gaussian_weights=True, use_sample_covariance=False)
    scores.append((peak_signal_noise_ratio(b, a), similarity))
print(*(fmean(each) for each in zip(*scores)))
"""
CONTENDERS = {
    "scikit-image": (THEIRS, ()),
    "residiff, 1 process": (OURS, ("1",)),
    "residiff, 2 processes": (OURS, ("2",)),
}
DISTINCT = 40


def make(root: Path, count: int, side: int) -> tuple[Path, Path]:
    """`count` pairs, of which so many differ, by the project's own generator."""
    import torch

    from residiff.data import images
    from residiff.data.images import Picture
    from residiff.data.synthetic import clean_image

    for number in range(min(DISTINCT, count)):
        clean = clean_image(number, side, 0)
        noise = 0.05 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(number))
        for name, pixels in (("gt", clean), ("pred", clean + noise)):
            images.write(root / name / f"{number:05d}.png", Picture(pixels.clamp(0, 1)))
    for number in range(DISTINCT, count):
        for name in ("gt", "pred"):
            shutil.copy(root / name / f"{number % DISTINCT:05d}.png", root / name / f"{number:05d}.png")
    return root / "pred", root / "gt"


def timed(script: str, arguments: list[str]) -> tuple[float, float, str]:
    """Seconds, the most bytes that the process and its children held, and what it printed."""
    began, most = time.perf_counter(), 0
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    # A file, for spawned processes read it again
    with tempfile.NamedTemporaryFile("w", suffix=".py") as file:
        file.write(script)
        file.flush()
        command = [sys.executable, file.name, *arguments]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as child:
            said: list[str] = []
            reader = threading.Thread(target=lambda: said.append(child.stdout.read()))
            reader.start()
            while child.poll() is None:
                most = max(most, held(child.pid))
                time.sleep(0.05)
            reader.join()
    if child.returncode:
        raise SystemExit(f"{arguments} ended with {child.returncode}")
    return time.perf_counter() - began, most, said[0].strip()


def held(pid: int) -> int:
    """Bytes of a process and its children; pages that they share count in each."""
    total = 0
    try:
        process = psutil.Process(pid)
        for each in (process, *process.children(recursive=True)):
            total += each.memory_info().rss
    except psutil.NoSuchProcess:
        pass
    return total


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found: dict[str, list[tuple[float, float, str]]] = {name: [] for name in CONTENDERS}
    with tempfile.TemporaryDirectory() as folder:
        sides = [str(side) for side in make(Path(folder), options.count, options.side)]
        for _ in range(options.rounds):
            for name, (script, more) in CONTENDERS.items():
                found[name].append(timed(script, [*sides, *more]))
    rows = {
        name: {
            "seconds": median(run[0] for run in runs),
            "MiB": max(run[1] for run in runs) / 2**20,
            "said": runs[0][2],
        }
        for name, runs in found.items()
    }
    slowest = rows["scikit-image"]["seconds"]
    for name, row in rows.items():
        times = f"{row['seconds']:8.1f} s  {slowest / row['seconds']:5.2f} x  {row['MiB']:6.0f} MiB"
        print(f"{name:24}{times}  psnr, ssim: {row['said']}")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
