"""Runs as folders, written by hand."""

import json
import math

import pytest
import torch

from residiff import recipe
from residiff.checkpoint import ModelFile, save_model
from residiff.data.images import Picture, write
from residiff.train.strips import strip


def _write_tables(folder, steps, every, truth, events):
    rows = [(k, 0.3 * math.exp(-k / steps), 1e-3, k / 10) for k in range(1, steps + 1)]
    lines = [",".join(map(str, row)) for row in rows]
    (folder / "metrics.csv").write_text("\n".join(["step,loss,learning_rate,seconds", *lines]) + "\n")
    names = ("step", "loss", "learning_rate", "seconds", "gradient_norm", "images_per_second", "memory")
    details = [dict(zip(names, (*row, 2.0 / row[0], 80.0, 2**30), strict=True)) for row in rows]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in details))
    scores = ["step,loss,psnr,ssim,input_psnr,input_ssim"]
    for k in range(every, steps + 1, every):
        scores.append(f"{k},{0.3 - k / steps / 10}," + (f"{24 + k / steps},0.8,20.5,0.5" if truth else ",,,"))
    (folder / "validation.csv").write_text("\n".join(scores) + "\n")
    known = [{"step": step, "event": kind, "text": text, "time": 1.8e9} for step, kind, text in events]
    (folder / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in known))


def _write_strips(folder, steps, every, truth):
    for k in range(every, steps + 1, every):
        columns = [torch.full((2, 3, 48, 48), k / steps / (n + 1)) for n in range(6 + truth)]
        write(folder / "validation" / f"step-{k:08d}.png", Picture(strip(columns)))


@pytest.fixture
def run_folder(tmp_path):
    """`run_folder(name, ...)`: a run of some steps in a folder of that name."""

    def made(name="run", steps=40, every=8, truth=True, events=(), settings=(), card=None, shown=True):
        folder = tmp_path / name
        folder.mkdir()
        wanted = ["network.backbone.width=8", "network.backbone.middle=1", f"training.iterations={steps}", *settings]
        chosen = recipe.override(recipe.read("tiny"), wanted)
        (folder / "recipe.toml").write_text(chosen.toml())
        _write_tables(folder, steps, every, truth, events)
        if shown:
            _write_strips(folder, steps, every, truth)
        with torch.random.fork_rng(devices=[]):
            weights = chosen.backbone().state_dict()
        save_model(
            folder / "model.safetensors", ModelFile(chosen, weights, {"data": "procedural, noise"} | (card or {}))
        )
        return folder

    return made
