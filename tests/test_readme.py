"""Every command and every block of Python in the README runs."""

from __future__ import annotations

import importlib.util
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from residiff.cli import main
from residiff.nn.unet import UNet
from residiff.schedule import RDDM

README = (Path(__file__).parent.parent / "README.md").read_text("utf-8")
BLOCKS = "\n".join(re.findall(r"^```\w*\n(.*?)^```$", README, flags=re.DOTALL | re.MULTILINE))
COMMANDS = [line.split("  #")[0].strip() for line in BLOCKS.splitlines() if line.startswith("residiff ")]
SHORTER = {
    "-n 485": "-n 2",
    "--size 256": "--size 64",
    "huge.tif": "photo.png",
    "restored/photo.png": "restored/a.png",
    # A cluster is started by tests/restore/test_ray.py
    " --engine ray": "",
    "residiff serve": "residiff serve --help",
    "-o runs/auto": "-o runs/auto --alpha-rate 0.1",
    "--recipe rddm-lol": "",
}
SHORT_TRAINING = " --set training.iterations=2 --set training.batch=1 --set data.window=4"


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with everything that the README's commands name."""
    pixels = np.random.default_rng(0).integers(0, 255, (72, 80, 3), dtype=np.uint8)
    for name in (
        "photo.jpg",
        "photo.png",
        "photos/a.png",
        "truth/a.png",
        *(f"pairs/{kind}/{name}.png" for kind in ("clean", "degraded") for name in "ab"),
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    for mask in ("shadow.png", "hole.png"):
        Image.fromarray(pixels[..., 0]).save(tmp_path / mask)
    torch.save({"step": 80, "model": _published()}, tmp_path / "model-80.pt")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _published() -> dict[str, torch.Tensor]:
    """What RDDM's trainer saves of a small network: its schedule's buffers and its weights."""
    path = Path(__file__).parent / "adapters" / "foreign.py"
    spec = importlib.util.spec_from_file_location("foreign", path)
    foreign = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(foreign)
    weights = UNet(6, 3, dim=8, dim_mults=(1, 2)).state_dict()
    return foreign.rddm_buffers(RDDM()) | {f"model.unet0.{key}": value for key, value in weights.items()}


def run(command: str, monkeypatch: pytest.MonkeyPatch) -> int:
    for long, short in SHORTER.items():
        command = command.replace(long, short)
    if command.startswith("residiff train"):
        command += SHORT_TRAINING
    monkeypatch.setattr(sys, "argv", shlex.split(command))
    with pytest.raises(SystemExit) as end:
        main()
    return int(end.value.code or 0)


def test_the_commands_run_in_their_order(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(COMMANDS) >= 12
    failed = {command: code for command in COMMANDS if (code := run(command, monkeypatch))}
    assert failed == {}
    for written in (
        "out.png",
        "restored/a.png",
        "runs/mine/model.safetensors",
        "set/degraded/000000.png",
        "schedule.csv",
        "pictures/grid.png",
        "day/a.png",
        "lol.safetensors",
        "runs/auto/objective.csv",
        "trajectory.csv",
        "spectra.svg",
    ):
        assert (desk / written).exists(), written


@pytest.mark.parametrize("block", re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL))
def test_the_python_runs(block: str, desk: Path) -> None:
    exec(compile(block, "README.md", "exec"), {"__name__": "readme"})


def test_every_picture_is_there() -> None:
    root = Path(__file__).parent.parent
    for target in re.findall(r"\]\(((?!http)[^)]+)\)", README):
        assert (root / target).exists(), target
