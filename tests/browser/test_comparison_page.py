"""The page of a comparison in a real browser without a network: slider, zoom, error maps, sorting, phone, no script."""

import io
import shutil

import matplotlib
import numpy as np
import pytest
import torch
from pictures import near, picture, save
from PIL import Image

from residiff.reports import Ground, open_comparison, write_comparison

playwright = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install playwright")
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no browser: apt-get install chromium")

ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
SIZE = (3, 48, 64)
NAMES = ("a", "b", "white", "wide", "x<img src=y onerror=alert(1)>")
EVIL = "<script>alert(1)</script>"
NONE, MOST = (",".join(map(str, colour[:3])) for colour in matplotlib.colormaps["inferno"]([0, 255], bytes=True))


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Two methods; of `white` the first is black and the second right, of `a` the second is better, else the first."""
    root = tmp_path_factory.mktemp("comparison")
    for seed, name in enumerate(NAMES):
        size = (3, 16, 700) if name == "wide" else SIZE
        levels = (0.3, 0.1) if name == "a" else (0.1, 0.2)
        for side, level in zip((root / "first", root / "second"), levels, strict=True):
            save(side / f"{name}.png", near(seed, level, size))
        save(root / "truth" / f"{name}.png", picture(seed, size))
    for side, value in (("truth", 1.0), ("first", 0.0), ("second", 1.0)):
        save(root / side / "white.png", torch.full(SIZE, value))
    opened = open_comparison([root / "first", root / "second"], Ground(root / "truth"), labels=["first", EVIL])
    write_comparison(opened.compared(), root / "report.html")
    return root / "report.html"


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        launched = started.chromium.launch(executable_path=BROWSER, args=ARGUMENTS)
        yield launched
        launched.close()


@pytest.fixture
def opened(browser, report):
    """`opened(**options)`: the page in a context of its own, which must ask for nothing and complain of nothing."""
    contexts, said = [], []

    def open_page(**options):
        context = browser.new_context(**{"offline": True, "viewport": {"width": 1100, "height": 900}} | options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: (said.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda asked: said.append(asked.url) if asked.url[:5] not in ("data:", "file:") else None)
        page.goto(report.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert said == []


def case(page, name):
    return page.locator(f'.case[data-name="{name}"]')


def split_of(one):
    """Which part of the stage shows the black picture before the white one, as the screen has it."""
    stage = one.locator(".stage")
    pixels = np.asarray(Image.open(io.BytesIO(stage.screenshot())).convert("L"), float)
    row = pixels[int(0.9 * len(pixels))]
    return float((row < 128).mean())


def order(page):
    return page.eval_on_selector_all(".case", "all => all.map(one => one.dataset.name)")


def test_the_slider_moves_by_keyboard_and_pointer(opened):
    one = case(opened(), "white")
    slider = one.locator("input[type=range]")
    assert one.locator("select").first.input_value() == "0" and split_of(one) == pytest.approx(0.5, abs=0.03)
    slider.focus()
    for _ in range(20):
        slider.press("ArrowLeft")
    assert slider.input_value() == "40" and split_of(one) == pytest.approx(0.4, abs=0.03)
    slider.press("End")
    assert split_of(one) > 0.97
    box = one.locator(".stage").bounding_box()
    mouse = one.page.mouse
    mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 30)
    mouse.down()
    mouse.move(box["x"] + 0.25 * box["width"], box["y"] + 60, steps=3)
    mouse.up()
    mouse.move(box["x"] + 0.9 * box["width"], box["y"] + 60)
    assert split_of(one) == pytest.approx(0.25, abs=0.03) and float(slider.input_value()) == pytest.approx(25, abs=0.6)
    assert slider.get_attribute("aria-valuetext") == "25 %"


def test_both_sides_are_chosen(opened):
    one = case(opened(), "white")
    left, right = one.locator("select").nth(0), one.locator("select").nth(1)
    assert left.locator("option").all_inner_texts() == ["first", EVIL, "truth"]
    assert one.locator(".left b").inner_text() == "first" and one.locator(".right b").inner_text() == "truth"
    left.select_option("2")
    right.select_option("0")
    assert one.locator(".right b").inner_text() == "first" and split_of(one) == pytest.approx(0.5, abs=0.03)
    left.select_option("0")
    assert split_of(one) > 0.97


def test_it_is_enlarged_and_moved(opened):
    one = case(opened(), "b")
    image, stage = one.locator("img").first, one.locator(".stage")

    def matrix():
        text = image.evaluate("each => getComputedStyle(each).transform")
        return [float(number) for number in text.removeprefix("matrix(").rstrip(")").split(",")]

    def rendering():
        return image.evaluate("each => getComputedStyle(each).imageRendering")

    assert matrix() == [1, 0, 0, 1, 0, 0] and rendering() == "pixelated" and image.bounding_box()["width"] == 5 * 64
    one.get_by_role("button", name="4×").click()
    width = stage.bounding_box()["width"]
    assert matrix() == pytest.approx([4, 0, 0, 4, -1.5 * width, -1.5 * width * 48 / 64], abs=1)
    assert rendering() == "pixelated"
    assert one.locator("[aria-pressed=true]").inner_text() == "4×"
    stage.focus()
    stage.press("ArrowRight")
    assert matrix()[4] == pytest.approx(-1.6 * width, abs=1)
    box = stage.bounding_box()
    one.page.mouse.move(box["x"] + 50, box["y"] + 50)
    one.page.mouse.down()
    one.page.mouse.move(box["x"] + 50 + 40, box["y"] + 50 + 20, steps=2)
    one.page.mouse.up()
    assert matrix()[4:] == pytest.approx([-1.6 * width + 40, -1.5 * width * 48 / 64 + 20], abs=1.5)
    one.page.mouse.move(box["x"] + 50, box["y"] + 50)
    one.page.mouse.down()
    one.page.mouse.move(box["x"] + 50 + 5000, box["y"] + 50, steps=2)
    one.page.mouse.up()
    assert matrix()[4] == 0
    stage.press("-")
    stage.press("-")
    assert matrix() == [1, 0, 0, 1, 0, 0]


def test_what_is_shown_at_its_size_or_smaller_stays_smooth(opened):
    one = case(opened(viewport={"width": 600, "height": 900}), "wide")
    image = one.locator("img").first
    assert image.bounding_box()["width"] < 700
    assert image.evaluate("each => getComputedStyle(each).imageRendering") == "auto"
    one.get_by_role("button", name="8×").click()
    assert image.evaluate("each => getComputedStyle(each).imageRendering") == "pixelated"


def canvas_colours(one, place):
    """The colours that an error map has, and how many pixels."""
    return (
        one.locator("canvas")
        .nth(place)
        .evaluate(
            """each => {
          const {data} = each.getContext("2d").getImageData(0, 0, each.width, each.height);
          const found = new Set();
          for (let k = 0; k < data.length; k += 4) found.add(data.slice(k, k + 3).join());
          return [[...found].sort(), each.width * each.height];
        }"""
        )
    )


def test_error_maps_are_zero_where_pictures_are_equal(opened):
    page = opened()
    one = case(page, "white")
    toggle = one.get_by_label("Error map")
    assert one.locator("canvas").count() == 0 and not one.locator(".legend").is_visible()
    toggle.check()
    one.locator(".errors canvas").first.wait_for()
    assert canvas_colours(one, 1) == [[NONE], 48 * 64] and canvas_colours(one, 0) == [[MOST], 48 * 64]
    told = one.locator(".told").all_text_contents()
    assert told == [" error: mean 255.00, largest 255", " error: mean 0.00, largest 0"]
    assert one.locator(".legend").is_visible() and "grey levels from the truth" in one.locator(".legend").inner_text()
    assert one.locator(".bar").inner_text().split("\n") == ["0", "16", "32 or more"]
    assert one.locator(".left canvas").is_visible() and not one.locator(".left img").is_visible()
    assert one.locator(".right img").is_visible()
    toggle.uncheck()
    assert one.locator(".left img").is_visible() and not one.locator(".legend").is_visible()


def test_error_maps_are_exact_and_scaled(opened):
    one = case(opened(), "b")
    levels = [(image * 255).round() for image in (near(1, 0.1, SIZE), picture(1, SIZE))]
    # As a picture is written, half up
    levels[0] = (near(1, 0.1, SIZE) * 255 + 0.5).floor()
    error = (levels[0] - levels[1]).abs().amax(0)
    one.get_by_label("Error map").check()
    one.locator(".errors canvas").first.wait_for()
    assert one.locator(".told").first.text_content() == f" error: mean {error.mean():.2f}, largest {int(error.max())}"
    assert MOST in canvas_colours(one, 0)[0]
    one.locator(".legend select").select_option("255")
    assert MOST not in canvas_colours(one, 0)[0]
    assert one.locator(".bar").inner_text().split("\n") == ["0", "127.5", "255"]


def test_tables_are_sorted_by_their_heads(opened):
    page = opened()
    table = page.locator("#all")
    page.locator("summary").click()

    def column(place):
        return table.locator(f"tbody tr > :nth-child({place})").evaluate_all("all => all.map(one => one.dataset.value)")

    heads = table.locator("thead th")
    heads.nth(2).get_by_role("button").click()
    assert column(3) == sorted(column(3), key=float) and column(3)[-1] == "Infinity"
    assert heads.evaluate_all("all => all.map(one => one.ariaSort)") == ["none", "none", "ascending"]
    heads.nth(2).get_by_role("button").press("Enter")
    assert column(3) == sorted(column(3), key=float, reverse=True) and column(3)[0] == "Infinity"
    heads.nth(0).get_by_role("button").press("Space")
    assert column(1) == list(NAMES)
    assert heads.evaluate_all("all => all.map(one => one.ariaSort)") == ["ascending", "none", "none"]
    methods = page.locator("#means")
    methods.locator("thead button").nth(1).click()
    assert methods.locator("tbody th").first.inner_text().startswith("■")


def test_pictures_are_put_in_another_order(opened):
    page = opened()
    assert order(page)[0] == "white"
    choose = page.get_by_label("Order")
    assert choose.locator("option").all_inner_texts() == [
        "Worst by any method", "Worst by first", f"Worst by {EVIL}", "Methods furthest apart",
        f"{EVIL} furthest ahead of first", f"{EVIL} furthest behind first", "Name",
    ]  # fmt: skip
    choose.select_option(label="Name")
    assert order(page) == list(NAMES)
    choose.select_option(label="Methods furthest apart")
    assert order(page)[:2] == ["white", "a"]
    choose.select_option(label=f"{EVIL} furthest behind first")
    assert order(page)[-2:] == ["a", "white"]
    choose.select_option(label=f"Worst by {EVIL}")
    assert order(page)[-2:] == ["a", "white"]


def test_they_stand_side_by_side(opened):
    page = opened()
    one = case(page, "b")
    assert [each.is_visible() for each in one.locator("img").all()] == [True, False, True]
    page.get_by_label("Side by side").check()
    assert all(each.is_visible() for each in one.locator("img").all())
    assert not one.locator("input[type=range]").is_visible() and not one.locator("select").first.is_visible()
    tops = {round(each.bounding_box()["y"]) for each in one.locator("img").all()}
    assert len(tops) == 1
    page.get_by_label("Slider").check()
    assert one.locator("input[type=range]").is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_all_of_it(opened, scheme):
    page = opened(viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == {"light": "rgb(252, 252, 251)", "dark": "rgb(20, 23, 28)"}[scheme]
    one = case(page, "b")
    one.get_by_label("Error map").check()
    one.locator(".errors canvas").first.wait_for()
    page.get_by_label("Side by side").check()
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert one.locator("canvas").first.bounding_box()["width"] <= 390


def test_without_script_all_is_there_to_read(opened):
    page = opened(java_script_enabled=False)
    assert page.locator("button, select, input").count() == 0
    assert "first" in page.locator("#means").inner_text()
    images = case(page, "white").locator("img").all()
    assert len(images) == 3 and all(each.is_visible() and each.bounding_box()["width"] > 100 for each in images)
    assert case(page, "white").locator("figcaption").all_inner_texts() == ["first", EVIL, "truth"]
