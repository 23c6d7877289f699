"""The picture of the page, and its mask: dropped, pasted, painted, or an example."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr

from residiff.web.page.desk import Desk
from residiff.web.page.examples import photographs_there, thumbnail

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
