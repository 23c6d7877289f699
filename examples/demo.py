"""Degrade photographs that the bundled models have never seen, restore them, and write the pictures side by side.

For example: python examples/demo.py -o demo
"""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

import residiff
from residiff import models
from residiff.data import images
from residiff.data.degrade import degrade
from residiff.data.images import Picture
from residiff.metrics import psnr, ssim
from residiff.photographs import photographs
from residiff.plots import grid
from residiff.seeds import generator

SHOWN = ("astronaut", "coffee", "chelsea", "rocket")
DEGRADED = {"denoise": ("noise", {"sigma": 25.0}), "low-light": ("low-light", {}), "shadow": ("shadow", {})}


@dataclass(frozen=True)
class Restored:
    """One photograph: true, degraded and restored, with PSNR in dB and SSIM before and after."""

    name: str
    truth: Tensor
    degraded: Tensor
    result: Tensor
    before: tuple[float, float]
    after: tuple[float, float]


def restore_photographs(model: str) -> list[Restored]:
    """Degrade each photograph at a fixed seed and restore it with the bundled `model`."""
    restorer = residiff.load(model)
    kind, parameters = DEGRADED[model]
    rows = []
    for seed, name in enumerate(SHOWN):
        truth = photographs()[name]
        degraded, mask = degrade(kind, truth, generator(seed, 100), parameters)
        result = restorer(degraded, mask=mask, seed=0)
        before, after = ((psnr(image, truth), ssim(image, truth)) for image in (degraded, result))
        rows.append(Restored(name, truth, degraded, result, before, after))
    return rows


def write_pictures(rows: list[Restored], model: str, folder: Path) -> None:
    """Write input, result and truth of each photograph as PNG, and all of them as one labelled grid."""
    for row in rows:
        for part, image in (("input", row.degraded), ("result", row.result), ("truth", row.truth)):
            images.write(folder / model / f"{row.name}-{part}.png", Picture(image))
    captions = [[_figures(row.before), _figures(row.after), row.name] for row in rows]
    pictures = [[row.degraded, row.result, row.truth] for row in rows]
    grid(pictures, ["input", f"restored by {model}", "truth"], captions, folder / f"{model}.png")


def write_overview(shown: dict[str, Restored], path: Path) -> None:
    """Write one photograph's middle for each model, as a labelled grid."""
    rows = [[_middle(image) for image in (row.degraded, row.result, row.truth)] for row in shown.values()]
    captions = [[_figures(row.before), f"{model}: {_figures(row.after)}", row.name] for model, row in shown.items()]
    grid(rows, ["input", "restored", "truth"], captions, path)


def _middle(image: Tensor, side: int = 288) -> Tensor:
    top, left = (image.shape[1] - side) // 2, (image.shape[2] - side) // 2
    return image[:, top : top + side, left : left + side]


def _figures(figures: tuple[float, float]) -> str:
    return f"{figures[0]:.2f} dB, SSIM {figures[1]:.3f}"


def main() -> None:
    """Run every bundled model and print what it gained."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, default=Path("demo"), help="folder of the pictures")
    folder = parser.parse_args().output
    gains, shown = {}, {}
    for model in models.bundled():
        began = time.perf_counter()
        rows = restore_photographs(model)
        print(f"{model} ({(time.perf_counter() - began) / len(rows):.1f} s a photograph on {os.cpu_count()} cores)")
        for row in rows:
            print(f"  {row.name:10s} {_figures(row.before)} -> {_figures(row.after)}")
        write_pictures(rows, model, folder)
        shown[model] = rows[len(shown) % len(rows)]
        gains[model] = sum(row.after[0] - row.before[0] for row in rows) / len(rows)
    write_overview(shown, folder / "overview.png")
    print(f"pictures in {folder.resolve()}")
    for model, gain in gains.items():
        print(f"{model}: mean gain: {gain:.2f} dB")


if __name__ == "__main__":
    main()
