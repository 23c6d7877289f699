"""The steps of a sampling run, to be leafed through."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from residiff.errors import ResidiffError
from residiff.web import Product
from residiff.web.page.desk import Desk, Given
from residiff.web.page.frames import PLANES, caption, frames_of, levels_of
from residiff.web.page.picture_panel import PicturePanel
from residiff.web.page.running import follow
from residiff.web.page.settings_panel import SettingsPanel, choices_of
from residiff.web.page.values import Value
from residiff.web.page.views import said, stage_html

TAB = "trajectory"
LABELS = {
    "x": "xₜ, where it is",
    "x0": "x₀, the estimate of the result",
    "residual": "R, the estimated residual; grey is 0",
    "noise": "ε, the estimated noise; grey is 0",
}
Updates = tuple[Any, ...]
# Paths of the planes of each state, and at "level" what it is made of
Album = list[dict[str, str]]


@dataclass(frozen=True)
class _Shown:
    """Where the states are shown."""

    told: gr.HTML
    place: gr.Slider
    words: gr.HTML
    planes: list[gr.Image]
    album: gr.State

    @property
    def all(self) -> list[Any]:
        return [self.told, self.place, self.words, *self.planes, self.album]


def lay_out(desk: Desk, picture: PicturePanel, settings: SettingsPanel) -> gr.Column:
    """Lay out the tab."""
    column = gr.Column(visible=False, elem_id="walking")
    with column:
        with gr.Row():
            go = gr.Button("Record the steps", variant="primary", elem_id="walk-go")
            stop = gr.Button("Stop", elem_id="walk-stop")
        shown = _lay_out_states()
    walking = _Walking(desk)
    go.click(
        walking.run, [*picture.values, *settings.values], shown.all, concurrency_limit=None, show_progress="hidden",
        api_visibility="private",
    )  # fmt: skip
    stop.click(walking.stop, None, None, queue=False, api_visibility="private")
    shown.place.change(
        leaf, [shown.album, shown.place], [shown.words, *shown.planes], queue=False, show_progress="hidden",
        trigger_mode="always_last", api_visibility="private",
    )  # fmt: skip
    return column


def _lay_out_states() -> _Shown:
    told = gr.HTML(elem_id="walk-told")
    place = gr.Slider(0, 1, value=0, step=1, label="Step", visible=False, elem_id="walk-place")
    words = gr.HTML(elem_id="walk-words")
    with gr.Row(elem_id="walk-planes"):
        planes = [
            gr.Image(label=label, alt_text=label, elem_id=f"walk-{name}", interactive=False, visible=False,
                     buttons=["fullscreen"], min_width=160)
            for name, label in LABELS.items()
        ]  # fmt: skip
    return _Shown(told, place, words, planes, gr.State([]))


def leaf(album: Album, place: float) -> Updates:
    """The words and the four pictures of a state."""
    if not album:
        return ("", *(gr.update(visible=False) for _ in PLANES))
    number = min(max(0, int(place)), len(album) - 1)
    return (
        said(" ".join([f"{caption(number, len(album))}.", album[number]["level"]])),
        *(gr.update(value=album[number][name], visible=True) for name in PLANES),
    )


class _Walking:
    """What the buttons do."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def stop(self, request: gr.Request) -> None:
        """Stop what this tab runs."""
        self._desk.seats.stop(str(request.session_hash), TAB)

    def run(
        self, request: gr.Request, file: str | None, painted: str, mask: str | None, *values: Value
    ) -> Iterator[Updates]:
        """Restore the picture, and keep its states."""
        nothing = (gr.update(visible=False), *leaf([], 0), [])
        try:
            choices = choices_of(self._desk, values)
            work = Given(file, painted, mask).work(self._desk, choices, show_steps=True)
        except ResidiffError as error:
            yield (said(str(error), is_error=True), *nothing)
            return
        seat = self._desk.seats.take(str(request.session_hash), TAB)
        for stage in follow(self._desk.engine, work, seat):
            if stage.result is None:
                yield (stage_html(stage), *nothing)
            else:
                album = self._album(stage.result)
                last = len(album) - 1
                place = gr.update(minimum=0, maximum=last, value=last, visible=True)
                yield (stage_html(stage), place, *leaf(album, last), album)

    def _album(self, product: Product) -> Album:
        """The states, and at the end the result, with the estimates that it was made by."""
        put, levels = self._desk.shelf.put, levels_of(product.more)
        album = [
            {name: put(f"{number:02d}-{name}.png", getattr(frame, name)) for name in PLANES} | {"level": level}
            for number, (frame, level) in enumerate(zip(frames_of(product.more), levels, strict=True))
        ]
        last = {"x": self._desk.shown(product.name, product.data), "level": ""}
        return [*album, album[-1] | last] if album else []
