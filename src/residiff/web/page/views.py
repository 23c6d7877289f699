"""Pieces of HTML, in which whatever comes from others is escaped, and files in forms that browsers show."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from residiff.data import images
from residiff.data.images import Format, Metadata, Picture
from residiff.web.page.stage import Stage

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def stage_html(stage: Stage) -> str:
    """A run at one moment: words that screen readers speak, and a bar while it goes on."""
    if stage.error is not None:
        return said(stage.error, is_error=True)
    bar = "" if stage.result is not None else _bar(stage.share)
    return f"{said(stage.told)}{bar}"


def said(text: str, *, is_error: bool = False) -> str:
    """A message, spoken by screen readers as it appears; an error at once."""
    if not text:
        return ""
    role, kind = ("alert", "told failed") if is_error else ("status", "told")
    return f'<p class="{kind}" role="{role}">{escape(text)}</p>'


def _bar(share: float | None) -> str:
    value = "" if share is None else f' value="{share:.3f}"'
    return f'<progress max="1"{value} aria-label="Progress"></progress>'


def table(caption: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of words; nothing where there are no rows."""
    if not rows:
        return ""
    head = "".join(f'<th scope="col">{escape(each)}</th>' for each in heads)
    body = "".join(f"<tr>{''.join(f'<td>{escape(each)}</td>' for each in row)}</tr>" for row in rows)
    top = f"<caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead>"
    return f'<div class="wide"><table>{top}<tbody>{body}</tbody></table></div>'


def shown_as(name: str, data: bytes, max_pixels: int) -> tuple[str, bytes]:
    """A name and bytes of a picture that browsers show: its own, but for TIFF, which none does.

    Others are not even looked at: what is wrong with them the browser finds out, in a place that is made for it.

    Raises
    ------
    ImageError
        If it is a TIFF that cannot be read, or of more than `max_pixels` pixels.
    """
    if not data.startswith(_TIFF):
        return name, data
    picture = images.read(images.ImageFile(name, data), max_pixels=max_pixels)
    bare = Picture(picture.pixels, picture.alpha, 8, Metadata())
    return f"{Path(name).stem}.png", images.encode(bare, Format.PNG, bit_depth=8)
