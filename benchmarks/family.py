"""Eight members of the family, and the papers' ablations, on one restoration task at equal budget.

Every row is the same small network, data, seed, number of updates and number of sampling steps: only the schedule and
what is predicted differ. It trains each recipe, writes its model, and scores it on photographs never trained on.

For example: python benchmarks/family.py --out family/ --json family.json
"""

from __future__ import annotations

import argparse
import json
import platform
from collections import deque
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from residiff import recipe, train
from residiff.data.degrade.table import degrade
from residiff.files import write_bytes
from residiff.metrics import psnr, ssim
from residiff.photographs import photographs
from residiff.plots import grid
from residiff.recipe import Recipe
from residiff.restore import Restorer, load
from residiff.seeds import generator

SIDE = 256
RDDM = ["schedule={kind='rddm', total_noise=0.01}"]
RESFUSION = ["schedule={kind='resfusion', length=12}"]
MEMBERS: dict[str, list[str]] = {
    "RDDM": [*RDDM, "prediction.kind=residual"],
    "Resfusion": [*RESFUSION, "prediction.kind=resnoise", "sampling.eta=1.0"],
    "ResShift": ["schedule={kind='resshift'}", "prediction.kind=x0", "sampling.eta=1.0"],
    "IR-SDE": ["schedule={kind='ir-sde'}", "prediction.kind=noise", "network.clamp=x0", "sampling.eta=1.0"],
    "I2SB": ["schedule={kind='i2sb'}", "prediction.kind=residual", "sampling.eta=1.0"],
    "InDI": ["schedule={kind='indi'}", "prediction.kind=x0"],
    "Cold diffusion": ["schedule={kind='cold-diffusion'}", "prediction.kind=x0"],
    "Rectified flow": ["schedule={kind='residual-flow'}", "prediction.kind=velocity"],
}
ABLATIONS: dict[str, list[str]] = {
    "RDDM SM-Res": MEMBERS["RDDM"],
    "RDDM SM-N": [*RDDM, "prediction.kind=noise", "prediction.guard=1e-6", "network.clamp=x0"],
    "RDDM SM-Res-N": [*RDDM, "prediction.kind=residual-noise"],
    "Resfusion x0": [*RESFUSION, "prediction.kind=x0", "sampling.eta=1.0"],
    "Resfusion R": [*RESFUSION, "prediction.kind=residual", "sampling.eta=1.0"],
    "Resfusion resnoise": MEMBERS["Resfusion"],
}
ROWS = MEMBERS | ABLATIONS


@dataclass(frozen=True)
class Result:
    """One row: mean scores at the recipe's steps, and what it cost."""

    name: str
    psnr: float
    ssim: float
    psnr_1_step: float
    parameters: int
    iterations: int
    seconds: float


def chosen(name: str, iterations: int) -> Recipe:
    """The recipe of a row."""
    return recipe.override(recipe.read("rain"), [*ROWS[name], f"training.iterations={iterations}"])


def trained(name: str, folder: Path, iterations: int) -> tuple[Restorer, float]:
    """The model of a row and the seconds that its training took; one that is there already is taken."""
    settings = chosen(name, iterations)
    same = next(other for other in ROWS if ROWS[other] == ROWS[name])
    run_folder = folder / same.lower().replace(" ", "-")
    with train.open_run(settings, run_folder, resume=(run_folder / train.STATES).exists()) as run:
        deque(run.train(train.training_data(settings, None).training), maxlen=0)
        seconds = train.read_metrics(run_folder)[-1].seconds
    return load(run_folder / train.MODEL, "cpu"), seconds


def samples() -> list[tuple[Tensor, Tensor]]:
    """(clean, degraded) of the top-left corner of each photograph, twice with different rain."""
    kind = recipe.read("rain").data.degrade
    crops = [image[:, :SIDE, :SIDE].contiguous() for image in photographs().values()]
    return [
        (clean, degrade(kind.name, clean, generator(1, index, draw), kind.parameters).image)
        for index, clean in enumerate(crops)
        for draw in range(2)
    ]


def score(name: str, restorer: Restorer, seconds: float, pairs: list[tuple[Tensor, Tensor]]) -> Result:
    """Mean PSNR and SSIM of a model."""
    restored = [restorer(degraded) for _, degraded in pairs]
    at_once = [restorer(degraded, steps=1) for _, degraded in pairs]
    truth = [clean for clean, _ in pairs]
    return Result(
        name,
        fmean(psnr(a, b) for a, b in zip(restored, truth, strict=True)),
        fmean(ssim(a, b) for a, b in zip(restored, truth, strict=True)),
        fmean(psnr(a, b) for a, b in zip(at_once, truth, strict=True)),
        restorer.descriptor.parameters,
        restorer.recipe.training.iterations,
        seconds,
    )


def show(title: str, results: list[Result]) -> None:
    """Print a table."""
    table = Table(title=title)
    for key in asdict(results[0]):
        table.add_column(key.replace("_", " "))
    for result in results:
        table.add_row(
            *(f"{value:.3f}" if isinstance(value, float) else str(value) for value in asdict(result).values())
        )
    Console().print(table)


def main() -> None:
    """Train, score, print, and write the figures and a picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/family"), help="where models are kept")
    parser.add_argument("--iterations", type=int, default=2000, help="updates of each row")
    parser.add_argument("--json", type=Path, help="write the figures here")
    arguments = parser.parse_args()
    pairs = samples()
    before = fmean(psnr(degraded, clean) for clean, degraded in pairs)
    results: dict[str, Result] = {}
    pictures = [[clean for clean, _ in pairs[::2]], [degraded for _, degraded in pairs[::2]]]
    for name in ROWS:
        restorer, seconds = trained(name, arguments.out, arguments.iterations)
        results[name] = score(name, restorer, seconds, pairs)
        if name in MEMBERS:
            pictures.append([restorer(degraded) for _, degraded in pairs[::2]])
        Console().print(results[name])
    show(f"The family (input {before:.2f} dB)", [results[name] for name in MEMBERS])
    show("Ablations", [results[name] for name in ABLATIONS])
    titles = ["truth", "input", *MEMBERS]
    grid(
        [list(row) for row in zip(*pictures, strict=True)],
        titles,
        [[""] * len(titles) for _ in pictures[0]],
        arguments.out / "family.png",
    )
    if arguments.json is not None:
        facts = {
            "date": datetime.now(UTC).date().isoformat(),
            "machine": platform.platform(),
            "torch": torch.__version__,
        }
        rows = [asdict(result) for result in results.values()]
        write_bytes(arguments.json, json.dumps({**facts, "input_psnr": before, "rows": rows}, indent=2).encode())


if __name__ == "__main__":
    main()
