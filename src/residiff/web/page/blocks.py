"""The page: its parts put together, and mounted in a server."""

from __future__ import annotations

import contextlib
import hmac
from collections.abc import AsyncIterator
from dataclasses import dataclass
from importlib import resources
from typing import Any

import gradio as gr
from fastapi import FastAPI
from gradio.block_function import BlockFunction
from gradio.state_holder import SessionState
from starlette.routing import Mount

from residiff.web.page import batch_tab, compare_tab, joining, picture_panel, restore_tab, schedule_tab, settings_panel
from residiff.web.page import trajectory_tab as trajectory
from residiff.web.page.choices import from_query
from residiff.web.page.desk import Bounds, Desk, foreign_files
from residiff.web.page.door import Door
from residiff.web.page.engine import Engine
from residiff.web.page.intake import Intake
from residiff.web.page.picture_panel import PicturePanel
from residiff.web.page.settings_panel import AS_GIVEN, SettingsPanel, about_html
from residiff.web.page.shelf import AGE, Shelf
from residiff.web.page.views import said

TABS = {
    "restore": ("Restore", "One picture, restored and looked at closely."),
    "batch": ("Batch", "Many pictures, or an archive of them, with the settings beside."),
    "compare": ("Compare", "Models and numbers of steps, side by side on one picture."),
    "trajectory": ("Trajectory", "Every step on the way from the degraded picture to the result."),
    "schedules": ("Schedules", "What the coefficients of RDDM and Resfusion do; nothing is computed by a model here."),
}
_MOST_WAITING = 64
_ASSETS = resources.files(__name__.rpartition(".")[0]) / "assets"


class Page(gr.Blocks):
    """Blocks that take files from nowhere but the page's own folder, and fetch none from addresses."""

    desk: Desk

    async def preprocess_data(
        self, block_fn: BlockFunction, inputs: list[Any], state: SessionState | None, explicit_call: bool = False
    ) -> list[Any]:
        """As Gradio does, but for files that are none of the page's: an error."""
        if foreign_files(inputs, self.desk.shelf.folder):
            raise gr.Error("this file is not here any more; give it again", print_exception=False)
        return list(await super().preprocess_data(block_fn, inputs, state, explicit_call))


@dataclass(frozen=True)
class _Parts:
    """What is shown and hidden as tabs change, and set when a link is opened."""

    tabs: gr.Tabs
    chosen: dict[str, gr.Tab]
    told: gr.HTML
    side: gr.Column
    picture: PicturePanel
    settings: SettingsPanel
    columns: dict[str, gr.Column]


def build(engine: Engine, bounds: Bounds = Bounds(), shelf: Shelf | None = None) -> Page:  # noqa: B008
    """The page over whatever computes; `desk.shelf` of it is to be closed at the end."""
    desk = Desk(engine, bounds, shelf=shelf or Shelf())
    page = Page(title="residiff", analytics_enabled=False, delete_cache=(600, int(AGE)), fill_width=True)
    with page:
        page.desk = desk
        parts = _lay_out(desk)
        _connect(page, desk, parts)
        page.unload(_Leave(desk))
    page.queue(max_size=_MOST_WAITING, api_open=False, default_concurrency_limit=_MOST_WAITING)
    return page


def mount_page(app: FastAPI, page: Page, token: str | None = None) -> FastAPI:
    """Mount a page that has been built."""
    ending = app.router.lifespan_context

    @contextlib.asynccontextmanager
    async def closing(served: FastAPI) -> AsyncIterator[Any]:
        async with ending(served) as state:
            yield state
        page.desk.shelf.close()

    app.router.lifespan_context = closing
    gr.mount_gradio_app(
        app,
        page,
        path="/",
        footer_links=[],
        run_history=False,
        allowed_paths=[],
        max_file_size=page.desk.bounds.upload_bytes,
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        show_error=True,
        auth=None if token is None else lambda name, word: hmac.compare_digest(word.encode(), token.encode()),
        auth_message=None if token is None else "Any user name; the password is the server's token.",
        theme=theme(),
        head=_head(),
    )
    mounted = app.routes[-1]
    if not isinstance(mounted, Mount):
        raise RuntimeError("Gradio has mounted itself in another way than it used to")
    app.router.routes[-1] = Door(Intake(mounted.app, page.desk.shelf, page.desk.bounds.held_bytes))
    return app


def _head() -> str:
    """The page's own style and script, as they are: of a style that Gradio is given it changes the selectors."""
    style, script = ((_ASSETS / name).read_text("utf-8") for name in ("page.css", "page.js"))
    return f"<style>{style}</style><script>{script}</script>"


def theme() -> gr.themes.Base:
    """Colours and fonts; every font is one that the reader's system has."""
    fonts = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif")
    mono = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace")
    return gr.themes.Default(primary_hue="blue", neutral_hue="slate", font=fonts, font_mono=mono)


def _lay_out(desk: Desk) -> _Parts:
    gr.HTML("<h1>residiff</h1><p>Residual diffusion models restore pictures, in a few steps.</p>", elem_id="head")
    chosen: dict[str, gr.Tab] = {}
    with gr.Tabs(elem_id="tabs") as tabs:
        for name, (label, about) in TABS.items():
            with gr.Tab(label, id=name) as chosen[name]:
                gr.HTML(said(about))
    told = gr.HTML(elem_id="page-told")
    with gr.Row(elem_id="body"):
        with gr.Column(scale=2, min_width=320, elem_id="side") as side:
            picture, buttons = picture_panel.lay_out(desk)
            settings = settings_panel.lay_out(desk)
        with gr.Column(scale=3, min_width=320, elem_id="main"):
            columns = {
                "restore": restore_tab.lay_out(desk, picture, settings),
                "batch": batch_tab.lay_out(desk, settings),
                "compare": compare_tab.lay_out(desk, picture, settings),
                "trajectory": trajectory.lay_out(desk, picture, settings),
                "schedules": schedule_tab.lay_out(chosen["schedules"]),
            }
    joining.connect(desk, picture, buttons, settings)
    return _Parts(tabs, chosen, told, side, picture, settings, columns)


def _connect(page: Page, desk: Desk, parts: _Parts) -> None:
    panels = [parts.side, parts.picture.column, *parts.columns.values()]

    for name, tab in parts.chosen.items():
        tab.select(_Show(name), None, panels, queue=False, show_progress="hidden", api_visibility="private")
    settings = parts.settings
    controls = [*settings.values, settings.about, parts.told, parts.tabs, *panels]
    page.load(_Open(desk), None, controls, queue=False, show_progress="hidden", api_visibility="private")


class _Show:
    """Shows what belongs to a tab."""

    def __init__(self, tab: str) -> None:
        self._tab = tab

    def __call__(self) -> list[Any]:
        return visible(self._tab)


def visible(tab: str) -> list[Any]:
    """Which of the side column, the picture and the tabs' columns are shown with a tab."""
    shown = [tab != "schedules", tab not in ("schedules", "batch"), *(name == tab for name in TABS)]
    return [gr.update(visible=each) for each in shown]


class _Open:
    """What a page begins with: what its link asks for."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def __call__(self, request: gr.Request) -> list[Any]:
        self._desk.shelf.sweep()
        models = self._desk.models()
        query = {str(name): str(value) for name, value in dict(request.query_params).items()}
        choices, left_out = from_query(query, {model.name: model.max_steps for model in models})
        found = self._desk.model(choices.model)
        tab = query.get("tab", "restore")
        tab = tab if tab in TABS else "restore"
        told = said(f"Of the link was left out: {'; '.join(left_out)}.", is_error=True) if left_out else ""
        return [
            gr.update(choices=[model.name for model in models], value=found.name),
            gr.update(value=choices.steps or found.steps, maximum=found.max_steps),
            choices.seed,
            choices.strength,
            choices.samples,
            AS_GIVEN if choices.format is None else choices.format.value,
            choices.keep,
            choices.strip,
            about_html(found),
            told,
            gr.update(selected=tab),
            *visible(tab),
        ]


class _Leave:
    """What happens when a page is closed: what it runs is stopped."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def __call__(self, request: gr.Request) -> None:
        self._desk.seats.stop(str(request.session_hash))
