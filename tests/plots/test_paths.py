"""Orders side by side: where each path goes, and how far apart their ends are."""

import csv
import math
from xml.etree import ElementTree

import matplotlib
import pytest
from matplotlib.text import Text

from residiff.errors import ConfigError
from residiff.plots import paths, plot_paths, style
from residiff.plots.moments import record
from residiff.sample import ORDERS

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def every(run):
    return {name: run(name) for name in ORDERS}


def test_the_table_says_how_far_apart_the_ends_are(tmp_path, every, run, truth):
    path = plot_paths(every, tmp_path / "p.png", truth)[1]
    with path.open() as file:
        rows = list(csv.DictReader(file))
    ends = {row["order"]: float(row["end_from_first"]) for row in rows if row["end_from_first"]}
    assert list(ends) == list(ORDERS)
    assert sum(row["end_from_first"] != "" for row in rows) == len(ORDERS)  # in the line of the end alone
    for name in ("simultaneous", "residual-first", "noise-first", "published-residual-first"):
        assert ends[name] < 1e-5  # an estimator that is right ends in x_0 by every path
    assert ends["residual-only"] == pytest.approx(0.5, rel=0.03)  # all the noise, 0.5 eps, is left
    assert ends["noise-only"] == pytest.approx(record(run("noise-only")).numbers[0].residual_rms, rel=1e-4)
    for name in ORDERS:
        wanted = record(run(name), truth).numbers
        assert [float(row["residual"]) for row in rows if row["order"] == name] == [row.residual for row in wanted]


def test_the_figure_names_every_order_and_holds_the_plane(tmp_path, every, truth):
    root = ElementTree.parse(plot_paths(every, tmp_path / "p.svg", truth)[0]).getroot()
    words = [text.text for text in root.findall(f"{SVG}text")]
    assert set(ORDERS) <= set(words)
    assert words.count("end differs from simultaneous") == len(ORDERS) - 1
    assert sum(word.startswith("end: ") and word.endswith(" dB") for word in words) == len(ORDERS)
    planes = [image for image in root.findall(f"{SVG}image") if image.get("href").startswith("data:image/svg+xml")]
    assert len(planes) == 1
    others = [image for image in root.findall(f"{SVG}image") if image is not planes[0]]
    assert int(planes[0].get("x")) >= max(int(image.get("x")) + int(image.get("width")) for image in others)
    assert len(others) == len(ORDERS) * 6  # five pictures, and a bar in the path's colour


def test_the_same_runs_give_the_same_bytes(tmp_path, run):
    files = (plot_paths({"simultaneous": run()}, tmp_path / f"{k}.svg")[0] for k in range(2))
    first, second = (path.read_bytes() for path in files)
    assert first == second


def lines(run, *names):
    """The lines of the plane by label, in its coordinates."""
    with matplotlib.rc_context(style.STYLE):
        figure = paths._plane({name: record(run(name)).numbers for name in names})
    return {line.get_label(): line.get_xydata().tolist() for line in figure.axes[0].lines}


def test_paths_go_where_their_orders_say(run):
    drawn = lines(run, *ORDERS)
    start, corner, other, end = [0.5, 1], [0.5, 0], [0, 1], [0, 0]
    assert drawn["residual-first"][0] == pytest.approx(start)
    assert drawn["residual-first"][4] == pytest.approx(corner)
    assert drawn["noise-first"][4] == pytest.approx(other)
    assert drawn["residual-only"][-1] == pytest.approx(corner)
    assert drawn["noise-only"][-1] == pytest.approx(other)
    for name in ("simultaneous", "residual-first", "noise-first"):
        assert drawn[name][-1] == end


def test_tips_point_along_the_path():
    tips = list(paths._tips([(2.0, 1.0), (2.0, 0.0), (0.0, 0.0), (0.0, 0.0)], (2.0, 1.0)))
    assert [middle for middle, _ in tips] == [(2.0, 0.5), (1.0, 0.0)]
    assert [angle % 360 for _, angle in tips] == pytest.approx([180, 90])  # down; left
    assert next(paths._tips([(2.0, 1.0), (0.0, 0.0)], (2.0, 1.0)))[1] % 360 == pytest.approx(135)
    assert len(list(paths._tips([(1.0 - k / 50, 0.0) for k in range(51)], (1.0, 1.0)))) <= paths._TIPS


@pytest.mark.parametrize(("steps", "shown"), [(1, "x...x"), (2, "x.x.x"), (3, "xx.xx"), (4, "xxxxx"), (9, "xxxxx")])
def test_moments_stand_in_the_column_of_their_time(run, steps, shown):
    moments = record(run(steps=steps)).moments
    spread = paths._spread(moments)
    assert "".join("." if moment is None else "x" for moment in spread) == shown
    assert spread[0] is moments[0] and spread[-1] is moments[-1]


def test_the_plane_is_whole_and_readable(run):
    with matplotlib.rc_context(style.STYLE):
        figure = paths._plane({name: record(run(name)).numbers for name in ORDERS})
        figure.draw_without_rendering()
        words = [text for text in figure.findobj(Text) if text.get_text().strip() and text.get_visible()]
        drawn = figure.get_tightbbox()
    assert min(text.get_fontsize() for text in words) >= 7
    assert min(drawn.x0, drawn.y0) >= 0
    assert drawn.x1 <= figure.get_figwidth() and drawn.y1 <= figure.get_figheight()
    assert math.isfinite(drawn.width)


def test_too_few_and_too_many_orders_are_refused(tmp_path, run):
    with pytest.raises(ConfigError, match="0 orders to draw; allowed are 1 to 7"):
        plot_paths({}, tmp_path / "p.png")
    with pytest.raises(ConfigError, match="8 orders to draw"):
        plot_paths({str(k): run() for k in range(8)}, tmp_path / "p.png")
    with pytest.raises(ConfigError, match=r"a plot is a \.png"):
        plot_paths({"simultaneous": run()}, tmp_path / "p.gif")
