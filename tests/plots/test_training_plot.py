"""Plots of training runs: what is drawn, that long runs keep their extremes, and that a folder may lack anything."""

import csv
import json
import math
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from matplotlib.text import Text
from PIL import Image

from residiff.errors import ConfigError
from residiff.plots import style
from residiff.plots import training as plots
from residiff.plots.history import Series, read_history

HEAD = "step,loss,learning_rate,seconds\n"
SCORES = "step,loss,psnr,ssim,input_psnr,input_ssim\n"
NAN = float("nan")


def write_run(folder, losses=(0.5, 0.4, 0.3, 0.2), scores=(), events=(), norms=(), seconds=None):
    folder.mkdir(parents=True, exist_ok=True)
    times = seconds or [k / 2 for k in range(1, len(losses) + 1)]
    rows = [f"{k},{loss!r},{1e-3 / k!r},{time}" for k, (loss, time) in enumerate(zip(losses, times, strict=True), 1)]
    (folder / "metrics.csv").write_text(HEAD + "".join(row + "\n" for row in rows))
    if scores:
        (folder / "validation.csv").write_text(SCORES + "".join(row + "\n" for row in scores))
    known = [{"step": step, "event": kind, "text": "", "time": 0.0} for step, kind in events]
    for name, found in (
        ("events", known),
        ("metrics", [{"step": k, "gradient_norm": n} for k, n in enumerate(norms, 1)]),
    ):
        if found:
            (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in found))
    return folder


def figure(*folders):
    with matplotlib.rc_context(style.STYLE):
        return plots._figure([read_history(folder) for folder in folders])


def lines(axis):
    return {line.get_label(): line for line in axis.lines}


def words(axis):
    return [text.get_text() for text in axis.get_legend().get_texts()]


def table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


WHOLE = {
    "losses": [0.5 / k for k in range(1, 11)],
    "scores": ["4,0.3,24.5,0.8,20.0,0.5", "8,0.2,26.0,0.9,20.0,0.5", "10,0.25,25.0,0.85,20.0,0.5"],
    "events": [(3, "resumed"), (5, "skipped"), (6, "fault"), (7, "resumed"), (99, "resumed")],
    "norms": [2.0 / k for k in range(1, 11)],
}


def test_every_quantity_has_its_panel(tmp_path):
    axes = figure(write_run(tmp_path / "run", **WHOLE)).axes
    labels = ["loss", "learning rate", "gradient norm", "PSNR in dB", "SSIM"]
    assert [axis.get_ylabel() for axis in axes] == labels
    assert [axis.get_yscale() for axis in axes] == ["log", "linear", "log", "linear", "linear"]
    assert list(lines(axes[0])["validation"].get_xdata()) == [4, 8, 10]
    assert list(lines(axes[3])["restored"].get_ydata()) == [24.5, 26.0, 25.0]
    assert words(axes[3]) == ["restored", "input 20", "best 26 at 8"]
    assert words(axes[4]) == ["restored", "input 0.5", "best 0.9 at 8"]
    raw = lines(axes[0])["each step"]
    assert raw.get_alpha() == 0.3 and list(raw.get_ydata()) == [0.5 / k for k in range(1, 11) for _ in range(2)]
    bold = lines(axes[0])["smoothed"].get_ydata()
    assert len(bold) == 10 and bold[0] == 0.5 and (np.diff(bold) < 0).all() and (bold[1:] > raw.get_ydata()[2::2]).all()


def test_what_happened_is_marked_within_the_axis(tmp_path):
    axes = figure(write_run(tmp_path / "run", **WHOLE)).axes
    assert words(axes[1]) == ["resumed", "skipped or failed"]
    for axis in axes:
        marks = [list(line.get_xdata()) for line in axis.lines if line.get_marker() in "^x" and line.get_marker()]
        assert marks == [[3, 7], [5, 6]]
        assert axis.get_xlim()[0] < 0 and 10 < axis.get_xlim()[1] < 11


def test_smoothing_is_a_mean_of_what_came_before():
    values = np.random.default_rng(0).normal(size=400)
    rate = 2 / (400 / 40 + 1)
    weights = (1 - rate) ** np.arange(400)
    expected = [np.average(values[: k + 1][::-1], weights=weights[: k + 1]) for k in range(400)]
    assert plots.smoothed(values) == pytest.approx(np.array(expected))
    assert plots.smoothed(np.full(7, 3.0)) == pytest.approx(np.full(7, 3.0))


@pytest.mark.parametrize("count", [1, 10, plots.MAX_POINTS, plots.MAX_POINTS + 1, 12_345])
def test_stretches_keep_every_extreme(count):
    values = np.random.default_rng(count).normal(size=count)
    steps = np.arange(1.0, count + 1)
    thin = plots.thinned(Series(steps, values), smooth=False)
    assert len(thin.steps) == min(count, plots.MAX_POINTS) and thin.steps[-1] == count
    edges = np.concatenate([[0], thin.steps]).astype(int)
    for k, (first, end) in enumerate(zip(edges, edges[1:], strict=False)):
        assert (thin.low[k], thin.high[k]) == (values[first:end].min(), values[first:end].max())
        assert thin.values[k] == values[end - 1]


@pytest.mark.slow
def test_a_million_updates(tmp_path):
    losses = [1 / (1 + k / 1000) for k in range(1_000_000)]
    losses[123_456] = 50.0
    folder = write_run(tmp_path / "run", losses)
    files = plots.plot_training([folder], tmp_path / "c.svg")
    assert files[0].stat().st_size < 500_000 and len(table(files[1])) == 2 * plots.MAX_POINTS
    assert max(float(row["high"]) for row in table(files[1])) == 50


def test_numbers_are_beside_the_picture(tmp_path):
    folder = write_run(tmp_path / "run", **WHOLE)
    assert plots.plot_training([folder], tmp_path / "new" / "c.png") == [tmp_path / "new/c.png", tmp_path / "new/c.csv"]
    rows = table(tmp_path / "new" / "c.csv")
    assert {row["run"] for row in rows} == {"run"}
    found = {
        name: [row for row in rows if row["quantity"] == name] for name in dict.fromkeys(r["quantity"] for r in rows)
    }
    assert [float(row["high"]) for row in found["loss"]] == WHOLE["losses"]
    assert [(row["step"], float(row["value"])) for row in found["validation_psnr"]] == [
        ("4", 24.5), ("8", 26.0), ("10", 25.0),
    ]  # fmt: skip
    assert list(found) == [
        "loss", "learning_rate", "gradient_norm", "validation_loss", "validation_psnr", "validation_ssim",
        "validation_input_psnr", "validation_input_ssim",
    ]  # fmt: skip
    with Image.open(tmp_path / "new" / "c.png") as image:
        assert image.width == 1050
    assert plots.plot_training([folder], tmp_path / "alone.csv") == [tmp_path / "alone.csv"]
    assert table(tmp_path / "alone.csv") == rows


@pytest.mark.parametrize("kind", ["svg", "pdf"])
def test_files_are_the_same_each_time(tmp_path, kind):
    folder = write_run(tmp_path / "run", **WHOLE)
    before = dict(matplotlib.rcParams)
    first, second = (plots.plot_training([folder], tmp_path / f"{k}.{kind}")[0].read_bytes() for k in range(2))
    assert first == second and dict(matplotlib.rcParams) == before
    assert first.startswith(b"%PDF") if kind == "pdf" else ElementTree.fromstring(first).tag.endswith("svg")


def test_text_is_readable_in_one_column(tmp_path):
    runs = [write_run(tmp_path / ("a run with a very long name of its own, at " + "x" * k), **WHOLE) for k in (9, 80)]
    with matplotlib.rc_context(style.STYLE):
        drawn = plots._figure([read_history(folder) for folder in runs])
        drawn.draw_without_rendering()
        texts = [text for text in drawn.findobj(Text) if text.get_text().strip() and text.get_visible()]
        box = drawn.get_tightbbox()  # inches
    assert len(texts) > 30 and min(text.get_fontsize() for text in texts) >= 7
    assert min(box.x0, box.y0) >= 0 and box.x1 <= 3.5 and box.y1 <= drawn.get_size_inches()[1]


def test_several_runs_differ_in_colour_and_then_in_dashes(tmp_path):
    runs = [write_run(tmp_path / f"run-{k}", **WHOLE) for k in range(8)]
    drawn = figure(*runs)
    bold = [line for line in drawn.axes[0].lines if line.get_label() == "smoothed"]
    assert len({(line.get_color(), line.get_linestyle()) for line in bold}) == 8
    assert [text.get_text() for text in drawn.legends[0].get_texts()] == [f"run-{k}" for k in range(8)]
    assert words(drawn.axes[3]) == ["restored", "input", "best"]
    assert {line.get_color() for line in drawn.axes[3].get_legend().get_lines()} == {plots.LIGHT.ink}


@pytest.mark.parametrize(("length", "columns"), [(1, 5), (8, 3), (20, 1), (48, 1)])
def test_names_stand_side_by_side_where_they_fit(tmp_path, length, columns):
    runs = [write_run(tmp_path / f"{k}{'n' * (length - 1)}", **WHOLE) for k in range(5)]
    with matplotlib.rc_context(style.STYLE):
        drawn = plots._figure([read_history(folder) for folder in runs])
        drawn.draw_without_rendering()
        box = drawn.legends[0].get_window_extent()
    assert drawn.legends[0]._ncols == columns and box.x1 <= 3.5 * drawn.dpi and box.x0 >= 0


@pytest.mark.parametrize("name", ["$x$", "_hidden", "a\u200bb", "\u6a21\u578b", "x" * 200])
def test_any_name_can_be_drawn_and_is_kept_in_the_table(tmp_path, name):
    runs = [write_run(tmp_path / name), write_run(tmp_path / "other")]
    files = plots.plot_training(runs, tmp_path / "c.png")
    assert {row["run"] for row in table(files[1])} == {name, "other"}


def test_runs_of_one_name_go_by_their_paths(tmp_path):
    runs = [write_run(tmp_path / where / "run") for where in "ab"]
    found = {row["run"] for row in table(plots.plot_training(runs, tmp_path / "c.csv")[0])}
    assert found == {str(run) for run in runs}


@pytest.mark.parametrize("scores", [[], ["4,0.3,24.5,0.8,20.0,0.5"], ["4,0.3,,,,"], ["4,0.3,24.5,,20.0,"]])
@pytest.mark.parametrize("losses", [[], [0.3], [NAN, math.inf, -1.0, 0.0], [0.2, NAN, 0.1]])
def test_what_is_missing_is_left_out(tmp_path, losses, scores):
    folder = write_run(tmp_path / "run", losses, scores)
    plots.plot_training([folder, folder], tmp_path / "two.png")
    files = plots.plot_training([folder], tmp_path / "c.svg")
    drawn = [float(row["value"]) for row in table(files[1]) if row["quantity"] == "loss"]
    assert len(drawn) == sum(loss > 0 and math.isfinite(loss) for loss in losses)


def test_a_run_just_begun_says_so(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "recipe.toml").write_text("")
    assert [text.get_text() for text in figure(folder).axes[0].texts] == ["no update has been made yet"]
    assert table(plots.plot_training([folder], tmp_path / "c.svg")[1]) == []


def test_mistakes_are_refused(tmp_path):
    folder = write_run(tmp_path / "run")
    for folders, name, said in (
        ([folder], "c.jpg", "'.jpg'"),
        ([], "c.png", "no run"),
        ([folder, tmp_path], "c.png", "is no training run"),
        ([folder, tmp_path / "none"], "c.png", "is no training run"),
    ):
        with pytest.raises(ConfigError, match=said):
            plots.plot_training(folders, tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


# ---------------------------------------------------------------- what a folder tells


def test_time_is_added_up_over_the_parts_of_a_run(tmp_path):
    folder = write_run(tmp_path / "run", [0.1] * 6, seconds=[1.0, 2.0, 3.5, 1.0, 1.5, 0.25])
    assert read_history(folder).seconds == pytest.approx(3.5 + 1.5 + 0.25)


def test_a_line_that_is_not_whole_yet_is_left_out(tmp_path):
    folder = write_run(tmp_path / "run", **WHOLE)
    for name, rest in (("metrics.csv", "11,0.0"), ("metrics.jsonl", '{"step": 11, "gra'), ("events.jsonl", '{"st')):
        with (folder / name).open("a") as file:
            file.write(rest)
    history = read_history(folder)
    assert (history.last, len(history.figures["gradient_norm"].steps), len(history.events)) == (10, 10, 5)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("metrics.csv", HEAD + "1,0.5\n"),
        ("metrics.csv", HEAD + "1,x,0,0\n"),
        ("metrics.csv", "loss\n0.5\n"),
        ("validation.csv", "\xff\n"),
        ("metrics.jsonl", "{x}\n"),
        ("events.jsonl", '{"step": 1}\n'),
    ],
)
def test_a_damaged_table_is_named(tmp_path, name, text):
    folder = write_run(tmp_path / "run", **WHOLE)
    (folder / name).write_text(text, encoding="latin-1")
    with pytest.raises(ConfigError, match="tables in .*run cannot be read"):
        read_history(folder)


@pytest.mark.parametrize(
    ("scores", "best"),
    [
        (WHOLE["scores"], 8),
        (["1,0.3,,,,", "2,0.1,,,,", "3,0.1,,,,"], 2),
        (["1,0.3,24.0,,,", "2,0.1,24.0,,,"], 1),
        ([], None),
    ],
)
def test_the_best_is_that_of_the_engine(tmp_path, scores, best):
    assert read_history(write_run(tmp_path / "run", scores=scores)).best == best


def test_the_command(cli, tmp_path):
    folder = write_run(tmp_path / "run", **WHOLE)
    done = cli("plot", "training", folder, folder, "-o", tmp_path / "c.pdf")
    assert (done.code, done.out) == (0, b"")
    assert done.err.splitlines() == [f"wrote {tmp_path / 'c.pdf'}", f"wrote {tmp_path / 'c.csv'}"]
    done = cli("plot", "training", folder, "-o", tmp_path / "r.html")
    assert (done.code, done.err) == (0, f"wrote {tmp_path / 'r.html'}\n")
    assert (tmp_path / "r.html").read_text().startswith("<!DOCTYPE html>")
    assert cli("plot", "training", tmp_path, "-o", tmp_path / "c.png").code == 2
