"""How the program ends: its exit codes, what a signal leaves behind, and what it does without network and extras."""

import re
import shutil
import signal
import subprocess
import time

import pytest

from residiff import files
from residiff.data import images
from residiff.errors import DivergedError


def names_in(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


# ---------------------------------------------------------------- exit codes


def test_a_damaged_model_is_4(cli, tiny_file, picture_file, tmp_path):
    data = bytearray(tiny_file.read_bytes())
    data[-3] ^= 1
    (tmp_path / "m.safetensors").write_bytes(data)
    done = cli("restore", picture_file("a.png"), "-o", tmp_path / "b.png", "-m", tmp_path / "m.safetensors")
    assert done.code == 4 and "SHA-256 does not match" in done.err and not (tmp_path / "b.png").exists()


def test_a_place_that_cannot_be_written_is_5(cli, tiny_file, picture_file, tmp_path):
    (tmp_path / "file").write_text("in the way")
    done = cli("restore", picture_file("a.png"), "-o", tmp_path / "file/b.png", "-m", tiny_file)
    assert done.code == 5 and "error: cannot write" in done.err


def test_an_output_in_use_is_6(cli, tiny_file, picture_file, tmp_path):
    picture_file("in/a.png")
    for arguments in (["restore", tmp_path / "in", "-m", tiny_file], ["train", "tiny"]):
        with files.lock(tmp_path / "out"):
            done = cli(*arguments, "-o", tmp_path / "out")
            assert names_in(tmp_path / "out") == {".lock"}
        assert done.code == 6 and "in use by another run" in done.err
        assert not (tmp_path / "out").exists()


def test_training_that_diverges_is_7(cli, monkeypatch, tmp_path):
    from residiff import train

    def diverging(*_arguments, **_options):
        raise DivergedError("loss nan at step 1; lower training.learning_rate")
        yield

    monkeypatch.setattr(train.Run, "train", diverging)
    done = cli("train", "tiny", "-o", tmp_path / "run")
    assert done.code == 7 and "lower training.learning_rate" in done.err


@pytest.mark.parametrize("place", ["an update", "elsewhere"])
def test_no_memory_is_5_and_no_bug(cli, monkeypatch, tmp_path, place):
    from residiff import recipe
    from residiff.train.learner import Learner

    def full(*_arguments, **_options):
        raise MemoryError

    monkeypatch.setattr(*((Learner, "update") if place == "an update" else (recipe, "read")), full)
    done = cli("-v", "train", "tiny", "-o", tmp_path / "run", "--no-tensorboard")
    assert done.code == 5 and "bug in residiff" not in done.err and "Traceback" not in done.err
    assert "smaller training.batch" in done.err and ("--auto-batch" in done.err) == (place == "an update")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_run_between_whole_files(program, tiny_file, picture_file, tmp_path, number, code):
    for index in range(200):
        picture_file(f"in/{index:03d}.png", (40, 40, 3), seed=index)
    run = program("restore", tmp_path / "in", "-o", tmp_path / "out", "-m", tiny_file, "--steps", 50)
    deadline = time.monotonic() + 60
    while not list((tmp_path / "out").glob("*.png")) and time.monotonic() < deadline:
        time.sleep(0.02)
    run.send_signal(number)
    _, err = run.communicate(timeout=60)
    assert run.returncode == code and b"Traceback" not in err
    made = names_in(tmp_path / "out") - {".lock"}
    assert "manifest.jsonl" in made
    made -= {"manifest.jsonl"}
    assert 0 < len(made) < 200 and all(re.fullmatch(r"\d{3}\.png", name) for name in made)
    for name in made:
        assert images.read(tmp_path / "out" / name).pixels.shape == (3, 40, 40)


SWALLOWED = """
import contextlib, signal, sys

from residiff import restore
from residiff.cli import main

number, *arguments = sys.argv[1:]
restored = restore.restore_all


def raised_in_a_callback(*arguments, **options):
    for count, outcome in enumerate(restored(*arguments, **options)):
        if count == 1:
            with contextlib.suppress(SystemExit):
                signal.raise_signal(int(number))
        yield outcome


signal.signal(signal.SIGINT, signal.default_int_handler)
restore.restore_all = raised_in_a_callback
sys.argv = ["residiff", "restore", *arguments]
main()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_whose_exception_a_callback_swallowed_ends_the_run_at_the_next_file(
    python, tiny_file, picture_file, tmp_path, number
):
    for index in range(30):
        picture_file(f"in/{index:02d}.png", seed=index)
    output = tmp_path / "out"
    done = python(SWALLOWED, str(int(number)), str(tmp_path / "in"), "-o", str(output), "-m", str(tiny_file))
    assert done.returncode == 128 + number, done.stderr
    made = names_in(output)
    assert made >= {"00.png", "01.png"} and "29.png" not in made


# ---------------------------------------------------------------- without a network, without the extras

ALONE = """
import socket, sys
from pathlib import Path

for name in ("torchvision", "gradio", "lpips", "huggingface_hub", "skimage", "scipy", "cv2", "torchmetrics"):
    sys.modules[name] = None

def opened(*arguments, **options):
    raise SystemExit("a socket was opened")

socket.socket.__init__ = socket.socket.connect = socket.create_connection = socket.getaddrinfo = opened
model, source, target = map(Path, sys.argv[1:])
import residiff
from residiff.cli import main

def end_of(*arguments):
    sys.argv = ["residiff", *map(str, arguments)]
    try:
        main()
    except SystemExit as end:
        return end.code

residiff.load(model, "cpu")
assert end_of("restore", source, "-o", target, "-m", model) == 0
assert end_of("evaluate", target, source) == 0
assert end_of("models", "list") == 0
assert end_of("data", "make", "-o", target.with_suffix(""), "-k", "noise", "-n", 1, "--size", 16) == 0
assert end_of("restore", source, "-o", target, "-m", "somebody/model") == 5
"""


@pytest.fixture(scope="session")
def no_network():
    """What to put before a command so that it has no network; empty where this machine cannot do so."""
    command = [shutil.which("unshare") or "false", "--map-root-user", "--net"]
    return command if subprocess.run([*command, "true"], capture_output=True).returncode == 0 else []


def test_it_works_without_network_and_extras(python, no_network, tiny_file, picture_file, tmp_path):
    source = picture_file("a.png", (16, 16, 3))
    done = python(ALONE, tiny_file, source, tmp_path / "b.png", before=no_network)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "b.png").is_file()
    assert "to fetch it from the hub: pip install huggingface_hub" in done.stderr
    assert done.stderr.count("error:") == 1
