"""Training: it learns, by what the recipe says, and the model file says what it learnt from."""

import math

import pytest
import torch
from runs import TINY, One, equal, finished, pairs, resumed, stopped, table, weights_of

from residiff.checkpoint import load_model
from residiff.errors import ConfigError, ModelFileError
from residiff.recipe import override
from residiff.train import METRICS, Run, learning_rate, open_run

# It learns


def test_the_loss_falls(tmp_path):
    recipe = override(TINY, ["training.iterations=60", "training.save_seconds=100", "training.warm_up=10"])
    losses = [progress.loss for progress in Run(recipe, tmp_path).train(One())]
    assert sum(losses[-10:]) < 0.5 * sum(losses[:10])
    assert all(math.isfinite(loss) for loss in losses)


def test_the_saved_model_is_the_average_and_not_the_last_weights(tmp_path):
    run, _ = finished(tmp_path)
    model = load_model(tmp_path)
    assert equal(dict(model.weights), run.average)
    assert not equal(dict(model.weights), weights_of(run))
    assert model.recipe == TINY
    assert model.card["images"] == 16
    assert model.card["data"] == "procedural, noise"


def test_a_run_goes_on_with_its_own_data_alone(tmp_path):
    stopped(tmp_path, 3)
    run = resumed(tmp_path)
    with pytest.raises(ConfigError, match="begun on procedural, noise, not on one pair"):
        next(run.train(One()))


def test_progress_counts_steps_and_gives_the_rate(tmp_path):
    run, progress = finished(tmp_path)
    assert [one.step for one in progress] == list(range(1, 9))
    assert [one.learning_rate for one in progress] == [learning_rate(TINY.training, step) for step in range(8)]
    assert all(one.seconds <= two.seconds for one, two in zip(progress, progress[1:], strict=False))
    assert run.step == 8


def test_the_log_has_each_step_once(whole):
    assert [row[0] for row in table(whole)] == list(range(1, 9))
    assert (whole / METRICS).read_text("utf-8").splitlines()[0] == "step,loss,learning_rate,seconds"


@pytest.mark.parametrize("loss", ["l1", "l2", "smooth-l1"])
@pytest.mark.parametrize("prediction", ["residual", "residual-noise", "resnoise"])
def test_every_loss_and_some_predictions_train(tmp_path, loss, prediction):
    recipe = override(TINY, [f"training.loss={loss}", f"prediction.kind={prediction}", "training.iterations=2"])
    before = weights_of(Run(recipe, tmp_path))
    run, progress = finished(tmp_path, recipe)
    assert all(math.isfinite(one.loss) and one.loss > 0 for one in progress)
    assert all(not torch.equal(value, before[key]) for key, value in weights_of(run).items() if "bias" in key)


def test_each_step_draws_its_time_and_noise_anew(tmp_path):
    recipe = override(TINY, ["training.learning_rate=1e-12", "training.final_learning_rate=1e-12"])
    losses = [progress.loss for progress in Run(recipe, tmp_path).train(One())]
    assert len({round(loss, 5) for loss in losses}) == len(losses)


def test_gradients_are_clipped(tmp_path):
    recipe = override(TINY, ["training.clip=1e-3", "training.iterations=1"])
    run, _ = finished(tmp_path, recipe)
    gradients = [value.grad for value in run.learner.backbone.parameters() if value.grad is not None]
    norm = torch.stack([gradient.norm() for gradient in gradients]).norm()
    assert norm.item() == pytest.approx(1e-3, rel=1e-3)


def test_masks_are_shown(tmp_path):
    recipe = override(TINY, ["network.mask=true", "data.degrade={name='shadow'}", "training.iterations=2"])
    finished(tmp_path, recipe)
    assert load_model(tmp_path).denoiser().backbone.intro.in_channels == 4 * 7


def test_a_mask_that_the_data_lack_is_refused(tmp_path):
    recipe = override(TINY, ["network.mask=true"])
    with pytest.raises(ConfigError, match="shown a mask, but the data have none"):
        finished(tmp_path, recipe)


def test_the_average_is_its_closed_form(tmp_path):
    run = Run(TINY, tmp_path)
    expected = {key: value.double() for key, value in weights_of(run).items()}
    for progress in run.train(pairs()):
        decay = min(0.9, (1 + progress.step) / (10 + progress.step))
        for key, value in weights_of(run).items():
            expected[key] = decay * expected[key] + (1 - decay) * value.double()
    assert all(torch.allclose(run.average[key].double(), value, atol=1e-6) for key, value in expected.items())


# Fine-tuning


def test_a_run_may_begin_with_the_weights_of_a_model(tmp_path, whole):
    model = load_model(whole)
    recipe = override(TINY, ["training.seed=5", "data.degrade.parameters.sigma=10"])
    with open_run(recipe, tmp_path, init=model) as run:
        assert equal(weights_of(run), dict(model.weights))
        assert equal(run.average, dict(model.weights))
        list(run.train(pairs(recipe)))
    assert not equal(dict(load_model(tmp_path).weights), dict(model.weights))
    fresh, _ = finished(tmp_path / "fresh", recipe)
    assert not equal(weights_of(fresh), weights_of(run))


def test_weights_that_do_not_fit_are_refused_with_what_differs(tmp_path, whole):
    recipe = override(TINY, ["network.backbone.width=12"])
    with (
        pytest.raises(
            ModelFileError, match=r"(?s)do not fit.*own recipe:\n  network.backbone.width: 8 -> 12"
        ) as caught,
        open_run(recipe, tmp_path, init=load_model(whole)),
    ):
        pass
    assert "decoder.0.0.attention.bias is (8,)" in str(caught.value)
