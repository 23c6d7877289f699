"""The benchmarks that compare methods: rows are recipes that differ in what is compared; the Gaussian is one."""

import importlib.util
import sys
from pathlib import Path

import pytest
import torch

from residiff import recipe

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


def script(name):
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


family, generation = script("family"), script("generation")


@pytest.mark.parametrize("name", family.ROWS)
def test_the_members_differ_in_method_alone(name):
    row, base = family.chosen(name, 2000), recipe.read("rain")
    assert (row.network.backbone, row.data, row.training) == (base.network.backbone, base.data, base.training)
    assert row.sampling.steps == base.sampling.steps


def test_all_eight_members_are_there_and_both_ablations():
    kinds = {family.chosen(name, 1).schedule.kind for name in family.MEMBERS}
    assert kinds == {"rddm", "resfusion", "resshift", "ir-sde", "i2sb", "indi", "cold-diffusion", "residual-flow"}
    predictions = [family.chosen(name, 1).prediction.kind for name in family.ABLATIONS]
    assert predictions == ["residual", "noise", "residual-noise", "x0", "residual", "resnoise"]


def test_the_models_of_generation_were_trained_alike():
    recipes = [recipe.read(trained) for trained, _ in generation.METHODS.values()]
    assert len({(one.network.backbone, one.data.crop, one.training) for one in recipes}) == 1
    for (_, settings), one in zip(generation.METHODS.values(), recipes, strict=True):
        for steps in generation.STEPS:
            recipe.override(one, [*settings, f"sampling.steps={steps}"])


def test_the_gaussian_has_the_mean_and_covariance_of_the_pictures():
    source = torch.Generator().manual_seed(0)
    mixing = torch.randn(12, 12, generator=source) * 0.02
    pictures = (torch.randn(20_000, 12, generator=source) @ mixing + 0.5).reshape(-1, 3, 2, 2)
    samples = generation.gaussian(pictures, 1).flatten(1)
    torch.testing.assert_close(samples.mean(0), pictures.flatten(1).mean(0), rtol=0, atol=2e-3)
    torch.testing.assert_close(samples.T.cov(), pictures.flatten(1).T.cov(), rtol=0, atol=3e-4)
