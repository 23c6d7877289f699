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


@pytest.fixture
def tree(tmp_path):
    """Makes files with a few bytes each, which are enough for a plan: `tree("in/a.png", ...)`."""

    def make(*names):
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"bytes of " + name.encode())
        return tmp_path

    return make


def files_in(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def targets(jobs, folder):
    return sorted(str(job.target.relative_to(folder)) for job in jobs)


# ---------------------------------------------------------------- the plan


def test_a_folder_keeps_its_shape(tree):
    root = tree(
        "in/a.png", "in/b.JPG", "in/sub/a.png", "in/sub/deep/c.webp", "in/.DS_Store", "in/notes.txt", "in/.x/d.png"
    )
    everything = plan([root / "in"], root / "out", Options(), recursive=True)
    assert targets(everything, root / "out") == ["a.png", "b.JPG", "sub/a.png", "sub/deep/c.webp"]
    assert targets(plan([root / "in"], root / "out", Options()), root / "out") == ["a.png", "b.JPG"]
    assert {job.source for job in everything} == {path for path in images.list_images(root / "in", recursive=True)}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (Options(), ["a.png", "b.jpg", "c.tiff", "d.png"]),
        (Options(suffix="_x"), ["a_x.png", "b_x.jpg", "c_x.tiff", "d_x.png"]),
        (Options(format=Format.PNG), ["a.png", "b.png", "c.png", "d.png"]),
        (Options(format=Format.JPEG, suffix="."), ["a..jpeg", "b..jpeg", "c..jpeg", "d..jpeg"]),
    ],
)
def test_names(tree, options, expected):
    root = tree("in/a.png", "in/b.jpg", "in/c.tiff", "in/d.gif")
    assert targets(plan([root / "in"], root / "out", options), root / "out") == expected


def test_files_go_into_a_folder_and_one_file_to_its_name(tree):
    root = tree("in/a.png", "in/b.png")
    a, b = root / "in/a.png", root / "in/b.png"
    assert targets(plan([a, b], root / "out", Options()), root / "out") == ["a.png", "b.png"]
    assert plan([a], root / "new.jpg", Options()) == [Job(a, root / "new.jpg")]
    (root / "old.png").mkdir()
    assert plan([a], root / "old.png", Options()) == [Job(a, root / "old.png/a.png")]


COLLISIONS = {
    "two formats": (["in/a.png", "in/a.gif"], ["in"], "out", Options()),
    "one format for all": (["in/a.png", "in/a.jpg"], ["in"], "out", Options(format=Format.WEBP)),
    "case": (["in/A.png", "in/a.png"], ["in"], "out", Options()),
    "case of a suffix": (["in/a.png", "in/a.PNG"], ["in"], "out", Options()),
    "case of a folder": (["in/X/a.png", "in/x/a.png"], ["in"], "out", Options()),
    "two spellings of one letter": (["in/\u00e9.png", "in/e\u0301.png"], ["in"], "out", Options()),
    "two folders": (["in/a.png", "other/a.png"], ["in", "other"], "out", Options()),
    "two files": (["in/a.png", "other/a.png"], ["in/a.png", "other/a.png"], "out", Options()),
    "a file twice": (["in/a.png"], ["in/a.png", "in/a.png"], "out", Options()),
    "a file and its folder": (["in/a.png"], ["in", "in/a.png"], "out", Options()),
    "output is input": (["in/a.png"], ["in"], "in", Options()),
    "output is input, deep": (["in/x/a.png"], ["in"], "in", Options()),
    "output is input by another way": (["in/a.png"], ["in"], "in/../in", Options()),
    "output is input by a link": (["in/a.png"], ["in"], "link", Options()),
    "a file onto itself": (["in/a.png"], ["in/a.png"], "in/a.png", Options()),
    "a file onto another": (["in/a.png", "b.png"], ["in/a.png", "b.png"], "in", Options()),
    "a suffix that meets": (["in/a.png", "in/a_x.png"], ["in"], "in", Options(suffix="_x")),
}


@pytest.mark.parametrize("name", COLLISIONS)
def test_what_would_meet_is_refused_before_the_first_write(tree, name):
    made, sources, output, options = COLLISIONS[name]
    root = tree(*made)
    (root / "link").symlink_to(root / "in")
    before = files_in(root)
    with pytest.raises(ConfigError, match="would both become|would be written over"):
        plan([root / source for source in sources], root / output, options, recursive=True)
    assert files_in(root) == before and not (root / "out").exists()


def test_a_mask_is_not_written_over(tree):
    root = tree("in/a.png", "masks/a.png")
    with pytest.raises(ConfigError, match="would be written over"):
        plan([root / "in"], root / "masks", Options(), root / "masks")


def test_an_output_inside_the_input_is_no_input_of_the_next_run(tree):
    root = tree("in/a.png", "in/sub/b.png", "in/out/a.png", "in/out/sub/b.png", "in/outer/c.png")
    jobs = plan([root / "in"], root / "in/out", Options(), recursive=True)
    assert targets(jobs, root / "in/out") == ["a.png", "outer/c.png", "sub/b.png"]


@pytest.mark.parametrize(
    ("sources", "output", "message"),
    [
        (["inn"], "out", "inn does not exist; did you mean .*in"),
        (["in/aa.png"], "out", "aa.png does not exist; did you mean .*a.png"),
        (["zzz"], "out", "zzz does not exist; look at the path"),
        (["empty"], "out", "no pictures found in .*empty"),
        (["deep"], "out", "add --recursive"),
        (["in"], "out.png", "out.png is the name of one picture"),
        (["in/a.png", "in/b.png"], "out.png", "out.png is the name of one picture"),
        (["in/a.png"], "out.gif", "cannot write .*out.gif: name a folder, or a picture ending in .avif"),
        (["in/a.png", "in/b.png"], "notes.txt", "cannot write .*notes.txt"),
    ],
)
def test_paths_that_cannot_be_are_named(tree, sources, output, message):
    root = tree("in/a.png", "in/b.png", "deep/er/c.png", "notes.txt")
    (root / "empty").mkdir()
    with pytest.raises(ConfigError, match=message):
        plan([root / source for source in sources], root / output, Options())


@pytest.mark.parametrize("options", [Options(suffix="_x"), Options(format=Format.JPEG)])
def test_a_name_that_contradicts_the_options_is_refused(tree, options):
    root = tree("a.png")
    with pytest.raises(ConfigError, match="leave out --suffix and --format"):
        plan([root / "a.png"], root / "b.png", options)
    assert plan([root / "a.png"], root / "b.jpg", Options(format=Format.JPEG))


def test_masks_are_found_by_place_and_name(tree):
    root = tree("in/1.jpg", "in/2.png", "in/sub/1.jpg", "masks/1.png", "masks/2.gif", "masks/sub/1.png", "masks/9.png")
    jobs = plan([root / "in"], root / "out", Options(), root / "masks", recursive=True)
    found = {str(job.source.relative_to(root)): str(job.mask.relative_to(root)) for job in jobs}
    assert found == {"in/1.jpg": "masks/1.png", "in/2.png": "masks/2.gif", "in/sub/1.jpg": "masks/sub/1.png"}
    (one, *_) = plan([root / "in"], root / "out", Options(), root / "masks/9.png")
    assert one.mask == root / "masks/9.png"


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (["masks/2.png"], "holds 0 masks for 1.png; one called 1 is needed"),
        (["masks/1.png", "masks/1.jpg"], "holds 2 masks for 1.png"),
        (["mosks/1.png"], "the mask .*masks does not exist; did you mean .*mosks"),
    ],
)
def test_masks_that_do_not_match_are_named(tree, made, message):
    root = tree("in/1.png", *made)
    with pytest.raises(ConfigError, match=message):
        plan([root / "in"], root / "out", Options(), root / "masks")


# ---------------------------------------------------------------- options

GOOD = {
    "steps": None, "seed": 0, "strength": 1.0, "format": None, "quality": 95, "bit_depth": None, "suffix": "",
    "max_pixels": 100,
}  # fmt: skip


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"strength": 2.0}, "strength is 2.0; allowed are 0 to 1"),
        ({"quality": 0}, "quality is 0; allowed are 1 to 100"),
        ({"max_pixels": 0}, "max-pixels is 0"),
        ({"seed": -1}, "seed is -1; allowed are 0 to"),
        ({"bit_depth": 12}, "bit-depth is 12; allowed are 8 and 16"),
        ({"suffix": "../x"}, "suffix is '../x'"),
        ({"suffix": "x\\y"}, "no slashes"),
        ({"format": "gif"}, "format is 'gif'; allowed are avif, bmp, jpeg, jpg, png, tif, tiff, webp"),
        ({"format": "../png"}, "format is '../png'"),
    ],
)
def test_options_out_of_range_are_named(wrong, message):
    assert Options.checked(**GOOD) == Options(max_pixels=100)
    with pytest.raises(ConfigError, match=message):
        Options.checked(**GOOD | wrong)


def test_options_as_a_user_words_them():
    assert Options.checked(**GOOD | {"format": "JPG"}).format is Format.JPEG
    assert Options.checked(**GOOD | {"format": "tif", "bit_depth": 16}).bit_depth == 16


# ---------------------------------------------------------------- the work


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
    running = restore_all(jobs, tiny, Options(steps=1))
    assert next(running).error is None
    (tmp_path / "in/b.png").unlink()
    with (tmp_path / "in/c.png").open("ab") as file:
        file.write(b"grown")
    missing, grown = running
    assert "there is no such file" in str(missing.error) and grown.error is None


def test_resume_leaves_what_is_done_untouched(tiny, picture_file, tmp_path):
    for name in "abc":
        picture_file(f"in/{name}.png", (3, 4, 3))
    options = Options(steps=1)
    jobs = plan([tmp_path / "in"], tmp_path / "out", options)
    list(restore_all(jobs, tiny, options))
    first = files_in(tmp_path / "out")
    for job in jobs:
        os.utime(job.target, (1, 1))
    (tmp_path / "out/b.png").unlink()
    (tmp_path / "in/a.png").unlink()  # what is done is not even looked for
    list(restore_all(jobs, tiny, options, resume=True))
    assert files_in(tmp_path / "out") == first
    assert [job.target.stat().st_mtime == 1 for job in jobs] == [True, False, True]
    list(restore_all(jobs[1:], tiny, options))
    assert [job.target.stat().st_mtime == 1 for job in jobs] == [True, False, False]


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
