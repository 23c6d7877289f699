"""Protocols whose figures come of networks: told where there are weights, and where not it is said what to fetch."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from pictures import exact, near, picture, save
from safetensors.torch import save_file

from residiff.adapters import archive
from residiff.errors import ConfigError, ResourceError
from residiff.evaluate import evaluate, open_evaluation
from residiff.evaluate.pristine import fit_folder, save_pristine
from residiff.evaluate.weights import PUBLISHED_WEIGHTS
from residiff.metrics import alex_lpips, matlab_grey, niqe
from residiff.photographs import photographs

SIZE = (3, 64, 72)


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """A folder of weights for LPIPS that nobody trained, which the table believes to be the published ones."""
    folder = tmp_path / "weights"
    folder.mkdir()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        network = alex_lpips()
    state = {key: value.abs() if "lin" in key else value for key, value in network.state_dict().items()}
    network.load_state_dict(state)
    for row, prefix in (("alexnet", "features."), ("lpips-alex", "lin")):
        path = folder / f"{row}.safetensors"
        save_file({key: value.clone() for key, value in state.items() if key.startswith(prefix)}, path)
        known = replace(PUBLISHED_WEIGHTS[row], file=path.name, sha256=archive.sha256(path))
        monkeypatch.setitem(PUBLISHED_WEIGHTS, row, known)
    monkeypatch.setenv("RESIDIFF_WEIGHTS", str(folder))
    return network.eval()


@pytest.fixture
def sides(tmp_path):
    for seed in range(2):
        save(tmp_path / "p" / f"{seed}.png", near(seed, 0.2, SIZE))
        save(tmp_path / "t" / f"{seed}.png", picture(seed, SIZE))
    return tmp_path / "p", tmp_path / "t"


def test_lpips_is_told_with_its_weights(weights, sides):
    result = evaluate(*sides, protocol="lol-rgb-full")
    pairs = [[exact(each).float()[None] for each in (near(seed, 0.2, SIZE), picture(seed, SIZE))] for seed in range(2)]
    with torch.inference_mode():
        expected = [float(weights(*pair)) for pair in pairs]
    assert result.values("lpips") == pytest.approx(expected, rel=1e-4)
    assert result.left_out == {} and set(result.facts["networks"]) == {"lpips"}


def test_without_weights_the_other_figures_are_told(sides, monkeypatch):
    monkeypatch.delenv("RESIDIFF_WEIGHTS", raising=False)
    result = evaluate(*sides, protocol="lol-rgb-full")
    assert result.measures == ["psnr", "ssim"]
    assert "fetch https://download.pytorch.org/models/alexnet-owt-7be5be79.pth" in result.left_out["lpips"]
    with pytest.raises(ResourceError, match="alexnet-owt-7be5be79"):
        open_evaluation(*sides, protocol="lpips")


def test_some_weights_of_several(weights, sides):
    result = evaluate(*(save_large(side) for side in sides), protocol="perceptual")
    assert result.measures == ["lpips", "ms_ssim", "delta_e"]
    assert set(result.left_out) == {"lpips_vgg", "dists"}


def save_large(folder):
    for path in folder.iterdir():
        save(path, picture(int(path.stem), (3, 180, 180)))
    return folder


def test_naturalness_by_parameters_of_one_s_own(tmp_path):
    for name, pixels in list(photographs().items())[:3]:
        save(tmp_path / "good" / f"{name}.png", pixels[:, :256, :256].contiguous())
    fit = fit_folder(tmp_path / "good")
    save_pristine(fit, tmp_path / "own.safetensors")
    opened = open_evaluation(tmp_path / "good", None, protocol="niqe", weights=str(tmp_path / "own.safetensors"))
    result = opened.result(opened.scores())
    assert result.facts["networks"] == {"niqe": fit.name} and fit.name.startswith("own fit of 3")
    by_name = {score.name: score.values["niqe"] for score in result.images}
    name = next(name for name in by_name if name in photographs())
    levels = (photographs()[name][:, :256, :256] * 255).round().to(torch.uint8)
    assert by_name[name] == pytest.approx(niqe(matlab_grey(levels), fit), rel=1e-9)
    with pytest.raises(ConfigError, match="scores pictures by themselves"):
        open_evaluation(tmp_path / "good", tmp_path / "good", protocol="niqe")
