"""The page of a comparison: tables, plots and pictures; that it needs nothing else and takes hostile names as text."""

import base64
import hashlib
import json
import math
import os
import re
import tracemalloc
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest
import torch
from contest import SIZE, folder, scored
from page_reader import Page
from pictures import near, picture, save, save_16

from residiff.data import images
from residiff.data.images import Metadata, Picture
from residiff.data.parts import FilePart
from residiff.errors import ConfigError
from residiff.evaluate import evaluate
from residiff.reports import Ground, comparison_pieces, open_comparison, words, write_comparison
from residiff.reports.cases import cases, chosen
from residiff.reports.costs import costs_of

NAMES = "abcdefgh"
HOSTILE = "\"><script>alert(1)</script><img src=x onerror=alert(1)>{{ 7 * 7 }}'&"


@pytest.fixture
def drawn():
    """Asked for by those tests that need the plots themselves, which take longest."""


@pytest.fixture(autouse=True)
def _quick(request, monkeypatch):
    if "drawn" not in request.fixturenames:
        monkeypatch.setattr("residiff.reports.comparison_page.scores_svg", lambda *arguments, **options: b"<svg/>")
        monkeypatch.setattr("residiff.reports.costs.cost_svg", lambda *arguments: b"<svg/>")


@pytest.fixture
def results(tmp_path):
    """A truth, and two methods, the second of which is better on every picture."""
    levels = {"truth": 0, "first": 0.2, "second": 0.1}
    return SimpleNamespace(**{label: folder(tmp_path / label, NAMES, level) for label, level in levels.items()})


def compared(results, places=None, **options):
    ground = {name: options.pop(name) for name in ("protocol", "partial") if name in options}
    return open_comparison(
        places or [results.first, results.second], Ground(results.truth, **ground), **options
    ).compared()


def read(comparison, pictures=12):
    page = Page("".join(comparison_pieces(comparison, pictures)).encode("utf-8", "replace"))
    assert page.open == []
    return page


def shown(page):
    """The pictures of a page by their descriptions, decoded."""
    found = [one for one in page.all("img") if one["src"].startswith("data:image/webp;base64,")]
    return {one["alt"]: images.read(base64.b64decode(one["src"].partition(",")[2])).pixels for one in found}


def tables(page):
    """Rows of texts and of keys by the tables' names, read from the page's elements in their order."""
    return {found["id"]: found for found in page.all("table") if "id" in found}


# ---------------------------------------------------------------- words and tables


def test_what_stands_on_the_page(results):
    page = read(compared(results))
    text = page.text
    best = evaluate(results.second, results.truth).mean["psnr"]
    assert f"second has the highest mean PSNR, {best:.2f} dB, of 2 methods on 8 pictures." in text
    assert re.search(r"Against first that is \+\d\.\d\d dB, better on 8 of 8 pictures \(p = 0\.016\)", text)
    assert "protocol: rgb-8bit-full, version 1" in text and "PSNR and SSIM of full-size RGB" in text
    assert "the others are compared with it" in text and "adjusted for all 2 tests" in text
    assert "No costs are known of these results: folders that residiff evaluate --model M --data D -o OUT" in text
    assert "All 8 pictures." in text and "All pictures in numbers" in text
    for side in ("first", "second"):
        assert evaluate(getattr(results, side), results.truth).inputs["predicted"].sha256 in text
    assert "This page was made by residiff" in text and "torch" in text
    assert {"means", "differences", "all"} == tables(page).keys()


def test_quirks_of_the_protocol_are_told(results):
    text = read(compared(results, protocol="gopro-rgb"), 0).text
    assert "SSIM runs over colours as over space; sizes may differ; rgb-8bit-full is without that" in text
    assert "None are shown." in text


def cells_of(page, table):
    """The attributes of a table's cells, in their order."""
    begins = [place for place, (tag, found) in enumerate(page.found) if tag == "table" and found.get("id") == table]
    after = page.found[begins[0] + 1 :]
    end = next((place for place, (tag, _) in enumerate(after) if tag == "table"), len(after))
    return [found for tag, found in after[:end] if tag == "td"]


def test_cells_hold_what_they_are_sorted_by(results):
    comparison = compared(results)
    page = read(comparison, 0)
    means = [value for method in comparison.methods for value in method.result.mean.values()]
    found = cells_of(page, "means")
    assert [float(cell["data-value"]) for cell in found] == means
    assert [cell.get("class") for cell in found] == [None, None, "best", "best"]
    by_name = zip(*(method.result.values("psnr") for method in comparison.methods), strict=True)
    worst_first = sorted(by_name, key=min)
    assert [float(cell["data-value"]) for cell in cells_of(page, "all")] == [x for pair in worst_first for x in pair]
    heads = [found["data-first"] for found in page.all("th") if found["scope"] == "col" and "data-first" in found]
    assert heads[:3] == ["ascending", "descending", "descending"]


def test_infinite_scores_are_sorted_and_printed():
    page = read(scored({"base": [20.0] * 8, "other": [math.inf] + [21.0] * 7}), 0)
    assert [cell["data-value"] for cell in cells_of(page, "means")] == ["20.0", "Infinity"]
    assert "a score is infinite" in page.text
    assert [cell["data-value"] for cell in cells_of(page, "all")][:2] == ["20.0", "Infinity"]


def test_too_few_pictures_are_said_to_be_so():
    text = read(scored({"base": [20.0] * 5, "other": [30.0, 31, 32, 33, 34], "third": [29.0] * 5}), 0).text
    assert "These are too few pictures to tell methods apart: with 2 tests at once it takes 7." in text
    assert text.count("too few pictures") == 3 and " p = " not in text
    assert not re.search(r"\d (better|worse) ", text.partition("verdict")[2].partition("Quality")[0])


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        ({"a": [20.0] * 8, "b": [20.1, 19.8] * 4}, "a has the highest mean PSNR, 20.00 dB, of 2 methods on 8 pict"),
        ({"a": [20.0] * 8, "b": [20.0] * 8}, "a and b have the highest mean PSNR"),
        ({"a": [20.0] * 8, "b": [20.3, 19.9] * 4}, "better on 4 of 8 pictures (p = 0.281, which may be chance)."),
        ({"a": [20.0] * 8, "b": [20.1, 19.8] * 4}, "Not told apart from a: b."),
    ],
)
def test_the_outcome_in_words(scores, said):
    assert said in read(scored(scores), 0).text


def test_less_may_be_better():
    scores = {"a": [5.0 + k for k in range(8)], "b": [4.0 + k for k in range(8)]}
    page = read(scored(scores, "mae", "istd-shadow-full"), 0)
    assert "b has the lowest mean Lab MAE, 7.50, of 2 methods" in page.text and "Lab MAE ↓" in page.text
    assert [cell.get("class") for cell in cells_of(page, "means")] == [None, "best"]
    assert float(cells_of(page, "all")[0]["data-value"]) == 12.0


@pytest.mark.parametrize(
    ("name", "said"),
    [("psnr", "PSNR"), ("ms_ssim", "MS-SSIM"), ("ssim_nonshadow", "SSIM, non-shadow"), ("lpips_vgg", "LPIPS, VGG"),
     ("mae_shadow_pooled", "Lab MAE, shadow, pooled"), ("psnr_masked", "PSNR, in the mask"), ("other", "other")],
)  # fmt: skip
def test_measures_in_words(name, said):
    assert words.measure(name) == said


def test_what_was_left_out_is_told(results):
    (results.first / "a.png").unlink()
    text = read(compared(results, partial=True), 0).text
    assert "Not everything is compared. 1 of the pictures are not in all of the results and were left out: a." in text


def test_notes_of_methods_stand_beside_them(results, tmp_path):
    small = folder(tmp_path / "small", NAMES, 0.4, (3, 10, 13))
    page = read(compared(results, degraded=small), 1)
    assert "it is shown but not scored: " in page.text
    assert [cell["data-value"] for cell in cells_of(page, "means")][-2:] == ["–", "–"]
    assert "13 × 10, shown at the truth's size" in page.text


# ---------------------------------------------------------------- cost


FACTS = {
    "a": {"steps": 5, "seconds": 2.5, "GMAC": 600.0, "peak_MiB": 500, "parameters_M": 36.26, "device": "cpu"},
    "b": {"steps": 1, "seconds": 0.5, "GMAC": 120.0, "peak_MiB": 400, "parameters_M": 36.26, "device": "cpu"},
    "c": {"steps": "many", "seconds": True, "GMAC": math.nan, "peak_MiB": -1, "device": None},
}
SCORES = {"a": [25.0] * 8, "b": [24.0] * 8, "c": [23.0] * 8}


def test_costs_are_drawn_where_they_differ(drawn):
    comparison = scored(SCORES, facts=FACTS)
    found = costs_of(comparison)
    assert [head.name for head in found.heads[1:6]] == [
        "steps", "seconds a picture", "GMAC a picture", "peak memory in MiB", "parameters in millions",
    ]  # fmt: skip
    assert [panel.alt.partition(".")[0] for panel in found.panels] == [
        f"PSNR in dB against {cost}" for cost in ("steps", "seconds a picture", "GMAC a picture", "peak memory in MiB")
    ]
    assert "a: 25.00 at 5; b: 24.00 at 1." in found.panels[0].alt
    assert [cell.text for cell in found.rows[0].cells] == ["25.00", "5", "2.5", "600", "500", "36.26", "cpu"]
    assert [cell.text for cell in found.rows[2].cells] == ["23.00", *["–"] * 6]
    assert [cell.best for cell in found.rows[1].cells] == [False, True, True, True, True, False, False]
    for drawing in (found.panels[0].light, found.panels[0].dark):
        svg = ElementTree.fromstring(base64.b64decode(drawing.partition(",")[2]))
        assert svg.tag == "{http://www.w3.org/2000/svg}svg"
    assert found.notes == []


def test_costs_of_other_devices_are_not_compared():
    facts = FACTS | {"b": FACTS["b"] | {"device": "cuda"}}
    text = read(scored(SCORES, facts=facts), 0).text
    assert "These were taken with another device each (cpu and cuda): seconds and memory cannot be compared." in text
    assert "No costs are known" not in text and "no other method is as good for less" in text


def test_one_known_cost_is_a_table_and_no_plot():
    page = read(scored(SCORES, facts={"a": {"steps": 5}}), 0)
    assert "costs" in tables(page) and "Ringed" not in page.text and len(page.all("source")) == 1


# ---------------------------------------------------------------- pictures


def test_pictures_are_held_without_loss(results, tmp_path):
    noisy = folder(tmp_path / "noisy", NAMES, 0.4)
    page = read(compared(results, degraded=noisy))
    found = shown(page)
    assert len(found) == 8 * 4 and [one["data-kind"] for one in page.all("figure")[-4:]] == [
        "input", "method", "method", "truth",
    ]  # fmt: skip
    for name in NAMES:
        for label, place in (("input", noisy), ("first", results.first), ("truth", results.truth)):
            assert torch.equal(found[f"{name}: {label}"], images.read(place / f"{name}.png").pixels)


def test_large_pictures_are_made_smaller_and_it_is_said(results, monkeypatch):
    monkeypatch.setattr("residiff.reports.cases.MAX_SIDE", 16)
    page = read(compared(results), 1)
    assert {tuple(pixels.shape) for pixels in shown(page).values()} == {(3, 12, 16)}
    assert "27 × 20 pixels; on this page reduced to 16 × 12, but the scores are of the full picture." in page.text
    assert page.all("img")[-1]["width"] == "16"
    assert "data-reduced" in next(one for one in page.all("div") if one.get("class") == "viewer")


def test_results_of_another_size_are_shown_at_the_truths(results):
    for name in NAMES:
        save(results.first / f"{name}.png", near(3, 0.1, (3, 30, 40)))
    page = read(compared(results, protocol="gopro-rgb"), 1)
    assert {tuple(pixels.shape) for pixels in shown(page).values()} == {SIZE}
    assert "40 × 30, shown at the truth's size" in page.text


def test_what_the_files_tell_beside_pixels_is_left_behind(results):
    exif = Metadata(exif=b"II*\0\x08\0\0\0\0\0\0\0\0\0", xmp=b"<x>secret place</x>", resolution=(3.0, 3.0))
    for name in NAMES:
        pixels = near(1, 0.1, SIZE)
        images.write(results.first / f"{name}.png", Picture(pixels, torch.full((1, *SIZE[1:]), 0.5), metadata=exif))
    page = read(compared(results), 1)
    data = [base64.b64decode(one["src"].partition(",")[2]) for one in page.all("img")[1:]]
    assert len(data) == 3 and not any(b"secret" in each or b"EXIF" in each for each in data)
    assert all(images.read(each).alpha is None for each in data)


def test_grey_and_sixteen_bits(results):
    grey = (1, *SIZE[1:])
    for place in (results.first, results.second, results.truth):
        for seed, name in enumerate(NAMES):
            save_16(place / f"{name}.png", picture(seed, SIZE)) if name == "a" else save(
                place / f"{name}.png", picture(seed, grey)
            )
    page = read(compared(results))
    assert page.text.count("16 bits, shown in 8") == 3 and len(shown(page)) == 8 * 3


def test_the_worst_and_those_furthest_apart_are_shown():
    worst = [20.0 + k for k in range(10)]
    other = [score + 1 for score in worst[:8]] + [worst[8] - 5, worst[9] + 8]
    every = cases(scored({"base": worst, "other": other}))
    assert [case.name for case in every[:3]] == ["p000", "p001", "p002"]
    assert [case.name for case in chosen(every, 1)] == ["p000"]
    assert [case.name for case in chosen(every, 4)] == ["p000", "p001", "p008", "p009"]
    assert chosen(every, 0) == [] and chosen(every, 200) == every
    lower = cases(scored({"base": [5.0, 7.0], "other": [9.0, 6.0]}, "mae", "istd-shadow-full"))
    assert [case.name for case in lower] == ["p000", "p001"] and lower[0].apart == 4.0


def test_no_more_pictures_are_read_than_are_shown(results, monkeypatch):
    comparison = compared(results)
    opened = []
    own = FilePart.read
    monkeypatch.setattr(FilePart, "read", lambda part: opened.append(part.path) or own(part))
    page = read(comparison, 2)
    assert len(opened) == 6 and len(page.all("article")) == 2
    assert "2 of 8 pictures: those that a method does worst on, and those on which" in page.text


def test_one_picture_at_a_time_is_in_memory(tmp_path):
    names = "abcdefghijkl"
    results = SimpleNamespace(
        **{
            label: folder(tmp_path / label, names, level, (3, 96, 96))
            for label, level in (("truth", 0), ("first", 0.1))
        }
    )
    comparison = compared(results, [results.first, folder(tmp_path / "second", names, 0.2, (3, 96, 96))])
    read(comparison, 1)
    peaks = []
    for count in (2, 12):
        tracemalloc.start()
        size = write_comparison(comparison, tmp_path / "page.html", count)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert size == (tmp_path / "page.html").stat().st_size > 12 * 3 * 96 * 96
    assert peaks[1] < peaks[0] + 300_000


# ---------------------------------------------------------------- a page of its own


def test_it_needs_nothing_else_and_runs_its_own_script_alone(results):
    page = read(compared(results))
    assert not {"link", "iframe", "object", "form", "a", "base"} & {tag for tag, _ in page.found}
    sources = [value for _, found in page.found for name, value in found.items() if name in ("src", "srcset", "href")]
    assert len(sources) == 2 + 8 * 3 and all(source.startswith("data:image/") for source in sources)
    assert not any(re.search(r"https?:|//", value or "") for _, found in page.found for value in found.values()
                   if not (value or "").startswith("data:"))  # fmt: skip
    assert all(found["alt"] for found in page.all("img"))


def test_the_policy_names_the_script(results):
    text = "".join(comparison_pieces(compared(results), 1))
    script = re.search(r"<script>(.*?)</script>", text, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = next(found["content"] for found in Page(text.encode()).all("meta") if "http-equiv" in found)
    assert policy == f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    assert text.count("<script>") == 1 and "http" not in script
    about = json.loads(re.search(r'id="about">(.*?)</script>', text, re.DOTALL)[1])
    assert about["labels"] == ["first", "second"] and len(about["colours"]) == 6 * 256
    assert text.startswith("<!DOCTYPE html>")


def test_scores_are_drawn_for_light_and_dark(results, drawn):
    page = read(compared(results), 0)
    (dark,), light = page.all("source"), page.all("img")[0]
    assert dark["srcset"] != light["src"] and light["alt"] == (
        "PSNR in dB of every picture by every method, sorted by first. first is best on 0 pictures; second is best on "
        "8 pictures."
    )


def test_hostile_names_are_words(tmp_path):
    name = HOSTILE.replace("/", "_")
    places = [folder(tmp_path / side, [name, "b"], level) for side, level in (("t", 0), ("x", 0.2), ("y", 0.1))]
    labels = [HOSTILE, "</script>"]
    comparison = open_comparison(places[1:], Ground(places[0]), labels=labels).compared()
    page = read(comparison)
    assert len(page.all("script")) == 2 and not any(
        "onerror" in found or found.get("src") == "x" for _, found in page.found
    )
    assert {found["data-name"] for found in page.all("article")} == {name, "b"}
    assert page.text.count("{{ 7 * 7 }}") > 8 and page.text.count(HOSTILE) > 4
    about = json.loads(re.search(r'id="about">(.*?)</script>', "".join(comparison_pieces(comparison, 0)))[1])
    assert about["labels"] == labels


def test_names_that_are_no_text_are_written(tmp_path):
    name = os.fsdecode(b"caf\xe9")
    places = [folder(tmp_path / side, [name], level) for side, level in (("t", 0), ("x", 0.2), ("y", 0.1))]
    comparison = open_comparison(places[1:], Ground(places[0])).compared()
    write_comparison(comparison, tmp_path / "page.html")
    assert "caf?" in (tmp_path / "page.html").read_text("utf-8")


def test_places_that_a_page_cannot_be_written_to(tmp_path):
    comparison = scored({"a": [20.0] * 6, "b": [21.0] * 6})
    with pytest.raises(ConfigError, match="is a folder; name a file for the page"):
        write_comparison(comparison, tmp_path)
    with pytest.raises(ConfigError, match=r"ends in '\.pdf'; a comparison is a page"):
        write_comparison(comparison, tmp_path / "page.pdf")
    with pytest.raises(ConfigError, match="pictures is 201; allowed are 0 to 200"):
        write_comparison(comparison, tmp_path / "page.html", 201)
    assert list(tmp_path.iterdir()) == []
