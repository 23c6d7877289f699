"""Networks with weights from files: every name accounted for, what is left out known, and faults told by name."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from residiff.adapters import archive
from residiff.adapters.keys import KeysError
from residiff.errors import ModelFileError, ResourceError
from residiff.evaluate.pretrained import (
    pretrained_alex_lpips,
    pretrained_dists,
    pretrained_fid_inception,
    pretrained_torchvision_inception,
    pretrained_vgg_lpips,
    published_pristine,
)
from residiff.metrics import DISTS, alex_lpips, fid_inception, torchvision_inception, vgg_lpips


@pytest.fixture
def file(tmp_path):
    """`file(weights)`: a source of a file that holds them."""

    def write(weights, name="a.safetensors"):
        save_file({key: value.clone() for key, value in weights.items()}, tmp_path / name)
        return f"{tmp_path / name}@sha256:{archive.sha256(tmp_path / name)}"

    return write


def untrained(make):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return {key: value.abs() if "lin" in key else value for key, value in make().state_dict().items()}


def parts(weights):
    """Those of the trunk, with a classifier as published files have one, and the others."""
    trunk = {key: value for key, value in weights.items() if key.startswith("features.")}
    rest = {key: value for key, value in weights.items() if key not in trunk}
    return trunk | {"classifier.6.weight": torch.ones(2, 2), "classifier.6.bias": torch.ones(2)}, rest


@pytest.mark.parametrize(
    ("load", "make"),
    [(pretrained_alex_lpips, alex_lpips), (pretrained_vgg_lpips, vgg_lpips), (pretrained_dists, DISTS)],
)
def test_two_files_make_a_distance(file, load, make):
    weights = untrained(make)
    trunk, rest = parts(weights)
    found = load(file(trunk), file(rest, "b.safetensors")).state_dict()
    assert found.keys() == weights.keys() and all(torch.equal(found[key], weights[key]) for key in weights)


@pytest.mark.parametrize("counters", [True, False])
@pytest.mark.parametrize(
    ("load", "make", "aux"),
    [
        (pretrained_fid_inception, fid_inception, {}),
        (pretrained_torchvision_inception, torchvision_inception, {"AuxLogits.fc.weight": torch.ones(2)}),
    ],
)
def test_one_file_makes_inception(file, load, make, aux, counters):
    weights = {key: value + 1 for key, value in untrained(make).items()}
    held = {key: value for key, value in weights.items() if counters or not key.endswith("num_batches_tracked")}
    model = load(file(held | aux))
    for key, value in model.state_dict().items():
        assert key.endswith("num_batches_tracked") or torch.equal(value, weights[key])
    assert not model.training


def test_names_that_do_not_fit_are_told(file):
    trunk, rest = parts(untrained(alex_lpips))
    del trunk["features.3.bias"]
    trunk["features.6.weight"] = torch.ones(2)
    rest["lin5.model.1.weight"] = torch.ones(1)
    with pytest.raises(KeysError, match=r"a.safetensors and .*b.safetensors") as caught:
        pretrained_alex_lpips(file(trunk), file(rest, "b.safetensors"))
    report = caught.value.report
    assert report.missing == ("features.3.bias",) and report.unexpected == ("lin5.model.1.weight",)
    assert [row[0] for row in report.mismatched] == ["features.6.weight"]


@pytest.mark.parametrize(("key", "value"), [("lin2.model.1.weight", -1.0), ("lin0.model.1.weight", torch.inf)])
def test_weights_that_make_no_distance_are_refused(file, key, value):
    trunk, rest = parts(untrained(alex_lpips))
    rest[key][0, 3] = value
    with pytest.raises(ModelFileError, match=f"{key} holds values"):
        pretrained_alex_lpips(file(trunk), file(rest, "b.safetensors"))


def test_absent_weights_are_told(tmp_path):
    with pytest.raises(ResourceError, match="LPIPS .vgg. or DISTS needs the weights 'vgg16'.*vgg16-397923af.pth"):
        pretrained_vgg_lpips(tmp_path, tmp_path)


def test_pristine_parameters_are_of_their_two_arrays(tmp_path):
    mean, covariance = np.arange(36.0)[None], np.eye(36) * 2

    def source(**arrays):
        np.savez(tmp_path / "a.npz", **arrays)
        return f"{tmp_path / 'a.npz'}@sha256:{archive.sha256(tmp_path / 'a.npz')}"

    window = np.ones((7, 7))
    found = published_pristine(source(mu_pris_param=mean, cov_pris_param=covariance, gaussian_window=window))
    assert found.name == "published" and np.array_equal(found.mean, mean[0])
    assert np.array_equal(found.covariance, covariance)
    with pytest.raises(ModelFileError, match="holds no 'cov_pris_param'"):
        published_pristine(source(mu_pris_param=mean))
