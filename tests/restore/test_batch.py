"""Folders: the plan is refused before the first write, nothing is lost, and one bad file stops no other."""

import json
import os
import socket
from pathlib import Path

import numpy as np
import pytest

from residiff.data import images
from residiff.data.images import Format
from residiff.errors import ConfigError, ImageDecodeError, ImageUnsupportedError, ResourceError
from residiff.restore import Job, Options, Outcome, batch, plan, restore_all, restore_file, write_failures


def files_in(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def spoil(folder):
    """Bad files of every kind under picture names, and what no picture is; gives how many are to fail."""
    good = (folder / "good0.png").read_bytes()
    contents = {"empty": b"", "text": b"no picture\n", "html": b"<html></html>", "cut": good[:-40], "header": good[:20]}
    for name, data in contents.items():
        (folder / f"bad {name}.png").write_bytes(data)
    os.mkfifo(folder / "bad fifo.png")
    with socket.socket(socket.AF_UNIX) as unix:
        here = os.getcwd()
        os.chdir(folder)  # a socket's path may not be long
        unix.bind("bad socket.png")
        os.chdir(here)
    (folder / "bad dangling.png").symlink_to(folder / "nowhere.png")
    (folder / "bad circle.png").symlink_to(folder / "bad circle.png")
    (folder / "loop").symlink_to(folder)
    (folder / ".DS_Store").write_bytes(b"x")
    (folder / "notes.txt").write_bytes(b"x")
    return 9


def test_bad_files_stop_no_other(tiny, picture_file, tmp_path):
    for number in range(12):
        picture_file(f"in/good{number}.png", (3, 4, 3), seed=number)
    bad = spoil(tmp_path / "in")
    options = Options(steps=1)
    outcomes = list(restore_all(plan([tmp_path / "in"], tmp_path / "out", options, recursive=True), tiny, options))
    failed = [outcome for outcome in outcomes if outcome.error is not None]
    assert len(outcomes) == 12 + bad and len(failed) == bad
    assert {type(outcome.error) for outcome in failed} == {ImageDecodeError, ImageUnsupportedError}
    assert set(files_in(tmp_path / "out")) == {f"good{number}.png" for number in range(12)}
    write_failures(tmp_path / "out/failures.jsonl", outcomes)
    rows = [json.loads(line) for line in (tmp_path / "out/failures.jsonl").read_text().splitlines()]
    assert sorted(row["source"] for row in rows) == sorted(str(outcome.job.source) for outcome in failed)
    assert all(row["error"] in ("ImageDecodeError", "ImageUnsupportedError") and row["message"] for row in rows)


def test_a_file_that_vanishes_or_grows_is_one_failure(tiny, picture_file, tmp_path):
    for name in "abc":
        picture_file(f"in/{name}.png", (3, 4, 3))
    jobs = plan([tmp_path / "in"], tmp_path / "out", Options(steps=1))
    (tmp_path / "in/b.png").unlink()
    with (tmp_path / "in/c.png").open("ab") as file:
        file.write(b"grown")
    running = restore_all(jobs, tiny, Options(steps=1))
    assert next(running).error is None
    missing, grown = running
    assert "there is no such file" in str(missing.error) and grown.error is None


def test_a_stop_in_the_midst_of_a_write_leaves_nothing_half(tiny, picture_file, tmp_path, monkeypatch):
    for name in "ab":
        picture_file(f"in/{name}.png", (3, 4, 3))
    jobs = plan([tmp_path / "in"], tmp_path / "out", Options(steps=1))
    running = restore_all(jobs, tiny, Options(steps=1))
    next(running)
    done = files_in(tmp_path / "out")

    def interrupted(_handle):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        next(running)
    assert files_in(tmp_path / "out") == done


def test_what_no_picture_could_be_run_with_is_refused_before_the_first(tiny, masked, tmp_path):
    jobs = [Job(tmp_path / f"{n}.png", tmp_path / f"out/{n}.png") for n in range(3)]
    for restorer, options, given, message in [
        (tiny, Options(steps=0), jobs, "steps is 0; allowed are 1 to 1000"),
        (masked, Options(), jobs, "needs a mask"),
        (tiny, Options(), [Job(job.source, job.target, tmp_path / "m.png") for job in jobs], "takes no mask"),
    ]:
        with pytest.raises(ConfigError, match=message):
            next(restore_all(given, restorer, options))
    assert list(restore_all([], tiny, Options())) == []


def test_a_mask_that_does_not_fit_fails_its_picture_alone(masked, picture_file, tmp_path):
    for name in "ab":
        picture_file(f"in/{name}.png", (5, 6, 3))
        picture_file(f"masks/{name}.png", (5, 6) if name == "a" else (6, 5))
    jobs = plan([tmp_path / "in"], tmp_path / "out", Options(), tmp_path / "masks")
    good, bad = restore_all(jobs, masked, Options())
    assert good.error is None and "the mask is 5 x 6, the image 6 x 5" in str(bad.error)
    with pytest.raises(ConfigError, match="the mask is 5 x 6"):  # alone, it is the user's mistake
        list(restore_all(jobs[1:], masked, Options()))


def test_a_full_disk_ends_the_run(tiny, picture_file, tmp_path, monkeypatch):
    picture_file("in/a.png"), picture_file("in/b.png")

    def full(*_arguments, **_options):
        raise ResourceError("cannot write: the disk is full")

    monkeypatch.setattr(batch, "write_bytes", full)
    with pytest.raises(ResourceError):
        list(restore_all(plan([tmp_path / "in"], tmp_path / "out", Options()), tiny, Options()))


def test_options_reach_the_file(tiny, picture_file, tmp_path):
    source = picture_file("a.png", (16, 17, 3))
    sizes = {}
    for quality in (5, 95):
        (done,) = restore_all([Job(source, tmp_path / "a.jpg")], tiny, Options(quality=quality))
        sizes[quality] = done.job.target.stat().st_size
    assert sizes[5] < sizes[95]
    list(restore_all([Job(source, tmp_path / "b.png")], tiny, Options(bit_depth=16)))
    assert images.read(tmp_path / "b.png").bit_depth == 16
    ((outcome),) = restore_all([Job(source, tmp_path / "c.png")], tiny, Options(max_pixels=271))
    assert "over the limit of 271" in str(outcome.error)
    a, b = (images.to_array(images.read(tmp_path / name), 8) for name in ("b.png", "a.png"))
    assert not np.array_equal(a, b)


@pytest.mark.parametrize("arguments", [{"steps": 5}, {"seed": 5}, {"strength": 0.5}, {"steps": 3, "seed": 4}])
def test_a_file_is_restored_as_its_picture_is(tiny, picture_file, tmp_path, arguments):
    source = picture_file("a.png")
    restore_file(Job(source, tmp_path / "b.png"), tiny, Options(**arguments))
    result, picture = images.to_array(images.read(tmp_path / "b.png")), images.read(source)
    np.testing.assert_array_equal(result, images.to_array(tiny.restore(picture, **arguments)))
    assert not np.array_equal(result, images.to_array(tiny.restore(picture)))


def test_failures_survive_any_name_and_an_old_list_does_not_outlive_its_run(tmp_path):
    path = tmp_path / "failures.jsonl"
    name = os.fsdecode(b"new\nline \xff \xf0\x9f\x98\x80.png")
    write_failures(
        path,
        [Outcome(Job(Path(name), Path("x")), ImageDecodeError(f"{name}: bad")), Outcome(Job(Path("y"), Path("x")))],
    )
    (row,) = map(json.loads, path.read_text().splitlines())
    assert row["source"] == name and row["error"] == "ImageDecodeError"
    write_failures(path, [])
    write_failures(path, [])
    assert not path.exists()


def test_names_are_kept(tiny, picture_file, tmp_path):
    names = [
        os.fsdecode(b"\xff.png"),
        "\u96ea.png",
        "a b.png",
        "-m.png",
        "%03d.png",
        "new\nline.png",
        "\U0001f600.png",
        "'; x.png",
        "a" * 251 + ".png",
    ]
    for number, name in enumerate(names):
        picture_file(f"in/{name}", (2, 2, 3), seed=number)
    outcomes = list(restore_all(plan([tmp_path / "in"], tmp_path / "out", Options(steps=1)), tiny, Options(steps=1)))
    assert [outcome.error for outcome in outcomes] == [None] * len(names)
    assert set(files_in(tmp_path / "out")) == set(names)


def test_the_writable_kinds_are_those_of_the_image_door():
    for suffix in images.READABLE_SUFFIXES:
        if suffix in images.WRITABLE_SUFFIXES:
            assert images.format_of(Path(f"a{suffix}")) in Format
        else:
            with pytest.raises(ImageUnsupportedError):
                images.format_of(Path(f"a{suffix}"))
