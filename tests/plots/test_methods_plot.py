"""Plots of methods: what is efficient, that no two look alike, and what is drawn where."""

import base64
import io
import re
from xml.etree import ElementTree

import pytest
from PIL import Image

from residiff.plots import Point, cost_svg, efficient, look, scores_svg
from residiff.plots.methods import MANY
from residiff.plots.style import DARK, LIGHT

SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize(
    ("costs", "qualities", "higher", "wanted"),
    [
        ([1, 2, 3], [20, 30, 25], True, [True, True, False]),
        ([1, 2, 3], [20, 30, 25], False, [True, False, False]),
        ([1, 1, 2], [20, 21, 21], True, [False, True, False]),
        ([1, 1], [20, 20], True, [True, True]),
        ([1], [20], True, [True]),
        ([], [], True, []),
    ],
)
def test_what_is_efficient(costs, qualities, higher, wanted):
    assert efficient(costs, qualities, higher=higher) == wanted


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_no_two_methods_look_alike(theme):
    looks = [look(place, theme) for place in range(36)]
    assert len(set(looks)) == 36 and len({(each.colour, each.letter) for each in looks}) == 36
    assert len({each.colour for each in looks[:6]}) == len({each.mark for each in looks[:6]}) == 6


def drawn(svg):
    """How often each colour fills a mark, and the whole as a tree."""
    tree = ElementTree.fromstring(svg)
    styles = " ".join(use.get("style", "") for use in tree.iter(f"{SVG}use"))
    return tree, re.findall(r"fill: (#[0-9a-f]{6})", styles)


POINTS = [Point(0, 5.0, 26.0), Point(1, 1.0, 25.0, True), Point(2, 50.0, 27.0, True)]


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_every_method_is_a_mark_and_the_efficient_are_ringed(theme):
    svg = cost_svg(POINTS, "steps", "PSNR in dB", theme)
    _, fills = drawn(svg)
    marks = [colour.lower() for colour in theme.colours[:3]]
    assert [fill for fill in fills if fill in marks] == marks
    assert svg.decode().count(f"fill-opacity: 0; stroke: {theme.ink}") == 2
    assert svg == cost_svg(POINTS, "steps", "PSNR in dB", theme)


def test_a_cost_that_spreads_has_a_logarithmic_axis():
    texts = [
        re.findall(r"<!-- (.*?) -->", cost_svg(points, "steps", "PSNR", LIGHT).decode())
        for points in (POINTS, POINTS[:2])
    ]
    assert {"1", "2", "5", "10", "20", "50"} <= set(texts[0]) and {"1", "2", "3", "4", "5"} <= set(texts[1])
    assert "0" not in texts[0] and "steps" in texts[0]


def test_scores_are_sorted_by_the_baseline_and_infinite_ones_left_out():
    scores = [[30.0, 10.0, 20.0], [31.0, 12.0, float("inf")]]
    svg = scores_svg(scores, "PSNR in dB", LIGHT)
    _, fills = drawn(svg)
    counts = [fills.count(colour.lower()) for colour in LIGHT.colours[:2]]
    assert counts == [6, 4]
    in_order = scores_svg([[10.0, 20.0, 30.0], [12.0, float("inf"), 31.0]], "PSNR in dB", LIGHT)
    assert svg == in_order
    assert scores_svg(scores, "MAE", LIGHT, higher=False) == scores_svg(
        [[30.0, 20.0, 10.0], [31.0, float("inf"), 12.0]], "MAE", LIGHT, higher=False
    )
    assert svg != scores_svg(scores, "PSNR in dB", LIGHT, baseline=1)


def test_very_many_pictures_are_drawn_as_pixels():
    sizes = []
    for count in (MANY + 1, 20 * MANY):
        svg = scores_svg([[float(k) for k in range(count)], [float(-k) for k in range(count)]], "PSNR", LIGHT)
        tree, fills = drawn(svg)
        (first, *_) = tree.iter(f"{SVG}image")
        data = first.get("{http://www.w3.org/1999/xlink}href").partition(",")[2]
        assert Image.open(io.BytesIO(base64.b64decode(data))).width > 100 and len(fills) == 0
        sizes.append(len(svg))
    assert sizes[1] < 2 * sizes[0]
