"""Fewer steps: how near each solver comes to a model's own result in all its steps, by the number of network calls.

The result in all T steps is deterministic, by the plain step. The distance to it is the root of the mean squared
difference over the pictures, in grey levels of 255; PSNR is against the truth. For the solvers the table has the number
of plain steps over the same grid that end as near (interpolated on logarithmic axes): twice a row's calls or more is
what a solver of second order is for.

    python benchmarks/steps.py --json steps.json
    python benchmarks/steps.py --model denoise --grids quadratic published --side 64
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from residiff import recipe as recipes
from residiff.checkpoint import load_model
from residiff.data.degrade.table import degrade
from residiff.data.pair import Pair
from residiff.denoiser import from_model
from residiff.files import write_bytes
from residiff.inference import sampled, shown
from residiff.models import find
from residiff.noise import seeded_noise
from residiff.photographs import photographs
from residiff.recipe import Recipe
from residiff.seeds import generator

SOLVERS = ("general", "multistep", "heun")
CALLS = (1, 2, 3, 5, 7, 9, 11, 15, 21, 31, 41, 61)
PICTURES = ("astronaut", "coffee", "chelsea")
# Of the noise where a model removes it, as benchmarks/quality.py has it; other degradations are drawn by their recipes
SIGMA = 25.0
SEED = 7
HEADINGS = ("calls", "plain", "multistep", "as plain", "Heun", "as plain", "PSNR plain", "multistep", "Heun")


def pictures(recipe: Recipe, side: int) -> Pair:
    """Squares of photographs, (N, 3, side, side) in [0, 1], degraded as the recipe says."""
    every = photographs()
    clean = torch.stack([every[name][:, 64 : 64 + side, 64 : 64 + side] for name in PICTURES])
    chosen = recipe.data.degrade
    parameters = {"sigma": SIGMA} if chosen.name == "noise" else dict(chosen.parameters)
    made = [degrade(chosen.name, one, generator(SEED, k), parameters) for k, one in enumerate(clean)]
    return Pair(clean, torch.stack([image for image, _ in made]), torch.zeros(len(clean), 0, side, side))


class Walks:
    """What a model makes of the pictures, from the same noise."""

    def __init__(self, model: str, side: int) -> None:
        held = load_model(find(model))
        self.recipe, self.denoiser = held.recipe, held.denoiser()
        self.pairs = pictures(held.recipe, side)
        self.batch = shown(held.recipe.network, self.pairs, torch.device("cpu"))

    @torch.inference_mode()
    def end(self, solver: str, grid: str, steps: int) -> Tensor:
        """(N, 3, side, side) in [0, 1]."""
        settings = ["sampling.eta=0.0", f"sampling.sampler={solver}", f"sampling.grid={grid}"]
        chosen = recipes.override(self.recipe, settings)
        noise = seeded_noise(0, self.batch.x_in.shape)
        *_, last = sampled(self.denoiser, chosen, self.batch.x_in, noise, steps=steps)
        return from_model(last.x)

    def psnr(self, end: Tensor) -> float:
        """Mean PSNR in dB."""
        errors = (end - self.pairs.clean).square().flatten(1).mean(1)
        return float((-10 * errors.log10()).mean())


def distance(one: Tensor, other: Tensor) -> float:
    """In grey levels."""
    return 255 * float((one - other).square().mean().sqrt())


def equal_steps(near: float, plain: Mapping[int, float]) -> float | None:
    """How many plain steps end as `near`, by their distances; None where more than were tried would be needed."""
    known = sorted(plain.items())
    for (few, far), (many, nearer) in zip(known, known[1:], strict=False):
        if far >= near > nearer:
            share = math.log(far / near) / math.log(far / nearer)
            return few * (many / few) ** share
    return None if near <= known[-1][1] else 1.0


def rows(walks: Walks, grid: str, calls: Sequence[int], limit: Tensor) -> list[dict[str, object]]:
    """Distances and PSNR of each solver at each number of calls."""
    ends = {solver: {n: walks.end(solver, grid, n) for n in calls} for solver in SOLVERS}
    far = {solver: {n: distance(end, limit) for n, end in of.items()} for solver, of in ends.items()}
    return [
        {
            "grid": grid,
            "calls": n,
            **{solver: round(far[solver][n], 3) for solver in SOLVERS},
            **{f"{solver}_psnr": round(walks.psnr(ends[solver][n]), 2) for solver in SOLVERS},
            **{f"{solver}_equals": equal_steps(far[solver][n], far["general"]) for solver in SOLVERS[1:]},
        }
        for n in calls
    ]


def table(found: Sequence[Mapping[str, object]], title: str) -> Table:
    """The rows of one grid."""
    made = Table(title=title, title_justify="left")
    for heading in HEADINGS:
        made.add_column(heading, justify="right")
    for row in found:
        equals = [_steps(row[f"{solver}_equals"]) for solver in SOLVERS[1:]]
        cells = [row["general"], row["multistep"], equals[0], row["heun"], equals[1]]
        made.add_row(*(str(cell) for cell in (row["calls"], *cells, *(row[f"{solver}_psnr"] for solver in SOLVERS))))
    return made


def _steps(count: object) -> str:
    return f"{count:.1f}" if isinstance(count, float) else "more"


def main() -> None:
    """Walk, measure, print, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="denoise", help="a name, file or folder")
    parser.add_argument("--grids", nargs="+", default=["quadratic", "published"], help="of the recipe's sampling.grid")
    parser.add_argument("--calls", nargs="+", type=int, default=list(CALLS), help="numbers of network calls")
    parser.add_argument("--side", type=int, default=64, help="of the pictures")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    walks, began = Walks(options.model, options.side), time.perf_counter()
    length = len(walks.recipe.schedule)
    limit = walks.end("general", "published", length)
    console = Console()
    console.print(f"{options.model}: {length} steps, {walks.psnr(limit):.2f} dB, {time.perf_counter() - began:.0f} s")
    everything = []
    for grid in options.grids:
        found = rows(walks, grid, options.calls, limit)
        console.print(table(found, f"distance to {length} steps, {grid} grid"))
        everything += found
    if options.json is not None:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        facts = {"date": now, "machine": platform.platform(), "torch": torch.__version__, "model": options.model}
        facts |= {"steps": length, "psnr": walks.psnr(limit), "rows": everything}
        write_bytes(options.json, (json.dumps(facts, indent=2) + "\n").encode())


if __name__ == "__main__":
    main()
