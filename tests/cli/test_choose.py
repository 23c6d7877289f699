"""`train --auto-objective` and `train --probe`."""

import csv

import pytest

from residiff import recipe
from residiff.checkpoint import load_model
from residiff.prediction import Noise, Residual
from residiff.train.keeping import newest, states

SMALL = [
    "--set", "network.backbone.width=8", "--set", "network.backbone.middle=1", "--set", "data.crop=16",
    "--set", "data.picture=24", "--set", "data.window=8", "--set", "training.batch=4",
    "--set", "training.iterations=25", "--set", "schedule.length=100",
]  # fmt: skip
FOR_THE_RESIDUAL = [*SMALL, "--set", "data.degrade={name='shadow'}", "--set", "prediction.kind=x0"]
AUTO = ["--auto-objective", "--alpha-rate", "2e-3"]


def test_the_objective_is_chosen_trained_and_kept(cli, tmp_path):
    done = cli("train", "tiny", "-o", tmp_path, *FOR_THE_RESIDUAL, *AUTO)
    assert done.code == 0, done.err
    with (tmp_path / "objective.csv").open(newline="") as file:
        path = list(csv.DictReader(file))
    assert f"objective: residual, since alpha is {float(path[-1]['alpha']):.4f} after {len(path)} steps" in done.err
    assert "step 0 of 25" in done.err
    model = load_model(tmp_path)
    assert model.recipe.prediction == Residual() and model.card["iterations"] == 25
    # The weights are fresh: those of a run that was told the objective
    told = cli("train", "tiny", "-o", tmp_path / "told", *FOR_THE_RESIDUAL, "--set", "prediction.kind=residual")
    assert told.code == 0, told.err
    assert all((load_model(tmp_path / "told").weights[key] == value).all() for key, value in model.weights.items())


@pytest.mark.parametrize(("alpha", "objective"), [(0.48, Noise(guard=1e-6)), (0.52, Residual())])
def test_resumed_a_run_keeps_its_objective(cli, tmp_path, monkeypatch, alpha, objective):
    from residiff.train import auto

    decided = [auto.Weighing(1, 0.5, 1.0, 1.0, 0.0), auto.Weighing(2, alpha, 1.0, 1.0, 0.0)]
    monkeypatch.setattr(auto, "select_objective", lambda *given, **options: iter(decided))
    done = cli("train", "tiny", "-o", tmp_path, *SMALL, *AUTO)
    assert done.code == 0, done.err
    assert f"objective: {objective.kind}, since alpha is {alpha:.4f} after 2 steps" in done.err
    assert load_model(tmp_path).recipe.prediction == objective
    monkeypatch.setattr(auto, "select_objective", None)
    again = cli("train", "tiny", "-o", tmp_path, *SMALL, *AUTO, "--resume")
    assert again.code == 0, again.err
    assert f"objective: {objective.kind}, as the run began" in again.err and "step 25 of 25" in again.err


def test_resumed_without_a_run_the_objective_is_chosen(cli, tmp_path):
    done = cli("train", "tiny", "-o", tmp_path, *FOR_THE_RESIDUAL, *AUTO, "--resume")
    assert done.code == 0, done.err
    assert "objective: residual, since alpha" in done.err and "beginning" in done.err


def test_a_run_is_not_probed_over(cli, tmp_path):
    assert cli("train", "tiny", "-o", tmp_path, *SMALL).code == 0
    step = newest(tmp_path).step
    for extra in (AUTO, ["--probe"]):
        done = cli("train", "tiny", "-o", tmp_path, *SMALL, *extra)
        assert done.code == 2 and "run already" in done.err and "another folder" in done.err
    assert newest(tmp_path).step == step


@pytest.fixture
def few(monkeypatch):
    """A probe of three candidates of a few steps each."""
    from residiff.train import candidates, probe

    every = candidates.candidates_for
    monkeypatch.setattr(candidates, "HELD_OUT", 6)
    wanted = ("rddm-0.01-residual", "rddm-0.1-x0", "resfusion-5-x0")
    monkeypatch.setattr(probe, "candidates_for", lambda given: [one for one in every(given) if one.name in wanted])
    monkeypatch.setattr(probe, "affordable", lambda *given: 4)
    monkeypatch.setattr(probe, "MIN_STEPS", 4)
    return wanted


def test_a_probe_shows_a_table_and_recommends(cli, tmp_path, few):
    run = tmp_path / "out"
    done = cli("train", "tiny", "-o", run, *SMALL, "--probe", "--budget", 5)
    assert done.code == 0, done.err
    lines = done.out.decode().splitlines()
    assert lines[0].split() == ["candidate", "steps", "psnr", "gain", "behind", "seconds"]
    assert sorted(line.split()[0] for line in lines[1:]) == sorted(few)
    assert f"recommended: {lines[1].split()[0]}, " in done.err and "held-out pairs" in done.err
    assert f"residiff train {run / 'recommended.toml'}" in done.err
    assert cli("recipes", "check", run / "recommended.toml").code == 0
    chosen = recipe.read(str(run / "recommended.toml"))
    assert chosen.training == recipe.override(recipe.read("tiny"), SMALL[1::2]).training
    # As the last line says, and from where the probe stopped
    assert cli("train", run / "recommended.toml", "-o", tmp_path / "run").code == 0
    held = run / "candidates" / lines[1].split()[0]
    resumed = cli("train", run / "recommended.toml", "-o", held, "--resume")
    assert resumed.code == 0 and "step 8 of 25" in resumed.err


def test_a_probe_of_a_folder(cli, tmp_path, few):
    assert cli("data", "make", "-o", tmp_path / "set", "-k", "noise", "-n", 10, "--size", 24).code == 0
    done = cli("train", "tiny", "-o", tmp_path / "out", *SMALL, "--probe", "--budget", 5, "--data", tmp_path / "set")
    assert done.code == 0, done.err
    assert "2 held-out pairs" in done.err


@pytest.mark.parametrize(
    ("arguments", "cause"),
    [
        (["--probe", "--resume"], "--probe does not go with"),
        (["--probe", "--init", "denoise"], "--probe does not go with"),
        (["--probe", "--auto-objective"], "--probe does not go with"),
        (["--probe", "--set", "task=generate"], "have none; choose the objective with --auto-objective"),
        (["--probe", "--budget", "0"], "budget is 0"),
        (["--auto-objective", "--alpha-rate", "0"], "alpha_rate is 0"),
    ],
)
def test_mistakes(cli, tmp_path, arguments, cause):
    done = cli("train", "tiny", "-o", tmp_path / "out", *SMALL, *arguments)
    assert done.code == 2 and cause in done.err, done.err
    assert not states(tmp_path / "out")


@pytest.mark.parametrize(("option", "whose"), [("--alpha-rate", "--auto-objective"), ("--budget", "--probe")])
def test_an_option_without_what_it_is_for_is_refused(cli, tmp_path, option, whose):
    done = cli("train", "tiny", "-o", tmp_path / "run", option, "0.1")
    assert done.code == 2 and f"{option} is of {whose}" in done.err and not (tmp_path / "run").exists()
