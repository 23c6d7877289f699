"""From nothing to a restored picture: the recipe `tiny` trains, is killed, goes on, restores and gains."""

import csv
import json
import time

import pytest

from residiff import recipe
from residiff.checkpoint import load_model
from residiff.train.keeping import newest, states

QUICK = [
    "--set", "training.batch=1", "--set", "network.backbone.width=8", "--set", "network.backbone.middle=1",
    "--set", "data.crop=16", "--set", "data.picture=48", "--set", "training.iterations=150",
]  # fmt: skip


def steps_in(run):
    with (run / "metrics.csv").open(newline="") as file:
        return [int(row["step"]) for row in csv.DictReader(file)]


def mean_psnr(cli, predicted, truth):
    done = cli("evaluate", predicted, truth, "--json")
    assert done.code == 0, done.err
    return json.loads(done.out)["mean"]["psnr"]


def changes(process, path, limit):
    """The moments at which `path` was seen to be written while `process` ran."""
    moments, last, deadline = [], None, time.monotonic() + limit
    while process.poll() is None:
        if time.monotonic() > deadline:
            process.kill()
            pytest.fail(f"not done after {limit} seconds")
        stamp = path.stat().st_mtime_ns if path.exists() else None
        if stamp != last:
            moments.append(time.monotonic())
            last = stamp
        time.sleep(0.05)
    return moments


def test_tiny_from_nothing(program, cli, tmp_path):
    run = tmp_path / "run"
    training = program("train", "tiny", "-o", run)
    moments = changes(training, run / "checkpoints", 280)
    assert training.communicate()[1].decode().splitlines()[-1] == f"wrote {run / 'model.safetensors'}"
    assert training.returncode == 0
    settings = recipe.read("tiny").training
    assert steps_in(run) == list(range(1, settings.iterations + 1))
    spent = moments[-1] - moments[0]
    assert settings.save_seconds <= 2 and len(moments) >= spent / 4  # 3 seconds, and 1 more where the machine is busy

    assert cli("data", "make", "-o", tmp_path / "set", "-k", "noise", "-n", 4, "--size", 128, "--seed", 99).code == 0
    assert cli("restore", tmp_path / "set/degraded", "-o", tmp_path / "out", "-m", run).code == 0
    before = mean_psnr(cli, tmp_path / "set/degraded", tmp_path / "set/clean")
    assert mean_psnr(cli, tmp_path / "out", tmp_path / "set/clean") >= before + 3


def test_killed_and_resumed_it_counts_each_step_once(program, cli, tmp_path):
    run, settings = tmp_path / "run", [*QUICK, "--set", "training.save_seconds=0.2"]
    training = program("train", "tiny", "-o", run, *settings)
    deadline = time.monotonic() + 60
    while not states(run) and training.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    training.kill()
    training.communicate()
    assert training.returncode == -9
    stopped = newest(run).step
    assert 0 < stopped < 150
    done = cli("train", "tiny", "-o", run, *settings, "--resume")
    assert done.code == 0, done.err
    assert f"step {stopped} of 150" in done.err
    assert steps_in(run) == list(range(1, 151))
    assert cli("train", "tiny", "-o", tmp_path / "whole", *settings).code == 0
    through, again = (load_model(tmp_path / name) for name in ("whole", "run"))
    assert through.weights.keys() == again.weights.keys()
    assert all((through.weights[key] == again.weights[key]).all() for key in through.weights)


@pytest.mark.parametrize("left", [None, "checkpoints/step-000000000001.safetensors", "metrics.csv"])
def test_resume_without_a_whole_checkpoint_starts_from_the_beginning_and_says_so(cli, tmp_path, left):
    if left:
        (tmp_path / left).parent.mkdir(exist_ok=True)
        (tmp_path / left).write_bytes(b"torn")
    done = cli("train", "tiny", "-o", tmp_path, *QUICK, "--set", "training.iterations=2", "--resume")
    assert done.code == 0, done.err
    assert "beginning" in done.err and "step 0 of 2" in done.err
    assert steps_in(tmp_path) == [1, 2] and load_model(tmp_path).card["iterations"] == 2
