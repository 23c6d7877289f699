"""Pairs a second of the training engine, beside a bare loop over one fixed batch: python benchmarks/train_speed.py

The engine reads a set of PNG pairs, validates nothing, follows its running average, writes its log and TensorBoard's
events; the bare loop is forward, backward and AdamW, in float32. Both train the papers' U-Net in turns of some updates
each, and the ratio is that of the medians, for other programs slow both. The engine also runs channels-last and
compiled, on a GPU in bfloat16. Saving, which comes once in so many seconds, and the data path are timed alone.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from pathlib import Path
from statistics import median

import torch
from torch import Tensor

from residiff import recipe, train
from residiff.data.loading import loader
from residiff.data.sets import make_set
from residiff.denoiser import LOSSES
from residiff.files import write_bytes
from residiff.inference import shown
from residiff.recipe import Recipe
from residiff.restore import pick_device
from residiff.train.trackers import TensorBoardTracker

SETTINGS = [
    "data.resize=none", "training.precision=float32", "training.iterations=100000", "training.save_seconds=1e9",
    "training.ema=0.999", "training.accumulate=1", "validation.on=none",
]  # fmt: skip
LAYOUT, COMPILED = "training.channels_last=true", "training.compiled=true"
# By whether there is a GPU
VARIANTS = {
    False: {"channels-last": [LAYOUT], "compiled": [COMPILED]},
    True: {"bfloat16, channels-last, compiled": ["training.precision=bfloat16", LAYOUT, COMPILED]},
}
SET, SIDE = 48, 160


def engine(chosen: Recipe, folder: Path, device: torch.device, workers: int) -> Iterator[None]:
    """Updates of the engine, without end."""
    data = train.training_data(chosen, folder / "set")
    place = Path(tempfile.mkdtemp(dir=folder))
    run = train.Run(chosen, place, train.Processes(device))
    with closing(TensorBoardTracker(place / "tensorboard")) as tracker:
        for _ in run.train(data.training, workers, trackers=[tracker]):
            yield None


def bare(chosen: Recipe, folder: Path, device: torch.device) -> Iterator[None]:
    """Updates by one batch, without end: what the arithmetic alone takes."""
    settings = chosen.training
    pairs = train.training_data(chosen, folder / "set").training
    batch = next(loader(pairs, 0, settings.batch, settings.batch, 0)).pair
    denoiser = chosen.build().to(device)
    inside = shown(chosen.network, batch, device)
    noise = torch.randn(inside.x0.shape, device=device)
    times = torch.zeros(settings.batch, dtype=torch.long, device=device)
    optimiser = torch.optim.AdamW(denoiser.parameters(), 1e-5)
    while True:
        optimiser.zero_grad(set_to_none=True)
        loss: Tensor = denoiser.loss(inside.x0, inside.x_in, times, noise=noise, loss=LOSSES[settings.loss])
        loss.backward()
        optimiser.step()
        loss.item()
        yield None


def seconds(updates: Iterator[None], count: int) -> float:
    """That `count` of them take, each."""
    began = time.perf_counter()
    deque(islice(updates, count), maxlen=0)
    return (time.perf_counter() - began) / count


def reading_rate(chosen: Recipe, folder: Path, workers: int) -> float:
    """Pairs a second that the data path gives when nobody computes."""
    pairs = train.training_data(chosen, folder / "set").training
    size = chosen.training.batch
    batches = loader(pairs, 0, 64 * size, size, workers)
    next(batches)
    began = time.perf_counter()
    count = sum(len(batch.pair.clean) for batch in batches)
    return count / (time.perf_counter() - began)


def saving_seconds(chosen: Recipe, folder: Path, device: torch.device) -> float:
    """That one save takes after an update."""
    run = train.Run(chosen, Path(tempfile.mkdtemp(dir=folder)), train.Processes(device))
    next(run.train(train.training_data(chosen, folder / "set").training))
    began = time.perf_counter()
    run.save()
    return time.perf_counter() - began


def compared(loops: dict[str, Callable[[], Iterator[None]]], rounds: int, count: int) -> dict[str, list[float]]:
    """Seconds of an update of each loop, once a round, the first being left out."""
    running = {name: start() for name, start in loops.items()}
    found: dict[str, list[float]] = {name: [] for name in loops}
    for number in range(rounds + 1):
        for name, updates in running.items():
            taken = seconds(updates, count)
            if number:
                found[name].append(taken)
    for updates in running.values():
        updates.close()  # type: ignore[attr-defined]
    return found


def main() -> None:
    """Measure, and print a row of a table for each loop."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="resfusion-lol")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--crop", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--updates", type=int, default=4, help="of each loop in a round")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    device = pick_device(given.device)
    settings = [*SETTINGS, f"training.batch={given.batch}", f"data.crop={given.crop}"]
    chosen = recipe.override(recipe.read(given.recipe), settings)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        deque(make_set(folder / "set", "low-light", SET, SIDE, {}, 0), maxlen=0)
        loops: dict[str, Callable[[], Iterator[None]]] = {
            "bare": lambda: bare(chosen, folder, device),
            "engine": lambda: engine(chosen, folder, device, given.workers),
        }
        for name, variant in VARIANTS[device.type == "cuda"].items():
            changed = recipe.override(chosen, variant)
            loops[f"engine, {name}"] = partial(engine, changed, folder, device, given.workers)
        found = compared(loops, given.rounds, given.updates)
        reading = reading_rate(chosen, folder, given.workers)
        saving = saving_seconds(chosen, folder, device)
    machine = f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, {device}"
    print(f"{given.recipe}, batch {given.batch}, crop {given.crop}, {machine}, {datetime.now(UTC):%Y-%m-%d}")
    base = median(found["bare"])
    print("| loop | s an update (median) | pairs/s | against bare |\n|---|--:|--:|--:|")
    for loop, taken in found.items():
        print(f"| {loop} | {median(taken):.3f} | {given.batch / median(taken):.2f} | {base / median(taken):.3f} |")
    needed = given.batch / base
    print(f"data path alone: {reading:.1f} pairs/s, {reading / needed:.1f} times what the bare loop takes")
    every = recipe.read(given.recipe).training.save_seconds
    print(f"a save takes {saving:.1f} s, once in {every:g} s: {saving / (every + saving):.1%} of the time")
    if given.json:
        facts = {
            "saving_seconds": saving,
            "machine": machine,
            "seconds": found,
            "pairs_per_second_read": reading,
            "settings": settings,
        }
        write_bytes(given.json, (json.dumps(facts, indent=2) + "\n").encode())


if __name__ == "__main__":
    main()
