"""The program: what each command prints and writes, its exit codes, its pipes, and what it does without a network."""

import io
import json
import logging
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import residiff
from residiff import models, recipe
from residiff.data import images
from residiff.errors import ResourceError
from residiff.restore import Job, Options, restore_file

COMMANDS = {
    "", "restore", "train", "evaluate", "env", "data", "data list", "data check", "data degrade", "data make",
    "data layouts", "data import", "data shard", "models",
    "models list", "models info", "models import", "generate", "translate",
    "recipes", "recipes list", "recipes show", "recipes check", "recipes schema", "plot", "plot schedule",
    "plot trajectory", "plot paths", "plot spectra", "plot training", "serve",
}  # fmt: skip
HELP = """
import contextlib, io, json, os, sys
os.environ["COLUMNS"] = "80"
import typer
from residiff.cli.app import app

def commands(command, path):
    yield " ".join(path)
    for name, child in getattr(command, "commands", {}).items():
        yield from commands(child, [*path, name])

pages = {}
for path in commands(typer.main.get_command(app), []):
    page = io.StringIO()
    with contextlib.redirect_stdout(page):
        try:
            app([*path.split(), "--help"], prog_name="residiff")
        except SystemExit as end:
            assert not end.code, path
    pages[path] = page.getvalue()
heavy = [name for name in ("torch", "numpy", "PIL", "matplotlib", "residiff.restore") if name in sys.modules]
json.dump({"pages": pages, "heavy": heavy}, sys.stdout)
"""


def png(array):
    data = io.BytesIO()
    Image.fromarray(array).save(data, "PNG")
    return data.getvalue()


def names_in(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


# ---------------------------------------------------------------- the program itself


def test_every_help_page_is_light_has_an_example_and_fits(python):
    done = python(HELP)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["heavy"] == []
    assert set(told["pages"]) >= COMMANDS
    for path, page in told["pages"].items():
        lines = page.splitlines()
        assert f"Usage: residiff {path}".strip() in page, path
        example = re.search(r"Example: residiff (.*)", page)
        assert example and example[1].startswith(path), path
        assert len(lines) <= 50 and max(map(len, lines)) <= 80, path


def test_help_takes_less_than_half_a_second(program):
    """Of processor time, for the machine may be busy; the best of a few, for it may be hot."""
    resource = pytest.importorskip("resource")

    def taken():
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert program("restore", "--help").communicate()[0]
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert any(taken() < 0.5 for _ in range(5))


@pytest.mark.parametrize("arguments", [["--version"], ["restore", "--version"], ["recipes", "show", "--version"]])
def test_version_anywhere(cli, arguments):
    done = cli(*arguments)
    assert (done.code, done.out) == (0, f"residiff {residiff.__version__}\n".encode())


@pytest.mark.parametrize("flag", ["-q", "--quiet"])
@pytest.mark.parametrize("place", range(4))
def test_quiet_anywhere(cli, flag, place):
    arguments = ["recipes", "check", "tiny"]
    assert cli(*arguments).err == "tiny: fine\n"
    arguments.insert(place, flag)
    done = cli(*arguments)
    assert (done.code, done.err, done.out) == (0, "", b"")


def test_a_flag_after_two_dashes_is_a_name(cli):
    done = cli("recipes", "check", "--", "-q")
    assert done.code == 2 and "no recipe '-q'" in done.err


@pytest.mark.parametrize(
    "arguments", [["recipes", "list"], ["-v", "recipes", "list"], ["recipes", "list", "--verbose"]]
)
def test_a_bug_of_ours_is_1_and_its_trace_shown_on_demand(cli, monkeypatch, arguments):
    def broken():
        raise LookupError("planted")

    monkeypatch.setattr(recipe, "names", broken)
    done = cli(*arguments)
    assert done.code == 1 and "error: LookupError: planted" in done.err and "bug in residiff" in done.err
    assert ("Traceback" in done.err) == (len(arguments) == 3)


def test_no_command_shows_the_help(cli):
    done = cli()
    assert done.code == 2 and b"restore" in done.out + done.err.encode()


@pytest.mark.parametrize(("flags", "shown"), [([], True), (["-q"], False)])
def test_warnings_and_notes_are_lines_on_stderr(cli, flags, shown, tiny_file, picture_file, tmp_path):
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    done = cli("restore", tmp_path / "a.gif", "-o", tmp_path / "a.png", "-m", tiny_file, *flags)
    assert done.code == 0
    assert ("warning: " in done.err and "only the first is read" in done.err) == shown
    assert ("1 restored, 0 failed" in done.err) == shown


def test_the_librarys_log_is_shown(cli, monkeypatch):
    monkeypatch.setattr(recipe, "names", lambda: logging.getLogger("residiff.x").warning("noted [bold]x[/]") or [])
    assert cli("recipes", "list", "--json").err == "noted [bold]x[/]\n"


# ---------------------------------------------------------------- restore


def test_a_folder_is_restored_in_its_shape(cli, tiny, tiny_file, picture_file, tmp_path):
    made = ["a.png", "b.tiff", "sub/a.png"]
    for number, name in enumerate(made):
        picture_file(f"in/{name}", seed=number)
    done = cli("restore", tmp_path / "in", "-o", tmp_path / "out", "-m", tiny_file, "--recursive", "--seed", 3)
    assert (done.code, done.out, done.err) == (0, b"", "3 restored, 0 failed\n")
    assert names_in(tmp_path / "out") == {*made, ".lock", "manifest.jsonl"}
    for name in made:
        restore_file(Job(tmp_path / "in" / name, tmp_path / "one" / name), tiny, Options(seed=3))
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()


def test_restore_needs_no_hyperparameter_retyped(cli, tiny, tiny_file, picture_file, tmp_path):
    """The model's own steps and sampler are used; saying them changes nothing, other ones do."""
    source = picture_file("a.png")
    for name, extra in {"own": [], "said": ["--steps", 2], "other": ["--steps", 3]}.items():
        assert cli("restore", source, "-o", tmp_path / f"{name}.png", "-m", tiny_file.parent, *extra).code == 0
    own, said, other = ((tmp_path / f"{name}.png").read_bytes() for name in ("own", "said", "other"))
    assert own == said != other
    restore_file(Job(source, tmp_path / "here.png"), tiny, Options())
    assert own == (tmp_path / "here.png").read_bytes()


def test_masks_by_folder(cli, masked, masked_file, picture_file, tmp_path):
    sources = [picture_file(f"in/{name}.png", (5, 6, 3)) for name in "ab"]
    masks = [picture_file(f"masks/{name}.png", (5, 6), seed=seed) for seed, name in enumerate("ab", 1)]
    done = cli("restore", *sources, "-o", tmp_path / "out", "-m", masked_file, "--mask", tmp_path / "masks")
    assert done.code == 0
    for source, mask in zip(sources, masks, strict=True):
        restore_file(Job(source, tmp_path / "one.png", mask), masked, Options())
        assert (tmp_path / "out" / source.name).read_bytes() == (tmp_path / "one.png").read_bytes()


@pytest.mark.parametrize("good", [0, 2])
def test_failures_are_listed_in_the_output_folder(cli, tiny_file, picture_file, tmp_path, good):
    for number in range(good):
        picture_file(f"in/good{number}.png")
    (tmp_path / "in").mkdir(exist_ok=True)
    (tmp_path / "in/bad.png").write_text("no picture")
    arguments = ["restore", tmp_path / "in", "-o", tmp_path / "out", "-m", tiny_file]
    done = cli(*arguments)
    assert done.code == 3 and f"{good} restored, 1 failed" in done.err and "bad.png: not a PNG" in done.err
    lists = {".lock", "failures.jsonl"} | ({"manifest.jsonl"} if good else set())
    assert names_in(tmp_path / "out") == {f"good{n}.png" for n in range(good)} | lists
    (row,) = map(json.loads, (tmp_path / "out/failures.jsonl").read_text().splitlines())
    assert row["source"] == str(tmp_path / "in/bad.png") and row["error"] == "ImageUnsupportedError"
    picture_file("in/bad.png")
    assert cli(*arguments, "--resume").code == 0  # mended: the list goes, what was done stays
    done = {f"good{n}.png" for n in range(good)} | {"bad.png"}
    assert names_in(tmp_path / "out") == done | {".lock", "manifest.jsonl"}


def test_one_bad_file_is_3(cli, tiny_file, tmp_path):
    (tmp_path / "bad.png").write_text("no picture")
    done = cli("restore", tmp_path / "bad.png", "-o", tmp_path / "out/x.png", "-m", tiny_file)
    assert done.code == 3 and names_in(tmp_path / "out") == {"failures.jsonl"}


def test_failures_are_kept_where_the_run_breaks_off(cli, tiny_file, picture_file, tmp_path, monkeypatch):
    picture_file("in/b.png")
    (tmp_path / "in/a.png").write_text("no picture")

    def full(*_arguments, **_options):
        raise ResourceError("cannot write: the disk is full")

    monkeypatch.setattr(images, "encode", full)
    done = cli("restore", tmp_path / "in", "-o", tmp_path / "out", "-m", tiny_file)
    assert done.code == 5 and "the disk is full" in done.err
    assert "a.png" in (tmp_path / "out/failures.jsonl").read_text()


def test_options_of_the_file(cli, tiny_file, picture_file, tmp_path):
    source = picture_file("in/a.png")
    options = ["--format", "tiff", "--bit-depth", 16, "--suffix", "_r", "--strength", 0, "--max-pixels", 99]
    done = cli("restore", source, "-o", tmp_path / "out", "-m", tiny_file, *options)
    assert done.code == 0, done.err
    result = images.read(tmp_path / "out/a_r.tiff")
    assert result.bit_depth == 16
    np.testing.assert_array_equal(images.to_array(result, 8), images.to_array(images.read(source)))
    assert cli("restore", source, "-o", tmp_path / "b.png", "-m", tiny_file, "--max-pixels", 98).code == 3


# ---------------------------------------------------------------- pipes


def test_stdin_to_stdout(cli, tiny, tiny_file, draw):
    array = draw((6, 7, 3))
    done = cli("restore", "-", "-o", "-", "-m", tiny_file, "--seed", 4, stdin=png(array))
    assert (done.code, done.err) == (0, "") and done.out[:4] == b"\x89PNG"
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(done.out))), tiny(array, seed=4))


def test_each_side_may_be_a_file(cli, tiny, tiny_file, draw, tmp_path):
    array = draw((6, 7, 3))
    (tmp_path / "a.png").write_bytes(png(array))
    assert cli("restore", "-", "-o", tmp_path / "b.tiff", "-m", tiny_file, stdin=png(array)).code == 0
    np.testing.assert_array_equal(images.to_array(images.read(tmp_path / "b.tiff")), tiny(array))
    done = cli("restore", tmp_path / "a.png", "-o", "-", "-m", tiny_file, "--format", "webp", "--quality", 30)
    assert done.code == 0 and done.out[8:12] == b"WEBP"
    assert names_in(tmp_path) == {"a.png", "b.tiff"}


def test_a_mask_for_a_pipe(cli, masked, masked_file, picture_file, draw):
    array, mask = draw((6, 7, 3)), picture_file("mask.png", (6, 7))
    done = cli("restore", "-", "-o", "-", "-m", masked_file, "--mask", mask, stdin=png(array))
    assert done.code == 0
    expected = masked(array, np.asarray(draw((6, 7))))
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(done.out))), expected)


@pytest.mark.parametrize("data", [b"", b"no picture"])
def test_bad_data_in_a_pipe(cli, tiny_file, data):
    done = cli("restore", "-", "-o", "-", "-m", tiny_file, stdin=data)
    assert done.code == 3 and done.out == b"" and done.err.startswith("error: image data: ")


def test_a_reader_that_has_gone_is_no_bug(program):
    run = program("data", "list", "--json")
    run.stdout.close()
    assert run.wait(60) == 141 and run.stderr.read() == b""
    run.stderr.close(), run.stdin.close()


# ---------------------------------------------------------------- recipes, models, env


@pytest.fixture
def bundle(tiny_file, masked_file, monkeypatch):
    monkeypatch.setattr(models, "bundled", lambda: {"masked": masked_file, "tiny": tiny_file})


@pytest.mark.parametrize("command", ["recipes", "models"])
def test_lists_as_json_are_objects_with_a_name(cli, bundle, command):
    done = cli(command, "list", "--json")
    rows = json.loads(done.out)
    assert done.code == 0 and done.err == ""
    names = [row["name"] for row in rows]
    assert "tiny" in names and names == sorted(names)
    assert all(row["task"] and "summary" in row for row in rows)
    table = cli(command, "list").out.decode()
    assert all(name in table for name in names)


def test_every_bundled_model_is_in_the_list(cli):
    rows = json.loads(cli("models", "list", "--json").out)
    assert {row["name"] for row in rows} == set(models.bundled())


@pytest.mark.parametrize("name", recipe.names())
def test_a_recipe_goes_through_show_and_back(cli, name, tmp_path):
    done = cli("recipes", "show", name)
    (tmp_path / "mine.toml").write_bytes(done.out)
    assert recipe.read(str(tmp_path / "mine.toml")) == recipe.read(name)
    shown = json.loads(cli("recipes", "show", tmp_path / "mine.toml", "--json").out)
    assert shown == tomllib.loads(done.out.decode())


def test_recipes_are_checked(cli, tmp_path):
    done = cli("recipes", "check", *recipe.names())
    assert done.code == 0 and done.err.splitlines() == [f"{name}: fine" for name in recipe.names()]
    (tmp_path / "bad.toml").write_text(recipe.read("tiny").toml().replace("batch = 8", "batch = -8"))
    done = cli("recipes", "check", "tiny", tmp_path / "bad.toml")
    assert done.code == 2 and "bad.toml" in done.err and "training.batch" in done.err


def test_model_info(cli, tiny, tiny_file):
    done = cli("models", "info", tiny_file, "--json")
    facts = json.loads(done.out)
    assert facts["name"] == "tiny" and facts["sha256"] == tiny.descriptor.sha256 and facts["card"] == {"data": "none"}
    assert facts["recipe"]["sampling"]["steps"] == 2
    page = cli("models", "info", tiny_file.parent).out.decode()
    assert str(tiny.descriptor.parameters) in page and tiny.descriptor.sha256 in page
    assert tiny.recipe.toml() in page


def test_env(cli):
    facts = json.loads(cli("env", "--json").out)
    assert facts["residiff"] == residiff.__version__ and facts["torch"] == torch.__version__
    assert set(facts) >= {"python", "numpy", "safetensors", "pyvips", "pillow", "system", "cores", "threads", "memory"}
    assert str(Path.home()) not in json.dumps(facts)
    page = cli("env").out.decode()
    assert all(key in page for key in facts)


# ---------------------------------------------------------------- data, train, evaluate, plot


def test_data_list(cli):
    rows = json.loads(cli("data", "list", "--json").out)
    by_name = {row["name"]: row for row in rows}
    assert by_name["noise"]["parameters"] == "sigma=5,50" and by_name["shadow"]["mask"] == "yes"
    assert "motion-blur" in cli("data", "list").out.decode()


def test_data_make_and_degrade(cli, tmp_path):
    done = cli("data", "make", "-o", tmp_path / "set", "-k", "shadow", "-n", 3, "--size", 32, "--seed", 1)
    assert (done.code, done.err) == (0, f"3 pairs in {tmp_path / 'set'}\n")
    wanted = {f"{part}/{n:06d}.png" for part in ("clean", "degraded", "mask") for n in range(3)}
    assert names_in(tmp_path / "set") == wanted
    done = cli("data", "degrade", tmp_path / "set/clean", "-o", tmp_path / "noisy", "-k", "noise", "--set", "sigma=20")
    assert (done.code, done.err) == (0, f"3 pairs in {tmp_path / 'noisy'}\n")
    clean, noisy = (images.read(tmp_path / "noisy" / part / "000000.png").pixels for part in ("clean", "degraded"))
    assert 10 < (noisy - clean).std() * 255 < 21


SHORT = [
    "--set",
    "training.iterations=3",
    "--set",
    "training.batch=1",
    "--set",
    "data.picture=48",
    "--set",
    "data.crop=16",
]
SMALL = ["--set", "network.backbone.width=8", "--set", "network.backbone.middle=1", "--set", "sampling.steps=2"]


def test_train_takes_settings_and_data(cli, tmp_path):
    assert cli("data", "make", "-o", tmp_path / "set", "-k", "noise", "-n", 2, "--size", 24).code == 0
    for run, extra in {"made": [], "given": ["--data", tmp_path / "set"]}.items():
        done = cli("train", "tiny", "-o", tmp_path / run, *SHORT, *SMALL, "--set", "name=mine", *extra)
        assert done.code == 0, done.err
        assert {"model.safetensors", "metrics.csv", "validation.csv", "report.html"} <= names_in(tmp_path / run)
        held = residiff.load(tmp_path / run, "cpu")
        assert held.recipe.training.iterations == 3 and held.descriptor.name == "mine" and held.descriptor.steps == 2
        assert cli("restore", tmp_path / "set/degraded", "-o", tmp_path / f"{run}-out", "-m", tmp_path / run).code == 0
        assert {"000000.png", "000001.png"} <= names_in(tmp_path / f"{run}-out")


def test_evaluate_as_json(cli, tmp_path):
    cli("data", "make", "-o", tmp_path / "set", "-k", "noise", "-n", 2, "--size", 32)
    done = cli("evaluate", tmp_path / "set/degraded", tmp_path / "set/clean", "--json")
    assert done.code == 0, done.err
    report = json.loads(done.out)
    stated = {"format_version", "version", "protocol", "label", "count", "inputs"}
    assert set(report) == stated | {"mean", "images"}
    assert [image["name"] for image in report["images"]] == ["000000", "000001"]
    for key in ("psnr", "ssim"):
        scores = [image[key] for image in report["images"]]
        assert report["mean"][key] == pytest.approx(sum(scores) / 2)
    assert 10 < report["mean"]["psnr"] < 40 and 0 < report["mean"]["ssim"] < 1
    table = cli("evaluate", tmp_path / "set/degraded", tmp_path / "set/clean").out.decode()
    assert "000001" in table and "mean" in table


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_plot_schedule(cli, tmp_path, suffix):
    done = cli("plot", "schedule", "--recipe", "tiny", "-o", tmp_path / f"s{suffix}")
    assert done.code == 0, done.err
    assert names_in(tmp_path) == {f"s{suffix}", "s.csv"}
    assert all(f"wrote {tmp_path / name}" in done.err for name in names_in(tmp_path))
