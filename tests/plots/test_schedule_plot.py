"""Plots of schedules: what the files hold, that they are the same each time, and that every schedule has one."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import get_args
from xml.etree import ElementTree

import matplotlib
import pytest
import torch
from matplotlib.text import Text
from PIL import Image

from residiff.errors import ConfigError
from residiff.plots import schedule as plots
from residiff.plots import style
from residiff.schedule import DDPM, RDDM, AnySchedule, Resfusion, Schedule

SCALED = DDPM(betas="scaled-linear", beta_start=0.00085, beta_end=0.012)
SCHEDULES = [
    pytest.param(RDDM(), 3, id="rddm"),
    pytest.param(RDDM(length=1, total_noise=0), 3, id="one-level-without-noise"),
    pytest.param(Resfusion(length=12), 4, id="resfusion"),
]


def table(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(("schedule", "panels"), SCHEDULES)
def test_writes_a_picture_and_its_numbers(tmp_path, schedule: Schedule, panels):
    files = plots.plot_schedule(schedule, tmp_path / "new" / "schedule.png")
    assert files == [tmp_path / "new" / "schedule.png", tmp_path / "new" / "schedule.csv"]
    with Image.open(files[0]) as image:
        assert image.width == 1050
        assert image.height / image.width == pytest.approx((1.55 * panels + 0.3) / 3.5, abs=0.01)
        assert len(image.convert("RGB").getcolors(1 << 20)) > 50
    assert len(table(files[1])) == len(schedule)
    assert sorted(path.name for path in files[0].parent.iterdir()) == ["schedule.csv", "schedule.png"]


def test_numbers_are_the_schedule(tmp_path):
    schedule = Resfusion(length=12)
    rows = table(plots.plot_schedule(schedule, tmp_path / "s.svg")[1])
    assert [int(row["t"]) for row in rows] == list(range(5))
    names = ["signal", "residual", "noise", "memory", "resnoise"]
    found = torch.tensor([[float(row[name]) for name in names] for row in rows], dtype=torch.float64)
    assert torch.equal(found, schedule.table)
    grown = torch.tensor([[float(row[f"{name}_increment"]) for name in names] for row in rows], dtype=torch.float64)
    clean = torch.tensor([1.0, 0.0, 0.0, 1.0, 0.0], dtype=torch.float64)
    assert torch.allclose(clean + grown.cumsum(0), found, atol=1e-12)
    ratio = [float(row["lambda"]) for row in rows]
    assert ratio == pytest.approx([(row[0] - row[1]) / row[2] for row in found.tolist()])


def test_lambda_is_empty_without_noise(tmp_path):
    rows = table(plots.plot_schedule(RDDM(length=3, total_noise=0), tmp_path / "s.svg")[1])
    assert {row["lambda"] for row in rows} == {""}


def test_svg_is_whole_and_the_same_each_time(tmp_path):
    before = dict(matplotlib.rcParams)
    first, second = (plots.plot_schedule(RDDM(length=20), tmp_path / f"{k}.svg")[0].read_bytes() for k in range(2))
    assert ElementTree.fromstring(first).tag == "{http://www.w3.org/2000/svg}svg"
    assert first == second
    assert dict(matplotlib.rcParams) == before


def test_text_is_readable_in_one_column():
    with matplotlib.rc_context(style.STYLE):
        figure = plots._schedule_figure(Resfusion(length=12))
        figure.draw_without_rendering()
        words = [text for text in figure.findobj(Text) if text.get_text().strip() and text.get_visible()]
        drawn = figure.get_tightbbox()  # inches
    assert len(words) > 30
    assert min(text.get_fontsize() for text in words) >= 7
    assert figure.get_size_inches()[0] == 3.5
    assert min(drawn.x0, drawn.y0) >= 0  # nothing is cut off
    assert drawn.x1 <= 3.5
    assert drawn.y1 <= figure.get_size_inches()[1]


def test_vanishing_time():
    assert plots.vanishing_time(RDDM()) == 999
    assert plots.vanishing_time(Resfusion(length=12)) == 4
    assert plots.vanishing_time(Resfusion(length=1000)) == len(Resfusion(length=1000)) - 1
    assert plots.vanishing_time(DDPM()) == 999
    assert plots.vanishing_time(SCALED) is None


@pytest.mark.parametrize(
    ("schedule", "words"),
    [(RDDM(length=9), "$x_0$ vanishes: $a = r$ at $t = 8$"), (SCALED, r"$x_0$ never vanishes: $a - r \geq 0.068$")],
)
def test_says_where_x0_vanishes(schedule, words):
    figure = plots._schedule_figure(schedule)
    assert [text.get_text() for text in figure.axes[1].get_legend().get_texts()] == [words]


def test_resfusion_map_marks_its_own_lengths():
    axis = plots._schedule_figure(Resfusion(steps=5)).axes[3]
    everything, own = axis.lines
    reached = dict(zip(everything.get_xdata(), everything.get_ydata(), strict=True))
    assert {12: 5, 40: 15}.items() <= reached.items()
    assert 1 not in reached  # one step never gets as far as sqrt(A) = 1/2
    assert list(own.get_xdata()) == [12, 13]


def test_other_suffixes_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"'\.pdf'; a plot is a \.png or a \.svg"):
        plots.plot_schedule(RDDM(length=3), tmp_path / "s.pdf")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", get_args(AnySchedule), ids=lambda kind: kind.__name__)
def test_every_schedule_has_its_plot(kind):
    schedule = kind(length=12) if kind is Resfusion else kind()
    with matplotlib.rc_context(style.STYLE):
        axes = plots._schedule_figure(schedule).axes
    assert len(axes) == 3 + (kind is Resfusion)  # coefficients, growth, ratios, and the map from T to T'
    drawn = torch.tensor([list(line.get_ydata()) for line in axes[0].lines[:4]], dtype=torch.float64)
    assert torch.equal(drawn, schedule.table[:, :4].T)
    growth = torch.tensor([list(line.get_ydata()) for line in axes[1].lines[:4]], dtype=torch.float64)
    assert torch.allclose(growth[:, 1:].cumsum(1) + drawn[:, :1], drawn[:, 1:], atol=1e-9)
    words = axes[1].get_legend().get_texts()[0].get_text()
    assert "vanishes" in words and "never" not in words  # each of them ends where x_0 has gone
    assert [row[:4] for row in plots._schedule_rows(schedule)] == [
        [t, *row[:3]] for t, row in enumerate(schedule.table.tolist())
    ]
