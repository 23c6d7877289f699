"""Learning rates, decays and times: closed forms, and torch's own plateau as oracle."""

import math

import pytest
import torch

from residiff.recipe import Training
from residiff.train import draw_times, learning_rate


def test_the_learning_rate_warms_up_and_falls_as_a_cosine():
    settings = Training(iterations=110, warm_up=10, learning_rate=0.5, final_learning_rate=0.1)
    rates = [learning_rate(settings, step) for step in range(110)]
    assert rates[:10] == pytest.approx([0.05 * (step + 1) for step in range(10)])
    assert rates[10] == 0.5
    assert rates[60] == pytest.approx(0.3)
    assert rates[35] == pytest.approx(0.3 + 0.2 / math.sqrt(2))
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert 0.1 < rates[-1] < 0.1001
    assert learning_rate(settings, 110) == pytest.approx(0.1)


@pytest.mark.parametrize("warm_up", [0, 1, 5, 6, 100])
def test_the_learning_rate_is_usable_at_any_warm_up(warm_up):
    settings = Training(iterations=5, warm_up=warm_up, learning_rate=1e-3, final_learning_rate=1e-5)
    assert all(0 < learning_rate(settings, step) <= 1e-3 for step in range(5))


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0])
def test_times_are_even_but_for_the_share_of_the_start(share):
    settings, length = Training(batch=60_000, start_share=share), 6
    times = draw_times(settings, length, torch.Generator().manual_seed(1))
    assert times.shape == (60_000,)
    counts = torch.bincount(times, minlength=length).double() / 60_000
    expected = torch.full((length,), (1 - share) / length, dtype=torch.float64)
    expected[-1] += share
    assert len(counts) == length
    assert (counts - expected).abs().max() < 4 * math.sqrt(0.25 / 60_000)
    assert share < 1 or (times == length - 1).all()


def test_one_level_has_one_time():
    assert draw_times(Training(batch=3), 1, torch.Generator()).tolist() == [0, 0, 0]
