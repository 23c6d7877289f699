"""What moves the weights: the settings of the papers, one optimiser or one for each network, and their exact resume."""

from itertools import islice

import pytest
import torch
from test_engine import TINY, finished, pairs, stopped

from residiff.errors import ConfigError
from residiff.recipe import Training, override
from residiff.train import Run, open_run
from residiff.train.keeping import states
from residiff.train.rules import average_decay

TWO_UNETS = [
    "network.backbone={kind='unet', width=8, multipliers=[1, 2], groups=4}",
    "prediction={kind='residual-noise'}",
]
PER_HEAD = [*TWO_UNETS, "training.optimiser.per_head=true"]


def weights(run):
    return run.learner.backbone.state_dict()


@pytest.mark.parametrize(
    "settings",
    [
        ["training.optimiser.kind=adam", "training.optimiser.amsgrad=true"],
        ["training.optimiser={kind='radam', betas=[0.9, 0.99]}"],
        ["training.optimiser.kind=sgd"],
        ["training.optimiser={kind='sgd', betas=[0.0, 0.0]}"],
        ["training.optimiser={kind='adamw', amsgrad=true}", "training.accumulate=2"],
        PER_HEAD,
        ["network.self_condition=true"],
    ],
    ids=" ".join,
)
def test_a_run_that_was_stopped_gives_the_weights_of_one_that_was_not(tmp_path, settings):
    recipe = override(TINY, settings)
    whole, _ = finished(tmp_path / "whole", recipe)
    stopped(tmp_path / "parts", 4, recipe)
    assert states(tmp_path / "parts")
    with open_run(recipe, tmp_path / "parts", resume=True) as run:
        assert run.step >= 3
        list(run.train(pairs(recipe)))
    for key, value in weights(whole).items():
        assert torch.equal(value, weights(run)[key]), key
        assert torch.equal(whole.average[key], run.average[key]), key


def test_an_update_of_4_pairs_is_one_of_2_accumulated_twice(tmp_path):
    """F12: the same pairs, times and noise; the mean of two halves' gradients is the whole's."""
    steps = "training.iterations=3"
    at_once, rows = finished(tmp_path / "a", override(TINY, ["training.batch=4", steps, "training.optimiser.kind=sgd"]))
    parts = override(TINY, ["training.batch=2", "training.accumulate=2", steps, "training.optimiser.kind=sgd"])
    accumulated, others = finished(tmp_path / "b", parts)
    assert [row.loss for row in rows] == pytest.approx([row.loss for row in others], rel=1e-5)
    for key, value in weights(at_once).items():
        torch.testing.assert_close(value, weights(accumulated)[key], rtol=0, atol=1e-6)


def first_update(settings):
    """(before, after) of the weights, for each of two U-Nets the norm of how far they went."""
    recipe = override(TINY, [*settings, "training.iterations=1", "training.warm_up=0", "training.clip=1e-3"])
    run = Run(override(recipe, ["training.optimiser.kind=sgd", "training.weight_decay=0.0"]), None)
    before = {key: value.clone() for key, value in weights(run).items()}
    run.learner.update(next(iter(torch.utils.data.DataLoader([pairs()(i) for i in range(2)], batch_size=2))), 0, 1.0)
    moved = {key: value - before[key] for key, value in weights(run).items()}
    return [torch.cat([v.flatten() for k, v in moved.items() if k.startswith(f"unet{i}.")]).norm() for i in range(2)]


def test_each_network_is_clipped_alone_or_as_the_published_code_does_both_together():
    """Nesterov's first step of momentum 0.9 is 1.9 times the clipped gradient."""
    alone, joint = first_update(PER_HEAD), first_update([*PER_HEAD, "compat=paper"])
    assert [float(norm) for norm in alone] == pytest.approx([1.9e-3, 1.9e-3], rel=1e-3)
    assert float(torch.stack(joint).norm()) == pytest.approx(1.9e-3, rel=1e-3)
    assert float(torch.stack(first_update(TWO_UNETS)).norm()) == pytest.approx(1.9e-3, rel=1e-3)


@pytest.mark.parametrize(
    "settings", [["prediction={kind='residual-noise'}"], [*TWO_UNETS, "network.backbone.shared=true"], []], ids=str
)
def test_an_optimiser_for_each_network_needs_two_networks(settings):
    with pytest.raises(ConfigError, match="per_head needs two U-Nets"):
        override(TINY, [*settings, "training.optimiser.per_head=true"])


def test_the_published_average():
    """RDDM's: at updates 1, 11, ...; a copy up to the 101st; then 1 - (1 + k)^(-2/3), k = updates - 101, to 0.995."""
    settings = Training(ema=0.995, ema_every=10, ema_rise="rddm")
    decays = {step: average_decay(settings, step + 1) for step in range(4000)}
    assert all(decay == 1 for step, decay in decays.items() if step % 10)
    assert all(decays[step] == 0 for step in range(0, 101, 10))
    assert decays[110] == pytest.approx(1 - 11 ** (-2 / 3))
    assert decays[3990] == 0.995
    assert {average_decay(Training(ema=0.9999, ema_rise="constant"), step) for step in range(1, 9)} == {0.9999}


def test_the_average_follows_every_so_many_updates(tmp_path):
    recipe = override(TINY, ["training.ema_every=4", "training.ema=0.5", "training.ema_rise=constant"])
    run = Run(recipe, tmp_path)
    seen = [{key: value.clone() for key, value in run.average.items()} for _ in islice(run.train(pairs()), 6)]
    moved = [any(not torch.equal(a[key], b[key]) for key in a) for a, b in zip(seen, seen[1:], strict=False)]
    assert moved == [False, False, False, True, False]
