"""Training: it learns, by what the recipe says, and the model file says what it learnt from."""

import math
import shutil

import pytest
import torch
from runs import TINY, One, equal, finished, held_out, pairs, resumed, stopped, table, weights_of

from residiff import tensorfile
from residiff.checkpoint import load_model
from residiff.errors import ConfigError, ModelFileError, ResourceError
from residiff.recipe import override
from residiff.train import METRICS, Run, learning_rate, open_run
from residiff.train.keeping import states
from residiff.train.validation import Validation

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


# Memory


def no_memory(*_arguments, **_options):
    torch.empty(2**55)


OUT_OF_MEMORY = {"python": MemoryError(), "gpu": torch.OutOfMemoryError("CUDA out of memory"), "cpu": no_memory}


def failing(error):
    def fail(*_arguments, **_options):
        if callable(error):
            error()
        raise error

    return fail


@pytest.mark.parametrize("error", OUT_OF_MEMORY.values(), ids=OUT_OF_MEMORY)
@pytest.mark.parametrize("place", ["forward", "write", "validate"])
def test_no_memory_for_an_update_a_save_or_a_validation_says_what_to_change(tmp_path, monkeypatch, error, place):
    run = stopped(tmp_path, 2)
    before = [path.read_bytes() for path in states(tmp_path)]
    targets = {
        "forward": (run.learner.denoiser, "loss"),
        "write": (tensorfile, "_put"),
        "validate": (Validation, "score"),
    }
    monkeypatch.setattr(*targets[place], failing(error))
    with pytest.raises(ResourceError, match="smaller training.batch .*--auto-batch .*data.crop, .*checkpointed=true"):
        list(run.train(pairs(), held_out=held_out()))
    assert not list(tmp_path.rglob("*.tmp"))
    assert before == [path.read_bytes() for path in states(tmp_path)][-2:]


@pytest.mark.parametrize("place", ["build", "read"])
def test_no_memory_for_a_network_or_what_was_saved_of_it_says_so_too(tmp_path, monkeypatch, whole, place):
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    target = (type(TINY), "build") if place == "build" else (tensorfile, "_read_tensor")
    monkeypatch.setattr(*target, failing(no_memory))
    with pytest.raises(ResourceError, match="does not fit into memory"), open_run(TINY, tmp_path, resume=True):
        pass
    assert [path.name for path in states(tmp_path)] == [path.name for path in states(whole)]
