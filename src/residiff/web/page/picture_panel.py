"""The picture of the page, and its mask: dropped, pasted, painted, or an example."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import gradio as gr

from residiff.data import images
from residiff.data.images import ImageFile
from residiff.errors import ResidiffError
from residiff.web.page.desk import Desk, file_bytes
from residiff.web.page.examples import example, photographs_there, thumbnail
from residiff.web.page.settings_panel import SettingsPanel, dial_html, steps_within
from residiff.web.page.views import said

# Megapixels that times are told for before there is a picture
TYPICAL = 0.25
CANVAS = """
<div id="brush-tools">
  <label>Brush <input id="brush-size" type="range" min="4" max="200" value="40" aria-label="Width of the brush"></label>
  <button type="button" id="brush-erase" aria-pressed="false">Erase</button>
  <button type="button" id="brush-clear">Clear the mask</button>
</div>
<div id="brush-ground">
<canvas id="brush" tabindex="0" role="application" aria-label="Mask: paint over what is to be worked on. With the
 keyboard: arrows move the brush, space paints, shift and arrows paint on the way, delete clears."></canvas>
</div>
<p class="told">Paint over what is to be worked on. By keyboard: arrows move, space paints. What is painted
 comes before a file.</p>
"""


@dataclass(frozen=True)
class PicturePanel:
    """The controls of the picture."""

    column: gr.Column
    file: gr.File
    shown: gr.Image
    told: gr.HTML
    mask_group: gr.Column
    painted: gr.Textbox
    mask: gr.File

    @property
    def values(self) -> list[gr.components.Component]:
        """What `Given` takes, in its order."""
        return [self.file, self.painted, self.mask]


def lay_out(desk: Desk) -> tuple[PicturePanel, dict[str, gr.Button]]:
    """Lay out the controls; also the buttons of the examples, by name."""
    with gr.Column(elem_id="picture", elem_classes="panel") as column:
        gr.HTML("<h2>Picture</h2>")
        file = gr.File(label="Drop a picture, click to choose one, or paste one", elem_id="file", height=150)
        with gr.Row(elem_id="examples"):
            buttons = {
                name: gr.Button(name, icon=desk.shelf.put(f"{name}.jpg", thumbnail(name)), size="sm", min_width=90)
                for name in photographs_there()
            }
        told = gr.HTML(elem_id="picture-told")
        shown = gr.Image(
            label="The picture as it is",
            elem_id="shown",
            interactive=False,
            visible=False,
            buttons=[],
            alt_text="The picture as it is",
        )
        with gr.Column(visible=False, elem_id="masking") as mask_group:
            gr.HTML(CANVAS, elem_id="canvas")
            painted = gr.Textbox(elem_id="painted", label="Painted mask")
            mask = gr.File(label="Or a mask from a file, white where to work", elem_id="mask", height=120)
    return PicturePanel(column, file, shown, told, mask_group, painted, mask), buttons


def connect(desk: Desk, panel: PicturePanel, buttons: dict[str, gr.Button], settings: SettingsPanel) -> None:
    """Have the picture shown when it changes, examples taken, and the mask asked for where one is needed."""

    def show(path: str | None) -> tuple[dict[str, object], str]:
        if path is None:
            return gr.update(value=None, visible=False), ""
        try:
            data = file_bytes(desk, Path(path))
            height, width = images.size_of(ImageFile(Path(path).name, data))
            shown = gr.update(value=desk.shown(Path(path).name, data), visible=True)
            return shown, said(f"{width} × {height} pixels, {len(data) / 1e6:.2g} MB")
        except ResidiffError as error:
            return gr.update(value=None, visible=False), said(str(error), is_error=True)

    def masked(model: str, keep: bool) -> dict[str, object]:
        return gr.update(visible=desk.model(model).needs_mask or keep)

    panel.file.change(show, panel.file, [panel.shown, panel.told], queue=False, api_visibility="private")
    for event in (settings.model.change, settings.keep.change):
        event(masked, [settings.model, settings.keep], panel.mask_group, queue=False, api_visibility="private")
    _connect_dial(desk, panel, settings)
    for name, button in buttons.items():
        button.click(
            _Take(desk, name), settings.model, [panel.file, panel.mask, panel.painted], queue=False,
            api_visibility="private",
        )  # fmt: skip


def _connect_dial(desk: Desk, panel: PicturePanel, settings: SettingsPanel) -> None:
    def tell(model: str, path: str | None) -> str:
        return dial_html(desk, desk.model(model), megapixels(desk, path))

    def turn(model: str, path: str | None, seconds: float) -> int:
        return steps_within(desk, desk.model(model), seconds, megapixels(desk, path))

    given = [settings.model, panel.file]
    for event in (settings.model.change, panel.file.change, settings.time.release):
        event(tell, given, settings.dial, queue=False, show_progress="hidden", api_visibility="private")
    settings.time.release(turn, [*given, settings.time], settings.steps, queue=False, api_visibility="private")


def megapixels(desk: Desk, path: str | None) -> float:
    """Of a picture that was uploaded, by its header; of a typical one where there is none that can be read."""
    try:
        height, width = images.size_of(ImageFile("picture", file_bytes(desk, Path(path or ""))))
    except ResidiffError:
        return TYPICAL
    return height * width / 1e6


class _Take:
    """Takes an example."""

    def __init__(self, desk: Desk, name: str) -> None:
        self._desk, self._name = desk, name

    def __call__(self, model: str) -> tuple[str, str | None, str]:
        found, put = example(self._name, self._desk.model(model).task), self._desk.shelf.put
        return put(found.name, found.data), None if found.mask is None else put("mask.png", found.mask), ""
