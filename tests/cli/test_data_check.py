"""`residiff data check`: what it prints and writes, and its exit codes."""

import csv
import io
import json
from types import SimpleNamespace

import pytest

from residiff.cli import check


@pytest.fixture
def pairs(tmp_path, picture_file):
    """Five pairs of 40 x 40 pixels of noise: nothing to learn from, but nothing wrong with the files."""
    for number in range(5):
        for place, kind in enumerate(("clean", "degraded")):
            picture_file(f"set/{kind}/{number}.png", (40, 40, 3), seed=2 * number + place)
    return tmp_path / "set"


@pytest.fixture
def no_footprint(monkeypatch):
    """What a step of training takes is not reckoned, which takes long for a large network."""
    monkeypatch.setattr("residiff.train.memory.footprint", lambda recipe: SimpleNamespace(total=1))


def test_a_sound_set_ends_with_0_and_shows_the_sheet(cli, pairs):
    done = cli("data", "check", pairs)
    assert done.code == 0
    assert "0 errors, 0 warnings, 0 notes" in done.err and "looked at 5 in" in done.err
    assert b"train 5" in done.out and b"40 x 40 (5)" in done.out and b"residual" in done.out


def test_errors_end_with_3_and_are_told_on_stdout_and_in_a_file(cli, pairs, tmp_path):
    (pairs / "degraded" / "3.png").unlink()
    (pairs / "clean" / "1.png").write_bytes(b"")
    (pairs / "clean" / "notes.txt").write_text("hello")
    done = cli("data", "check", pairs, "-o", tmp_path / "report.csv")
    assert done.code == 3 and "2 errors, 0 warnings, 1 notes" in done.err
    assert b"missing partner" in done.out and b"empty file" in done.out and b"notes.txt" in done.out
    rows = list(csv.DictReader(io.StringIO((tmp_path / "report.csv").read_text())))
    assert [(row["severity"], row["kind"]) for row in rows] == [
        ("error", "missing partner"),
        ("error", "empty file"),
        ("note", "no picture"),
    ]
    assert rows[0]["files"] == str(pairs / "clean" / "3.png")


def test_paths_can_be_copied_however_narrow_the_terminal_is(cli, tmp_path, picture_file, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    name = "a long name with spaces [red] and more of it that does not fit " + "x" * 90
    for number in range(2):
        picture_file(f"set/clean/{name}{number}.png", (24, 24, 3), seed=number)
    done = cli("data", "check", tmp_path / "set", "--quick")
    lines = done.out.decode().splitlines()
    assert done.code == 3 and all(f"  {tmp_path}/set/clean/{name}{number}.png" in lines for number in range(2))


def test_one_of_several_kinds_of_pictures_is_chosen_by_name(cli, tmp_path, picture_file):
    for place, name in enumerate(("day", "night")):
        for number in range(2):
            picture_file(f"set/train/{name}/{place}{number}.png", (24, 24, 3), seed=2 * place + number)
    done = cli("data", "check", tmp_path / "set")
    assert done.code == 2 and "holds day and night; choose one with --domains" in done.err
    for chosen in ("night", "day,night", "day, night"):
        done = cli("data", "check", tmp_path / "set", "--domains", chosen, "--json")
        assert done.code == 0 and json.loads(done.out)["sheet"]["pairs"] == {"train": 2}
    done = cli("data", "check", tmp_path / "set", "--domains", "nigth")
    assert done.code == 2 and "did you mean 'night'" in done.err


def test_empty_folders_end_with_3(cli, tmp_path):
    for kind in ("clean", "degraded"):
        (tmp_path / "set" / kind).mkdir(parents=True)
    done = cli("data", "check", tmp_path / "set")
    assert done.code == 3 and "1 errors, 0 warnings" in done.err and b"no pictures" in done.out


def test_json_is_for_programs(cli, pairs):
    (pairs / "clean" / "4.png").unlink()
    done = cli("data", "check", pairs, "--json", "-q")
    told = json.loads(done.out)
    assert (done.code, done.err) == (3, "")
    assert told["counts"] == {"error": 1, "warning": 0, "note": 0}
    assert told["findings"][0]["kind"] == "no clean picture"
    assert told["sheet"]["pairs"] == {"train": 4} and told["memory"] == {}


def test_a_recipe_gives_crop_and_memory(cli, pairs):
    done = cli("data", "check", pairs, "--recipe", "tiny", "--json")
    told = json.loads(done.out)
    assert told["memory"]["training step"] > told["memory"]["batch"] > 0


def test_pictures_smaller_than_the_recipes_crop_are_errors(cli, pairs, no_footprint):
    large = cli("data", "check", pairs, "--recipe", "rain", "--json")
    kinds = {one["kind"] for one in json.loads(large.out)["findings"]}
    assert (large.code, kinds) == (3, {"smaller than the crop"})


def test_a_recipe_with_masks_needs_them_unless_told_otherwise(cli, pairs, no_footprint):
    shadow = ("data", "check", pairs, "--recipe", "shadow", "--json", "--quick")
    kinds = [one["kind"] for one in json.loads(cli(*shadow).out)["findings"]]
    assert kinds == ["missing partner"] * 5
    done = cli(*shadow, "--no-mask")
    assert done.code == 0 and json.loads(done.out)["findings"] == []


def test_many_findings_of_a_kind_are_cut_short_and_counted(cli, pairs, picture_file):
    for number in range(20):
        picture_file(f"set/clean/x{number}.png", (9, 9, 3), seed=100 + number)
    done = cli("data", "check", pairs, "--quick")
    assert done.code == 3 and f"missing partner: {20 - check.SHOWN} more" in done.err
    assert done.out.count(b"add its partner") == check.SHOWN


@pytest.mark.parametrize(
    ("arguments", "cause"),
    [
        (["nowhere"], "nowhere is not a folder"),
        (["."], "no set of a known layout"),
        (["set/clean", "--layout", "manifest"], "has no train.csv"),
        (["set", "--layout", "istd"], "no set of the layout istd"),
        (["set", "--domains", "dog"], "leave out --domains"),
        ([".", "--layout", "isdt"], "no layout 'isdt'"),
        ([".", "--recipe", "rian"], "rian"),
        (["set", "--workers", "-1"], "workers is -1"),
    ],
)
def test_usage_is_2(cli, pairs, monkeypatch, arguments, cause):
    monkeypatch.chdir(pairs.parent)
    (pairs.parent / "notes.txt").write_text("hello")
    done = cli("data", "check", *arguments)
    assert done.code == 2 and cause in done.err
