"""What the page makes of names, messages and pictures: text stays text, and browsers can show what they are given."""

import base64
import io
import os
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
from fastapi import FastAPI
from PIL import Image

from residiff.data.images import Format
from residiff.errors import ConfigError, ImageDecodeError, ImageTooLargeError, ResourceError
from residiff.web import Product, Settings
from residiff.web.page import mount
from residiff.web.page.choices import Choices
from residiff.web.page.desk import Bounds, Desk, Given, file_bytes, foreign_files, painted_mask
from residiff.web.page.door import is_allowed
from residiff.web.page.shelf import Shelf
from residiff.web.page.stage import Stage, told_at_end
from residiff.web.page.values import number, switch, whole, word
from residiff.web.page.variants import MOST, parse_steps, variants
from residiff.web.page.views import said, shown_as, stage_html, table

HOSTILE = ("<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "' onload='x", "&lt;b&gt;", "</td><td>")


class Reader(HTMLParser):
    """Which elements there are, and the text."""

    def __init__(self):
        super().__init__()
        self.tags, self.text = [], ""

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        self.text += data


def read(html):
    reader = Reader()
    reader.feed(html)
    return reader


@pytest.mark.parametrize("text", HOSTILE)
def test_text_stays_text(text):
    for html, tags in (
        (said(text), ["p"]),
        (said(text, is_error=True), ["p"]),
        (stage_html(Stage("x", error=text)), ["p"]),
        (stage_html(Stage(text, 0.5)), ["p", "progress"]),
    ):
        assert read(html).tags == tags and text in read(html).text
    whole_table = read(table(text, [text], [[text]]))
    assert whole_table.tags == ["div", "table", "caption", "thead", "tr", "th", "tbody", "tr", "td"]
    assert whole_table.text == 3 * text


def test_what_goes_on_is_spoken_and_errors_at_once():
    assert 'role="status"' in stage_html(Stage("Step 1 of 2.", 0.5)) and 'value="0.500"' in stage_html(Stage("", 0.5))
    assert 'role="alert"' in stage_html(Stage("x", error="why")) and "progress" not in stage_html(
        Stage("x", error="why")
    )
    assert said("") == "" and table("x", ["y"], []) == ""


def test_the_end_is_told_with_hints_and_warnings():
    product = Product(b"", Format.PNG, "a.png", 1.234, 0.1, "hardly differs", ("the profile is damaged",))
    told = told_at_end(product)
    assert "1.2 s" in told and "Hint: hardly differs." in told and told.endswith("the profile is damaged.")
    assert told_at_end(Product(b"", Format.PNG, "a.png", 1, 20.0)).endswith("on average.")


@pytest.mark.parametrize("compressed", [None, "tiff_lzw"])
def test_tiff_is_shown_as_png_and_all_else_as_it_is(compressed):
    file, pixels = io.BytesIO(), np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    Image.fromarray(pixels).save(file, "TIFF", compression=compressed)
    name, data = shown_as("a.b.tif", file.getvalue(), 20)
    assert name == "a.b.png" and (np.asarray(Image.open(io.BytesIO(data))) == pixels).all()
    with pytest.raises(ImageTooLargeError):
        shown_as("a.tif", file.getvalue(), 19)
    with pytest.raises(ImageDecodeError):
        shown_as("a.tif", file.getvalue()[:40], 20)
    assert shown_as("a.png", b"<html>", 1) == ("a.png", b"<html>")


@pytest.fixture
def shelf():
    made = Shelf()
    yield made
    made.close()


def test_files_lie_in_one_folder_that_goes(shelf, monkeypatch):
    paths = [shelf.put("a b.png", b"1"), shelf.put("a b.png", b"2"), shelf.put("../../../evil.png", b"3")]
    assert len(set(paths)) == 3 and all(path.startswith(f"{shelf.folder}/") for path in paths)
    assert [path.rsplit("/", 1)[1] for path in paths] == ["a b.png", "a b.png", "evil.png"]
    assert shelf.folder.stat().st_mode & 0o077 == 0
    shelf.sweep(60.0)
    assert all(shelf.folder.rglob("*.png"))
    shelf.sweep(-1.0)
    assert list(shelf.folder.iterdir()) == []
    shelf.close()
    assert not shelf.folder.exists()


def test_without_gradio_its_pip_command_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    monkeypatch.delitem(sys.modules, "residiff.web.page.blocks", raising=False)
    before = os.environ.get("GRADIO_TEMP_DIR")
    with pytest.raises(ResourceError, match=r'needs gradio; run `pip install "residiff\[web\]"`'):
        mount(FastAPI(), Models(), Settings())
    assert os.environ.get("GRADIO_TEMP_DIR") == before


class Models:
    """An engine that has models and takes nothing."""

    models = ()

    def wait_ready(self, timeout):
        return False


def test_only_files_of_the_page_are_read(shelf, tmp_path):
    outside = tmp_path / "a.png"
    outside.write_bytes(b"secret")
    desk = Desk(Models(), Bounds(file_bytes=10), shelf=shelf)
    link = shelf.place("link.png")
    link.symlink_to(outside)
    for path in (outside, link, shelf.folder / ".." / tmp_path.name / "a.png", shelf.folder / "none.png"):
        with pytest.raises(ImageDecodeError, match="give it again") as caught:
            file_bytes(desk, path)
        assert str(tmp_path) not in str(caught.value)
    inside = shelf.place("b.png")
    inside.write_bytes(b"0123456789")
    assert file_bytes(desk, inside) == b"0123456789"
    inside.write_bytes(b"0123456789a")
    with pytest.raises(ImageTooLargeError):
        file_bytes(desk, inside)


def test_foreign_files_are_found_wherever_they_are_named(shelf):
    inside = {"path": f"{shelf.folder}/a/b.png", "url": "http://127.0.0.1/gradio_api/file=x"}
    assert not foreign_files([inside, [inside], {"value": inside}, "text", None, 3], shelf.folder)
    for path in ("/etc/passwd", "http://x/", "HTTPS://x/", "file:///x", f"{shelf.folder}/../x", "a\0b", "x.png"):
        assert foreign_files([[{"deep": ({"path": path},)}]], shelf.folder), path


def test_a_painted_mask_is_a_png_or_nothing():
    assert painted_mask("", 100) is None
    data = base64.b64encode(b"png").decode()
    assert painted_mask(f"data:image/png;base64,{data}", 100) == b"png"
    for text in (
        "x",
        f"data:text/html;base64,{data}",
        "data:image/png;base64,!!",
        "data:image/png;base64," + "A" * 400,
    ):
        with pytest.raises(ConfigError, match="paint it again"):
            painted_mask(text, 100)


def test_without_models_or_picture_it_is_said_what_to_do(shelf):
    with pytest.raises(ConfigError, match="drop one"):
        Given(None).work(Desk(Models(), shelf=shelf), Choices())
    with pytest.raises(ConfigError, match="still being loaded"):
        Desk(Models(), shelf=shelf).models()


class Entry:
    def __init__(self, name, steps=2, max_steps=10):
        self.name, self.steps, self.max_steps = name, steps, max_steps


def test_variants_are_models_times_steps():
    models = [Entry("a"), Entry("b", 5)]
    assert [each.label for each in variants(models, ["b", "a"], [])] == ["a, 2 steps", "b, 5 steps"]
    assert [each.label for each in variants(models, ["b"], [1, 3])] == ["b, 1 step", "b, 3 steps"]
    for names, steps in (([], []), (["c"], []), (["a"], [11]), (["a"], [0]), (["a"], [*range(1, MOST + 2)])):
        with pytest.raises(ConfigError):
            variants(models, names, steps)


def test_steps_are_read_as_people_write_them():
    assert parse_steps(" 1, 2;5  7,2 ") == [1, 2, 5, 7] and parse_steps("") == []
    for text in ("two", "1.5", "-1", "9" * 9, "٣"):
        with pytest.raises(ConfigError, match="whole numbers"):
            parse_steps(text)


def test_values_of_controls_are_looked_at():
    assert (whole("x", 3.0), number("x", 0.5), word("a"), switch(True)) == (3, 0.5, "a", True)
    assert (word(3), word(None), switch("yes"), switch(1)) == ("", "", False, False)
    for value in (None, "3", True, float("nan"), 2.5, [1]):
        with pytest.raises(ConfigError, match="steps is"):
            whole("steps", value)
    for value in (None, "3", True, float("inf")):
        with pytest.raises(ConfigError, match="time is"):
            number("time", value)


OPEN = """/ /config /assets/a.js /static/x.png /gradio_api/queue/join /gradio_api/upload /gradio_api/file=/tmp/x.png
    /gradio_api/heartbeat/abc1 /gradio_api/startup-events/"""
SHUT = """/runs /gradio_api/vibe-edit /gradio_api/proxy=http://x /gradio_api/process_recording /monitoring /static/../x
    /gradio_api/call/x /gradio_api/component_server"""


def test_the_door_lets_pass_what_the_page_asks_for():
    assert all(map(is_allowed, OPEN.split())) and not any(map(is_allowed, SHUT.split()))
