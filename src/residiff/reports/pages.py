"""What all pages have in common: how their templates are filled in, and how they hold pictures and scripts."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from functools import cache
from importlib import resources
from typing import NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from residiff.plots.style import DARK, LIGHT, Theme


class Script(NamedTuple):
    """A script as it stands in a page, and what the page's content security policy calls it: it alone may run."""

    text: Markup
    source: str


class Curve(NamedTuple):
    """A plot as data URIs for light and dark pages, and what it shows in words."""

    light: str
    dark: str
    alt: str


def curve(draw: Callable[[Theme], bytes], alt: str) -> Curve:
    """The plot that `draw` makes as SVG."""
    return Curve(data_uri(draw(LIGHT), "svg+xml"), data_uri(draw(DARK), "svg+xml"), alt)


def template(name: str) -> Template:
    """A template of this room, in which every text is text, whatever it holds, and an unknown name is an error."""
    return _environment().get_template(name)


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("residiff.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def script(name: str) -> Script:
    """A script that lies among the templates; what is in it is not escaped."""
    text = resources.files("residiff.reports").joinpath("templates", name).read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return Script(Markup(text), f"'sha256-{digest}'")


def data_uri(picture: bytes, kind: str) -> str:
    """A picture of a kind, "webp" or "svg+xml", as an address that holds it."""
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode()}"
