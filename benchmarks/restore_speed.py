"""How much faster restoring is than the published arithmetic, on 256 x 256 pictures; everything in one run, in turns.

The papers' U-Net (36.26M parameters, random weights) as published is the reference of all ratios; beside it the same
weights by each backend, and the bundled denoiser at 5, 2 and 1 steps. What 8-bit integers lose is measured with the
denoiser's trained weights, on photographs: the papers' U-Net has no trained ones here.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean, median

import torch

import residiff
from residiff.backends import Backend, Folded
from residiff.backends.ort import onnx_network
from residiff.backends.vino import bfloat16_network, float32_network, int8_network
from residiff.bench import alternated, reference_network
from residiff.data.images import Picture
from residiff.files import write_bytes
from residiff.metrics import psnr
from residiff.photographs import photographs

REFERENCE = "reference: U-Net, eager, not folded"
SIGMA = 25 / 255
STEPS = (5, 2, 1)
Work = Callable[[], object]


def unet_works(size: int) -> tuple[dict[str, Work], dict[str, float]]:
    """One call of the U-Net by each backend, and how far the results are from the reference's."""
    network = reference_network()
    folded = Folded(network)
    source = torch.Generator().manual_seed(0)
    x, times = torch.randn((1, 6, size, size), generator=source), (torch.tensor([500.0]),)
    calls = [(torch.randn((1, 6, 128, 128), generator=source), (torch.tensor([t]),)) for t in (900.0, 500.0, 100.0)]
    made = {
        REFERENCE: network,
        "eager, folded": folded,
        "ONNX Runtime": onnx_network(folded),
        "OpenVINO float32": float32_network(folded),
        "OpenVINO bfloat16": bfloat16_network(folded),
        "OpenVINO int8": int8_network(folded, lambda: calls),
    }
    with torch.inference_mode():
        expected = network(x, times)[0]
        off = {name: float((each(x, times)[0] - expected).abs().max()) for name, each in made.items()}
    return {name: lambda each=each: torch.inference_mode()(each)(x, times) for name, each in made.items()}, off


def model_works(model: str, size: int) -> dict[str, Work]:
    """A whole restoring of one picture by the bundled model, as eager torch and OpenVINO run it."""
    picture, works = Picture(torch.rand((3, size, size), generator=torch.Generator().manual_seed(0))), {}
    for backend in (Backend.EAGER, Backend.OPENVINO):
        restorer = residiff.load(model, "cpu", backend=backend)
        for steps in STEPS:
            works[f"{model}, {backend}, {steps} steps"] = lambda r=restorer, n=steps: r.restore(picture, steps=n)
    return works


def losses(model: str, size: int) -> dict[str, float]:
    """PSNR on noisy photographs, each backend and number of steps."""
    source = torch.Generator().manual_seed(0)
    clean = [image[:, :size, :size] for image in photographs().values()]
    noisy = [(each + SIGMA * torch.randn(each.shape, generator=source)).clamp(0, 1) for each in clean]
    found = {}
    for backend in (Backend.EAGER, Backend.OPENVINO_BF16, Backend.OPENVINO_INT8):
        restorer = residiff.load(model, "cpu", backend=backend)
        for steps in STEPS if backend is Backend.EAGER else (STEPS[0],):
            results = [restorer.restore(Picture(each), steps=steps).pixels for each in noisy]
            found[f"{backend}, {steps} steps"] = fmean(psnr(a, b) for a, b in zip(results, clean, strict=True))
    return found


def main() -> None:
    """Measure, and print a row of a table for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="denoise")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    scores = losses(given.model, given.size)
    works, off = unet_works(given.size)
    works |= model_works(given.model, given.size)
    load = os.getloadavg()[0] if os.name == "posix" else 0.0
    seconds = {str(name): rounds for name, rounds in alternated(works, given.rounds).items()}
    base = median(seconds[REFERENCE])
    print(f"{platform.machine()}, {given.threads} threads, load before {load:.1f}, {datetime.now(UTC):%Y-%m-%d}")
    print("| what | s | times the reference | least, most s | off by |\n|---|--:|--:|--:|--:|")
    for name, rounds in seconds.items():
        # A restoring is compared with five steps of the reference
        against = base if name in off else STEPS[0] * base
        told = f"{off[name]:.1e}" if name in off else ""
        taken = f"{min(rounds):.3f}, {max(rounds):.3f}"
        print(f"| {name} | {median(rounds):.3f} | {against / median(rounds):.2f} | {taken} | {told} |")
    print("| PSNR of | dB |\n|---|--:|")
    for name, score in scores.items():
        print(f"| {name} | {score:.2f} |")
    if given.json:
        facts = {"seconds": seconds, "off": off, "psnr": scores, "threads": given.threads, "load": load}
        write_bytes(given.json, (json.dumps(facts, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
