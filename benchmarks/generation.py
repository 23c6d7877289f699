"""Generation of 32 x 32 procedural pictures: distance to the data by method and number of steps.

The distance is Frechet's in the features of a network that nobody trained (residiff.metrics.RandomFeatures): a number
of the FID's kind, but not the FID. Beside the models stand real pictures (as near as one can be) and Gaussian samples
with the data's own mean and covariance, pixel by pixel: what a model must beat to have learned more than two moments.

First: residiff train generate-rddm -o runs/generate-rddm (and -resfusion, -ddpm); then
python benchmarks/generation.py --runs runs --json generation.json
"""

from __future__ import annotations

import argparse
import json
import platform
from datetime import UTC, datetime
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from residiff import recipe
from residiff.data import images
from residiff.data.images import Picture
from residiff.data.pairs import SyntheticPairs
from residiff.files import write_bytes
from residiff.metrics import Moments, RandomFeatures, frechet_distance, image_moments
from residiff.restore import generate, load
from residiff.restore.gallery import tiled
from residiff.seeds import generator

STEPS = (10, 20, 50)
SOLVER = ["sampling.eta=0.0", "sampling.sampler=multistep"]
# The name in the table, the recipe that was trained, and how it is sampled
METHODS = {
    "DDPM": ("generate-ddpm", ["sampling.sampler=general", "sampling.eta=1.0"]),
    "DDIM": ("generate-ddpm", ["sampling.sampler=general", "sampling.eta=0.0"]),
    "DDIM, multistep": ("generate-ddpm", SOLVER),
    "RDDM": ("generate-rddm", ["sampling.sampler=general", "sampling.eta=0.0"]),
    "RDDM, multistep": ("generate-rddm", SOLVER),
    "Resfusion": ("generate-resfusion", ["sampling.sampler=general", "sampling.grid=even", "sampling.eta=1.0"]),
    "Resfusion, multistep": ("generate-resfusion", [*SOLVER, "sampling.grid=even"]),
}
TRUTH = 4096
HELD_OUT_SEEDS = (999, 1000)


def real(count: int, seed: int) -> Tensor:
    """Pictures (count, 3, 32, 32) that no model was trained on."""
    pairs = SyntheticPairs(recipe.read("generate-rddm").data, seed)
    return torch.stack([pairs(index).clean for index in range(count)])


def gaussian(pictures: Tensor, seed: int) -> Tensor:
    """As many samples of the Gaussian with the pictures' own mean and covariance, cut to [0, 1]."""
    flat = pictures.flatten(1).double()
    values, vectors = torch.linalg.eigh(flat.T.cov())
    drawn = torch.randn(flat.shape, dtype=torch.float64, generator=generator(seed))
    samples = flat.mean(0) + drawn * values.clamp(min=0).sqrt() @ vectors.T
    return samples.float().clamp(0, 1).reshape(pictures.shape)


def sampled(model: Path, settings: list[str], steps: int, count: int) -> Tensor:
    """Pictures that a model makes."""
    made = generate(load(model, "cpu", settings), count, steps=steps, batch=64)
    return torch.stack([one.picture for one in made])


def _slug(name: str) -> str:
    return name.lower().replace(", ", "-")


def main() -> None:
    """Sample, measure, print; write the figures and a sheet of each method's pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="holds generate-rddm/ and the others")
    parser.add_argument("--count", type=int, default=256, help="pictures for each number")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--sheets", type=Path, help="write a sheet of pictures for each method in this folder")
    arguments = parser.parse_args()
    features = RandomFeatures()

    def measured(pictures: Tensor) -> Moments:
        return image_moments(pictures.split(256), features)

    truth, other = real(TRUTH, HELD_OUT_SEEDS[0]), real(arguments.count, HELD_OUT_SEEDS[1])
    target = measured(truth)
    figures: dict[str, dict[str, float]] = {
        "real pictures": {"-": frechet_distance(measured(other), target)},
        "Gaussian": {"-": frechet_distance(measured(gaussian(truth, 3)[: arguments.count]), target)},
    }
    for name, (trained, settings) in METHODS.items():
        figures[name] = {}
        for steps in STEPS:
            pictures = sampled(arguments.runs / trained / "model.safetensors", settings, steps, arguments.count)
            figures[name][str(steps)] = frechet_distance(measured(pictures), target)
            Console().print(name, steps, figures[name][str(steps)])
            if arguments.sheets is not None:
                images.write(arguments.sheets / f"{_slug(name)}-{steps}.png", Picture(tiled(list(pictures[:64]))))
    table = Table(title=f"Distance to the data, {arguments.count} pictures")
    for column in ("method", "-", *map(str, STEPS)):
        table.add_column(column)
    for name, row in figures.items():
        table.add_row(name, *(f"{row[column]:.4f}" if column in row else "" for column in ("-", *map(str, STEPS))))
    Console().print(table)
    if arguments.json is not None:
        facts = {
            "date": datetime.now(UTC).date().isoformat(),
            "machine": platform.platform(),
            "torch": torch.__version__,
        }
        write_bytes(arguments.json, json.dumps({**facts, "count": arguments.count, "rows": figures}, indent=2).encode())


if __name__ == "__main__":
    main()
