"""`residiff compare`: what it prints and writes, and that mistakes end with one message that says how to mend them."""

import json

import pytest
from pictures import near, picture, save

from residiff.evaluate import evaluate

NAMES = "abcdefg"


@pytest.fixture
def sides(tmp_path, monkeypatch):
    """A truth and two results in the working folder."""
    monkeypatch.chdir(tmp_path)
    for side, level in (("truth", 0), ("first", 0.2), ("second", 0.1)):
        for seed, name in enumerate(NAMES):
            save(tmp_path / side / f"{name}.png", near(seed, level) if level else picture(seed))
    return tmp_path


def test_a_page_and_its_size(cli, sides):
    done = cli("compare", "first", "second", "--gt", "truth", "-o", "deep/report.html", "--pictures", 2)
    page = sides / "deep" / "report.html"
    assert done.code == 0 and f"wrote deep/report.html, {page.stat().st_size / 1e6:.1f} MB" in done.err
    text = done.out.decode()
    assert "rgb-8bit-full, version 1" in text and "against first" in text and "better" in text
    assert f"{evaluate(sides / 'second', sides / 'truth').mean['psnr']:.2f} (" in text
    assert page.read_text("utf-8").count("<article") == 2


def test_figures_for_a_program(cli, sides):
    done = cli(
        "compare", "first", "second", "--gt", "truth", "--json", "--label", "A", "--label", "B", "--baseline", "B"
    )
    told = json.loads(done.out)
    assert done.code == 0 and done.err == "" and sorted(path.name for path in sides.iterdir()) == [
        "first", "second", "truth",
    ]  # fmt: skip
    assert [each["label"] for each in told["methods"]] == ["A", "B"] and told["baseline"] == "B"
    assert told["methods"][1]["mean"] == evaluate(sides / "second", sides / "truth").mean
    assert told["differences"][0]["losses"] == 7 and len(told["images"]) == 7


def test_notes_are_said(cli, sides):
    cli("evaluate", "first", "truth", "-o", "first")
    save(sides / "first" / "a.png", near(0, 0.3))
    done = cli("compare", "first", "second", "--gt", "truth", "--json")
    assert done.code == 0 and "first: its result.json is of other predicted pictures" in done.err


MISTAKES = {
    "one result": ("first --gt truth -o r.html", "side by side, and here are 1; give two folders or more"),
    "no result": ("--gt truth -o r.html", "Missing argument 'A B...'"),
    "no truth": ("first second -o r.html", "Missing option '--gt'"),
    "one label twice": (
        "first second --gt truth -o r.html --label x --label x",
        "called 'x'; give each its own --label",
    ),
    "a label too few": ("first second --gt truth -o r.html --label x", "1 labels for 2 results"),
    "names that differ": ("first fewer --gt truth -o r.html", "fewer lacks g; --partial"),
    "another size": ("first larger --gt truth -o r.html", "larger/a.png is 31 x 25 pixels in colour, "),
    "a folder for the page": ("first second --gt truth -o truth", "truth is a folder; name a file for the page"),
    "another kind of page": ("first second --gt truth -o r.pdf", "so let it end in .html"),
    "no output": ("first second --gt truth", "name the page with -o report.html, or ask for the figures with --json"),
    "a measure": ("first second --gt truth -o r.html --measure lpips", "no measure 'lpips'; it has psnr"),
    "a protocol": ("first second --gt truth -o r.html --protocol rainy", "did you mean 'rain-y'"),
    "pictures": ("first second --gt truth -o r.html --pictures 1000", "pictures is 1000; allowed are 0 to 200"),
    "a file": ("first second/a.png --gt truth -o r.html", "a.png is a file; give folders of results"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes(cli, sides, name):
    for place, size in (("fewer", (3, 24, 31)), ("larger", (3, 25, 31))):
        for seed, each in enumerate(NAMES[:6] if place == "fewer" else NAMES):
            save(sides / place / f"{each}.png", near(seed, 0.1, size))
    arguments, said = MISTAKES[name]
    done = cli("compare", *arguments.split())
    assert done.code == 2 and said in done.err and "Traceback" not in done.err and "bug" not in done.err
    assert not (sides / "r.html").exists() and not list(sides.glob(".residiff-*"))
