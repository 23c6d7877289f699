"""The golden networks, wrapped as the published trainers save them, imported and by the command: the same outputs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from compare import assert_close
from torch import Tensor

from residiff.adapters import ImportOptions, archive, import_model, unpickle
from residiff.checkpoint import ModelFile, load_model
from residiff.nn.dit import SIZES, Size
from residiff.schedule import RDDM

TOLERANCE = 1e-4

Arrays = dict[str, Tensor]
Golden = Callable[[str], Arrays]

RDDM_FILES = [f"rddm_backbone_{name}" for name in ("one_unet", "two_unets", "shared_encoder", "translation")]
RESFUSION_FILES = [f"resfusion_backbone_{name}" for name in ("unet", "unet_mask", "ddim_unet", "dit")]
BUFFERS = {
    "alphas_cumsum": lambda r, n: r,
    "one_minus_alphas_cumsum": lambda r, n: 1 - r,
    "alphas": lambda r, n: torch.cat([r[:1], r.diff()]),
    "betas_cumsum": lambda r, n: n,
    "betas2_cumsum": lambda r, n: n**2,
    "betas2": lambda r, n: torch.cat([n[:1] ** 2, (n**2).diff()]),
    "betas": lambda r, n: torch.cat([n[:1] ** 2, (n**2).diff()]).sqrt(),
}
DERIVED = ("posterior_mean_coef1", "posterior_mean_coef2", "posterior_mean_coef3", "posterior_variance")


@pytest.fixture
def reader_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reads pickles in this process: one of its own costs seconds, and is seen to in tests/adapters and below."""
    monkeypatch.setattr(
        archive,
        "run_reader",
        lambda path, folder, seconds: unpickle.extract(str(path), str(folder), lambda size: None),
    )


@pytest.fixture(autouse=True)
def golden_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """The golden DiT is none of the published sizes: it stands in for the smallest."""
    monkeypatch.setitem(SIZES, "S", Size(depth=2, width=48, heads=3))


def state_dict(arrays: Arrays) -> Arrays:
    prefix = "state_dict/"
    return {key.removeprefix(prefix): value for key, value in arrays.items() if key.startswith(prefix)}


def under(prefix: str, table: Arrays) -> Arrays:
    return {prefix + key: value for key, value in table.items()}


def rddm_file(arrays: Arrays) -> dict[str, Any]:
    """The average is the golden network; the plain weights are others."""
    _, residual, noise, _ = RDDM(total_noise=1.0).coefficients()
    buffers = {name: make(residual, noise).float() for name, make in BUFFERS.items()}
    buffers |= dict.fromkeys((*DERIVED, "posterior_log_variance_clipped"), torch.zeros(1000))
    weights = under("model.", state_dict(arrays))
    plain = {**buffers, **{key: value + 1 for key, value in weights.items()}}
    ema = {"initted": torch.tensor([True]), "step": torch.tensor([9]), **under("online_model.", plain)}
    return {"step": 9, "model": plain, "opt0": {}, "ema": {**ema, **under("ema_model.", {**buffers, **weights})}}


def lightning_file(arrays: Arrays) -> dict[str, Any]:
    inception = {"val_FID.inception.Mixed_5b.weight": torch.ones(3)}
    return {"epoch": 9, "state_dict": {**under("denoising_module.", state_dict(arrays)), **inception}}


def write(folder: Path, name: str, arrays: Arrays) -> tuple[Path, ImportOptions]:
    """The file as published, and how it is imported."""
    if name in RDDM_FILES:
        torch.save(rddm_file(arrays), folder / "model-9.pt")
        return folder / "model-9.pt", ImportOptions()
    torch.save(lightning_file(arrays), folder / "best.ckpt")
    return folder / "best.ckpt", ImportOptions(length=12)


def check_outputs(model: ModelFile, arrays: Arrays) -> None:
    """Fail unless the model's network gives the golden outputs."""
    network = model.denoiser().backbone
    x = torch.cat([arrays[key] for key in ("x", "input_cond", "mask_cond") if key in arrays], dim=1)
    same = (arrays["t"].float(),) * model.recipe.prediction.heads if "t" in arrays else ()
    with torch.inference_mode():
        actual = network(x, same or (arrays["t_res"], arrays["t_noise"]))
    expected = [arrays[key] for key in ("out", "out0", "out1") if key in arrays]
    for ours, theirs in zip(actual, expected, strict=True):
        assert_close(ours, theirs, TOLERANCE)


@pytest.mark.parametrize("name", [*RDDM_FILES, *RESFUSION_FILES])
@pytest.mark.usefixtures("reader_here")
def test_an_imported_network_gives_the_golden_outputs(golden: Golden, tmp_path: Path, name: str) -> None:
    arrays = golden(name)
    path, options = write(tmp_path, name, arrays)
    check_outputs(import_model(path, options), arrays)


@pytest.mark.usefixtures("reader_here")
def test_another_network_is_noticed(golden: Golden, tmp_path: Path) -> None:
    arrays = golden("rddm_backbone_one_unet")
    path, _ = write(tmp_path, "rddm_backbone_one_unet", arrays)
    with pytest.raises(AssertionError, match="values are off"):
        check_outputs(import_model(path, ImportOptions(weights="plain")), arrays)


@pytest.mark.slow
def test_the_command_gives_the_golden_outputs(golden: Golden, tmp_path: Path) -> None:
    arrays = golden("resfusion_backbone_unet")
    path, _ = write(tmp_path, "resfusion_backbone_unet", arrays)
    target = tmp_path / "model.safetensors"
    command = [sys.executable, "-m", "residiff", "models", "import", path, "-o", target, "--length", "12", "--json"]
    ended = subprocess.run(command, capture_output=True, timeout=200, check=True)
    assert json.loads(ended.stdout)["card"]["imported_from"] == "Resfusion"
    check_outputs(load_model(target), arrays)
