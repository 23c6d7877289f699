"""A white sheet with pictures and words at given places: as PNG, pixel for pixel, or as SVG that holds the pictures."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Literal, NamedTuple
from xml.sax.saxutils import escape

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from residiff.data.images import Format, encode, from_array

Anchor = Literal["start", "middle", "end"]


class Words(NamedTuple):
    """One line of text; (x, y) is the end or middle of its baseline that `anchor` names, in pixels."""

    text: str
    x: float
    y: float
    size: int
    bold: bool = False
    anchor: Anchor = "middle"
    colour: str = "#1a1a1a"


class Placed(NamedTuple):
    """A picture whose upper left corner is at (x, y); in SVG `drawing`, a file of that kind, stands for it."""

    picture: Image.Image
    x: int
    y: int
    drawing: bytes | None = None


class Sheet(NamedTuple):
    """What is where, on `width` x `height` pixels."""

    width: int
    height: int
    pictures: Sequence[Placed]
    words: Sequence[Words]


def png(sheet: Sheet) -> bytes:
    """The sheet as a PNG file."""
    image = Image.new("RGB", (sheet.width, sheet.height), "white")
    for placed in sheet.pictures:
        image.paste(placed.picture, (placed.x, placed.y))
    draw = ImageDraw.Draw(image)
    for words in sheet.words:
        anchor = _PILLOW_ANCHORS[words.anchor]
        draw.text((words.x, words.y), words.text, words.colour, _font(words.size, words.bold), anchor=anchor)
    return _as_png(image)


def svg(sheet: Sheet) -> bytes:
    """The sheet as an SVG file that needs no other file."""
    size = f'width="{sheet.width}" height="{sheet.height}" viewBox="0 0 {sheet.width} {sheet.height}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="DejaVu Sans, Verdana, sans-serif">',
        '<rect width="100%" height="100%" fill="white"/>',
        *map(_svg_picture, sheet.pictures),
        *map(_svg_words, sheet.words),
        "</svg>",
    ]
    return "\n".join(lines).encode()


def text_width(text: str, size: int, bold: bool = False) -> float:
    """Pixels that a line takes."""
    return _font(size, bold).getlength(text)


def decoded(data: bytes) -> Image.Image:
    """The picture of a PNG file that was drawn here."""
    return Image.open(io.BytesIO(data)).convert("RGB")


def _as_png(image: Image.Image) -> bytes:
    return encode(from_array(np.asarray(image)), Format.PNG)


def _svg_picture(placed: Placed) -> str:
    kind = "png" if placed.drawing is None else "svg+xml"
    data = base64.b64encode(_as_png(placed.picture) if placed.drawing is None else placed.drawing).decode()
    place = f'x="{placed.x}" y="{placed.y}" width="{placed.picture.width}" height="{placed.picture.height}"'
    return f'<image {place} style="image-rendering:pixelated" href="data:image/{kind};base64,{data}"/>'


def _svg_words(words: Words) -> str:
    weight = ' font-weight="bold"' if words.bold else ""
    style = f'font-size="{words.size}" text-anchor="{words.anchor}" fill="{words.colour}"{weight}'
    return f'<text x="{words.x:g}" y="{words.y:g}" {style}>{escape(words.text)}</text>'


@lru_cache(maxsize=16)
def _font(size: int, bold: bool) -> ImageFont.FreeTypeFont:
    """A font that matplotlib brings along, so that every machine has it."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts", "ttf", name), size)


_PILLOW_ANCHORS: dict[Anchor, str] = {"start": "ls", "middle": "ms", "end": "rs"}
