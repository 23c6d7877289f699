"""Learning rates, decays and times: closed forms, and torch's own plateau as oracle."""

import math

import pytest
import torch

from residiff.errors import ConfigError
from residiff.recipe import Plateau, Training
from residiff.train import draw_times, learning_rate
from residiff.train.rules import Descent, epoch_of


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


# Plateaus, epochs and batches


@pytest.mark.parametrize("factor", [0.5, 0.8])
@pytest.mark.parametrize(("patience", "cooldown"), [(0, 0), (2, 0), (2, 3), (5, 1)])
def test_a_plateau_is_that_of_torch(factor, patience, cooldown):
    source = torch.Generator().manual_seed(patience)
    losses = (torch.rand(200, generator=source).double() + torch.linspace(1, 0.5, 200).double()).tolist()
    weight = torch.nn.Parameter(torch.zeros(1))
    optimiser = torch.optim.SGD([weight], lr=1.0)
    oracle = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimiser, factor=factor, patience=patience, cooldown=cooldown, eps=0
    )
    settings, descent = Plateau(factor=factor, patience=patience, cooldown=cooldown), Descent()
    for first in range(0, 200, 2):
        oracle.step(sum(losses[first : first + 2]) / 2)
        for loss in losses[first : first + 2]:
            descent = descent.after(loss, 2, settings)
        assert descent.falls == pytest.approx(optimiser.param_groups[0]["lr"], rel=1e-12)
    assert descent.falls < factor**2, "it has fallen more than twice"


def test_the_rate_falls_by_the_plateau_and_after_the_warm_up():
    settings = Training(decay="plateau", warm_up=2, learning_rate=0.1)
    assert [learning_rate(settings, step, 0.5) for step in range(4)] == [0.05, 0.1, 0.05, 0.05]


def test_a_plateau_needs_epochs():
    with pytest.raises(ConfigError, match="set training.epoch"):
        epoch_of(Training(decay="plateau"), 0)
    assert epoch_of(Training(decay="plateau", epoch=7), 0) == 7
    assert epoch_of(Training(batch=4, accumulate=2), 81) == 10
    assert epoch_of(Training(batch=100), 81) == 1


@pytest.mark.parametrize(("batch", "accumulate", "expected"), [(256, 1, 0.1), (64, 2, 0.05), (1, 1, 0.1 / 256)])
def test_the_rate_grows_with_the_pairs_of_an_update(batch, accumulate, expected):
    settings = Training(
        batch=batch, accumulate=accumulate, reference_batch=256, learning_rate=0.1, decay="constant", warm_up=0
    )
    assert learning_rate(settings, 5) == pytest.approx(expected, rel=1e-12)


def test_the_rate_may_change_once_an_epoch():
    settings = Training(iterations=100, warm_up=0, epoch=10, learning_rate=1.0, final_learning_rate=0.0)
    rates = [learning_rate(settings, step) for step in range(100)]
    assert rates[::10] == pytest.approx([(1 + math.cos(math.pi * epoch / 10)) / 2 for epoch in range(10)])
    assert all(len(set(rates[first : first + 10])) == 1 for first in range(0, 100, 10))
