"""Runs of the program that are killed or told to end at random moments, and continued: as if nothing had been."""

import random
import signal
import subprocess
import sys
import time

import pytest
from launching import ENVIRONMENT, running, seconds_to_end, steps_done
from runs import TINY, same_files, table

from residiff.checkpoint import load_state
from residiff.recipe import override
from residiff.train.keeping import states

RECIPE = override(
    TINY, ["training.iterations=600", "training.save_seconds=0.2", "validation.every=150", "validation.most=2"]
)


def command(folder, *more):
    recipe = folder.parent / "recipe.toml"
    if not recipe.exists():
        recipe.write_text(RECIPE.toml(), "utf-8")
    return [sys.executable, "-m", "residiff", "train", str(recipe), "-o", str(folder), "--no-tensorboard", *more]


def ended_by(folder, number, at_step, pause, *more):
    """A run sent a signal once it has done more than `at_step` updates, and it ends within 5 s."""
    with running(command(folder, "--resume", *more)) as (process, _):
        while process.poll() is None and steps_done(folder) <= at_step:
            time.sleep(0.002)
        time.sleep(pause)
        if process.poll() is None:
            process.send_signal(number)
            assert seconds_to_end(process) <= 5
        output, _ = process.communicate(timeout=120)
    return process.returncode, output


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    folder = tmp_path_factory.mktemp("unbroken") / "run"
    subprocess.run(command(folder), check=True, env=ENVIRONMENT, capture_output=True)
    return folder


def same_runs(one, other):
    bests = [(folder / "best.safetensors").read_bytes() for folder in (one, other)]
    return same_files(one, other) and bests[0] == bests[1]


def kill_again_and_again(folder, kills):
    source, killed = random.Random(kills), 0
    for turn in range(kills):
        point = source.randint(steps_done(folder), (turn + 1) * 560 // kills)
        code, output = ended_by(folder, signal.SIGKILL, point, source.random() * 0.05)
        killed += code == -signal.SIGKILL
        assert code in (0, -signal.SIGKILL), output
    subprocess.run(command(folder, "--resume"), check=True, env=ENVIRONMENT, capture_output=True)
    return killed


def test_a_run_killed_eight_times_is_as_if_it_had_not_been(tmp_path, unbroken):
    assert kill_again_and_again(tmp_path / "run", 8) == 8
    assert len(table(unbroken)) == 600
    assert same_runs(tmp_path / "run", unbroken)
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_run_killed_fifty_times_is_as_if_it_had_not_been(tmp_path, unbroken):
    assert kill_again_and_again(tmp_path / "run", 50) >= 48
    assert same_runs(tmp_path / "run", unbroken)
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_run_that_is_told_to_end_saves_and_says_so(tmp_path, unbroken):
    folder, numbers = tmp_path / "run", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT, signal.SIGTERM]
    for turn, number in enumerate(numbers * 2 + numbers[:2]):
        code, output = ended_by(folder, number, turn * 55, 0)
        assert code == (130 if number == signal.SIGINT else 143), output
        assert f"saved at step {load_state(states(folder)[0]).step}; continue with --resume" in output
        assert load_state(states(folder)[0]).step == steps_done(folder), "nothing that was done is lost"
    subprocess.run(command(folder, "--resume"), check=True, env=ENVIRONMENT, capture_output=True)
    assert same_runs(folder, unbroken)


def test_a_run_that_is_told_to_end_does_not_end_its_validation_first(tmp_path):
    folder = tmp_path / "run"
    # Minutes of it
    slow = ["validation.every=3", "validation.most=320", "sampling.steps=100"]
    code, output = ended_by(folder, signal.SIGTERM, 2, 0.5, *(part for one in slow for part in ("--set", one)))
    assert code == 143 and "saved at step 3" in output
    assert load_state(states(folder)[0]).step == steps_done(folder) == 3
