"""Restore one picture, and look at it closely."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from residiff.data import images
from residiff.errors import ResidiffError
from residiff.web import Product, Work
from residiff.web.page.choices import as_command, as_query
from residiff.web.page.desk import Desk, Given, megapixels
from residiff.web.page.picture_panel import PicturePanel
from residiff.web.page.running import follow
from residiff.web.page.settings_panel import SettingsPanel, choices_of, dial_html
from residiff.web.page.stage import Stage
from residiff.web.page.values import Value
from residiff.web.page.views import said, stage_html

TAB = "restore"
LENS = """
<div id="lens" tabindex="0" role="application" hidden aria-label="Lens at 100 %: before on the left, after on the right.
 Arrows move it; shift moves it further.">
  <figure><div class="pane"></div><figcaption>Before, 100 %</figcaption></figure>
  <figure><div class="pane"></div><figcaption>After, 100 %</figcaption></figure>
</div>
"""
Updates = tuple[Any, ...]


@dataclass(frozen=True)
class _Shown:
    """Where a run is shown."""

    told: gr.HTML
    slider: gr.ImageSlider
    lens: gr.HTML
    download: gr.DownloadButton
    doubts: gr.Column
    doubt: gr.Image
    deviation: gr.DownloadButton

    @property
    def all(self) -> list[Any]:
        return [self.told, self.slider, self.lens, self.download, self.doubts, self.doubt, self.deviation]


def lay_out(desk: Desk, picture: PicturePanel, settings: SettingsPanel) -> gr.Column:
    """Lay out the tab."""
    column = gr.Column(elem_id="restoring")
    with column:
        with gr.Row():
            go = gr.Button("Restore", variant="primary", elem_id="go")
            stop = gr.Button("Stop", elem_id="stop")
        shown = _lay_out_result()
        with gr.Accordion("The same elsewhere", open=False, elem_id="elsewhere"):
            command = gr.Textbox(label="Command line", buttons=["copy"], elem_id="command", interactive=False)
            link = gr.Textbox(label="Link to these settings", buttons=["copy"], elem_id="link", interactive=False)
            query = gr.Textbox(elem_id="query", label="Query")
    restoring = _Restoring(desk)
    ended = go.click(
        restoring.run, [*picture.values, *settings.values], shown.all, concurrency_limit=None, show_progress="hidden",
        api_visibility="private",
    )  # fmt: skip
    ended.then(restoring.dial, [settings.model, picture.file], settings.dial, queue=False, api_visibility="private")
    stop.click(restoring.stop, None, None, queue=False, api_visibility="private")
    for control in (*picture.values, *settings.values):
        control.change(  # type: ignore[attr-defined]
            restoring.tell, [*picture.values, *settings.values], [command, query], queue=False, show_progress="hidden",
            trigger_mode="always_last", api_visibility="private",
        )  # fmt: skip
    query.change(None, query, link, js="q => location.origin + location.pathname + '?' + q", api_visibility="private")
    return column


def _lay_out_result() -> _Shown:
    told = gr.HTML(elem_id="told")
    slider = gr.ImageSlider(
        label="Before (left) and after (right)",
        elem_id="slider",
        visible=False,
        interactive=False,
        buttons=["fullscreen"],
        max_height=640,
    )
    lens = gr.HTML(LENS, elem_id="lens-box", visible=False)
    download = gr.DownloadButton("Download", visible=False, elem_id="download", variant="primary")
    doubts = gr.Column(visible=False)
    with doubts:
        label = "Where to doubt: marked where the samples disagree"
        doubt = gr.Image(
            label=label, alt_text=label, elem_id="doubt", interactive=False, buttons=["download", "fullscreen"]
        )
        deviation = gr.DownloadButton("Download the deviation of the samples, 16 bits, white is 0.5", size="sm")
    return _Shown(told, slider, lens, download, doubts, doubt, deviation)


class _Restoring:
    """What the buttons do."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def stop(self, request: gr.Request) -> None:
        """Stop what this tab runs."""
        self._desk.seats.stop(str(request.session_hash), TAB)

    def run(
        self, request: gr.Request, file: str | None, painted: str, mask: str | None, *values: Value
    ) -> Iterator[Updates]:
        """Restore the picture."""
        try:
            work = Given(file, painted, mask).work(self._desk, choices_of(self._desk, values))
        except ResidiffError as error:
            yield _nothing(said(str(error), is_error=True))
            return
        seat = self._desk.seats.take(str(request.session_hash), TAB)
        for stage in follow(self._desk.engine, work, seat):
            if stage.result is None:
                yield _nothing(stage_html(stage) + preview_html(stage))
            else:
                yield self._result(stage, stage.result, work)

    def _result(self, stage: Stage, product: Product, work: Work) -> Updates:
        desk = self._desk
        try:
            before, after = desk.shown(work.name, work.image), desk.shown(product.name, product.data)
        except ResidiffError as error:
            return _nothing(said(str(error), is_error=True))
        height, width = images.size_of(work.image)
        desk.learn(work, product, height * width)
        path = desk.shelf.put(product.name, product.data)
        more = {name: desk.shelf.put(f"{Path(product.name).stem}.{name}", data) for name, data in product.more.items()}
        return (
            stage_html(stage),
            gr.update(value=(before, after), visible=True),
            gr.update(visible=True),
            gr.update(value=path, label=f"Download {product.name}", visible=True),
            gr.update(visible=bool(more)),
            more.get("doubt.png"),
            more.get("deviation.png"),
        )

    def dial(self, model: str, file: str | None) -> str:
        """What is known of times now."""
        return dial_html(self._desk, self._desk.model(model), megapixels(self._desk, file))

    def tell(self, file: str | None, painted: str, mask: str | None, *values: Value) -> tuple[str, str]:
        """The command that does the same, and the query of the link."""
        try:
            choices = choices_of(self._desk, values)
            masked = self._desk.takes_mask(choices.model, choices.keep)
            matte = (Path(mask).name if mask else "mask.png") if masked else None
            return as_command(choices, Path(file).name if file else "picture.png", matte), as_query(choices)
        except ResidiffError as error:
            return str(error), ""


def _nothing(told: str) -> Updates:
    hidden = gr.update(visible=False)
    return told, hidden, hidden, hidden, hidden, None, None


def preview_html(stage: Stage) -> str:
    """What is there of the result so far."""
    if stage.preview is None:
        return ""
    data = base64.b64encode(stage.preview).decode()
    return f'<img class="preview" alt="What is there of the result so far" src="data:image/webp;base64,{data}">'
