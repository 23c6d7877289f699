"""Distillation: the loss is as stated, students come nearer their teacher and the truth, and a run goes on exactly."""

import json

import pytest
import torch
from runs import TINY, equal, held_out, pairs, same_files

from residiff.checkpoint import MODEL, ModelFile, load_model, save_model
from residiff.denoiser import LOSSES
from residiff.errors import ConfigError
from residiff.inference import sampled, shown
from residiff.recipe import override, parse
from residiff.train import (
    BEFORE_AFTER,
    Run,
    before_and_after,
    distilled,
    open_run,
    read_before_after,
)
from residiff.train.comparing import Judge, in_steps
from residiff.train.distil import teacher_of
from residiff.train.keeping import newest

CPU = torch.device("cpu")
LONGER = [
    "training.iterations=150", "training.batch=8", "training.start_share=0.0", "training.save_seconds=100",
    "training.ema=0.95", "training.decay=constant", "data.reuse=8", "sampling.steps=5", "validation.every=1000",
]  # fmt: skip


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    """A teacher of 150 updates, five steps."""
    folder = tmp_path_factory.mktemp("teacher")
    recipe = override(TINY, LONGER)
    for _ in Run(recipe, folder).train(pairs(recipe)):
        pass
    return load_model(folder)


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """A teacher that was trained on nothing."""
    path = tmp_path_factory.mktemp("fresh") / MODEL
    save_model(path, ModelFile(TINY, TINY.build().backbone.state_dict()))
    return load_model(path)


def student_of(teacher, folder, steps=1, settings=()):
    recipe = distilled(teacher, steps, settings)
    with open_run(recipe, folder, teacher=teacher) as run:
        for _ in run.train(pairs(recipe), held_out=held_out(4)):
            pass
    return run


def batch():
    both = held_out(2)
    joined = type(both[0])(*(torch.stack(parts) for parts in zip(*both, strict=True)))
    inside = shown(TINY.network, joined, CPU)
    return inside, torch.randn(inside.x0.shape, generator=torch.Generator().manual_seed(3))


# --- the loss ---


@pytest.mark.parametrize("steps", [1, 2])
@pytest.mark.parametrize("truth", [0.0, 0.25, 1.0])
def test_the_loss_is_to_the_teachers_result_and_to_the_truth_by_their_shares(taught, fresh, steps, truth):
    recipe = distilled(taught, steps, [f"training.distil.truth={truth}", "training.loss=l2"])
    (inside, noise), network = batch(), fresh.denoiser()
    *_, end = sampled(taught.denoiser(), taught.recipe, inside.x_in, lambda: noise, steps=5)
    *states, _ = sampled(network, recipe, inside.x_in, lambda: noise)
    assert len(states) == steps
    parts = [
        (1 - truth) * LOSSES["l2"](state.estimate.x0, end.x) + truth * LOSSES["l2"](state.estimate.x0, inside.x0)
        for state in states
    ]
    found = teacher_of(recipe, taught, CPU).loss(network, inside, noise)
    torch.testing.assert_close(found, sum(parts) / steps)


def test_a_student_that_is_its_teacher_has_nothing_to_learn(taught):
    recipe = distilled(taught, 1, [f"training.distil={{teacher='{taught.sha256}', steps=1, truth=0.0}}"])
    assert teacher_of(recipe, taught, CPU).loss(taught.denoiser(), *batch()) == 0


def test_the_teacher_learns_nothing_and_the_student_does(taught):
    recipe, network = distilled(taught, 2), taught.denoiser().requires_grad_(True)
    teacher = teacher_of(recipe, taught, CPU)
    teacher.loss(network, *batch()).backward()
    assert all(value.grad is not None for value in network.parameters())
    assert not any(value.requires_grad for value in teacher.denoiser.parameters())


# --- what comes of it ---


def test_a_distilled_step_beats_the_teachers_own_step_on_pictures_held_out(taught, tmp_path):
    settings = ["training.iterations=60", "training.learning_rate=2e-3"]
    student_of(taught, tmp_path, settings=settings)
    found = before_and_after(taught, load_model(tmp_path), held_out(8), CPU)
    assert (found.teacher, found.teacher_steps, found.student_steps, found.pairs) == (taught.sha256, 5, 1, 8)
    assert [row.steps for row in found.rows] == [1, 2, 3, 5]
    assert found.rows[0].after > found.rows[0].before + 0.03
    found.write(tmp_path)
    assert read_before_after(tmp_path) == found


def test_a_student_comes_to_its_teachers_result_of_many_steps_in_one(taught, tmp_path):
    settings = ["training.iterations=60", "training.learning_rate=2e-3", "training.distil.truth=0", "training.loss=l2"]
    run = student_of(taught, tmp_path, settings=settings)
    judge = Judge(taught.denoiser(), taught.recipe, 5, held_out(8), CPU)
    judge.truths = judge.restored(taught.denoiser(), in_steps(taught.recipe, 5))
    before = judge.psnr(taught.denoiser(), in_steps(taught.recipe, 1))
    assert judge.psnr(load_model(tmp_path).denoiser(), run.recipe) > before + 5
    assert run.log.scores[-1].loss < 1e-3, "the loss on what is held out is that of distillation"


def test_a_student_of_a_generator_is_compared_with_its_teacher(fresh, tmp_path):
    settings = ["task=generate", "network.shows_input=false", "data.degrade={name='blank'}", "sampling.eta=1.0"]
    recipe = override(TINY, settings)
    path = tmp_path / "generator.safetensors"
    save_model(path, ModelFile(recipe, recipe.build().backbone.state_dict()))
    teacher = load_model(path)
    student = student_of(teacher, tmp_path / "run", 2, ["training.iterations=2"]).recipe
    assert student.training.distil.truth == 0 and student.sampling.eta == 0
    found = before_and_after(teacher, load_model(tmp_path / "run"), held_out(2), CPU)
    assert found.against == "its own results in 5 steps"
    assert {row.steps: row.before for row in found.rows}[5] == 60, "equal to itself"


# --- the run ---


def test_a_stopped_run_goes_on_exactly(fresh, tmp_path):
    recipe = distilled(fresh, 2, ["training.iterations=6"])
    with open_run(recipe, tmp_path / "whole", teacher=fresh) as run:
        list(run.train(pairs(recipe)))
    with open_run(recipe, tmp_path / "parts", teacher=fresh) as run:
        updates = run.train(pairs(recipe))
        for _ in range(3):
            next(updates)
        updates.close()
    run = Run(recipe, tmp_path / "parts", teacher=fresh)
    run.resume(newest(tmp_path / "parts"))
    list(run.train(pairs(recipe)))
    assert same_files(tmp_path / "whole", tmp_path / "parts")


def test_a_student_begins_as_its_teacher_and_names_it(fresh, tmp_path):
    recipe = distilled(fresh, 1, ["name=student"])
    run = Run(recipe, tmp_path, teacher=fresh)
    assert equal(run.average, fresh.denoiser().backbone.state_dict())
    run.save()
    kept = load_model(tmp_path).recipe
    assert kept.training.distil.teacher == fresh.sha256 and kept == parse(kept.toml())


def test_the_recipe_is_the_teachers_but_gentler(fresh):
    recipe = distilled(fresh, 3)
    assert recipe.name == "tiny-distilled"
    assert recipe.sampling.steps == 3 and recipe.training.distil.steps == 5
    assert distilled(fresh, 5).training.distil.steps == 10
    assert recipe.training.iterations == 3 and recipe.training.learning_rate == pytest.approx(3e-3 / 4)
    assert recipe.schedule == fresh.recipe.schedule and recipe.network == fresh.recipe.network


def test_the_teacher_must_be_the_one_that_the_recipe_names(fresh, taught, tmp_path):
    recipe = distilled(fresh, 1)
    with pytest.raises(ConfigError, match=f"SHA-256 {fresh.sha256}, the one given has {taught.sha256}"):
        Run(recipe, tmp_path, teacher=taught)
    with pytest.raises(ConfigError, match="none is given; give it with --distill"):
        Run(recipe, tmp_path)
    with pytest.raises(ConfigError, match="the recipe has no training.distil"):
        Run(TINY, tmp_path, teacher=fresh)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["sampling.eta=0.5"], "sampling.eta makes many of; set it to 0"),
        (["data.pairing=unpaired"], "truth needs true pictures, and these data have none; set it to 0"),
        (["training.distil.steps=101"], "training.distil.steps is 101; allowed are 1 to 100"),
        (["training.distil.teacher=abc"], "training.distil.teacher"),
    ],
)
def test_what_cannot_be_distilled_is_refused(fresh, settings, message):
    with pytest.raises(ConfigError, match=message):
        distilled(fresh, 1, settings)


def test_steps_that_the_schedule_has_not_are_refused(fresh):
    with pytest.raises(ConfigError, match="steps is 101; allowed are 1 to 100"):
        distilled(fresh, 101)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"rows": [{"steps": 1}]}', '{"rows": [], "more": 1}'])
def test_a_damaged_comparison_is_named(tmp_path, text):
    (tmp_path / BEFORE_AFTER).write_text(text)
    with pytest.raises(ConfigError, match="distil.json is damaged"):
        read_before_after(tmp_path)
    assert read_before_after(tmp_path / "none") is None


# --- the command ---


def test_the_command_distils_reports_and_goes_on(cli, fresh, tmp_path):
    teacher, run, few = tmp_path / "teacher.safetensors", tmp_path / "run", ("--set", "validation.most=2")
    save_model(teacher, fresh)
    done = cli("train", "--distill", teacher, "--steps", 2, "-o", run, "--set", "training.iterations=2", *few)
    assert done.code == 0, done.err
    rows = json.loads((run / BEFORE_AFTER).read_text())["rows"]
    assert [row["steps"] for row in rows] == [1, 2, 3, 5] and b"before" in done.out
    page = (run / "report.html").read_text()
    assert "before and after" in page and "--distill TEACHER" in page and page.count("data:image/svg+xml") >= 4
    more = ("--resume", "--override", "--set", "training.iterations=3")
    assert cli("train", run / "recipe.toml", "--distill", teacher, "-o", run, *few, *more).code == 0
    assert load_model(run).card["iterations"] == 3
    done = cli("train", run / "recipe.toml", "-o", tmp_path / "other")
    assert done.code == 2 and "give it with --distill" in done.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--init", "denoise"], "--distill does not go with --init"),
        (["--auto-batch"], "--distill does not go with --auto-batch"),
        (["--probe"], "--distill does not go with --probe"),
    ],
)
def test_options_that_do_not_go_with_it(cli, tmp_path, options, message):
    done = cli("train", "--distill", "denoise", "-o", tmp_path / "run", *options)
    assert done.code == 2 and message in done.err and not (tmp_path / "run").exists()


def test_a_run_needs_a_recipe_or_a_teacher(cli, tmp_path):
    done = cli("train", "-o", tmp_path)
    assert done.code == 2 and "name a recipe" in done.err
    done = cli("train", "tiny", "-o", tmp_path, "--steps", 2)
    assert done.code == 2 and "--steps is of --distill" in done.err
    done = cli("train", "tiny", "--distill", "denoise", "-o", tmp_path, "--steps", 2)
    assert done.code == 2 and "RECIPE, which says it, does not go with --steps" in done.err
