"""`residiff recipes check` and `schema`: every fault of every file, for people and for programs."""

import json

import pytest

from residiff import recipe
from residiff.recipe import json_schema

FAULTY = recipe.read("tiny").toml().replace("batch = 8", "batch = -8").replace('kind = "rddm"', 'kind = "rdm"', 1)


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """A folder with a good recipe, one of two faults, and a text that is no TOML."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.toml").write_text('include = "tiny"\nname = "good"\n')
    (tmp_path / "bad.toml").write_text(FAULTY)
    (tmp_path / "notes.toml").write_text("no recipe\n")
    return tmp_path


def line_of(start, after=""):
    """The line of FAULTY, from 1, that starts with these words, after one that is `after`."""
    lines = FAULTY.splitlines()
    first = lines.index(after) if after else 0
    return next(number for number, line in enumerate(lines, 1) if number > first and line.startswith(start))


def test_all_faults_of_all_files_are_told(cli, desk):
    done = cli("recipes", "check", "bad.toml", "good.toml", "notes.toml")
    assert (done.code, done.out) == (2, b"")
    lines = done.err.splitlines()
    assert lines[0].startswith(
        f"bad.toml:{line_of('kind', '[schedule]')}: schedule.kind: 'rdm' is not allowed; take 'rddm'"
    )
    assert (
        lines[1] == f"bad.toml:{line_of('batch')}: training.batch: Input should be greater than or equal to 1 (is -8)"
    )
    assert lines[2] == "good.toml: fine"
    assert lines[3].startswith("notes.toml:1: not TOML: ")
    assert lines[4:] == ["error: 2 of 3 recipes cannot be used"]


def test_faults_are_told_in_quiet_too(cli, desk):
    done = cli("-q", "recipes", "check", "good.toml", "bad.toml")
    assert done.code == 2 and "good.toml" not in done.err and "training.batch" in done.err


def test_faults_for_a_program(cli, desk):
    done = cli("recipes", "check", "good.toml", "bad.toml", "notes.toml", "--json")
    good, bad, notes = json.loads(done.out)
    assert done.code == 2 and good == {"name": "good.toml", "fine": True, "faults": []}
    assert [(fault["file"], fault["line"], fault["key"]) for fault in bad["faults"]] == [
        ("bad.toml", line_of("kind", "[schedule]"), "schedule.kind"),
        ("bad.toml", line_of("batch"), "training.batch"),
    ]
    assert bad["faults"][1]["message"] == "training.batch: Input should be greater than or equal to 1 (is -8)"
    assert notes["fine"] is False and notes["faults"][0]["line"] == 1 and notes["faults"][0]["file"] == "notes.toml"
    done = cli("recipes", "check", "good.toml", "tiny", "--json")
    assert (done.code, done.err) == (0, "") and [row["fine"] for row in json.loads(done.out)] == [True, True]


def test_a_fault_of_an_included_file_names_it(cli, desk):
    (desk / "bad.toml").write_text("[training]\nbatch = 0\n")
    (desk / "mine.toml").write_text('include = ["tiny", "bad.toml"]\nname = "mine"\n')
    done = cli("recipes", "check", "mine.toml", "--json")
    (row,) = json.loads(done.out)
    assert row["name"] == "mine.toml" and row["faults"][0]["file"] == "bad.toml" and row["faults"][0]["line"] == 2


def test_the_schema(cli):
    done = cli("recipes", "schema")
    assert (done.code, done.err) == (0, "") and json.loads(done.out) == json_schema()


def test_a_recipe_that_includes_another_is_shown_whole(cli, desk):
    done = cli("recipes", "show", "good.toml")
    (desk / "whole.toml").write_bytes(done.out)
    assert b"include" not in done.out and recipe.read("whole.toml") == recipe.read("good.toml")


def test_training_names_the_place_of_a_fault(cli, desk):
    done = cli("train", "bad.toml", "-o", "run")
    assert done.code == 2 and f"bad.toml:{line_of('batch')}: training.batch: " in done.err
    done = cli("train", "good.toml", "-o", "run", "--set", "training.batch=0")
    assert done.code == 2 and done.err.startswith("error: --set training.batch=0: training.batch: Input should be")
