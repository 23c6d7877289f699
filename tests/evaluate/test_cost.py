"""Costs: every layer of the papers' U-Net is counted, what their counter passed over is known, and runs are timed."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from residiff import recipe
from residiff.errors import ConfigError
from residiff.evaluate.cost import Count, cost_rows, count, measure, parse_size, timed_row


@pytest.mark.parametrize(
    ("name", "parameters", "macs"), [("resfusion-lol", 36_261_187, 119.17), ("resfusion-istd", 36_267_459, 119.59)]
)
def test_the_papers_u_net(name, parameters, macs):
    found = count(recipe.read(name), 256, 256)
    assert found.parameters == parameters
    assert found.macs / 1e9 == pytest.approx(macs, abs=0.01)
    assert found.parameters_as_published / 1e6 == pytest.approx(7.7, abs=0.05)
    assert found.macs_as_published / 1e9 == pytest.approx(32.9 if name == "resfusion-lol" else 33.3, abs=0.05)


def test_two_networks_cost_twice_as_much():
    found = count(recipe.read("rddm-istd"), 256, 256)
    assert (found.parameters / 1e6, found.macs / 1e9) == pytest.approx((72.54, 239.58), abs=0.01)
    assert found.parameters_as_published / 1e6 == pytest.approx(15.49, abs=0.01)


def test_a_network_that_is_counted_by_hand(monkeypatch):
    class Small(nn.Module):
        size_multiple = 4

        def __init__(self) -> None:
            super().__init__()
            self.convolution = nn.Conv2d(6, 8, 3, padding=1, groups=2)
            self.linear = nn.Linear(8, 5)

        def forward(self, x, times):
            return self.linear(self.convolution(x).mean((2, 3)))

    small = recipe.override(recipe.read("tiny"), ["network.mask=false"])
    monkeypatch.setattr(type(small), "backbone", lambda self: Small())
    macs = 8 * 12 * 16 * 3 * 9 + 8 * 5
    parameters = 8 * 3 * 9 + 8 + 8 * 5 + 5
    assert count(small, 10, 15) == Count(10, 15, parameters, macs, parameters, macs)


def test_nothing_is_allocated():
    assert count(recipe.read("rddm-istd"), 8192, 8192).macs > 2e14


def test_a_run_is_timed_in_a_process_of_its_own(tiny_file):
    runs = list(measure(str(tiny_file), [(48, 64), (32, 32)], [1], device="cpu"))
    assert [(run.height, run.width, run.steps) for run in runs] == [(32, 32, 1), (48, 64, 1)]
    assert all(run.seconds > 0 and run.peak_bytes > 0 and run.threads == 1 for run in runs)
    row = timed_row(recipe.read("tiny"), runs[0])
    assert row["size"] == "32x32" and row["device"] == "cpu, 1 threads"


def test_rows():
    rows = cost_rows(recipe.read("denoise"), [(256, 256), (64, 128)], [1, None])
    assert [(row["size"], row["steps"]) for row in rows] == [
        ("256x256", 1),
        ("256x256", 2),
        ("128x64", 1),
        ("128x64", 2),
    ]
    assert rows[1]["GMAC"] == pytest.approx(2 * rows[0]["GMAC"], abs=0.02)


def test_sizes():
    assert (parse_size("256"), parse_size("640x480")) == ((256, 256), (480, 640))
    for text in ("x", "ax3", "12x", "-3", "1x2x3"):
        with pytest.raises(ConfigError, match="size is"):
            parse_size(text)
    with pytest.raises(ConfigError, match="height is 0"):
        count(recipe.read("tiny"), 0, 5)


def test_fused_attention_is_counted():
    assert torch.nn.functional.scaled_dot_product_attention  # what the counter does not know
    without = count(recipe.read("resfusion-lol"), 256, 256).macs - 118_906_470_400
    assert without == 2 * 4 * 1024**2 * 32
