"""A run that is told to stop, whoever is told and however often, ends soon in one state that all processes agree on.

The file is its own program for two processes, which are started as a launcher would, and write what they found.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from launching import ENVIRONMENT, command, gone, ranks_of, running, steps_done
from runs import TINY, held_out, pairs, resumed, same_files, table

from residiff.checkpoint import load_state
from residiff.cli import console
from residiff.data import loading
from residiff.errors import ResourceError
from residiff.recipe import override
from residiff.train import Processes, Run, engine, open_run, started
from residiff.train.keeping import states
from residiff.train.log import read_scores

SPOKEN = [signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP, signal.SIGINT]


class Asked:
    """Says stop from the asking of a number on."""

    def __init__(self, number=10**9):
        self.number, self.count = number, 0

    def __call__(self):
        self.count += 1
        return self.count >= self.number


# What signals do


@pytest.fixture
def at(monkeypatch):
    """Sets the time: `at(1.5)`; what is heard of a lost terminal is not followed."""
    now = [0.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(console, "_leave_the_terminal", lambda: None)
    handlers = {number: signal.getsignal(number) for number in SPOKEN}
    for number in SPOKEN:
        signal.signal(number, _deaf)
    yield lambda seconds: now.__setitem__(0, seconds)
    for number, handler in handlers.items():
        signal.signal(number, handler)


def _deaf(number, frame):
    raise AssertionError(f"{number} was not caught")


def code(at, signals, **options):
    """The exit code after signals (number, seconds), and how many were taken calmly."""
    calm = 0
    with pytest.raises(SystemExit) as end, console.stop_on_signals(**options) as stop:
        assert not stop()
        for number, seconds in signals:
            at(seconds)
            signal.raise_signal(number)
            assert stop()
            calm += 1
    return end.value.code, calm


@pytest.mark.parametrize("first", SPOKEN)
def test_a_signal_that_comes_again_changes_nothing(at, first):
    expected = 130 if first is signal.SIGINT else 143
    again = [(number, seconds) for number in SPOKEN for seconds in (0.0, 5.0, 50.0) if number is not signal.SIGINT]
    assert code(at, [(first, 0.0), *again]) == (expected, 1 + len(again))


@pytest.mark.parametrize("first", SPOKEN)
def test_control_c_pressed_on_purpose_ends_at_once(at, first):
    expected = 130 if first is signal.SIGINT else 143
    within = [(signal.SIGINT, 0.9 * console.ECHO)] * 2
    assert code(at, [(first, 0.0), *within, (signal.SIGINT, console.ECHO)]) == (expected, 3)


def test_what_torchrun_passes_on_never_ends_at_once(at):
    assert code(at, [(signal.SIGINT, 0.0), (signal.SIGINT, 9.0), (signal.SIGTERM, 9.0)], passed_on=True) == (130, 3)


def test_processes_that_prepare_data_leave_signals_to_their_parent(at):
    loading._left_to_the_parent(0)
    for number in SPOKEN:
        signal.raise_signal(number)


def test_signals_that_the_parent_has_ignored_are_ignored(at):
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    console.end_on_signals()
    with console.stop_on_signals() as stop:
        signal.raise_signal(signal.SIGHUP)
        assert not stop()
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


# In a process of its own, for whatever else a suite has loaded may have set what signals do
ENDLESS = """
import signal, sys, time
from residiff.cli import console, main
from residiff.train.learner import Learner

def endless(*arguments):
    for _ in range(2):
        signal.raise_signal(signal.SIGINT)
        time.sleep(0.1)
    raise AssertionError("it goes on")

console.ECHO, Learner.update = 0.05, endless
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.argv = ["residiff", "train", sys.argv[1], "-o", sys.argv[2], "--no-tensorboard"]
main()
"""


def test_control_c_twice_ends_a_run_whose_update_does_not_end(tmp_path):
    (tmp_path / "recipe.toml").write_text(TINY.toml(), "utf-8")
    command = [sys.executable, "-c", ENDLESS, tmp_path / "recipe.toml", tmp_path / "run"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 130, done.stderr
    assert states(tmp_path / "run") == []


LOST = """
import os, pty, signal, sys, time
from residiff.cli import console

pid, terminal = pty.fork()
if pid:
    os.read(terminal, 1)
    os.close(terminal)
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
kept = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
with console.stop_on_signals() as stop:
    console.notes.print("begun")
    while not stop():
        time.sleep(0.01)
    console.notes.print("saved")
    os.write(kept, b"saved")
"""


def test_a_lost_terminal_stops_a_run_that_goes_on_talking(python, tmp_path):
    done = python(LOST, tmp_path / "kept")
    assert done.returncode == 143, done.stderr
    assert (tmp_path / "kept").read_text() == "saved"


# In a validation


def test_a_stop_in_a_validation_leaves_it_undone_and_it_is_made_up_for(tmp_path):
    """Wherever in it: in the loss, the restoring, the strip of pictures."""
    whole, counting = tmp_path / "whole", Asked()
    list(Run(TINY, whole).train(pairs(), held_out=held_out(), stop=counting))
    # Updates ask once each, and validations at the end once
    within = (counting.count - 8 - 3) // 3
    assert within >= 4
    for number in (1, within // 2, within):
        folder = tmp_path / str(number)
        run = Run(TINY, folder)
        list(run.train(pairs(), held_out=held_out(), stop=Asked(3 + number)))
        assert run.stopped and run.step == load_state(states(folder)[0]).step == 3
        assert read_scores(folder) == [] and not (folder / "best.safetensors").exists()
        assert not (folder / "validation").exists()
        # It goes on with that validation, which may be left again
        run = resumed(folder)
        assert list(run.train(pairs(), held_out=held_out(), stop=Asked(within))) == [] and run.stopped
        list(resumed(folder).train(pairs(), held_out=held_out()))
        assert same_files(folder, whole)


def test_a_run_whose_torchrun_has_gone_saves_and_stops(tmp_path):
    run = Run(TINY, tmp_path, Processes(torch.device("cpu"), launcher=os.getpid()))
    assert [progress.step for progress in run.train(pairs())] == [1]
    assert run.stopped and load_state(states(tmp_path)[0]).step == 1


# Two processes


def by_two(folder):
    """What each of two processes finds: where runs end of which one is told to stop; if unlike weights are saved."""
    processes = started("cpu", 2)
    found, kept = {}, engine.keep

    def keep_slowly(*arguments):
        time.sleep(0.5)
        return kept(*arguments)

    engine.keep = keep_slowly
    for told in (0, 1):
        stop = Asked(6 if told == processes.rank else 10**9)
        with open_run(TINY, folder / f"told-{told}", processes) as run:
            seen = [progress.step for progress in run.train(pairs(), held_out=held_out(), stop=stop)]
            found[f"told {told}"] = [
                seen,
                run.stopped,
                load_state(states(run.folder)[0]).step,
                len(read_scores(run.folder)),
            ]
    with open_run(TINY, folder / "unlike", processes) as run:
        if not processes.is_first:
            next(run.learner.backbone.parameters()).data[0] += 1e-6
        try:
            run.save()
            found["unlike"] = "saved"
        except ResourceError as error:
            found["unlike"] = str(error)
    (folder / f"found-{processes.rank}.json").write_text(json.dumps(found))


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return str(one.getsockname()[1])


def test_two_processes_agree_about_stopping_and_on_what_they_save(tmp_path):
    said = ENVIRONMENT | {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
    command = [sys.executable, __file__, str(tmp_path)]
    ranks = [
        subprocess.Popen(command, env=said | {"RANK": rank, "LOCAL_RANK": rank}, stderr=subprocess.PIPE, text=True)
        for rank in "01"
    ]
    try:
        for rank in ranks:
            _, said = rank.communicate(timeout=90)
            assert rank.returncode == 0, said
    finally:
        for rank in ranks:
            rank.kill()
            rank.communicate()
    for number in "01":
        found = json.loads((tmp_path / f"found-{number}.json").read_text())
        # Asked after updates 1 to 3, then in the validation
        assert found["told 0"] == found["told 1"] == [[1, 2, 3], True, 3, 0]
        assert "the processes' weights differ" in found["unlike"]
    assert states(tmp_path / "unlike") == []


# Under torchrun

LONG = override(TINY, ["training.batch=2", "training.save_seconds=1000", "validation.every=50"])
MINUTES = ["validation.most=320", "sampling.steps=100"]


def receivers(launcher, ranks, whom):
    """Process numbers; all hear of it in an order that does not matter."""
    return {"launcher": [launcher], "rank 0": ranks[:1], "rank 1": ranks[1:], "all": [*ranks, launcher]}[whom]


def stopped_by(recipe, folder, number, whom, at, pause, *more):
    """What two processes under torchrun say that are sent a signal after update `at`; they have ended then."""
    with running(command(recipe, folder, "--resume", *more, processes=2)) as (launcher, ranks):
        while launcher.poll() is None and steps_done(folder) < at:
            time.sleep(0.01)
        time.sleep(pause)
        ranks += ranks_of(launcher.pid)
        for one in receivers(launcher.pid, ranks, whom):
            os.kill(one, number)
        # Of ranks whose launcher has been killed as well
        said, _ = launcher.communicate(timeout=20)
        assert all(map(gone, ranks)), "no process is left over"
    assert launcher.returncode != 0
    return said


def test_signals_to_every_process_of_a_job_save_it_in_the_midst_of_a_validation(tmp_path):
    recipe, folder = override(LONG, ["training.iterations=1000", "validation.every=5", *MINUTES]), tmp_path / "run"
    said = stopped_by(recipe, folder, signal.SIGTERM, "all", 5, 0.5)
    assert said.count("saved at step 5; continue with --resume") == 1
    assert load_state(states(folder)[0]).step == steps_done(folder) == 5


TURNS = [(number, whom) for number in SPOKEN for whom in ("launcher", "rank 0", "rank 1", "all")]
TURNS += [(signal.SIGKILL, "launcher")] * 2


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("workers", ["0", "1"])
def test_whoever_is_sent_which_signal_and_when_nothing_is_lost_or_changed(tmp_path, workers):
    slower = ["validation.most=8", "sampling.steps=100", f"training.iterations={30 * len(TURNS) + 60}"]
    recipe, folder = override(LONG, ["validation.every=60", *slower]), tmp_path / "run"
    subprocess.run(command(recipe, tmp_path / "whole", processes=2), check=True, env=ENVIRONMENT, capture_output=True)
    for turn, (number, whom) in enumerate(TURNS):
        # In turns between validations, and in one
        at = 30 * (turn + 1)
        said = stopped_by(recipe, folder, number, whom, at, 0.2, "--workers", workers)
        step = load_state(states(folder)[0]).step
        assert step == steps_done(folder) == len(table(folder)) >= at, "nothing that was done is lost"
        assert said.count(f"saved at step {step}; continue with --resume") == 1
        assert at % 60 or step == at, "it was in the validation"
    subprocess.run(command(recipe, folder, "--resume", processes=2), check=True, env=ENVIRONMENT, capture_output=True)
    assert same_files(folder, tmp_path / "whole")


if __name__ == "__main__":
    by_two(Path(sys.argv[1]))
