"""Runs of the program that die, or find the disk full, within a save: what was saved is whole and gone on from."""

import contextlib
import re
import shutil
import subprocess

import pytest
import torch
from test_signals import ENVIRONMENT, command, same_runs

from residiff.checkpoint import load_model, load_state
from residiff.train.keeping import newest, states

SHORT = ["--set", "training.iterations=12", "--set", "training.save_seconds=1e-6", "--set", "validation.every=4"]
# Of the calls that such a run makes some of each kind, spread over it
POINTS = {
    "write": range(3, 77, 3),
    "fsync": range(1, 111, 3),
    "rename": range(1, 35, 2),
    "unlink": range(2, 14),
}
# Some kilobytes: from nothing at all to all but the last files of a run
DISKS = range(8, 1608, 80)


def arguments(folder, *more):
    """What the program is given, as `command` has it, for a run in this process."""
    return command(folder, *SHORT, *more)[3:]


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr("residiff.reports.training.panel_svg", lambda *arguments: b"<svg/>")


@pytest.fixture
def unbroken(cli, tmp_path):
    folder = tmp_path / "unbroken" / "run"
    folder.parent.mkdir()
    assert cli(*arguments(folder)).code == 0
    return folder


# A death at a call


def killed_at(folder, call, number):
    """Whether a run died as it made a call for the given time, and the last step whose state was in place before."""
    told = folder.parent / "trace"
    fault = ["-e", f"trace=rename,{call}", "-e", f"inject={call}:signal=SIGKILL:when={number}"]
    tracer = ["strace", "-f", "-qq", "-o", str(told), *fault]
    # The run that goes on is in this process: bytes are equal for as many threads
    environment = ENVIRONMENT | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    code = subprocess.run([*tracer, *command(folder, *SHORT)], env=environment, capture_output=True).returncode
    done = re.findall(r'rename\(.*step-(\d+)\.safetensors"\) += 0', told.read_text("utf-8"))
    return code != 0, int(done[-1]) if done else 0


def check_saved(folder, step):
    """All that is there is whole, and the state of `step` is."""
    found = newest(folder)
    assert (found.step if found else 0) == step, "what was saved is there"
    assert all(load_state(path).step for path in states(folder))
    assert min(step, 2) <= len(states(folder)) <= 4, "more than one, as soon as there were"
    for path in folder.glob("*.safetensors"):
        load_model(path)


@pytest.mark.slow
@pytest.mark.timeout(5400)
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_a_death_at_any_call_of_a_save_leaves_whole_checkpoints(cli, tmp_path, unbroken):
    died = dict.fromkeys(POINTS, 0)
    for call, numbers in POINTS.items():
        for number in numbers:
            folder = tmp_path / f"{call}-{number}" / "run"
            folder.parent.mkdir()
            has_died, step = killed_at(folder, call, number)
            died[call] += has_died
            check_saved(folder, step)
            again = cli(*arguments(folder, "--resume"))
            assert again.code == 0, again.err
            assert f"step {step} of 12" in again.err
            assert same_runs(folder, unbroken) and not list(folder.rglob("*.tmp")), (call, number)
            shutil.rmtree(folder.parent)
    assert sum(died.values()) >= 80 and all(count >= 0.9 * len(POINTS[call]) for call, count in died.items()), died


# A full disk


@contextlib.contextmanager
def disk(place, kilobytes):
    """A file system of its own at `place`; gives what makes it larger."""
    place.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", place], capture_output=True)
    if made.returncode:
        pytest.skip("this user may mount nothing")
    try:
        yield lambda size: subprocess.run(["mount", "-o", f"remount,size={size}k", place], check=True)
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def check_full_disk(cli, unbroken, place, kilobytes):
    folder = place / "run"
    recipe = command(unbroken)[4]
    with disk(place, kilobytes) as grow:
        given = ["train", recipe, "-o", folder, "--no-tensorboard", *SHORT]
        full = cli(*given)
        assert full.code == 5, full.err
        assert "the disk is full: free some space" in full.err and "bug" not in full.err
        assert not list(folder.rglob("*.tmp"))
        kept = newest(folder)
        assert all(load_state(path) for path in states(folder))
        grow(4000)
        again = cli(*given, "--resume")
        assert again.code == 0, again.err
        assert f"step {kept.step if kept else 0} of 12" in again.err
        assert same_runs(folder, unbroken)
    return kept is not None


def test_a_disk_that_fills_up_is_told_and_what_was_saved_is_gone_on_from(cli, tmp_path, unbroken):
    assert check_full_disk(cli, unbroken, tmp_path / "disk", 1100)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_twenty_disks_of_as_many_sizes(cli, tmp_path, unbroken):
    kept = [check_full_disk(cli, unbroken, tmp_path / str(size), size) for size in DISKS]
    assert len(kept) == 20 and 5 <= sum(kept) < 20
