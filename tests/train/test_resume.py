"""A run that was stopped anywhere and continued is one that was not, to the bit; what does not fit is refused."""

import io
import json
import math
import shutil

import pytest
import torch
from runs import (
    TINY,
    One,
    equal,
    finished,
    held_out,
    pairs,
    resumed,
    same_files,
    stopped,
    table,
    weights_of,
)

from residiff import checkpoint, files, tensorfile
from residiff.checkpoint import MODEL, TrainingState, load_model, load_state, save_state
from residiff.errors import CheckpointError, ConfigError, DivergedError, LockedError, ModelFileError, ResourceError
from residiff.recipe import override
from residiff.train import METRICS, Run, open_run
from residiff.train import clock as clock_module
from residiff.train.keeping import newest, states


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
    run = resumed(tmp_path)
    assert run.step == steps
    assert equal(weights_of(run), weights_of(before))
    progress = list(run.train(pairs(), workers))
    assert [one.step for one in progress] == list(range(steps + 1, 9))
    assert same_files(tmp_path, whole)


def test_a_run_may_be_stopped_after_every_step(tmp_path, whole):
    stopped(tmp_path, 1)
    for step in range(1, 8):
        run = resumed(tmp_path)
        steps = run.train(pairs())
        assert next(steps).step == step + 1
        steps.close()
    run = resumed(tmp_path)
    run.save()
    assert run.step == 7, "the last step is saved by the end of the run, which never came"
    list(run.train(pairs()))
    assert same_files(tmp_path, whole)


@pytest.mark.parametrize("settings", [["training.precision=bfloat16"], ["prediction.kind=residual-noise"]])
def test_other_recipes_continue_exactly_too(tmp_path, settings):
    recipe = override(TINY, ["training.iterations=4", *settings])
    finished(tmp_path / "whole", recipe)
    stopped(tmp_path / "parts", 2, recipe)
    run = resumed(tmp_path / "parts", recipe)
    list(run.train(pairs(recipe)))
    assert same_files(tmp_path / "whole", tmp_path / "parts")


def test_no_pair_is_repeated_or_left_out(tmp_path):
    first, second = One(), One()
    steps = Run(TINY, tmp_path).train(first)
    next(steps), next(steps)
    steps.close()
    run = resumed(tmp_path)
    list(run.train(second))
    assert first.seen + second.seen == list(range(16))


def test_a_finished_run_has_nothing_left_to_do(tmp_path, whole):
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    run = resumed(tmp_path)
    assert list(run.train(pairs())) == []
    assert same_files(tmp_path, whole)


def test_a_log_that_ran_ahead_of_the_state_is_cut(tmp_path, whole):
    stopped(tmp_path, 3)
    shutil.copy(whole / METRICS, tmp_path / METRICS)
    shutil.copy(whole / MODEL, tmp_path / MODEL)
    run = resumed(tmp_path)
    assert [row[0] for row in table(tmp_path)] == [1, 2, 3]
    list(run.train(pairs()))
    assert same_files(tmp_path, whole)


def test_saves_come_when_their_time_has(tmp_path, monkeypatch):
    clock = iter(range(10_000))
    monkeypatch.setattr(clock_module.time, "monotonic", lambda: next(clock))
    saved = []
    run = Run(override(TINY, ["training.save_seconds=4"]), tmp_path)
    monkeypatch.setattr(run, "save", lambda: saved.append(run.step))
    list(run.train(pairs()))
    assert saved[-1] == 8
    assert 2 <= len(saved) < 8
    assert saved == sorted(set(saved))


# What is refused


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


def only(folder):
    """The newest state, the others being removed."""
    newest_one, *others = states(folder)
    for other in others:
        other.unlink()
    return newest_one


def rewrite(folder, change):
    """Sign the state again with other tensors or another step."""
    path = only(folder)
    state = load_state(path)
    tensors = dict(state.tensors)
    step = change(tensors) or state.step
    save_state(path, TrainingState(state.recipe, step, state.source, tensors, state.facts))


def drop(name):
    return lambda folder: rewrite(folder, lambda tensors: tensors.__delitem__(name))


def put(name, value):
    return lambda folder: rewrite(folder, lambda tensors: tensors.update({name: value}))


NOT_WHOLE = {
    "no state": lambda folder: only(folder).unlink(),
    "empty": lambda folder: only(folder).write_bytes(b""),
    "cut": lambda folder: only(folder).write_bytes(only(folder).read_bytes()[:-1]),
    "flipped": lambda folder: flip(only(folder)),
    "a model": lambda folder: shutil.copy(folder / MODEL, only(folder)),
}
DAMAGES = {
    "no log": lambda folder: (folder / METRICS).unlink(),
    "empty log": lambda folder: (folder / METRICS).write_bytes(b""),
    "cut log": lambda folder: (folder / METRICS).write_bytes((folder / METRICS).read_bytes()[:60]),
    "log of another": lambda folder: (folder / METRICS).write_text("step,loss,learning_rate,seconds\n1,x,y,z\n"),
    "doubled log": lambda folder: (folder / METRICS).write_bytes((folder / METRICS).read_bytes() * 2),
    "binary log": lambda folder: (folder / METRICS).write_bytes(b"\xff\x00" * 40),
    "broken validations": lambda folder: (folder / "validation.csv").write_text(
        "step,loss,psnr,ssim,input_psnr,input_ssim\nx,1,,,,\n"
    ),
    "a step too many": lambda folder: rewrite(folder, lambda _tensors: 9),
    "no average": drop("average.0.9.intro.bias"),
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
def test_a_state_that_does_not_fit_is_refused(tmp_path, whole, damage):
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    DAMAGES[damage](tmp_path)
    run = Run(TINY, tmp_path)
    before = weights_of(run)
    with pytest.raises(CheckpointError, match=str(tmp_path)) as caught:
        run.resume(newest(tmp_path))
    assert caught.value.exit_code == 4
    assert run.step == 0
    assert equal(weights_of(run), before)


@pytest.mark.parametrize("damage", NOT_WHOLE)
def test_without_a_whole_checkpoint_it_begins_anew_and_says_so(tmp_path, whole, damage, caplog):
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    NOT_WHOLE[damage](tmp_path)
    with open_run(TINY, tmp_path, resume=True) as run:
        assert run.step == 0
        list(run.train(pairs()))
    assert "starting from the beginning" in caplog.text
    assert same_files(tmp_path, whole)


def spoil(path, number):
    """Damage a file in one of many ways: a bit turned, an end cut off, a stretch of zeros."""
    data = bytearray(path.read_bytes())
    place = number * 7919 % len(data)
    if number % 3 == 0:
        data[place] ^= 1 << number % 8
    elif number % 3 == 1:
        del data[place:]
    else:
        # Zeros where zeros were would be no damage
        data[place : place + 64] = bytes(255 - byte for byte in data[place : place + 64])
    path.write_bytes(data)


def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(tmp_path, whole, caplog):
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    last, before, *_ = states(tmp_path)
    healthy = last.read_bytes()
    for number in range(200):
        spoil(last, number)
        caplog.clear()
        assert newest(tmp_path).step == load_state(before).step == 7
        assert str(last) in caplog.text
        assert "trying the one before" in caplog.text
        last.write_bytes(healthy)
    spoil(last, 1)
    run = resumed(tmp_path)
    list(run.train(pairs()))
    assert same_files(tmp_path, whole)


def test_the_last_few_states_are_kept(tmp_path, whole):
    assert [load_state(path).step for path in states(whole)] == [8, 7, 6]
    finished(tmp_path, override(TINY, ["training.keep=2"]))
    assert [load_state(path).step for path in states(tmp_path)] == [8, 7]


@pytest.mark.parametrize("number", range(4))
def test_a_death_while_old_states_are_removed_leaves_whole_ones(tmp_path, whole, monkeypatch, number):
    run = stopped(tmp_path, 4)
    calls = []

    def dies(path, missing_ok=False):
        calls.append(path)
        if len(calls) > number:
            raise SystemExit("killed")
        real(path, missing_ok=missing_ok)

    real = type(tmp_path).unlink
    monkeypatch.setattr(type(tmp_path), "unlink", dies)
    steps = run.train(pairs())
    with pytest.raises(SystemExit):
        list(steps)
    monkeypatch.undo()
    found = [load_state(path).step for path in states(tmp_path)]
    assert len(found) >= 2
    run = resumed(tmp_path)
    list(run.train(pairs()))
    assert same_files(tmp_path, whole)


@pytest.mark.parametrize("what", ["a later format", "a recipe that this version cannot read", "no permission"])
def test_a_whole_checkpoint_that_cannot_be_used_is_never_begun_over(tmp_path, whole, monkeypatch, what):
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    before = {path: path.read_bytes() for path in states(tmp_path)}
    if what == "a later format":
        monkeypatch.setattr(tensorfile, "FORMAT_VERSION", 0)
    elif what == "no permission":

        def refused(path, *_how):
            raise PermissionError(13, "Permission denied", str(path))

        monkeypatch.setattr(type(tmp_path), "open", refused)
    else:

        def unknown(text, origin="recipe"):
            raise ConfigError("training.since_renamed is not known")

        monkeypatch.setattr(checkpoint.recipe, "parse", unknown)
    with pytest.raises(CheckpointError, match="cannot continue from"), open_run(TINY, tmp_path, resume=True):
        pass
    monkeypatch.undo()
    assert {path: path.read_bytes() for path in states(tmp_path)} == before


def test_a_log_line_on_a_full_disk_is_a_full_disk(tmp_path, monkeypatch):
    run = Run(TINY, tmp_path)
    steps = run.train(pairs())
    next(steps)

    class Full:
        def write(self, _line):
            raise FULL

        def close(self):
            raise FULL

    run.log._open["metrics.csv"].close()
    run.log._open["metrics.csv"] = Full()
    with pytest.raises(ResourceError, match="disk is full"):
        next(steps)


def test_fewer_updates_than_are_done_are_refused(whole):
    with pytest.raises(ConfigError, match="has done 8 updates, more than training.iterations = 5; raise it"):
        resumed(whole, override(TINY, ["training.iterations=5"]), override=True)


@pytest.mark.parametrize(
    "settings",
    [["training.ema=0.8", "training.averages=[0.5]"], ["training.precision=float16"],
     ["training.optimiser={kind='adamw', amsgrad=true}"], ["training.optimiser.kind=sgd"], ["validation.share=0.3"]],
    ids=str,
)  # fmt: skip
def test_what_another_recipe_needs_anew_begins_anew(tmp_path, settings):
    stopped(tmp_path, 4)
    recipe = override(TINY, settings)
    run = resumed(tmp_path, recipe, override=True)
    state = newest(tmp_path)
    assert equal(weights_of(run), {key: state.tensors[f"weights.{key}"] for key in weights_of(run)})
    list(run.train(pairs(recipe)))
    assert newest(tmp_path).step == 8
    assert (tmp_path / "recipe.toml").read_text("utf-8") == recipe.toml()
    assert resumed(tmp_path, recipe).step == 8


def test_a_death_in_a_validation_is_made_good(tmp_path):
    """The table is written last: a run that goes on validates again, and has its best model."""
    finished(tmp_path / "whole", validated=held_out())
    run = stopped(tmp_path / "parts", 2, validated=held_out())
    del run
    again = resumed(tmp_path / "parts")
    steps = again.train(pairs(), held_out=held_out())
    again.log.score = None  # dies as it would write the row
    with pytest.raises(TypeError):
        next(steps)
    list(resumed(tmp_path / "parts").train(pairs(), held_out=held_out()))
    assert same_files(tmp_path / "whole", tmp_path / "parts")
    bests = [(tmp_path / part / "best.safetensors").read_bytes() for part in ("whole", "parts")]
    assert bests[0] == bests[1]


def test_a_state_past_a_damaged_one_is_not_taken_for_the_newest_later(tmp_path, whole):
    stopped(tmp_path, 5)
    spoil(states(tmp_path)[0], 1)
    run = resumed(tmp_path)
    assert run.step == 4
    run.step = 3
    run.log.back_to(3)
    run.save()
    assert [path.stem for path in states(tmp_path)] == ["step-000000000003"]


FULL = OSError(28, "No space left on device")


class Filling(io.BufferedWriter):
    """A file on a disk that is full after some writes, `left` of them."""

    left = 0

    def write(self, data):
        Filling.left -= 1
        if Filling.left < 0:
            raise FULL
        return super().write(data)


@pytest.mark.parametrize("call", ["fsync", "replace", "fdopen", "chmod", "write"])
@pytest.mark.parametrize("number", range(5))
def test_a_full_disk_at_any_point_of_a_save_keeps_the_save_before(tmp_path, whole, monkeypatch, call, number):
    run = stopped(tmp_path, 4)
    before = [path.read_bytes() for path in states(tmp_path)]
    real, calls = getattr(files.os, call), []

    def full(*args, **options):
        calls.append(args)
        if len(calls) > number:
            raise FULL
        return real(*args, **options)

    steps = run.train(pairs())
    if call == "write":
        monkeypatch.setattr(Filling, "left", number)
        monkeypatch.setattr(files.os, "fdopen", lambda handle, mode: Filling(io.FileIO(handle, mode)))
    else:
        monkeypatch.setattr(files.os, call, full)
    with pytest.raises((ResourceError, OSError)) as caught:
        list(steps)
    monkeypatch.undo()
    assert isinstance(caught.value, ResourceError)
    assert "disk is full" in str(caught.value)
    assert caught.value.exit_code == 5
    assert not list(tmp_path.rglob("*.tmp"))
    assert before[0] in [path.read_bytes() for path in states(tmp_path)]
    run = resumed(tmp_path)
    list(run.train(pairs()))
    assert same_files(tmp_path, whole)


# Recipes that have changed

CHANGES = [
    "training.seed=11", "training.learning_rate=0.002", "training.batch=4", "training.iterations=9", "training.ema=0.8",
    "training.loss=l2", "data.crop=12", "data.degrade.parameters.sigma=41", "network.backbone.width=9",
    "network.shows_input=false", "schedule.length=99", "sampling.steps=4", "name=other", "validation.share=0.1",
]  # fmt: skip


@pytest.mark.parametrize("setting", CHANGES)
def test_another_recipe_is_refused_and_the_difference_told(whole, setting):
    run = Run(override(TINY, [setting]), whole)
    key, _, value = setting.partition("=")
    with pytest.raises(ConfigError, match="another recipe") as caught:
        run.resume(newest(whole))
    assert f"{key}: " in str(caught.value)
    assert value in str(caught.value)
    assert "--override" in str(caught.value)
    assert run.step == 0


def test_another_recipe_is_taken_if_one_insists(tmp_path):
    stopped(tmp_path, 4)
    longer = override(TINY, ["training.iterations=10", "training.learning_rate=1e-3"])
    run = resumed(tmp_path, longer, override=True)
    assert [progress.step for progress in run.train(pairs())] == [5, 6, 7, 8, 9, 10]
    assert load_model(tmp_path).recipe == longer
    assert "training.iterations: 8 -> 10" in run.log.events("resumed")[0]


def test_a_network_that_does_not_fit_is_refused_even_then(whole):
    with pytest.raises(ConfigError, match="do not fit"):
        resumed(whole, override(TINY, ["network.backbone.width=9"]), override=True)


def test_another_recipe_is_not_begun_over_a_whole_checkpoint(tmp_path, whole):
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    recipe = override(TINY, ["training.seed=11"])
    with pytest.raises(ConfigError, match="another recipe"), open_run(recipe, tmp_path, resume=True):
        pass


# Losses that are not finite


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("step", [0, 3])
def test_a_loss_that_is_not_finite_ends_the_run_and_leaves_the_weights(tmp_path, value, step):
    run = Run(TINY, tmp_path)
    steps = run.train(One(value, at=(2 * step, 2 * step + 1)))
    for _ in range(step):
        next(steps)
    weights, average = weights_of(run), {key: tensor.clone() for key, tensor in run.average.items()}
    with pytest.raises(DivergedError, match=f"at step {step + 1}; .* lower training.learning_rate") as caught:
        next(steps)
    assert caught.value.exit_code == 7
    assert run.step == step
    assert equal(weights_of(run), weights)
    assert equal(run.average, average)
    state = newest(tmp_path)
    assert state.step == step
    assert equal({key: state.tensors[f"weights.{key}"] for key in weights}, weights)
    dump = json.loads((tmp_path / "diverged.json").read_text("utf-8"))
    assert dump["step"] == step + 1
    assert dump["pairs"] == [f"pair {2 * step}", f"pair {2 * step + 1}"]
    assert not math.isfinite(float(dump["loss"]))


def test_a_gradient_that_is_not_finite_ends_the_run_too(tmp_path):
    run = Run(TINY, tmp_path)
    next(run.learner.backbone.parameters()).register_hook(lambda gradient: gradient * math.nan)
    before = weights_of(run)
    with pytest.raises(DivergedError, match="gradient nan at step 1"):
        next(run.train(pairs()))
    assert equal(weights_of(run), before)


def test_updates_that_are_not_finite_may_be_left_out(tmp_path):
    recipe = override(TINY, ["training.not_finite=skip"])
    run = Run(recipe, tmp_path)
    progress = list(run.train(One(math.nan, at=(4, 9))))
    assert [math.isnan(one.loss) for one in progress] == [False, False, True, False, True, False, False, False]
    assert [math.isnan(float(row[1])) for row in table(tmp_path)] == [math.isnan(one.loss) for one in progress]
    assert all(torch.isfinite(value).all() for value in run.average.values())
    assert len(run.log.events("skipped")) == 2
    assert "step 3" in run.log.events("skipped")[0]
    rest = resumed_at(tmp_path, recipe, 2)
    list(rest.train(One(math.nan, at=(4, 9))))
    assert table(tmp_path)[-1][1] == repr(progress[-1].loss)


def resumed_at(folder, recipe, step):
    """A run that goes back to an older state of its folder, made again."""
    shutil.rmtree(folder)
    run = Run(recipe, folder)
    steps = run.train(One(math.nan, at=(4, 9)))
    for _ in range(step):
        next(steps)
    steps.close()
    return resumed(folder, recipe)


def test_too_many_updates_left_out_in_a_row_end_the_run(tmp_path, monkeypatch):
    monkeypatch.setattr("residiff.train.engine.SKIPS", 2)
    recipe = override(TINY, ["training.not_finite=skip"])
    with pytest.raises(DivergedError, match="at step 5"):
        list(Run(recipe, tmp_path).train(One(math.nan, at=range(4, 16))))


# Validation


@pytest.mark.parametrize("steps", [1, 3, 4, 6, 7])
def test_validations_continue_too(tmp_path, steps):
    finished(tmp_path / "whole", validated=held_out())
    stopped(tmp_path / "parts", steps, validated=held_out())
    list(resumed(tmp_path / "parts").train(pairs(), held_out=held_out()))
    assert same_files(tmp_path / "whole", tmp_path / "parts")
    rows = (tmp_path / "parts" / "validation.csv").read_text("utf-8").splitlines()
    assert [row.split(",")[0] for row in rows] == ["step", "3", "6", "8"]
    bests = [(tmp_path / part / "best.safetensors").read_bytes() for part in ("whole", "parts")]
    assert bests[0] == bests[1]
    names = [sorted(path.name for path in (tmp_path / part / "validation").iterdir()) for part in ("whole", "parts")]
    assert names[0] == names[1] == ["step-00000003.png", "step-00000006.png", "step-00000008.png"]


def test_validation_changes_nothing_of_training(tmp_path, whole):
    finished(tmp_path, validated=held_out())
    assert table(tmp_path) == table(whole)
    assert equal(dict(load_model(tmp_path).weights), dict(load_model(whole).weights))


def test_a_stop_saves_at_once_and_validates_when_it_goes_on(tmp_path):
    finished(tmp_path / "whole", validated=held_out())
    run = Run(TINY, tmp_path / "parts")
    progress = list(run.train(pairs(), held_out=held_out(), stop=lambda: run.step == 3))
    assert [one.step for one in progress] == [1, 2, 3]
    assert run.log.scores == []
    assert newest(tmp_path / "parts").step == 3
    list(resumed(tmp_path / "parts").train(pairs(), held_out=held_out()))
    assert same_files(tmp_path / "whole", tmp_path / "parts")


# A folder of one's own


def test_a_run_is_opened_anew_or_where_it_stopped(tmp_path, whole, caplog):
    with open_run(TINY, tmp_path) as run:
        assert run.step == 0
        steps = run.train(pairs())
        next(steps), next(steps)
        steps.close()
    with open_run(TINY, tmp_path, resume=True) as run:
        assert run.step == 2
        list(run.train(pairs()))
    assert same_files(tmp_path, whole)
    assert caplog.text == ""


def test_what_a_killed_process_left_is_removed(tmp_path, whole):
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    (tmp_path / "validation").mkdir()
    for place in (tmp_path, tmp_path / "checkpoints", tmp_path / "validation"):
        (place / ".residiff-x.tmp").write_bytes(b"half")
    with open_run(TINY, tmp_path, resume=True):
        assert not list(tmp_path.rglob("*.tmp"))


def test_a_folder_in_use_is_refused(tmp_path):
    with open_run(TINY, tmp_path), pytest.raises(LockedError), open_run(TINY, tmp_path):
        pass
    with open_run(TINY, tmp_path):
        pass


def test_a_run_is_not_begun_over_another(tmp_path, whole):
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    with pytest.raises(ConfigError, match="holds a run already"), open_run(TINY, tmp_path):
        pass
    assert same_files(tmp_path, whole)


def test_the_errors_are_of_the_public_tree():
    assert issubclass(CheckpointError, ModelFileError)
