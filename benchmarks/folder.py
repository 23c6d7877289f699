"""The share of the network's time in that of a folder of mixed sizes: what reading and writing leave of the machine.

The pictures are PNG and JPEG, 160 to 640 pixels a side; the command's own last line says the same share.

For example: python benchmarks/folder.py --pictures 200 --rounds 3
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from statistics import median

import torch
from mixed import make_pictures

import residiff
from residiff.environment import describe
from residiff.files import write_bytes
from residiff.restore import Manifest, Options, Restorer, plan, restore_all

SIDES = (160, 256, 320, 400, 512, 640)


def share(source: Path, output: Path, restorer: Restorer, options: Options) -> tuple[float, float]:
    """Seconds that restoring all of `source` takes, and those of them in which the network is at work."""
    jobs, manifest = plan([source], output, options, recursive=True), Manifest(output)
    began, network = time.monotonic(), 0.0
    try:
        for outcome in restore_all(jobs, restorer, options, manifest=manifest):
            if outcome.error is not None:
                raise outcome.error
            network += outcome.seconds
    finally:
        manifest.close()
    return time.monotonic() - began, network


def main() -> None:
    """Measure, and print a line a round."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="denoise")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    restorer, options, found = residiff.load(given.model, "cpu"), Options(steps=given.steps), []
    with tempfile.TemporaryDirectory() as name:
        source = Path(name) / "in"
        make_pictures(source / "png", given.pictures - given.pictures // 2, SIDES)
        make_pictures(source / "jpeg", given.pictures // 2, SIDES, ".jpg")
        for number in range(given.rounds):
            seconds, network = share(source, Path(name) / f"out{number}", restorer, options)
            found.append({"seconds": seconds, "network": network, "share": network / seconds})
            print(f"{seconds:7.1f} s, the network's {network:7.1f} s: {100 * network / seconds:.1f} %")
    print(f"median {100 * median(each['share'] for each in found):.1f} %, {torch.get_num_threads()} threads")
    if given.json:
        facts = {"machine": describe(), "pictures": given.pictures, "steps": given.steps, "rounds": found}
        write_bytes(given.json, (json.dumps(facts, indent=1, default=str) + "\n").encode())


if __name__ == "__main__":
    main()
