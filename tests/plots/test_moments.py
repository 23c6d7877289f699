"""What is kept of a run: every number as defined, and pictures of a few states."""

import math

import pytest
import torch

from residiff.errors import ConfigError
from residiff.metrics import psnr
from residiff.plots import Run
from residiff.plots.moments import LONGEST_SIDE, MOST_MOMENTS, evenly, record, signed, span_of
from residiff.prediction import Estimate
from residiff.sample import State
from residiff.schedule import RDDM


def states(count, size=(6, 8), seed=0):
    source = torch.Generator().manual_seed(seed)
    levels = RDDM(length=count - 1).levels()
    for level in levels:
        x, *estimates = torch.randn(4, 1, 3, *size, generator=source).unbind(0)
        yield State(level, x, Estimate(*estimates))


def test_numbers_are_what_they_say():
    truth = torch.rand(3, 5, 7, generator=torch.Generator().manual_seed(9))
    found = record(Run(states(4), (5, 7)), truth)
    seen = list(states(4))
    assert [row.step for row in found.numbers] == [0, 1, 2, 3]
    for number, (row, state) in enumerate(zip(found.numbers, seen, strict=True)):
        level, estimate = state.level, state.estimate
        x, *parts = (part[0, :, :5, :7] for part in (state.x, estimate.x0, estimate.residual, estimate.noise))
        assert row[1:6] == (level.t, level.t_noise, level.signal, level.residual, level.noise)
        assert row.x_rms == pytest.approx(math.sqrt(x.square().mean()), rel=1e-5)
        if number:
            before = seen[number - 1].x[0, :, :5, :7]
            assert row.change == pytest.approx(math.sqrt((x - before).square().mean()), rel=1e-5)
        if number < 3:
            assert row[8:11] == pytest.approx([math.sqrt(part.square().mean()) for part in parts], rel=1e-5)
            assert row.x0_psnr == pytest.approx(psnr((parts[0] / 2 + 0.5).clamp(0, 1), truth), abs=1e-4)
    assert found.numbers[0].change is None
    assert found.numbers[-1][8:] == (None,) * 4
    assert torch.equal(found.end, seen[-1].x[0, :, :5, :7])


def test_a_grey_truth_is_compared_with_the_mean_of_the_channels():
    grey = torch.rand(1, 6, 8, generator=torch.Generator().manual_seed(9))
    first = next(states(3)).estimate.x0[0]
    score = record(Run(states(3), (6, 8)), grey).numbers[0].x0_psnr
    assert score == pytest.approx(psnr((first / 2 + 0.5).clamp(0, 1).mean(0, keepdim=True), grey), abs=1e-4)


def test_a_truth_of_another_size_is_refused():
    with pytest.raises(ConfigError, match=r"\(3, 5, 8\)"):
        record(Run(states(3), (6, 8)), torch.zeros(3, 5, 8))


@pytest.mark.parametrize("count", [2, 2 * MOST_MOMENTS, 2 * MOST_MOMENTS + 1, 2 * MOST_MOMENTS + 2, 211])
def test_pictures_of_few_states_are_kept_the_first_and_the_last_among_them(count):
    found = record(Run(states(count, (2, 2)), (2, 2)))
    kept = [moment.numbers.step for moment in found.moments]
    assert [row.step for row in found.numbers] == list(range(count))
    assert kept[0] == 0 and kept[-1] == count - 1
    assert min(count, MOST_MOMENTS) <= len(kept) <= 2 * MOST_MOMENTS
    gaps = {b - a for a, b in zip(kept[:-2], kept[1:-1], strict=True)}
    assert len(gaps) <= 1
    shown = [moment.numbers.step for moment in evenly(found.moments, 5)]
    assert shown[0] == 0 and shown[-1] == count - 1 and len(shown) == min(5, count)


def test_tiny_pictures_are_enlarged_and_large_ones_shrunk():
    tiny = record(Run(states(2, (6, 8)), (5, 7))).moments[0].x
    assert tiny.shape == (3, 5 * 18, 7 * 18)
    assert torch.equal(tiny[:, 9::18, 9::18], next(states(2)).x[0, :, :5, :7])
    large = record(Run(states(2, (600, 200)), (600, 200))).moments[0].x
    assert large.shape == (3, LONGEST_SIDE, round(200 * LONGEST_SIDE / 600))
    same = record(Run(states(2, (LONGEST_SIDE, 130)), (LONGEST_SIDE, 130))).moments[0].x
    assert torch.equal(same, next(states(2, (LONGEST_SIDE, 130))).x[0])


def test_signed_images_have_zero_in_the_middle():
    values = torch.tensor([-4.0, -2.0, 0.0, 1.0, 2.0])
    assert signed(values, 2).tolist() == [0, 0, 0.5, 0.75, 1]
    assert signed(torch.zeros(3), span_of([torch.zeros(3)])).tolist() == [0.5] * 3
    ramp = torch.linspace(-1, 1, 20_001)
    assert span_of([0.1 * ramp, ramp]) == pytest.approx(0.995, abs=1e-3)
