"""Spectra of a run: what is removed is where it should be, and the files say so."""

import csv
import math
from collections import defaultdict
from xml.etree import ElementTree

import matplotlib
import pytest
from matplotlib.text import Text

from residiff.errors import ConfigError
from residiff.plots import plot_spectra, spectra, style
from residiff.plots.moments import planes

ABLATIONS = ("residual-only", "noise-only")


@pytest.fixture(scope="module")
def found(tmp_path_factory, run):
    path = tmp_path_factory.mktemp("spectra") / "s.svg"
    return plot_spectra({name: [run(name), run(name)] for name in ABLATIONS}, path)


def test_a_smooth_residual_is_low_and_noise_is_everywhere(found):
    shares = {(row["order"], row["part"]): float(row["below 0.1"].rstrip("%")) / 100 for row in found.table}
    assert set(shares) == {(order, part) for order in ABLATIONS for part in spectra.PARTS}
    assert shares["residual-only", "removed"] > 0.9
    assert shares["noise-only", "removed"] == pytest.approx(math.pi * 0.01, abs=0.01)
    for order in ABLATIONS:
        assert shares[order, "residual estimate"] > 0.9
        assert shares[order, "noise estimate"] == pytest.approx(math.pi * 0.01, abs=0.01)


def test_the_table_adds_up_to_the_mean_squares(found, run):
    assert [path.suffix for path in found.files] == [".svg", ".csv"]
    powers = defaultdict(float)
    with found.files[1].open() as file:
        for row in csv.DictReader(file):
            powers[row["order"], row["part"], int(row["step"])] += float(row["power"])
            assert (row["density"] == "") <= (float(row["power"]) == 0)
    assert len(powers) == 2 * 3 * 4
    for order in ABLATIONS:
        states = list(run(order).states)
        for step, (before, after) in enumerate(zip(states, states[1:], strict=False), 1):
            x_t, _, residual, noise = planes(before, run().size)
            parts = (x_t - planes(after, run().size)[0], residual, noise)
            for name, part in zip(spectra.PARTS, parts, strict=True):
                assert powers[order, name, step] == pytest.approx(part.double().square().mean().item(), rel=1e-9)


def test_the_figure_is_whole_readable_and_the_same_each_time(tmp_path, run, found):
    again = plot_spectra({name: [run(name)] for name in ABLATIONS}, tmp_path / "t.svg")
    assert again.files[0].read_bytes() == found.files[0].read_bytes()  # the mean of two equal runs is one of them
    assert ElementTree.parse(found.files[0]).getroot().tag == "{http://www.w3.org/2000/svg}svg"
    with matplotlib.rc_context(style.STYLE):
        figure = spectra._figure({name: list(spectra.steps(run(name, 12))) for name in ABLATIONS})
        figure.draw_without_rendering()
        words = [text for text in figure.findobj(Text) if text.get_text().strip() and text.get_visible()]
        drawn = figure.get_tightbbox()
    assert min(text.get_fontsize() for text in words) >= 7
    assert min(drawn.x0, drawn.y0) >= 0
    assert drawn.x1 <= figure.get_figwidth() and drawn.y1 <= figure.get_figheight()
    assert [text.get_text() for text in figure.legends[0].get_texts()][1:] == [f"step {k}" for k in (1, 4, 7, 9, 12)]


def test_what_does_not_fit_is_refused(tmp_path, run):
    with pytest.raises(ConfigError, match=r"the runs have \[4, 5\] steps"):
        plot_spectra({"simultaneous": [run(), run(steps=5)]}, tmp_path / "s.png")
    with pytest.raises(ConfigError, match=r"the runs have \[\] steps"):
        plot_spectra({"simultaneous": []}, tmp_path / "s.png")
    with pytest.raises(ConfigError, match="no orders"):
        plot_spectra({}, tmp_path / "s.png")
    with pytest.raises(ConfigError, match=r"a plot is a \.png"):
        plot_spectra({"simultaneous": [run()]}, tmp_path / "s.gif")
    assert not list(tmp_path.iterdir())


def test_the_table_tells_the_first_step_from_the_last(tmp_path, run):
    row = plot_spectra({"residual-first": [run("residual-first")]}, tmp_path / "s.png").table[0]
    first, last = (float(row[name].rstrip("%")) / 100 for name in ("first step", "last step"))
    assert first > 0.9  # residual
    assert last == pytest.approx(math.pi * 0.01, abs=0.01)  # noise
