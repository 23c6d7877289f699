"""What training needs of memory, measured beside what `residiff.train.memory.footprint` says; a process a case.

Measured is the most that a process held during three updates beyond what it held before it built the network, then
with a save of its state and model as well.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

UNET, F32, BF16 = "network.backbone.kind=unet", "training.precision=float32", "training.precision=bfloat16"
DIT = ("network.backbone.kind=dit", "network.backbone.patch=4", "data.crop=128")
TWICE = "training.checkpointed=true"
CASES = (
    ("NAFNet", "rain", ("training.batch=64", F32)),
    ("NAFNet", "rain", ("training.batch=64", F32, TWICE)),
    ("NAFNet", "rain", ("training.batch=32", "data.crop=128", BF16)),
    ("U-Net", "rain", (UNET, "training.batch=4", F32)),
    ("U-Net", "rain", (UNET, "training.batch=4", BF16)),
    ("U-Net", "rain", (UNET, "training.batch=16", F32)),
    ("U-Net", "rain", (UNET, "training.batch=16", F32, TWICE)),
    ("two U-Nets", "rddm-istd", ("data.crop=64", "training.batch=2", F32)),
    ("DDIM U-Net", "ddpm-cifar10", ("training.batch=16",)),
    ("DiT-S/4", "rain", (*DIT, "training.batch=8", F32)),
    ("DiT-S/4", "rain", (*DIT, "training.batch=8", F32, TWICE)),
)
UPDATES = 3


def held(key: str) -> int:
    """Bytes of this process: "VmRSS" now, "VmHWM" the most so far (unlike getrusage's, not that of its parent)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) * 1024


def measured(name: str, settings: list[str]) -> dict[str, float]:
    """Train three updates of random pairs, and save; bytes, and the seconds of a core that the fastest update took."""
    import torch

    from residiff.data.pair import Pair
    from residiff.recipe import override, read
    from residiff.train import Run
    from residiff.train.memory import footprint

    recipe = override(read(name), settings)
    torch.nn.functional.conv2d(torch.randn(1, 8, 16, 16), torch.randn(8, 8, 3, 3))
    before, seconds = held("VmRSS"), []
    with tempfile.TemporaryDirectory() as folder:
        trained = Run(recipe, Path(folder))
        images = torch.rand(2, recipe.training.batch, 3, *recipe.data.crop_size)
        pairs = Pair(*images, images[0, :, : recipe.network.mask])
        for step in range(UPDATES):
            began = time.process_time()
            trained.learner.update(pairs, step, 1e-4)
            seconds.append(time.process_time() - began)
        found = {"measured": held("VmHWM") - before, "seconds": min(seconds)}
        began = time.monotonic()
        trained.save()
        found |= {"save": time.monotonic() - began, "saved": held("VmHWM") - before}
    return found | {"estimate": footprint(recipe).total, "batch": recipe.training.batch, "crop": recipe.data.width}


def run(name: str, settings: tuple[str, ...]) -> dict[str, float]:
    """`measured`, in a new process."""
    done = subprocess.run([sys.executable, __file__, "--one", name, *settings], stdout=subprocess.PIPE, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def table() -> None:
    """Print a row for each case as it is done."""
    print("| network | pairs | crop | precision | checkpointed | updates | and a save | footprint | of it", end=" | ")
    print("core-s an update | s a save |\n|---|--:|--:|---|---|--:|--:|--:|--:|--:|--:|")
    for network, name, settings in CASES:
        found = run(name, settings)
        precision = "bfloat16" if BF16 in settings else "float32"
        twice = "yes" if TWICE in settings else "no"
        numbers = " | ".join(f"{found[key] / 1e6:,.0f} MB" for key in ("measured", "saved", "estimate"))
        ratio = f"{found['estimate'] / found['saved']:.2f} | {found['seconds']:.2f} | {found['save']:.2f}"
        print(
            f"| {network} | {found['batch']} | {found['crop']} | {precision} | {twice} | {numbers} | {ratio} |",
            flush=True,
        )


def main() -> None:
    """The table, or with --one a single case for it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one", nargs="+", metavar=("RECIPE", "SETTING"), help="measure one case, as JSON")
    case = parser.parse_args().one
    if case is None:
        table()
    else:
        print(json.dumps(measured(case[0], case[1:])))


if __name__ == "__main__":
    main()
