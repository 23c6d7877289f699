"""The picture and the settings joined: what is shown of one follows from the other."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

from residiff.data import images
from residiff.data.images import ImageFile
from residiff.errors import ResidiffError
from residiff.web.page.desk import Desk, file_bytes, megapixels
from residiff.web.page.examples import example
from residiff.web.page.picture_panel import PicturePanel
from residiff.web.page.settings_panel import SettingsPanel, dial_html, steps_within
from residiff.web.page.views import said


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
        return gr.update(visible=desk.takes_mask(model, keep))

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


class _Take:
    """Takes an example."""

    def __init__(self, desk: Desk, name: str) -> None:
        self._desk, self._name = desk, name

    def __call__(self, model: str) -> tuple[str, str | None, str]:
        found, put = example(self._name, self._desk.model(model).task), self._desk.shelf.put
        return put(found.name, found.data), None if found.mask is None else put("mask.png", found.mask), ""
