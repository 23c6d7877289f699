"""Memory: what training needs is known without taking any, grows as it must, and recipes are changed to fit."""

import logging
import subprocess
import sys

import psutil
import pytest
import torch
from torch import nn

from residiff.errors import ConfigError, ResourceError
from residiff.recipe import override, read
from residiff.train import memory
from residiff.train.memory import available, fitted, footprint

CPU = torch.device("cpu")
SMALL = [
    "network.backbone.width=8",
    "network.backbone.encoder=[1]",
    "network.backbone.middle=1",
    "network.backbone.decoder=[1]",
    "data.crop=32",
    "training.batch=8",
    "training.precision=float32",
]


def small(*settings):
    return override(read("rain"), [*SMALL, *settings])


@pytest.fixture(scope="module")
def weights():
    """Bytes of the small network's."""
    return 4 * sum(value.numel() for value in small().backbone().parameters())


def test_what_does_not_depend_on_the_pictures_is_exact(weights):
    found = footprint(small())
    steps = 4 * len(list(small().backbone().parameters()))
    assert (found.weights, found.gradients, found.averages) == (weights, weights, weights)
    assert found.moments == 2 * weights + steps
    assert found.saving == 4 * max(value.numel() for value in small().backbone().parameters())
    four = found.weights + found.gradients + found.moments + found.averages
    assert found.total == four + found.activations + found.saving + memory.KERNELS


def test_a_run_of_many_averages_is_largest_where_it_continues():
    """Weights and averages are there twice then, the moments once, and neither gradients nor activations."""
    averages = [number / 10 for number in range(8)]
    found = footprint(small("network.backbone.width=64", "data.crop=16", f"training.averages={averages}"), 1)
    assert found.averages == 9 * found.weights > found.gradients + found.activations
    assert found.total == 2 * (found.weights + found.averages) + found.moments + found.saving + memory.KERNELS


@pytest.mark.parametrize(
    ("settings", "moments", "averages"),
    [
        (["training.optimiser.kind=sgd", "training.optimiser.betas=[0.0, 0.9]"], 0, 1),
        (["training.optimiser.kind=sgd"], 1, 1),
        (["training.optimiser.amsgrad=true", "training.averages=[0.9, 0.99]"], 3, 3),
    ],
)
def test_optimiser_and_averages_count(settings, moments, averages, weights):
    found = footprint(small(*settings))
    assert found.moments // weights == moments
    assert found.averages == averages * weights


def test_a_chain_of_layers_holds_what_can_be_counted_by_hand(monkeypatch):
    """Two 1x1 convolutions with a sine between: the input, what each layer gives, and what goes back."""

    class Chain(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.Sequential(nn.Conv2d(6, 64, 1), nn.Conv2d(64, 64, 1), nn.Conv2d(64, 3, 1))

        def forward(self, x, times):
            first, second, third = self.layers
            return (third(second(first(x).sin())),)

    monkeypatch.setattr("residiff.recipe.Recipe.backbone", lambda _: Chain())
    wide = 4 * 64 * 32 * 32
    # Before the sine, after it, after the second layer; then the gradient of the last in place of its values
    slope = (footprint(small(), 9).activations - footprint(small(), 8).activations) / memory.HOLES[False]
    assert 4 * wide <= slope <= 4.6 * wide


def test_activations_grow_in_proportion_to_pairs_and_pixels(weights):
    one, two, four = (footprint(small(), batch).activations for batch in (8, 16, 32))
    assert four - two == pytest.approx(2 * (two - one), rel=0.02)
    larger = footprint(small("data.crop=64"), 8).activations
    assert larger == pytest.approx(four, rel=0.05)


def test_precision_checkpointing_heads_and_self_conditioning_count():
    plain = footprint(small(), 32).activations
    assert 0.45 < footprint(small("training.precision=bfloat16"), 32).activations / plain < 0.7
    assert footprint(small("training.precision=float16"), 32).activations < 0.7 * plain
    deep, twice = (
        footprint(small("network.backbone.middle=8", f"training.checkpointed={on}"), 32) for on in ("false", "true")
    )
    assert twice.activations < 0.7 * deep.activations
    unet = ["network.backbone.kind=unet", "network.backbone.width=8", "data.crop=32", "training.precision=float32"]
    one, two = (override(read("rain"), [*unet, f"prediction.kind={kind}"]) for kind in ("residual", "residual-noise"))
    assert footprint(two, 16).activations > 1.7 * footprint(one, 16).activations
    assert footprint(small("network.self_condition=true"), 32).activations > plain


def test_weights_are_spread_where_they_are_sharded(weights):
    found = footprint(small("training.sharded=true"), processes=4)
    assert found.weights == weights // 4
    assert found.activations == footprint(small()).activations


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits of the address space are Linux's")
def test_nothing_is_taken():
    """A footprint of many gigabytes, found by a process that may have no more than it holds."""
    program = """
import psutil, resource
from residiff.recipe import override, read
from residiff.train.memory import footprint
recipe = override(read("rain"), ["data.crop=128", "training.batch=8192"])
footprint(recipe, 1)
resource.setrlimit(resource.RLIMIT_AS, (psutil.Process().memory_info().vms + 200_000_000,) * 2)
print(footprint(recipe).total)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 50e9


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits of the address space are Linux's")
def test_a_run_in_the_memory_that_auto_batch_asks_for_saves_and_continues(tmp_path, python):
    """The papers' U-Net; the kernels are warmed up before, for their threads and arenas are addresses and no memory."""
    program = """
import resource, sys
from pathlib import Path
import psutil, torch
from residiff.recipe import override, read
from residiff.train import open_run, training_data
from residiff.train.memory import SHARE, footprint

torch.set_num_threads(1)
settings = ["network.backbone.kind=unet", "training.batch=2", "data.crop=32", "training.precision=float32",
            "training.iterations=4", "training.save_seconds=0.1", "validation.on=none"]
recipe = override(read("rain"), settings)
data = training_data(recipe, None)
most = int(footprint(recipe).total / SHARE)
torch.nn.functional.conv2d(torch.randn(2, 8, 32, 32, requires_grad=True), torch.randn(8, 8, 3, 3)).sum().backward()
resource.setrlimit(resource.RLIMIT_AS, (psutil.Process().memory_info().vms + most,) * 2)
for resume in (False, True):
    with open_run(recipe, Path(sys.argv[1]), resume=resume) as run:
        steps = run.train(data.training)
        print(next(steps).step, next(steps).step)
        if resume:
            list(steps)
        steps.close()
    del run, steps
"""
    done = python(program, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["1", "2", "3", "4"]


def test_the_machine_says_what_is_free_and_a_limit_makes_it_less(tmp_path, monkeypatch):
    monkeypatch.setattr("residiff.memory.CGROUP", tmp_path)
    assert 0.5 < available(CPU) / psutil.virtual_memory().available < 2
    for name, text in (("max", "7000000\n"), ("current", "5000000\n"), ("stat", "anon 3\ninactive_file 1000000\n")):
        (tmp_path / f"memory.{name}").write_text(text)
    assert available(CPU) == 3_000_000
    (tmp_path / "memory.max").write_text("max\n")
    assert available(CPU) > 3_000_000
    (tmp_path / "memory.max").write_text("1000000\n")
    assert available(CPU) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="limits of the address space are Linux's")
def test_a_limit_of_the_address_space_counts():
    program = """
import resource, torch, psutil
from residiff.train.memory import available
resource.setrlimit(resource.RLIMIT_AS, (psutil.Process().memory_info().vms + 100_000_000,) * 2)
print(available(torch.device("cpu")))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=200, check=True)
    assert 80_000_000 < int(done.stdout) <= 100_000_000


def test_the_largest_part_that_fits_is_taken_and_the_update_stays(caplog):
    recipe = small("training.batch=6", "training.accumulate=4")
    enough = footprint(recipe, 6).total / memory.SHARE
    with caplog.at_level(logging.INFO, "residiff"):
        found = fitted(recipe, CPU, memory=int(enough) + 2)
    assert (found.training.batch, found.training.accumulate) == (6, 4)
    assert found == recipe
    assert "training.batch 6 x 4, float32, not checkpointed: the most that fits in" in caplog.text
    less = fitted(recipe, CPU, memory=int(enough) - 2)
    assert (less.training.batch, less.training.accumulate) == (4, 6)
    assert fitted(recipe, CPU, memory=10**12).training.batch == 24


def test_parts_can_be_shared_by_the_processes():
    recipe = small("training.batch=6", "training.accumulate=4")
    found = fitted(recipe, CPU, memory=10**12, processes=3).training
    assert (found.batch, found.accumulate) == (8, 3)
    with pytest.raises(ConfigError, match="cannot be shared by 5 processes"):
        fitted(recipe, CPU, memory=10**12, processes=5)


def test_only_where_one_pair_does_not_fit_precision_and_checkpointing_change():
    recipe = small("data.crop=128", "training.batch=2")
    half = override(recipe, ["training.precision=bfloat16"])
    twice = override(half, ["training.checkpointed=true"])
    needs = [footprint(each, 1).total / memory.SHARE + 9 for each in (recipe, half, twice)]
    assert needs == sorted(needs, reverse=True)
    found = [fitted(recipe, CPU, memory=int(need)).training for need in needs]
    assert [each.precision for each in found] == ["float32", "bfloat16", "bfloat16"]
    assert [each.checkpointed for each in found] == [False, False, True]
    assert fitted(half, CPU, memory=int(needs[2])).training.checkpointed


def test_what_cannot_fit_is_refused_with_both_figures():
    need = footprint(small("training.precision=bfloat16", "training.checkpointed=true"), 1).total
    message = f"needs {need:,} bytes for one part of 1 .* but 800,000 .* smaller data.crop or network.backbone"
    with pytest.raises(ResourceError, match=message):
        fitted(small(), CPU, memory=1_000_000)


def test_a_gpu_that_has_bfloat16_takes_it(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    assert fitted(small(), torch.device("cuda"), memory=10**12).training.precision == "bfloat16"
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    assert fitted(small(), torch.device("cuda"), memory=10**12).training.precision == "float32"
