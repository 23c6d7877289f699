"""Pristine parameters of one's own: fitted to a folder, kept in a file, never taken for the published ones."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from residiff.data import images
from residiff.errors import ConfigError, ImageError, ModelFileError
from residiff.evaluate.pristine import fit_folder, load_pristine, save_pristine
from residiff.metrics import Pristine, fit_pristine, matlab_grey, niqe


@pytest.fixture
def folder(tmp_path, draw):
    """Three photographs, one of them grey, one in a folder of its own."""
    (tmp_path / "photographs" / "more").mkdir(parents=True)
    shapes = {"a.png": (200, 220, 3), "b.png": (210, 300, 1), "more/c.png": (192, 192, 3)}
    pixels = {name: draw(shape, seed=seed) for seed, (name, shape) in enumerate(shapes.items())}
    for name, values in pixels.items():
        images.write(tmp_path / "photographs" / name, images.from_array(values))
    return tmp_path / "photographs", pixels


def test_a_folder_is_fitted(folder):
    place, pixels = folder
    lumas = [torch.from_numpy(values).permute(2, 0, 1) for values in pixels.values()]
    expected = fit_pristine([matlab_grey(each) if len(each) == 3 else each for each in lumas], "x")
    found = fit_folder(place)
    assert torch.equal(found.mean, expected.mean) and torch.equal(found.covariance, expected.covariance)
    assert found.name.startswith("own fit of 3 pictures, ") and fit_folder(place).name == found.name
    assert 0 < niqe(lumas[1], found) < 30


def test_a_file_keeps_them(folder, tmp_path):
    fit = fit_folder(folder[0])
    save_pristine(fit, tmp_path / "own.safetensors")
    found = load_pristine(tmp_path / "own.safetensors")
    assert torch.equal(found.mean, fit.mean) and torch.equal(found.covariance, fit.covariance)
    assert found.name == fit.name and found.mean.dtype == torch.float64


def test_what_cannot_be_fitted_is_told(folder, tmp_path, draw):
    place, _ = folder
    images.write(place / "small.png", images.from_array(draw((95, 200, 3))))
    with pytest.raises(ConfigError, match="small.png is 200 x 95 pixels; a patch of NIQE has 96 x 96"):
        fit_folder(place)
    (place / "small.png").write_bytes(b"no picture")
    with pytest.raises(ImageError, match="small.png"):
        fit_folder(place)
    with pytest.raises(ConfigError, match="is not a folder"):
        fit_folder(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="no photographs"):
        fit_folder(tmp_path / "empty")


def test_other_files_and_other_names_are_refused(tmp_path):
    path = tmp_path / "a.safetensors"
    facts = {"kind": "residiff pristine parameters", "name": "own fit of 1", "format_version": "1"}
    whole = {"mean": torch.zeros(36), "covariance": torch.eye(36)}
    save_file(whole, path, facts)
    assert load_pristine(path).name == "own fit of 1"
    save_pristine(Pristine(whole["mean"].double(), whole["covariance"].double(), "published"), path)
    with pytest.raises(ModelFileError, match="names its parameters 'published'"):
        load_pristine(path)
    for tensors, told in [
        ({"mean": torch.zeros(36)}, facts),
        (whole, facts | {"kind": "x"}),
        (whole, facts | {"format_version": "2"}),
        (whole, None),
    ]:
        save_file(tensors, path, told)
        with pytest.raises(ModelFileError, match="that `save_pristine` writes"):
            load_pristine(path)
    save_file(whole | {"mean": torch.full((36,), np.nan)}, path, facts)
    with pytest.raises(ModelFileError, match=r"a.safetensors.*not finite"):
        load_pristine(path)
    path.write_bytes(b"damaged")
    for each in (path, tmp_path / "missing.safetensors"):
        with pytest.raises(ModelFileError, match="no file of pristine parameters"):
            load_pristine(each)
