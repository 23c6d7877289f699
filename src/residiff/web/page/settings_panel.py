"""The settings of the page: model, steps with their dial, seed and the rest, in the order in which they are needed."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

import gradio as gr

from residiff.data.images import Format
from residiff.web import ModelEntry
from residiff.web.page.choices import LARGEST_SEED, MOST_SAMPLES, Choices
from residiff.web.page.desk import Desk, curve_of
from residiff.web.page.dial import offers, told, within
from residiff.web.page.values import Value, number, switch, whole, word
from residiff.web.page.views import said

AS_GIVEN = "as the picture"


@dataclass(frozen=True)
class SettingsPanel:
    """The controls of the settings."""

    model: gr.Dropdown
    about: gr.HTML
    steps: gr.Number
    time: gr.Slider
    dial: gr.HTML
    seed: gr.Number
    dice: gr.Button
    samples: gr.Slider
    strength: gr.Slider
    format: gr.Dropdown
    keep: gr.Checkbox
    strip: gr.Checkbox

    @property
    def values(self) -> list[gr.components.Component]:
        """What `choices_of` takes, in its order."""
        return [self.model, self.steps, self.seed, self.strength, self.samples, self.format, self.keep, self.strip]


def choices_of(desk: Desk, values: Sequence[Value]) -> Choices:
    """The settings that the controls show, of `SettingsPanel.values`; `ConfigError` where they cannot be."""
    model, steps, seed, strength, samples, format, keep, strip = values
    found, count = desk.model(word(model)), whole("steps", steps)
    return Choices(
        model=found.name,
        steps=None if count == found.steps else count,
        seed=whole("seed", seed),
        strength=number("strength", strength),
        samples=whole("samples", samples),
        keep=switch(keep),
        format=next((each for each in Format if each.value == format), None),
        strip=switch(strip),
    ).checked(found.max_steps)


def lay_out(desk: Desk) -> SettingsPanel:
    """Lay out the controls, and have those that depend on the model follow it."""
    with gr.Column(elem_id="settings", elem_classes="panel"):
        gr.HTML("<h2>Settings</h2>")
        model = gr.Dropdown([], value=None, label="Model", elem_id="model", filterable=False)
        about = gr.HTML(elem_id="about")
        with gr.Row():
            steps = gr.Number(2, label="Steps", minimum=1, precision=0, elem_id="steps", min_width=120)
            seed = gr.Number(
                0, label="Seed", minimum=0, maximum=LARGEST_SEED, precision=0, elem_id="seed", min_width=120
            )
            dice = gr.Button("Draw a seed", elem_id="dice", size="sm", min_width=100)
        time = gr.Slider(
            0.1, 60, value=2, step=0.1, label="Or as many steps as fit into (seconds for a picture)", elem_id="time"
        )
        dial = gr.HTML(elem_id="dial")
        rest = _rest()
    panel = SettingsPanel(model, about, steps, time, dial, seed, dice, *rest)
    _connect(desk, panel)
    return panel


def _rest() -> tuple[gr.Slider, gr.Slider, gr.Dropdown, gr.Checkbox, gr.Checkbox]:
    with gr.Accordion("More settings", open=False, elem_id="more"):
        samples = gr.Slider(
            1, MOST_SAMPLES, value=1, step=1, label="Samples, for their mean and where to doubt", elem_id="samples"
        )
        strength = gr.Slider(0, 1, value=1, step=0.05, label="Strength, 0 keeps the picture", elem_id="strength")
        formats = [AS_GIVEN, *(format.value for format in Format)]
        format = gr.Dropdown(formats, value=AS_GIVEN, label="Format of results", elem_id="format", filterable=False)
        keep = gr.Checkbox(label="Keep what is black in the mask", elem_id="keep")
        strip = gr.Checkbox(label="Leave out metadata (place, camera, time)", elem_id="strip")
    return samples, strength, format, keep, strip


def _connect(desk: Desk, panel: SettingsPanel) -> None:
    def follow_model(name: str) -> tuple[str, dict[str, object]]:
        found = desk.model(name)
        return about_html(found), gr.update(value=found.steps, maximum=found.max_steps)

    panel.model.input(follow_model, panel.model, [panel.about, panel.steps], queue=False, api_visibility="private")
    panel.dice.click(lambda: secrets.randbelow(2**31), None, panel.seed, queue=False, api_visibility="private")


def about_html(model: ModelEntry) -> str:
    """A model in words."""
    return said(f"{model.summary} Task: {model.task}; {model.parameters / 1e6:.2g} million parameters.")


def dial_html(desk: Desk, model: ModelEntry, megapixels: float) -> str:
    """What may be taken of a model for a picture of so many megapixels, in words."""
    found = offers(model, curve_of(model), megapixels, desk.rates.known(model.name))
    return said(f"For {megapixels:.2g} megapixels: {'; '.join(told(offer) for offer in found)}.")


def steps_within(desk: Desk, model: ModelEntry, seconds: float, megapixels: float) -> int:
    """The steps of a model that fit into a time."""
    found = offers(model, curve_of(model), megapixels, desk.rates.known(model.name))
    return within(seconds, found, model.steps).steps
