"""`residiff bench`: every figure is a ratio of medians of rounds taken in turns, to the published network's."""

from __future__ import annotations

import json
from statistics import median

import pytest
import torch

from residiff import bench
from residiff.errors import ConfigError
from residiff.nn.unet import UNet


@pytest.fixture
def small(monkeypatch):
    """A small network in the reference's place."""
    monkeypatch.setattr(bench, "reference_network", lambda: UNet(6, dim=8, dim_mults=(1, 2)).eval())


def test_the_reference_is_the_papers_network():
    network = bench.reference_network()
    assert sum(each.numel() for each in network.parameters()) == pytest.approx(36.26e6, rel=1e-3)
    assert type(network) is UNet and not network.training
    assert torch.equal(network.init_conv.weight, bench.reference_network().init_conv.weight)


def test_works_take_turns_and_the_first_round_does_not_count():
    asked = []
    found = bench.alternated({"a": lambda: asked.append("a"), "b": lambda: asked.append("b")}, 3)
    assert asked == ["a", "b"] * 4 and {len(rounds) for rounds in found.values()} == {3}


def test_figures_are_ratios_of_medians(monkeypatch, small, tiny_file):
    clock = iter(range(10**6))
    monkeypatch.setattr(bench.time, "perf_counter", lambda: float(next(clock)))
    timings = bench.bench(str(tiny_file), sizes=[8], steps=[1, 2], backends=["eager"], batches=[1, 4], rounds=3)
    assert [(each.case.steps, each.case.batch) for each in timings] == [(1, 1), (1, 4), (2, 1), (2, 4)]
    for each in timings:
        # By this clock everything takes a second
        assert each.seconds == pytest.approx(1 / each.case.batch) and each.seconds == median(each.rounds)
        assert each.per_second == each.case.batch and each.ratio == 5 * each.case.batch
        assert each.step_ratio == each.case.batch * each.case.steps and each.resident_bytes > 10**7


def test_the_command_writes_numbers_and_a_plot(cli, small, tiny_file, tmp_path):
    options = ("--size", 8, "--size", 16, "--steps", 1, "--backend", "eager", "--rounds", 1, "--threads", 1)
    said = cli("bench", "-m", tiny_file, *options, "-o", tmp_path / "b.json", "--plot", tmp_path / "b.svg", "--json")
    assert said.code == 0
    assert [row["size"] for row in json.loads(said.out)] == [8, 16]
    facts = json.loads((tmp_path / "b.json").read_text())
    assert facts["threads"] == 1 and facts["timings"][1]["case"]["size"] == 16
    assert (tmp_path / "b.svg").read_text().count("eager, 1 steps, 1 at once") == 1
    # Headings break where the terminal is narrow
    assert {"times", "the", "reference"} <= set(cli("bench", "-m", tiny_file, *options).out.decode().split())


def test_masks_are_given_where_they_are_needed(small, masked_file):
    (timing,) = bench.bench(str(masked_file), sizes=[10], steps=[1], rounds=1)
    assert timing.case.size == 10


@pytest.mark.parametrize(
    ("change", "said"),
    [({"sizes": [0]}, "size is 0"), ({"batches": [0]}, "batch is 0"), ({"rounds": 0}, "rounds is 0"),
     ({"steps": [10**6]}, "steps is"), ({"backends": ["fast"]}, "allowed are auto")],
)  # fmt: skip
def test_what_cannot_be_timed_is_refused(small, tiny_file, change, said):
    with pytest.raises(ConfigError, match=said):
        bench.bench(str(tiny_file), **change)
    with pytest.raises(ConfigError, match="a plot is"):
        bench.check_plot(tiny_file)
