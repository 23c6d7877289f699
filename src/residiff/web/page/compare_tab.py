"""Models and numbers of steps side by side."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import gradio as gr

from residiff.errors import ResidiffError
from residiff.web import Product
from residiff.web.page.choices import Choices
from residiff.web.page.desk import Desk, Given
from residiff.web.page.picture_panel import PicturePanel
from residiff.web.page.running import Seat, patiently
from residiff.web.page.settings_panel import SettingsPanel, choices_of
from residiff.web.page.stage import Stage
from residiff.web.page.values import Value
from residiff.web.page.variants import Variant, parse_steps, variants
from residiff.web.page.views import said, stage_html, table

TAB = "compare"
Updates = tuple[Any, ...]
Row = tuple[str, str, str]


def lay_out(desk: Desk, picture: PicturePanel, settings: SettingsPanel) -> gr.Column:
    """Lay out the tab."""
    column = gr.Column(visible=False, elem_id="comparing")
    with column:
        models = gr.CheckboxGroup([], label="Models", elem_id="compare-models")
        steps = gr.Textbox(label="Steps, several by commas; empty for each model's own", elem_id="compare-steps")
        with gr.Row():
            go = gr.Button("Compare", variant="primary", elem_id="compare-go")
            stop = gr.Button("Stop", elem_id="compare-stop")
        told = gr.HTML(elem_id="compare-told")
        gallery = gr.Gallery(label="Side by side", visible=False, elem_id="compare-gallery", columns=3,
                             interactive=False, object_fit="contain", buttons=["fullscreen", "download"])  # fmt: skip
        slider = gr.ImageSlider(
            label="The picture (left) and the one that is chosen above (right)",
            elem_id="compare-slider",
            visible=False,
            interactive=False,
            buttons=["fullscreen"],
        )
        listed = gr.HTML(elem_id="compare-list")
        album = gr.State([])
    comparing = _Comparing(desk)
    go.click(
        comparing.run, [models, steps, *picture.values, *settings.values], [told, gallery, listed, album],
        concurrency_limit=None, show_progress="hidden", api_visibility="private",
    )  # fmt: skip
    gallery.select(beside, album, slider, queue=False, show_progress="hidden", api_visibility="private")
    stop.click(comparing.stop, None, None, queue=False, api_visibility="private")
    settings.model.change(
        comparing.offer, settings.model, models, queue=False, show_progress="hidden", api_visibility="private"
    )
    return column


def beside(album: list[tuple[str, str]], event: gr.SelectData) -> dict[str, Any]:
    """A slider between the first picture and the one that was chosen."""
    if not album or not isinstance(event.index, int) or not 0 <= event.index < len(album):
        return gr.update(visible=False)
    (first, _), (chosen, label) = album[0], album[event.index]
    return gr.update(value=(first, chosen), label=f"The picture (left) and {label} (right)", visible=True)


class _Comparing:
    """What the buttons do."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def stop(self, request: gr.Request) -> None:
        """Stop what this tab runs."""
        self._desk.seats.stop(str(request.session_hash), TAB)

    def offer(self, name: str) -> dict[str, Any]:
        """The models there are; the chosen one is ticked."""
        return gr.update(choices=[model.name for model in self._desk.models()], value=[name])

    def run(
        self, request: gr.Request, names: list[str], steps: str, file: str | None, painted: str, mask: str | None,
        *values: Value,
    ) -> Iterator[Updates]:  # fmt: skip
        """Restore the picture in each way."""
        hidden = gr.update(visible=False)
        given = Given(file, painted, mask)
        try:
            choices = choices_of(self._desk, values)
            found = variants(self._desk.models(), names, parse_steps(steps))
            first = given.work(self._desk, _as(choices, found[0]))
            shown = [(self._desk.shown(first.name, first.image), "the picture as it is")]
        except ResidiffError as error:
            yield said(str(error), is_error=True), hidden, "", []
            return
        seat, rows = self._desk.seats.take(str(request.session_hash), TAB), list[Row]()
        for number, variant in enumerate(found, 1):
            for stage in self._stages(given, _as(choices, variant), seat):
                if stage.result is not None:
                    shown.append(self._picture(stage.result, variant))
                if stage.is_last:
                    rows.append(_row(variant, stage))
                told = said(f"{number} of {len(found)}: {variant.label}") + stage_html(Stage(stage.told, stage.share))
                yield told, gr.update(value=shown, visible=True), _listed(rows), shown
            if seat.is_stopped:
                break
        failed = len(rows) - len(shown) + 1
        ending = "Stopped. " if seat.is_stopped else ""
        told = f"{ending}{len(shown) - 1} restored, {failed} failed."
        yield said(told), gr.update(value=shown, visible=True), _listed(rows), shown

    def _stages(self, given: Given, choices: Choices, seat: Seat) -> Iterator[Stage]:
        try:
            work = given.work(self._desk, choices)
        except ResidiffError as error:
            yield Stage("Not possible.", error=str(error))
            return
        yield from patiently(self._desk.engine, work, seat)

    def _picture(self, product: Product, variant: Variant) -> tuple[str, str]:
        return self._desk.shown(f"{variant.model.name}-{variant.steps}-{product.name}", product.data), variant.label


def _as(choices: Choices, variant: Variant) -> Choices:
    own = variant.steps == variant.model.steps
    return replace(choices, model=variant.model.name, steps=None if own else variant.steps)


def _row(variant: Variant, stage: Stage) -> Row:
    product = stage.result
    if product is None:
        return variant.label, "–", stage.error or stage.told
    return variant.label, f"{product.seconds:.2g} s", f"changed by {product.change:.2f} grey levels"


def _listed(rows: list[Row]) -> str:
    return table("What each took", ["Model and steps", "Time", "Remark"], rows)
