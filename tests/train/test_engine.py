"""Training: it learns, and a run that was stopped and continued is one that was not, to the bit."""

import csv
import math
import shutil
from itertools import islice

import pytest
import torch

from residiff.checkpoint import TrainingState, load_model, load_state, save_state
from residiff.data.images import write
from residiff.data.pairs import Pair, PairedFolder, SyntheticPairs
from residiff.data.picture import Picture
from residiff.errors import CheckpointError, ConfigError, DivergedError, LockedError, ModelFileError
from residiff.recipe import Training, override, parse
from residiff.train import METRICS, MODEL, STATE, Run, draw_times, learning_rate, open_run, pairs_for
from residiff.train import engine as train

TINY = parse("""
    name = "tiny"
    task = "denoise"
    [schedule]\nkind = "rddm"\nlength = 100
    [network.backbone]\nkind = "nafnet"\nwidth = 8\nencoder = [1]\nmiddle = 1\ndecoder = [1]
    [data]
    crop = 16
    picture = 24
    reuse = 2
    window = 4
    degrade = { name = "noise", parameters = { sigma = 40 } }
    [training]
    iterations = 8
    batch = 2
    learning_rate = 3e-3
    warm_up = 3
    weight_decay = 0.01
    ema = 0.9
    start_share = 0.3
    save_seconds = 1e-6
""")  # a save after every step
SEED = TINY.training.seed


def pairs(recipe=TINY):
    return SyntheticPairs(recipe.data, recipe.training.seed)


def finished(folder, recipe=TINY, workers=0):
    run = Run(recipe, folder)
    progress = list(run.train(pairs(recipe), workers))
    return run, progress


def stopped(folder, steps, recipe=TINY, workers=0):
    """A run that ended, as if killed, after a step and its save."""
    run = Run(recipe, folder)
    steps_of = run.train(pairs(recipe), workers)
    assert len(list(islice(steps_of, steps))) == steps
    steps_of.close()
    return run


def table(folder):
    with (folder / METRICS).open(encoding="utf-8", newline="") as file:
        return [(int(row["step"]), row["loss"], row["learning_rate"]) for row in csv.DictReader(file)]


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def weights_of(run):
    return {key: value.clone() for key, value in run.denoiser.backbone.state_dict().items()}


def same_files(one, other):
    """Model, state and log are equal, but for the seconds."""
    return (
        (one / MODEL).read_bytes() == (other / MODEL).read_bytes()
        and (one / STATE).read_bytes() == (other / STATE).read_bytes()
        and table(one) == table(other)
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of an uninterrupted run."""
    folder = tmp_path_factory.mktemp("whole")
    finished(folder)
    return folder


# It learns


class One:
    """The same pair at every number."""

    source = "one pair"
    size = 1

    def __init__(self, value=None, at=()):
        self.value, self.at, self.seen = value, at, []

    def __call__(self, index):
        self.seen.append(index)
        clean = torch.linspace(0, 1, 3 * 16 * 16).reshape(3, 16, 16)
        degraded = clean.flip(1)
        return Pair(clean, degraded * self.value if index in self.at else degraded, clean[:0])


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
    run = Run(TINY, tmp_path)
    run.resume()
    with pytest.raises(CheckpointError, match="begun on procedural, noise, not on one pair"):
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
    gradients = [value.grad for value in run.denoiser.backbone.parameters() if value.grad is not None]
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


# Rates and times


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


# Stops and resumptions


def test_two_runs_are_equal_to_the_bit_whatever_the_global_generator_holds(tmp_path, whole):
    torch.manual_seed(12345)
    state = torch.get_rng_state()
    Run(TINY, tmp_path)
    assert torch.equal(state, torch.get_rng_state()), "a run leaves the global generator alone"
    finished(tmp_path)
    assert same_files(tmp_path, whole)


def test_another_seed_gives_another_run(tmp_path, whole):
    finished(tmp_path, override(TINY, ["training.seed=11"]))
    assert not equal(dict(load_model(tmp_path).weights), dict(load_model(whole).weights))
    assert table(tmp_path)[0] != table(whole)[0]


@pytest.mark.parametrize(("steps", "workers"), [(1, 0), (2, 1), (3, 0), (5, 1), (7, 0), (7, 1)])
def test_a_run_that_was_stopped_and_continued_is_one_that_was_not(tmp_path, whole, steps, workers):
    before = stopped(tmp_path, steps, workers=workers)
    run = Run(TINY, tmp_path)
    run.resume()
    assert run.step == steps
    assert equal(weights_of(run), weights_of(before))
    progress = list(run.train(pairs(), workers))
    assert [one.step for one in progress] == list(range(steps + 1, 9))
    assert same_files(tmp_path, whole)


def test_a_run_may_be_stopped_after_every_step(tmp_path, whole):
    stopped(tmp_path, 1)
    for step in range(1, 8):
        run = Run(TINY, tmp_path)
        run.resume()
        steps = run.train(pairs())
        assert next(steps).step == step + 1
        steps.close()
    run = Run(TINY, tmp_path)
    run.resume()
    run.save()
    assert run.step == 7, "the last step is saved by the end of the run, which never came"
    list(run.train(pairs()))
    assert same_files(tmp_path, whole)


@pytest.mark.parametrize("settings", [["training.precision=bfloat16"], ["prediction.kind=residual-noise"]])
def test_other_recipes_continue_exactly_too(tmp_path, settings):
    recipe = override(TINY, ["training.iterations=4", *settings])
    finished(tmp_path / "whole", recipe)
    stopped(tmp_path / "parts", 2, recipe)
    run = Run(recipe, tmp_path / "parts")
    run.resume()
    list(run.train(pairs(recipe)))
    assert same_files(tmp_path / "whole", tmp_path / "parts")


def test_no_pair_is_repeated_or_left_out(tmp_path):
    first, second = One(), One()
    steps = Run(TINY, tmp_path).train(first)
    next(steps), next(steps)
    steps.close()
    run = Run(TINY, tmp_path)
    run.resume()
    list(run.train(second))
    assert first.seen + second.seen == list(range(16))


def test_a_finished_run_has_nothing_left_to_do(tmp_path, whole):
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    run = Run(TINY, tmp_path)
    run.resume()
    assert list(run.train(pairs())) == []
    assert same_files(tmp_path, whole)


def test_a_log_that_ran_ahead_of_the_state_is_cut(tmp_path, whole):
    stopped(tmp_path, 3)
    shutil.copy(whole / METRICS, tmp_path / METRICS)
    shutil.copy(whole / MODEL, tmp_path / MODEL)
    run = Run(TINY, tmp_path)
    run.resume()
    assert [row.step for row in run.rows] == [1, 2, 3]
    list(run.train(pairs()))
    assert same_files(tmp_path, whole)


def test_saves_come_when_their_time_has(tmp_path, monkeypatch):
    clock = iter(range(10_000))
    monkeypatch.setattr(train.time, "monotonic", lambda: next(clock))
    saved = []
    run = Run(override(TINY, ["training.save_seconds=4"]), tmp_path)
    monkeypatch.setattr(run, "save", lambda: saved.append(run.step))
    list(run.train(pairs()))
    assert saved[-1] == 8
    assert 2 <= len(saved) < 8
    assert saved == sorted(set(saved))


# What is refused


@pytest.mark.parametrize(
    "setting",
    ["training.seed=11", "training.learning_rate=1e-3", "training.batch=4", "training.iterations=9", "training.ema=0.8",
     "training.loss=l2", "data.crop=12", "data.degrade.parameters.sigma=41", "network.backbone.width=9",
     "network.shows_input=false", "schedule.length=99", "sampling.steps=4", "name=other"],
)  # fmt: skip
def test_another_recipe_is_refused(whole, setting):
    run = Run(override(TINY, [setting]), whole)
    with pytest.raises(CheckpointError, match="another recipe"):
        run.resume()
    assert run.step == 0


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


def rewrite(path, change):
    """Sign the state again with other tensors or another step."""
    state = load_state(path)
    tensors = dict(state.tensors)
    step = change(tensors) or state.step
    save_state(path, TrainingState(state.recipe, step, state.source, tensors))


def drop(name):
    return lambda folder: rewrite(folder / STATE, lambda tensors: tensors.__delitem__(name))


def put(name, value):
    return lambda folder: rewrite(folder / STATE, lambda tensors: tensors.update({name: value}))


DAMAGES = {
    "no state": lambda folder: (folder / STATE).unlink(),
    "empty": lambda folder: (folder / STATE).write_bytes(b""),
    "cut": lambda folder: (folder / STATE).write_bytes((folder / STATE).read_bytes()[:-1]),
    "flipped": lambda folder: flip(folder / STATE),
    "a model": lambda folder: shutil.copy(folder / MODEL, folder / STATE),
    "no log": lambda folder: (folder / METRICS).unlink(),
    "empty log": lambda folder: (folder / METRICS).write_bytes(b""),
    "cut log": lambda folder: (folder / METRICS).write_bytes((folder / METRICS).read_bytes()[:60]),
    "log of another": lambda folder: (folder / METRICS).write_text("step,loss,learning_rate,seconds\n1,x,y,z\n"),
    "doubled log": lambda folder: (folder / METRICS).write_bytes((folder / METRICS).read_bytes() * 2),
    "binary log": lambda folder: (folder / METRICS).write_bytes(b"\xff\x00" * 40),
    "a step too many": lambda folder: rewrite(folder / STATE, lambda _tensors: 9),
    "no average": drop("average.intro.bias"),
    "no weight": drop("weights.intro.bias"),
    "another shape": put("weights.intro.bias", torch.zeros(9)),
    "an extra weight": put("weights.extra", torch.zeros(9)),
    "an unknown group": put("extra.x", torch.zeros(1)),
    "an unknown parameter": put("optimiser.0.x.step", torch.tensor(8.0)),
    "no moment": drop("optimiser.0.0.exp_avg_sq"),
    "no step of a parameter": drop("optimiser.0.1.step"),
    "a moment of another shape": put("optimiser.0.2.exp_avg", torch.zeros(9)),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_refused(tmp_path, whole, damage):
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    DAMAGES[damage](tmp_path)
    run = Run(TINY, tmp_path)
    before = weights_of(run)
    with pytest.raises(CheckpointError, match=str(tmp_path)) as caught:
        run.resume()
    assert caught.value.exit_code == 4
    assert (run.step, run.rows) == (0, [])
    assert equal(weights_of(run), before)


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("step", [0, 3])
def test_a_loss_that_is_not_finite_ends_the_run_and_leaves_the_weights(tmp_path, value, step):
    run = Run(TINY, tmp_path)
    steps = run.train(One(value, at=(2 * step, 2 * step + 1)))
    for _ in range(step):
        next(steps)
    weights, average = weights_of(run), {key: tensor.clone() for key, tensor in run.average.items()}
    with pytest.raises(DivergedError, match=f"at step {step + 1}; lower training.learning_rate") as caught:
        next(steps)
    assert caught.value.exit_code == 7
    assert run.step == step
    assert equal(weights_of(run), weights)
    assert equal(run.average, average)
    if step:
        assert load_state(tmp_path / STATE).step == step
    else:
        assert not (tmp_path / STATE).exists()


def test_a_gradient_that_is_not_finite_ends_the_run_too(tmp_path):
    run = Run(TINY, tmp_path)
    next(run.denoiser.backbone.parameters()).register_hook(lambda gradient: gradient * math.nan)
    before = weights_of(run)
    with pytest.raises(DivergedError, match="gradient nan at step 1"):
        next(run.train(pairs()))
    assert equal(weights_of(run), before)


def test_a_save_that_fails_keeps_the_one_before(tmp_path, monkeypatch):
    run = stopped(tmp_path, 3)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(*_args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(train.files.os, "fsync", full)
    with pytest.raises(train.files.ResourceError, match="disk is full"):
        run.save()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


# A folder of one's own


def test_a_run_is_opened_anew_or_where_it_stopped(tmp_path, whole, caplog):
    with open_run(TINY, tmp_path) as run:
        assert run.step == 0
        steps = run.train(pairs_for(TINY, None))
        next(steps), next(steps)
        steps.close()
    with open_run(TINY, tmp_path, resume=True) as run:
        assert run.step == 2
        list(run.train(pairs_for(TINY, None)))
    assert same_files(tmp_path, whole)
    assert caplog.text == ""


@pytest.mark.parametrize("damage", ["no state", "empty", "cut", "flipped", "a model"])
def test_without_a_whole_checkpoint_it_begins_anew_and_says_so(tmp_path, whole, damage, caplog):
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    DAMAGES[damage](tmp_path)
    with open_run(TINY, tmp_path, resume=True) as run:
        assert (run.step, run.rows) == (0, [])
    assert "starting from the beginning" in caplog.text


def test_another_recipe_is_not_begun_over_a_whole_checkpoint(tmp_path, whole):
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    recipe = override(TINY, ["training.seed=11"])
    with pytest.raises(CheckpointError, match="another recipe"), open_run(recipe, tmp_path, resume=True):
        pass


def test_a_folder_in_use_is_refused(tmp_path):
    with open_run(TINY, tmp_path), pytest.raises(LockedError), open_run(TINY, tmp_path):
        pass
    with open_run(TINY, tmp_path):
        pass


def test_pairs_come_from_the_folder_where_one_is_given(tmp_path):
    assert isinstance(pairs_for(TINY, None), SyntheticPairs)
    for kind in ("clean", "degraded"):
        write(tmp_path / kind / "a.png", Picture(torch.rand(3, 16, 16)))
    source = pairs_for(TINY, tmp_path)
    assert isinstance(source, PairedFolder)
    assert source(0).clean.shape == (3, 16, 16)
    with pytest.raises(ConfigError, match="no folder 'mask'"):
        pairs_for(override(TINY, ["network.mask=true"]), tmp_path)


def test_the_errors_are_of_the_public_tree():
    assert issubclass(CheckpointError, ModelFileError)
