"""The report of a run: that it holds all it shows, says what is missing, and takes hostile names as text."""

import base64
import hashlib
import json
import re
import shlex
from importlib import resources
from xml.etree import ElementTree

import pytest
from page_reader import Page

from residiff.checkpoint import load_model
from residiff.data import images
from residiff.errors import ConfigError
from residiff.reports import training_report, words, write_training
from residiff.reports.run_folder import MAX_STRIPS


@pytest.fixture
def drawn():
    """Asked for by those tests that need the curves themselves, which take longest."""


@pytest.fixture(autouse=True)
def _quick(request, monkeypatch):
    if "drawn" not in request.fixturenames:
        monkeypatch.setattr("residiff.reports.training.panel_svg", lambda *arguments: b"<svg/>")


@pytest.fixture
def page():
    def made(folder, **options):
        read = Page(training_report(folder, **options))
        assert read.open == []
        return read

    return made


def test_a_whole_run(page, run_folder):
    events = [(10, "resumed", ""), (20, "skipped", "loss nan at step 21"), (40, "best", "PSNR 25")]
    shown = page(run_folder("mine", events=events, settings=["name=night-noise"]))
    text = shown.text
    assert "It made 40 of 40 steps in 4.0 s. Held-out pairs are restored best at step 40: 25.00 dB, 4.50 dB" in text
    assert "above the degraded pictures themselves" in text
    assert "night-noise" in text and "task: denoise" in text and "run: mine" in text
    assert "+4.50 dB" in text and "in 2 parts" in text and "of 5 validations" in text
    assert "times resumed: 1; updates skipped, their loss or gradient not being finite: 1." in text
    assert "loss nan at step 21" in text and "2027-01-15 08:00:00 UTC" in text
    assert "trained on procedural pictures (noise)" in text and "Chosen on a test split" not in text
    assert "pictures per second 80" in text and "1 GiB" in text and "torch" in text


def test_it_needs_nothing_else_and_runs_nothing(page, run_folder):
    shown = page(run_folder())
    assert not {"script", "link", "iframe", "object", "form", "a"} & {tag for tag, _ in shown.found}
    sources = [value for _, found in shown.found for name, value in found.items() if name in ("src", "srcset", "href")]
    assert len(sources) == 2 * 5 + MAX_STRIPS
    assert all(source.startswith("data:image/") for source in sources)
    policy = next(found["content"] for found in shown.all("meta") if "http-equiv" in found)
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    assert all(found["alt"] for found in shown.all("img"))
    assert shown.all("html") == [{"lang": "en"}]


def test_curves_are_drawn_for_light_and_dark(page, run_folder, drawn):
    shown = page(run_folder())
    dark = [found["srcset"] for found in shown.all("source")]
    light = [found["src"] for found in shown.all("img") if "svg" in found["src"][:30]]
    assert len(dark) == len(light) == 5 and not set(dark) & set(light)
    for source in (*dark, *light):
        drawing = base64.b64decode(source.partition(",")[2])
        assert ElementTree.fromstring(drawing).tag == "{http://www.w3.org/2000/svg}svg"
    alts = [found["alt"] for found in shown.all("img")]
    assert "Curve of the learning rate from 0.001 at step 1 to 0.001 at step 40." in alts
    assert "Curve of the PSNR in dB from 24.2 at step 8 to 25 at step 40." in alts


def test_strips_are_the_files_with_their_columns(page, run_folder):
    folder = run_folder(every=2, settings=["sampling.steps=4"])
    shown = page(folder)
    found = [one for one in shown.all("img") if one["src"].startswith("data:image/png")]
    steps = [int(re.search(r"step (\d+)", one["alt"])[1]) for one in found]
    assert len(steps) == MAX_STRIPS and (steps[0], steps[-1]) == (2, 40) and steps == sorted(steps)
    for step, one in zip(steps, found, strict=True):
        data = (folder / "validation" / f"step-{step:08d}.png").read_bytes()
        assert base64.b64decode(one["src"].partition(",")[2]) == data
        assert one["alt"].endswith("columns: input, start, 1 of 4, 2 of 4, 3 of 4, result, truth.")
        assert (int(one["height"]), int(one["width"])) == images.read(data).pixels.shape[1:]


def test_large_strips_are_made_smaller(page, run_folder, monkeypatch):
    monkeypatch.setattr("residiff.reports.run_folder.MAX_PNG_BYTES", 10)
    kinds = {found["src"][:16] for found in page(run_folder()).all("img")}
    assert kinds == {"data:image/svg+x", "data:image/webp;"}


def test_the_commands_and_the_hashes_are_right(page, run_folder, tmp_path):
    folder = run_folder("with a space")
    text = page(folder).text
    train = f"residiff train '{folder}/recipe.toml' -o '{folder}' --resume --override --set training.iterations=80"
    assert "Continue the run after" not in text and "makes it 80 steps" in text
    assert train in text and shlex.split(train)[2] == f"{folder}/recipe.toml"
    assert f"residiff restore IN -o OUT -m '{folder}/model.safetensors'" in text
    assert hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest() in text
    assert load_model(folder).sha256 in text
    assert f"--resume --data {tmp_path / 'pairs'}" in page(folder, data=tmp_path / "pairs").text


@pytest.mark.parametrize(
    ("settings", "card", "line"),
    [
        (["task=generate"], {}, "residiff generate -n 16 -o OUT -m "),
        (["task=translate"], {}, "residiff translate IN -o OUT -m "),
        (["network.mask=true"], {}, "residiff restore IN --mask MASKS -o OUT -m "),
        ([], {"data": "folder pairs, 20 pairs"}, "--resume --data DIR"),
    ],
)
def test_the_command_is_the_tasks(page, run_folder, settings, card, line):
    assert line in page(run_folder(settings=settings, card=card)).text


@pytest.mark.parametrize("told", [{"on": "test", "of": "set lol, test", "pairs": 15}, "test split of lol"])
def test_a_choice_on_the_test_split_is_no_secret(page, run_folder, told):
    shown = page(run_folder(settings=["validation.on=test"], card={"validation": told}))
    assert "Chosen on a test split. The best weights of this run were chosen by pictures" in shown.text
    assert "best chosen on the test split" in shown.text
    shown = page(run_folder("of-the-card", card={"validation": told}))
    assert "Chosen on a test split." in shown.text


def test_what_was_held_out(page, run_folder):
    card = {"validation": {"on": "carved", "of": "folder pairs, 16 of 400", "pairs": 16, "psnr": 25.0}}
    assert "16 pairs of folder pairs, 16 of 400; none was trained on" in page(run_folder(card=card)).text


def test_figures_of_the_test_split_are_not_called_held_out(page, run_folder):
    card = {"validation": {"on": "test", "of": "LOL v1, test, 1 pairs", "pairs": 1}}
    shown = page(run_folder(card=card, settings=["validation.on=test"]))
    assert "Test pairs are restored best" in shown.text and "Test pictures on their way" in shown.text
    assert "1 pair of LOL v1, test, 1 pair; none" in shown.text
    assert "eld-out" not in shown.text.partition("Recipe")[0]
    assert not any("eld-out" in found["alt"] for found in shown.all("img"))


def test_equal_files_are_said_to_be_so(page, run_folder):
    folder = run_folder()
    (folder / "best.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    text = page(folder).text
    assert "best.safetensors content the same file as model.safetensors" in text
    assert text.count(load_model(folder).sha256) == 1 and "Use best.safetensors" not in text


def test_a_result_below_the_input_is_said_so(page, run_folder):
    folder = run_folder()
    rows = "".join(f"{k},0.3,{16 + k / 1000},0.4,20.5,0.5\n" for k in (8, 40))
    (folder / "validation.csv").write_text("step,loss,psnr,ssim,input_psnr,input_ssim\n" + rows)
    text = page(folder).text
    assert "4.46 dB below the degraded pictures themselves" in text and "below the input 4.46 dB" in text
    assert "gain over the input" not in text


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ("procedural, noise", "procedural pictures (noise)"),
        ("procedural, noise, other pictures", "other procedural pictures (noise)"),
        ("folder set, 1 pairs", "folder set, 1 pair"),
        ("folder set, 21 pairs, 1 held out", "folder set, 21 pairs"),
        (
            "folder set, 485 pairs (ab12), without 16 held out",
            "folder set, 485 pairs (ab12), of which 16 were held out",
        ),
        ("LOL v1; procedural, rain", "LOL v1; procedural pictures (rain)"),
        ("SID RGB, train, 2,093 pairs, 16 of 104 held out", "SID RGB, train, 2,093 pairs"),
        ("folder set, 9 pairs, without 2 copies of what is held out",) * 2,
    ],
)
def test_sources_in_words(told, said):
    assert words.source(told) == said


def test_what_came_before_the_pairs_became_others_is_left_out(page, run_folder):
    folder = run_folder(every=8, card={"validation": {"on": "carved", "of": "a set", "pairs": 2, "step": 40}})
    head, *rows = (folder / "validation.csv").read_text().splitlines()
    told = [f"{row},{'bbbbbbbb' if number > 2 else '1e999999'}" for number, row in enumerate(rows)]
    told.insert(3, "24,0.1,60.0,1.0,20.5,0.5,1e999999")
    (folder / "validation.csv").write_text("\n".join([f"{head},by", *told]) + "\n")
    shown = page(folder)
    assert "pairs are restored best at step 40: 25.00 dB" in shown.text and "60.00" not in shown.text
    assert "All of 2 validations" in shown.text
    steps = [int(found[1]) for one in shown.all("img") if (found := re.search(r"training step (\d+)", one["alt"]))]
    assert steps == [32, 40]


def test_results_without_truth(page, run_folder):
    shown = page(run_folder(truth=False, settings=["task=generate"]))
    assert "no true picture to be compared with; the held-out loss is least, 0.2, at step 40." in shown.text
    assert "gain over the input" not in shown.text
    assert len(shown.all("source")) == 3
    assert "columns: input, start, on the way, on the way, on the way, result." in shown.all("img")[-1]["alt"]


def test_a_run_just_begun(page, run_folder, tmp_path):
    whole = run_folder()
    folder = tmp_path / "begun"
    folder.mkdir()
    (folder / "recipe.toml").write_bytes((whole / "recipe.toml").read_bytes())
    text = page(folder).text
    for said in ("The run has just begun", "no curves yet", "No validation has been made yet", "No pictures have been"):
        assert said in text
    assert "No model file has been written yet" in text and "not known: no model file" in text
    (folder / "metrics.csv").write_text("step,loss,learning_rate,seconds\n1,0.5,0.001,0.1\n2,0.4")
    text = page(folder).text
    assert "It made 1 of 40 steps in 0.1 s. It is not finished" in text and "no validation has been made" in text


def test_an_old_run_without_a_recipe_file(page, run_folder):
    folder = run_folder(shown=False)
    for name in ("recipe.toml", "metrics.jsonl", "events.jsonl", "validation.csv"):
        (folder / name).unlink()
    shown = page(folder)
    assert 'name = "tiny"' in shown.text and "This folder holds no recipe.toml" in shown.text
    assert len(shown.all("source")) == 2


def test_what_is_damaged_is_named(page, run_folder):
    folder = run_folder()
    (folder / "best.safetensors").write_bytes(b"nothing")
    (folder / "recipe.toml").write_text("name = 3")
    (folder / "validation" / "step-00000008.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    text = page(folder).text
    assert "best.safetensors cannot be used." in text and "cut short" in text
    assert "The recipe cannot be read." in text
    assert "step-00000008.png: " in text


HOSTILE = '<script>alert(1)</script>"><img src=x onerror=alert(1)>{{ 7 * 7 }}'


def test_hostile_words_are_words(page, run_folder):
    events = [(3, "fault", HOSTILE), (4, HOSTILE, "text")]
    card = {"data": HOSTILE, "machine": {HOSTILE: HOSTILE}, "validation": HOSTILE}
    summary = json.dumps(HOSTILE)
    name = HOSTILE.replace("/", "_")
    shown = page(run_folder(name, events=events, card=card, settings=[f"summary={summary}"]))
    assert shown.all("script") == [] and not any(
        "onerror" in found or found.get("src") == "x" for _, found in shown.found
    )
    assert shown.text.count("{{ 7 * 7 }}") >= 6 and "49" not in re.sub(r"[0-9a-f]{64}", "", shown.text)
    assert shown.text.count(HOSTILE) >= 5


def test_the_machine_that_trained_is_told_where_it_is_known(page, run_folder):
    assert "This report was made on residiff" in page(run_folder()).text
    text = page(run_folder("other", card={"machine": {"device": "cuda", "threads": 3}})).text
    assert "Trained on device cuda threads 3" in text


def test_many_validations_and_events_are_cut(page, run_folder):
    events = [(k, "rate", f"fall {k}") for k in range(1, 201)]
    shown = page(run_folder(steps=200, every=2, events=events, shown=False))
    assert "24 of 100 validations" in shown.text
    assert "the first and last 100 of 200" in shown.text
    assert "fall 50 " in shown.text and "fall 51 " not in shown.text and "fall 151 " in shown.text


def test_no_run_is_refused(tmp_path):
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(ConfigError, match="is no training run"):
            training_report(folder)


def test_written_by_its_suffix(run_folder, tmp_path):
    folder = run_folder()
    page, curves = tmp_path / "out" / "report.HTML", tmp_path / "out" / "curves.svg"
    assert write_training([folder], page) == [page]
    assert page.read_bytes() == training_report(folder)
    assert write_training([folder, folder], curves) == [curves, curves.with_suffix(".csv")]
    with pytest.raises(ConfigError, match="which is of one run; here are 2"):
        write_training([folder, folder], page)


def test_the_template_is_in_the_package():
    assert (resources.files("residiff.reports") / "templates" / "training.html").is_file()


def test_words():
    assert [words.duration(s) for s in (0, 59.94, 61, 3599, 3600, 90_061)] == [
        "0.0 s", "59.9 s", "1 min 01 s", "1 h 00 min", "1 h 00 min", "25 h 01 min",
    ]  # fmt: skip
    assert words.moment(0.0) == "1970-01-01 00:00:00 UTC"
    assert words.moment(None) == words.moment(1e300) == words.moment(float("nan")) == ""
    assert (words.plural(1, "step"), words.plural(2000, "step")) == ("1 step", "2,000 steps")
    assert words.signed(-0.5) == "\N{MINUS SIGN}0.50"
    assert words.in_words({"a": [1, 2000], "b": {"c": True}}) == "a: 1, 2,000; b: c: True"
