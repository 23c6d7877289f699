"""A playground of schedules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from residiff.errors import ResidiffError
from residiff.schedule import RDDM, SHAPES, Increments, Resfusion, Schedule
from residiff.web.page.examples import photographs_there, played
from residiff.web.page.playground import curves, facts_of, mixed_at, times_shown
from residiff.web.page.values import Value, number, whole, word
from residiff.web.page.views import said

KINDS = ("RDDM", "Resfusion")
Updates = tuple[Any, ...]


@dataclass(frozen=True)
class _Controls:
    """What is moved."""

    kind: gr.Radio
    rddm: gr.Column
    resfusion: gr.Column
    values: list[Any]
    name: gr.Dropdown
    place: gr.Slider


def lay_out(tab: gr.Tab) -> gr.Column:
    """Lay out the column of `tab`, in which nothing is drawn before it is chosen."""
    column = gr.Column(visible=False, elem_id="scheduling")
    with column, gr.Row():
        with gr.Column(scale=2, min_width=300, elem_classes="panel"):
            controls = _lay_out_controls()
        with gr.Column(scale=3, min_width=300):
            told = gr.HTML(elem_id="schedule-told")
            drawing = gr.HTML(elem_id="schedule-curves")
            now, strip = _lay_out_pictures()
    outputs = [told, drawing, now, strip]
    inputs = [controls.kind, *controls.values, controls.name, controls.place]
    for control in inputs:
        control.change(play, inputs, outputs, queue=False, show_progress="hidden", trigger_mode="always_last",
                       api_visibility="private")  # fmt: skip
    controls.kind.change(_choose, controls.kind, [controls.rddm, controls.resfusion], queue=False,
                         api_visibility="private")  # fmt: skip
    tab.select(play, inputs, outputs, queue=False, show_progress="hidden", api_visibility="private")
    return column


def _lay_out_pictures() -> tuple[gr.Image, gr.Gallery]:
    now = gr.Image(
        label="xₜ at this time",
        alt_text="The mixed picture at this time",
        elem_id="schedule-now",
        interactive=False,
        buttons=["fullscreen"],
        format="png",
        height=300,
    )
    strip = gr.Gallery(
        label="From clean to the start of sampling",
        elem_id="schedule-strip",
        columns=5,
        interactive=False,
        buttons=[],
        format="png",
    )
    return now, strip


def _lay_out_controls() -> _Controls:
    shapes = [*SHAPES]
    kind = gr.Radio([*KINDS], value="RDDM", label="Schedule", elem_id="kind")
    with gr.Column(elem_id="of-rddm") as rddm:
        length = gr.Slider(2, 1000, value=100, step=1, label="T, levels", elem_id="rddm-length")
        residual = gr.Dropdown(shapes, value="decreasing", label="Residual grows", filterable=False)
        residual_power = gr.Slider(0, 4, value=1, step=0.1, label="Exponent of the residual, where it is a power")
        noise = gr.Dropdown(shapes, value="increasing", label="Noise variance grows", filterable=False)
        noise_power = gr.Slider(0, 4, value=1, step=0.1, label="Exponent of the noise, where it is a power")
        total = gr.Slider(0, 1, value=0.01, step=0.01, label="Noise variance at the start", elem_id="rddm-total")
    with gr.Column(elem_id="of-resfusion", visible=False) as resfusion:
        before = gr.Slider(10, 1000, value=100, step=1, label="T before the cut", elem_id="resfusion-length")
        betas = gr.Dropdown(["linear", "squared-cosine"], value="linear", label="Betas", filterable=False)
        threshold = gr.Slider(0, 0.49, value=0.01, step=0.01, label="How far below 1/2 the last level may stay")
    place = gr.Slider(0, 1, value=0.5, step=0.01, label="Time t, as a share of T", elem_id="schedule-time")
    names = [*photographs_there()]
    name = gr.Dropdown(names, value=names[0] if names else None, label="Photograph", filterable=False)
    values = [length, residual, residual_power, noise, noise_power, total, before, betas, threshold]
    return _Controls(kind, rddm, resfusion, values, name, place)


def _choose(kind: str) -> list[Any]:
    return [gr.update(visible=kind == each) for each in KINDS]


def schedule_of(kind: Value, values: Sequence[Value]) -> Schedule:
    """The schedule that the controls describe, of `_Controls.values`; `ConfigError` where there is none."""
    length, residual, residual_power, noise, noise_power, total, before, betas, threshold = values
    if kind == "RDDM":
        grown = [
            Increments(word(shape), number("exponent", power))  # type: ignore[arg-type]
            for shape, power in ((residual, residual_power), (noise, noise_power))
        ]
        total_noise = number("noise variance", total)
        return RDDM(length=whole("T", length), residual=grown[0], noise=grown[1], total_noise=total_noise)
    below = number("threshold", threshold)
    return Resfusion(length=whole("T", before), betas=word(betas), threshold=below)  # type: ignore[arg-type]


def play(*values: Value) -> Updates:
    """What is said of the schedule, its curves, the picture at the chosen time, and those on the way."""
    kind, *settings, name, share = values
    try:
        schedule = schedule_of(kind, settings)
        t = round(min(1.0, max(0.0, number("time", share))) * (len(schedule) - 1))
        told, drawn = said(facts_of(schedule).told()), curves(schedule, t)
    except ResidiffError as error:
        return said(str(error), is_error=True), "", None, []
    if name not in photographs_there():
        return told, drawn, None, []
    clean, degraded = played(word(name))
    now = gr.update(value=mixed_at(schedule, t, clean, degraded), label=f"xₜ at t = {t}")
    strip = [(mixed_at(schedule, each, clean, degraded), f"t = {each}") for each in times_shown(schedule)]
    return told, drawn, now, strip
