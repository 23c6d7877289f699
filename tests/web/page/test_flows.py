"""The page in a real browser: one flow a tab, by people, by keyboard, on phones; and it asks nothing of other hosts."""

import io
import zipfile

import numpy as np
from PIL import Image

from residiff.data.images import Format
from residiff.restore import Options, load, restore_bytes


def restored(page):
    page.locator("#go").click()
    page.locator("#slider img").nth(1).wait_for()


def downloaded(page, selector):
    with page.expect_download() as waiting:
        page.locator(selector).click()
    return waiting.value


def pixels(data):
    return np.asarray(Image.open(io.BytesIO(data)))


def choose(page, model):
    page.locator("#model input").click()
    page.get_by_role("option", name=model).click()


def test_restore(opened, give, png, tiny_file):
    page, data = opened("?seed=3"), png()
    give(page, "my été photo.png", data)
    page.get_by_text("56 × 40 pixels").wait_for()
    restored(page)
    assert "Done in" in page.locator("#told").inner_text()
    got = downloaded(page, "#download")
    assert got.suggested_filename == "my été photo.png"
    same = restore_bytes(data, None, load(tiny_file, "cpu"), Options(seed=3), Format.PNG)
    assert np.abs(pixels(got.path().read_bytes()).astype(int) - pixels(same.data)).max() <= 1
    assert page.locator("#lens").is_visible() and page.locator("#lens .pane").count() == 2


def test_batch(opened, give, png):
    page, file = opened("?tab=batch"), io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in (("in/a.png", png(seed=1)), ("../b.png", png(seed=2)), ("notes.txt", b"hello")):
            archive.writestr(name, data)
    give(page, "many.zip", file.getvalue(), "#files")
    page.locator("#files").get_by_text("many").wait_for()
    page.locator("#batch-go").click()
    page.get_by_text("2 restored, 1 failed.", exact=True).wait_for()
    page.locator("#batch-slider img").nth(1).wait_for()
    assert page.locator("#batch-gallery img").count() == 2 and page.locator("#batch-slider img").count() == 2
    page.locator("#batch-gallery button").filter(has=page.locator("img")).nth(1).click()
    page.locator("#batch-slider").get_by_text("b.png: before (left)").wait_for()
    rows = page.locator("#batch-list tbody tr").all_inner_texts()
    assert len(rows) == 3 and rows[0].startswith("notes.txt\tfailed")
    got = zipfile.ZipFile(downloaded(page, "#batch-zip").path())
    assert sorted(got.namelist()) == ["b.png", "failures.jsonl", "in/a.png"]
    assert pixels(got.read("in/a.png")).shape == (40, 56, 3) and b"notes.txt" in got.read("failures.jsonl")


def test_batch_with_masks(opened, give, png, masked_file, tmp_path):
    page, data, mask = opened("?tab=batch&model=masked"), png(seed=1), io.BytesIO()
    Image.new("L", (56, 40), 255).save(mask, "PNG")
    white, path = mask.getvalue(), tmp_path / "a.webp"
    path.write_bytes(white)
    for name, held, where in (("a.png", data, "#files"), ("a.webp", white, "#batch-masks")):
        give(page, name, held, where)
        page.locator(where).get_by_text(name[1:]).wait_for()
    page.locator("#batch-go").click()
    page.get_by_text("1 restored, 0 failed.", exact=True).wait_for()
    got = zipfile.ZipFile(downloaded(page, "#batch-zip").path())
    same = restore_bytes(data, path, load(masked_file, "cpu"), Options(), Format.PNG)
    assert np.abs(pixels(got.read("a.png")).astype(int) - pixels(same.data)).max() <= 1


def test_compare(opened, give, png):
    page = opened("?tab=compare")
    give(page, "a.png", png())
    page.locator("#shown img").wait_for()
    page.get_by_label("slow").check()
    page.get_by_label("masked").check()
    page.locator("#compare-steps input, #compare-steps textarea").fill("1, 3")
    page.locator("#compare-go").click()
    page.get_by_text("4 restored, 2 failed.").wait_for()
    assert page.locator("#compare-gallery img").count() == 5
    page.locator("#compare-gallery button").filter(has=page.locator("img")).nth(4).click()
    page.locator("#compare-slider").get_by_text("slow, 3 steps (right)").wait_for()
    rows = page.locator("#compare-list tbody tr").all_inner_texts()
    assert [row.split("\t")[0] for row in rows] == [
        f"{name}, {steps}" for name in ("tiny", "masked", "slow") for steps in ("1 step", "3 steps")
    ]
    assert "mask" in rows[2]


def test_trajectory(opened, give, png):
    page = opened("?tab=trajectory&steps=3")
    give(page, "a.png", png())
    page.locator("#shown img").wait_for()
    page.locator("#walk-go").click()
    page.locator("#walk-x img").wait_for()
    first = page.locator("#walk-x img").get_attribute("src")
    slider = page.locator("#walk-place input[type=range]")
    assert slider.get_attribute("max") == "3"
    slider.focus()
    slider.press("ArrowLeft")
    page.locator("#walk-words").get_by_text("t = ").wait_for()
    page.wait_for_function("old => document.querySelector('#walk-x img').src !== old", arg=first)
    assert page.locator("#walk-planes img").count() == 4


def test_schedules(opened):
    page = opened()
    page.get_by_role("tab", name="Schedules").click()
    page.get_by_text("x₀ vanishes at t = 99 of 99").wait_for()
    drawn = page.locator("#schedule-curves img.on-light")
    assert drawn.is_visible() and drawn.evaluate("image => image.naturalWidth") > 100
    page.emulate_media(color_scheme="dark")
    page.locator("#schedule-curves img.on-dark").wait_for()
    assert not drawn.is_visible()
    page.emulate_media(color_scheme="light")
    drawn.wait_for()
    assert not page.locator("#schedule-curves img.on-dark").is_visible()
    page.get_by_label("Resfusion").check()
    page.get_by_text("all but 0: from there").wait_for()
    page.locator("#resfusion-length input[type=range]").wait_for()
    assert page.locator("#schedule-strip img").count() == 5
