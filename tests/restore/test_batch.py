"""Folders: the plan is refused before the first write, nothing is lost, and one bad file stops no other."""

import json
import os
import socket
import warnings
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from PIL import Image

from residiff.data import images
from residiff.data.images import Format
from residiff.errors import ConfigError, ImageDecodeError, ImageUnsupportedError, ResourceError
from residiff.restore import (
    Job,
    Manifest,
    Options,
    Outcome,
    batch,
    plan,
    provenance_of,
    restore_all,
    restore_file,
    write_failures,
)


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


NAMES = [
    os.fsdecode(b"\xff.png"), os.fsdecode(b"a\xe9\xfe.png"), "\u96ea.png", "\u0430\u0431\u0432.png", "e\u0301.png",
    "\u200bz.png", "a b.png", " a.png", "-m.png", "--steps.png", "%03d.png", "%s%n.png", "{}.png", "${HOME}.png",
    "~.png", "new\nline.png", "tab\t.png", "bell\a.png", "\U0001f600.png", "'; x.png", '"q".png', "a.b.c.png",
    "a" * 251 + ".png", "/".join(["d" * 100] * 9) + "/deep.png", "[bold]x[?].png",
]  # fmt: skip


def test_names_are_kept(tiny, picture_file, tmp_path):
    for number, name in enumerate(NAMES):
        picture_file(f"in/{name}", (2, 2, 3), seed=number)
    jobs = plan([tmp_path / "in"], tmp_path / "out", Options(steps=1), recursive=True)
    outcomes = list(restore_all(jobs, tiny, Options(steps=1)))
    assert [outcome.error for outcome in outcomes] == [None] * len(NAMES) and len(NAMES) >= 24
    assert set(files_in(tmp_path / "out")) == set(NAMES)


@pytest.mark.parametrize("format", ["GIF", "WEBP", "TIFF", "PNG"])
@pytest.mark.parametrize("alpha", [False, True])
def test_of_many_frames_the_first_is_restored_aloud(stub, tmp_path, format, alpha):
    colours = [(200, 30, 60), (0, 0, 255), (0, 255, 0)]
    frames = [Image.new("RGBA" if alpha else "RGB", (8, 6), (*colour, 128) if alpha else colour) for colour in colours]
    source = tmp_path / f"a.{format.lower()}"
    options = {"lossless": True, "exact": True} if format == "WEBP" else {}
    frames[0].save(source, format, save_all=True, append_images=frames[1:], **options)
    with pytest.warns(images.ImageWarning, match="holds several images; only the first is read"):
        restore_file(Job(source, tmp_path / "b.png"), stub, Options())
    made = images.to_array(images.read(tmp_path / "b.png"))
    assert made.shape[:2] == (6, 8) and np.abs(made[0, 0, :3].astype(int) - (55, 225, 195)).max() <= 1


def test_what_is_left_of_a_cut_file_is_marked(stub, picture_file, tmp_path):
    picture_file("a.jpg", (64, 64, 3))
    data = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(data[: len(data) * 3 // 4])
    job = Job(tmp_path / "a.jpg", tmp_path / "b.png")
    (refused,) = restore_all([job], stub, Options())
    assert isinstance(refused.error, ImageDecodeError) and not job.target.exists()
    options = Options(allow_truncated=True)
    with pytest.warns(images.ImageWarning, match="the rest of it is restored"):
        marked = restore_file(job, stub, options)
    assert not marked.provenance.whole and not provenance_of(images.read(job.target)).whole
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (outcome,) = restore_all([job], stub, options)
    assert outcome.error is None and not outcome.whole


def test_one_thread_or_two(tiny, draw):
    """The results differ by at most 1e-5, before they are rounded."""
    picture = images.from_array(draw((64, 48, 3), np.float32))
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            results.append(tiny.restore(picture, seed=1).pixels)
    finally:
        torch.set_num_threads(before)
    assert (results[0] - results[1]).abs().max() <= 1e-5


@pytest.mark.slow
def test_ten_thousand_pictures_leave_memory_and_files_as_they_were(stub, picture_file, tmp_path):
    """After 1,000 nothing grows: at most 20 MB and no file more at the end."""
    for number in range(100):
        picture_file(f"in/{number}.png", (16, 16, 3), seed=number)
    sources = sorted((tmp_path / "in").iterdir())
    jobs = [Job(sources[number % 100], tmp_path / f"out/{number}.png") for number in range(10_000)]
    manifest, process, held = Manifest(tmp_path / "out"), psutil.Process(), []
    for count, outcome in enumerate(restore_all(jobs, stub, Options(), manifest=manifest), 1):
        assert outcome.error is None
        if count in (1_000, 10_000):
            held.append((process.memory_info().rss, process.num_fds()))
    manifest.close()
    (memory, opened), (later, still) = held
    print(f"{(later - memory) / 1e6:.1f} MB more, {still - opened} files more")
    assert later - memory <= 20e6 and still <= opened


def test_the_writable_kinds_are_those_of_the_image_door():
    for suffix in images.READABLE_SUFFIXES:
        if suffix in images.WRITABLE_SUFFIXES:
            assert images.format_of(Path(f"a{suffix}")) in Format
        else:
            with pytest.raises(ImageUnsupportedError):
                images.format_of(Path(f"a{suffix}"))
