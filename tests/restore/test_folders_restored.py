"""Whatever happens to a run over a folder, no output is lost, none is half there, and what went wrong is said."""

import json
import os
import random
import shutil
import signal
import socket
import threading
import time
from collections import Counter

import numpy as np
import pytest
from PIL import Image
from stubs import load

from residiff import files, restore
from residiff.data import images
from residiff.files import sha256
from residiff.restore.manifest import rows_of

LISTS = {".lock", "manifest.jsonl"}


@pytest.fixture
def stubbed(monkeypatch):
    """The program in this process finds a stub for every model."""
    monkeypatch.setattr(restore, "load", load)


def names_in(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def results_in(folder):
    return {name: sha256((folder / name).read_bytes()) for name in names_in(folder) if name.endswith(".png")}


def pictures(folder, count, side=12):
    folder.mkdir(parents=True, exist_ok=True)
    source = np.random.default_rng(0)
    for number in range(count):
        Image.fromarray(source.integers(0, 256, (side, side, 3), np.uint8)).save(folder / f"{number:04d}.png")


def wait_for(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)
    assert condition()


# ---------------------------------------------------------------- killed, and begun again


def killed_and_begun_again(server, folder, count, kills):
    """What a folder's results are after so many kills, the last run to its end; it must all add up."""
    chance, out, command = random.Random(kills), folder / "out", ["-m", "stub:0.004", "--resume"]
    kept, killed = {}, 0
    while killed < kills:
        run = server.start("restore", folder / "in", "-o", out, *command)
        before = len(kept)
        wait_for(lambda before=before: len(rows_of(out / "manifest.jsonl")) > before)
        time.sleep(chance.uniform(0, 0.5 * count * 0.01 / kills))
        run.kill(signal.SIGKILL)
        killed += run.wait() == -signal.SIGKILL
        for record in rows_of(out / "manifest.jsonl"):
            data = (out / record.target).read_bytes()
            assert sha256(data) == record.sha256  # what the manifest names is whole
            stamp = (out / record.target).stat().st_mtime_ns
            assert kept.setdefault(record.target, stamp) == stamp, "what was done was done again"
        for name in results_in(out):
            images.read(out / name)  # and so is all that bears its final name
        if len(kept) == count:
            break
    done = server.run("restore", folder / "in", "-o", out, *command)
    assert done.wait() == 0, done.err
    counts = Counter(record.target for record in rows_of(out / "manifest.jsonl"))
    assert set(counts) == {f"{number:04d}.png" for number in range(count)} and set(counts.values()) == {1}
    assert names_in(out) == set(counts) | LISTS, "something half-written was left"
    return killed


def test_five_kills_lose_nothing(server, tmp_path):
    pictures(tmp_path / "in", 60)
    assert killed_and_begun_again(server, tmp_path, 60, 5) >= 3
    once = server.run("restore", tmp_path / "in", "-o", tmp_path / "once", "-m", "stub:0.004")
    assert once.wait() == 0 and results_in(tmp_path / "once") == results_in(tmp_path / "out")


@pytest.mark.slow
def test_thirty_kills_lose_nothing(server, tmp_path):
    pictures(tmp_path / "in", 60)
    once = server.run("restore", tmp_path / "in", "-o", tmp_path / "once", "-m", "stub:0.004")
    killed = 0
    while killed < 30:
        killed += killed_and_begun_again(server, tmp_path, 60, 8)
        assert once.wait() == 0 and results_in(tmp_path / "once") == results_in(tmp_path / "out")
        shutil.rmtree(tmp_path / "out")


def test_what_a_killed_run_left_half_written_goes_with_the_next(cli, stubbed, tmp_path):
    pictures(tmp_path / "in", 2)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/.residiff-abc.tmp").write_bytes(b"half")
    (tmp_path / "out/.residiff-mine.png").write_bytes(b"not ours to remove")
    assert cli("restore", tmp_path / "in", "-o", tmp_path / "out", "-m", "stub").code == 0
    assert names_in(tmp_path / "out") == LISTS | {"0000.png", "0001.png", ".residiff-mine.png"}
    # In a part, another part may be writing it
    (tmp_path / "out/.residiff-abc.tmp").write_bytes(b"half")
    assert cli("restore", tmp_path / "in", "-o", tmp_path / "out", "-m", "stub", "--shard", "1/2").code == 0
    assert (tmp_path / "out/.residiff-abc.tmp").exists()
    os.utime(tmp_path / "out/.residiff-abc.tmp", (1, 1))
    assert cli("restore", tmp_path / "in", "-o", tmp_path / "out", "-m", "stub", "--shard", "1/2").code == 0
    assert not (tmp_path / "out/.residiff-abc.tmp").exists()


# ---------------------------------------------------------------- a thousand files


def spoil(folder, count):
    """So many bad files of ten kinds below a folder."""
    good = (folder / "0000.png").read_bytes()
    Image.open(folder / "0000.png").save(folder / "x.jpg")
    data = (folder / "x.jpg").read_bytes()
    (folder / "x.jpg").unlink()
    kinds = {
        "empty": b"", "text": b"no picture\n", "page": b"<!DOCTYPE html><html>", "cut": good[:-40], "jpeg": data[:-30],
        "header": good[:24], "unreadable": good if os.geteuid() else good[:9],
    }  # fmt: skip
    made = []
    for number in range(count):
        kind = [*kinds, "fifo", "socket", "dangling", "circle"][number % 11]
        path = folder / f"sub{number % 7}" / f"bad {kind} {number}.png"
        path.parent.mkdir(exist_ok=True)
        made.append(path)
        if kind in kinds:
            path.write_bytes(kinds[kind])
            path.chmod(0 if kind == "unreadable" else 0o644)
        elif kind == "fifo":
            os.mkfifo(path)
        elif kind == "socket":
            here = os.getcwd()
            os.chdir(path.parent)  # a socket's path may not be long
            with socket.socket(socket.AF_UNIX) as unix:
                unix.bind(path.name)
            os.chdir(here)
        else:
            path.symlink_to(path if kind == "circle" else folder / "nowhere.png")
    return made


def test_a_thousand_files_a_hundred_of_them_bad(cli, stubbed, tmp_path, monkeypatch):
    """One vanishes before its turn, one is still being written, a folder leads back to itself; none is waited for."""
    source = tmp_path / "in"
    pictures(source, 900, side=6)
    bad = spoil(source, 98)
    for number in range(0, 900, 2):
        place = source / f"sub{number % 7}"
        (source / f"{number:04d}.png").rename(place / f"{number:04d}.png")
    (source / "sub0/back").symlink_to(source)
    for name in (".DS_Store", "Thumbs.db", "notes.txt", ".hidden.png"):
        (source / name).write_bytes(b"x")
    good = (source / "0001.png").read_bytes()
    vanishing, growing = source / "sub5/vanishing.png", source / "sub6/growing.png"
    vanishing.write_bytes(good), growing.write_bytes(good[:60])
    planned, ended = restore.plan, threading.Event()

    def plan_and_lose_one(*given, **options):
        jobs = planned(*given, **options)
        vanishing.unlink()
        return jobs

    def grow():
        with growing.open("ab") as file:
            for byte in good[60:-20]:
                file.write(bytes([byte])), file.flush()
                if ended.wait(0.1):
                    return

    monkeypatch.setattr(restore, "plan", plan_and_lose_one)
    writer = threading.Thread(target=grow)
    writer.start()
    began = time.monotonic()
    done = cli("restore", source, "-o", tmp_path / "out", "-m", "stub", "--recursive", "-q")
    ended.set(), writer.join()
    assert done.code == 3, done.err
    assert time.monotonic() - began < 60
    rows = [json.loads(line) for line in (tmp_path / "out/failures.jsonl").read_text().splitlines()]
    assert Counter(row["source"] for row in rows) == Counter(map(str, [*bad, vanishing, growing]))
    assert {row["error"] for row in rows} == {"ImageDecodeError", "ImageUnsupportedError"}
    made = results_in(tmp_path / "out")
    assert len(made) == 900 == len(rows_of(tmp_path / "out/manifest.jsonl"))
    assert {name.rpartition("/")[2] for name in made} == {f"{number:04d}.png" for number in range(900)}
    assert names_in(tmp_path / "out") == set(made) | LISTS | {"failures.jsonl"}


# ---------------------------------------------------------------- signals, locks, parts


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_soon_and_cleanly(server, tmp_path, number):
    """Ten times each: by its code, within 5 s, between whole files, and whatever is in the manifest is there."""
    pictures(tmp_path / "in", 120, side=64)
    chance = random.Random(int(number))
    for turn in range(10):
        out = tmp_path / f"out{turn}"
        run = server.start("restore", tmp_path / "in", "-o", out, "-m", "stub:0.02")
        wait_for((out / "manifest.jsonl").exists)
        time.sleep(chance.uniform(0, 0.3))
        began = time.monotonic()
        run.kill(number)
        assert run.wait() == 128 + number, run.err
        assert time.monotonic() - began < 5
        made = results_in(out)
        assert {record.target: record.sha256 for record in rows_of(out / "manifest.jsonl")} == made
        assert 0 < len(made) < 120 and names_in(out) == set(made) | LISTS
        assert "restored, 0 failed" in run.err and "Traceback" not in run.err


def test_a_second_run_ends_at_once(program, tmp_path, tiny_file):
    """Ten races, each within 2 s of processor time and of the clock, with the real program and all it loads."""
    pictures(tmp_path / "in", 1)
    with files.lock(tmp_path / "out"):
        for _ in range(10):
            began = time.monotonic()
            second = program("restore", tmp_path / "in", "-o", tmp_path / "out", "-m", tiny_file)
            _, err = second.communicate(timeout=60)
            taken = time.monotonic() - began
            assert second.returncode == 6 and b"in use by another run" in err
            assert taken < 2 or os.getloadavg()[0] > os.cpu_count(), "of an idle machine's time"
        assert names_in(tmp_path / "out") == {".lock"}


def test_runs_that_begin_together_are_one(server, tmp_path):
    pictures(tmp_path / "in", 5)
    for turn in range(5):
        out = tmp_path / f"out{turn}"
        runs = [server.start("restore", tmp_path / "in", "-o", out, "-m", "stub:0.05") for _ in range(3)]
        assert sorted(run.wait() for run in runs) == [0, 6, 6]
        assert len(results_in(out)) == 5 == len(rows_of(out / "manifest.jsonl"))


@pytest.mark.parametrize("count", [2, 3])
def test_parts_side_by_side_make_the_whole(server, tmp_path, count):
    pictures(tmp_path / "in", 30)
    arguments = ["restore", tmp_path / "in", "-m", "stub:0.01"]
    runs = [
        server.start(*arguments, "-o", tmp_path / "out", "--shard", f"{part}/{count}") for part in range(1, count + 1)
    ]
    assert [run.wait() for run in runs] == [0] * count
    assert server.run(*arguments, "-o", tmp_path / "once").wait() == 0
    assert results_in(tmp_path / "out") == results_in(tmp_path / "once")
    after = server.run(*arguments, "-o", tmp_path / "out", "--resume")
    assert after.wait() == 0 and "0 restored, 0 failed, 30 there already" in after.err


def test_a_part_that_is_empty_is_done(cli, stubbed, tmp_path):
    pictures(tmp_path / "in", 1)
    said = [
        cli("restore", tmp_path / "in", "-o", tmp_path / "out", "-m", "stub", "--shard", f"{n}/3") for n in (1, 2, 3)
    ]
    assert [done.code for done in said] == [0, 0, 0]
    assert sorted(done.err for done in said) == ["0 restored, 0 failed\n"] * 2 + ["1 restored, 0 failed\n"]


# ---------------------------------------------------------------- what is there already


def test_resume_and_skip_existing(cli, stubbed, tmp_path):
    pictures(tmp_path / "in", 3)
    command = ["restore", tmp_path / "in", "-o", tmp_path / "out", "-m"]
    assert cli(*command, "stub").code == 0
    first = results_in(tmp_path / "out")
    assert cli(*command, "stub", "--resume").err == "0 restored, 0 failed, 3 there already\n"
    (tmp_path / "out/0000.png").write_bytes(b"cut short by another program")
    done = cli(*command, "stub", "--skip-existing")
    assert done.err == "0 restored, 0 failed, 3 there already\n"
    done = cli(*command, "stub", "--resume")
    assert done.err == "1 restored, 0 failed, 2 there already\nmade again: 1 changed since\n"
    assert results_in(tmp_path / "out") == first
    done = cli(*command, "stub", "--resume", "--strength", 0.5)
    assert done.err == "3 restored, 0 failed\nmade again: 3 made with other settings\n"
    done = cli(*command, "other", "--resume", "--strength", 0.5)
    assert done.err == "3 restored, 0 failed\nmade again: 3 made by another model\n"


def test_the_way_to_the_same_bytes(cli, stubbed, tmp_path):
    pictures(tmp_path / "in", 3)
    command = ["restore", tmp_path / "in", "-o", tmp_path / "out", "-m", "stub"]
    assert cli(*command, "--batch", 2).code == 0
    assert "3 there already" in cli(*command, "--resume").err
    done = cli(*command, "--resume", "--deterministic")
    assert done.err == "2 restored, 0 failed, 1 there already\nmade again: 2 made with other settings\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--resume", "--skip-existing"], "take one of them"),
        (["--deterministic", "--batch", 2], "--batch 2 is more; leave one out"),
        (["--batch", 0], "batch is 0; allowed are 1 to 1024"),
        (["--shard", "4/3"], "shard is 4/3; allowed are 1/3 to 3/3"),
        (["--shard", "../../x"], "shard is '../../x'; give which part"),
        (["--watch", "--frames"], "--watch goes with none of"),
        (["in/a.png", "--watch"], "a.png is no folder; --watch takes folders"),
        (["--watch", "-o", "x.png"], "x.png is no folder; --watch writes into one"),
        (["--frames"], "a.png has no number"),
    ],
)
def test_options_that_contradict_each_other(cli, stubbed, picture_file, tmp_path, monkeypatch, options, message):
    picture_file("in/a.png")
    monkeypatch.chdir(tmp_path)
    done = cli("restore", "in", "-o", "out", "-m", "stub", *options)
    assert done.code == 2 and message in done.err
    assert names_in(tmp_path) == {"in/a.png"} and not (tmp_path / "out").exists()


def test_a_pipe_takes_no_option_for_many(cli, stubbed):
    for options in (["--resume"], ["--shard", "1/2"], ["--dry-run"], ["--frames"], ["--save-steps"]):
        done = cli("restore", "-", "-o", "-", "-m", "stub", *options)
        assert done.code == 2 and "name files, not a pipe" in done.err and done.out == b""


# ---------------------------------------------------------------- frames, watching, what is said


def test_frames_are_done_in_order_and_gaps_named(cli, stubbed, picture_file, tmp_path):
    for number in (1, 2, 3, 10, 11, 9):
        picture_file(f"in/f{number}.png", (6, 8, 3), seed=number)
    done = cli("restore", tmp_path / "in", "-o", tmp_path / "out", "-m", "stub", "--frames")
    assert (done.code, done.err) == (0, "missing frames: in/f: 4 to 8\n6 restored, 0 failed\n")
    order = [record.target for record in rows_of(tmp_path / "out/manifest.jsonl")]
    assert order == [f"f{number}.png" for number in (1, 2, 3, 9, 10, 11)]
    picture_file("in/f12.png", (6, 9, 3))
    done = cli("restore", tmp_path / "in", "-o", tmp_path / "more", "-m", "stub", "--frames")
    assert done.code == 2 and "frames are 8 x 6, but not f12.png (9 x 6)" in done.err
    assert not (tmp_path / "more").exists()


def test_watching_takes_what_comes_until_a_signal(server, tmp_path):
    source, out = tmp_path / "in", tmp_path / "in/out"
    pictures(source, 2)
    out.mkdir()
    run = server.start("restore", source, "-o", out, "-m", "stub", "--watch", "--recursive")
    wait_for(lambda: len(results_in(out)) == 2)
    data = (source / "0000.png").read_bytes()
    with (source / "growing.png").open("wb") as file:
        for part in range(0, len(data), len(data) // 5):
            file.write(data[part : part + len(data) // 5])
            file.flush()
            time.sleep(0.4)
            assert not (out / "growing.png").exists()
    wait_for((out / "growing.png").exists)
    (source / "sub").mkdir()
    (source / "sub/bad.png").write_bytes(b"no picture")
    wait_for((out / "failures.jsonl").exists)
    assert not (out / "sub").exists()
    (source / "sub/bad.png").write_bytes(data)
    wait_for(lambda: f"-> {out / 'sub/bad.png'}" in run.err)
    run.kill(signal.SIGTERM)
    began = time.monotonic()
    assert run.wait() == 143 and time.monotonic() - began < 5
    assert names_in(out) == {"0000.png", "0001.png", "growing.png", "sub/bad.png", "failures.jsonl"} | LISTS
    assert "4 restored, 1 failed" in run.err and f"{source / 'growing.png'} -> {out / 'growing.png'}" in run.err


def test_hints_are_few(cli, stubbed, tmp_path):
    pictures(tmp_path / "in", 6)
    done = cli("restore", tmp_path / "in", "-o", tmp_path / "out", "-m", "stub", "--strength", 0)
    assert done.err.count("equals its input: the strength may be 0") == 3
    assert "hint: 3 more hardly differ from their input" in done.err
    done = cli("restore", tmp_path / "in/0000.png", "-o", "-", "-m", "stub", "--strength", 0)
    assert "hint: the result equals its input" in done.err


def test_a_run_that_takes_long_says_how_fast_it_was(cli, stubbed, tmp_path, monkeypatch):
    from residiff.cli import folder

    monkeypatch.setattr(folder, "_SHORT", 0.0)
    pictures(tmp_path / "in", 3)
    done = cli("restore", tmp_path / "in", "-o", tmp_path / "out", "-m", "stub:0.1")
    first, second = done.err.splitlines()
    assert first == "3 restored, 0 failed"
    assert "a second" in second and "of the time the network's" in second and "MB of memory" in second


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.25, "0.25 s"), (9, "9 s"), (61, "1 min 1 s"), (3700, "1 h 1 min"), (200_000, "2 d 7 h")],
)
def test_durations(seconds, said):
    from residiff.cli.folder import _duration

    assert _duration(seconds) == said


def test_rerun_on_the_command_line(cli, tiny_file, picture_file, tmp_path, monkeypatch):
    source = picture_file("in/a.png")
    assert cli("restore", source, "-o", tmp_path / "b.png", "-m", tiny_file, "--seed", 9, "--device", "cpu").code == 0
    command = ["rerun", tmp_path / "b.png", "-m", tiny_file, "--device", "cpu"]
    done = cli(*command)
    assert done.code == 2 and "give it with --source" in done.err
    command += ["--source", source, "-o", tmp_path / "again.png"]
    done = cli(*command, "--json")
    assert done.code == 0 and "the same file comes out, bit by bit" in done.err
    facts = json.loads(done.out)
    assert facts["same_bytes"] and facts["then"] == facts["now"] and facts["then"]["settings"]["seed"] == 9
    assert (tmp_path / "again.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    picture = images.read(tmp_path / "b.png")
    images.write(tmp_path / "b.png", images.Picture(1 - picture.pixels, metadata=picture.metadata))
    done = cli(*command)
    assert done.code == 3 and "of 297 values differ, by at most" in done.err
    done = cli("rerun", source)
    assert done.code == 2 and "says how it was made" in done.err
