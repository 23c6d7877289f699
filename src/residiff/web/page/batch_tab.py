"""Restore many pictures, one after the other."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import gradio as gr

from residiff.data import images
from residiff.errors import ConfigError, ImageError, ResidiffError
from residiff.web.page.archives import Limits, Member, Pack, members
from residiff.web.page.choices import Choices
from residiff.web.page.desk import Desk, foreign_files, work_of
from residiff.web.page.pairing import Masks
from residiff.web.page.running import Seat, patiently
from residiff.web.page.settings_panel import SettingsPanel, choices_of
from residiff.web.page.stage import Stage
from residiff.web.page.values import Value
from residiff.web.page.views import said, stage_html, table

TAB = "batch"
# More would only make the page slow; all are in the archive
MOST_SHOWN = 60
Updates = tuple[Any, ...]
# Paths of what browsers show before and after, and the name
Pair = tuple[str, str, str]
# A picture, and its mask where one is needed
_Paired = tuple[Member, bytes | None]


def lay_out(desk: Desk, settings: SettingsPanel) -> gr.Column:
    """Lay out the tab."""
    column = gr.Column(visible=False, elem_id="batching")
    with column:
        files = gr.File(
            label="Drop pictures or ZIP archives, or click to choose them", file_count="multiple", elem_id="files",
            height=160,
        )  # fmt: skip
        with gr.Column(visible=False, elem_id="batch-masking") as masking:
            label = "Masks named as the pictures, or a ZIP archive of them, white where to work"
            masks = gr.File(label=label, file_count="multiple", elem_id="batch-masks", height=120)
        with gr.Row():
            go = gr.Button("Restore all", variant="primary", elem_id="batch-go")
            stop = gr.Button("Stop", elem_id="batch-stop")
        told = gr.HTML(elem_id="batch-told")
        archive = gr.DownloadButton("Download all as ZIP", visible=False, elem_id="batch-zip", variant="primary")
        gallery = gr.Gallery(label="Results", visible=False, elem_id="batch-gallery", columns=4, interactive=False,
                             buttons=["fullscreen"])  # fmt: skip
        slider = gr.ImageSlider(label="Before (left) and after (right)", elem_id="batch-slider", visible=False,
                                interactive=False, buttons=["fullscreen"], max_height=560)  # fmt: skip
        listed = gr.HTML(elem_id="batch-list")
        album = gr.State([])
    batch = _Batch(desk)
    go.click(
        batch.run, [files, masks, *settings.values], [told, archive, gallery, listed, album, slider],
        concurrency_limit=None, show_progress="hidden", api_visibility="private",
    )  # fmt: skip
    gallery.select(before_and_after, album, slider, queue=False, show_progress="hidden", api_visibility="private")
    stop.click(batch.stop, None, None, queue=False, api_visibility="private")
    for event in (settings.model.change, settings.keep.change):
        event(batch.masked, [settings.model, settings.keep], masking, queue=False, api_visibility="private")
    return column


def before_and_after(album: list[Pair], event: gr.SelectData) -> dict[str, Any]:
    """A slider of the picture that was chosen."""
    return _slider(album, event.index if isinstance(event.index, int) else -1)


def _slider(album: list[Pair], number: int) -> dict[str, Any]:
    if not 0 <= number < len(album):
        return gr.update(visible=False)
    before, after, name = album[number]
    return gr.update(value=(before, after), label=f"{name}: before (left) and after (right)", visible=True)


@dataclass
class Tally:
    """What became of the pictures so far: what browsers show of the results, and a line for each picture."""

    shown: list[Pair] = field(default_factory=list)
    lines: list[tuple[str, str, str]] = field(default_factory=list)
    restored: int = 0
    failed: int = 0

    def done(self, name: str, told: str) -> None:
        """Count a result."""
        self.restored += 1
        self.lines.append((name, "restored", told))

    def fail(self, name: str, why: str) -> None:
        """Count a failure."""
        self.failed += 1
        self.lines.append((name, "failed", why))

    def told(self) -> str:
        """What was done, in words."""
        return f"{self.restored} restored, {self.failed} failed."

    def html(self) -> str:
        """The list, what failed first."""
        lines = sorted(self.lines, key=lambda line: line[1] != "failed")
        return table("What became of each picture", ["Picture", "State", "Remark"], lines)


class _Batch:
    """What the buttons do."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def stop(self, request: gr.Request) -> None:
        """Stop what this tab runs."""
        self._desk.seats.stop(str(request.session_hash), TAB)

    def masked(self, model: str, keep: bool) -> dict[str, Any]:
        """Whether there is a place for masks."""
        return gr.update(visible=self._desk.takes_mask(model, keep))

    def run(
        self, request: gr.Request, files: list[str] | None, masks: list[str] | None, *values: Value
    ) -> Iterator[Updates]:
        """Restore all, and pack what was made."""
        hidden = gr.update(visible=False)
        try:
            choices, white = self._checked(files, masks, values)
        except ResidiffError as error:
            yield said(str(error), is_error=True), hidden, hidden, "", [], hidden
            return
        seat, tally = self._desk.seats.take(str(request.session_hash), TAB), Tally()
        path = self._desk.shelf.place("restored.zip")
        with Pack(path) as pack:
            pictures = members(map(Path, files or []), self._limits)
            for told in self._restored(_paired(pictures, white), choices, seat, tally, pack):
                yield told, hidden, _gallery(tally), tally.html(), tally.shown, hidden
        ending = "Stopped. " if seat.is_stopped else ""
        archive = gr.update(value=str(path), visible=True) if tally.lines else hidden
        yield said(ending + tally.told()), archive, _gallery(tally), tally.html(), tally.shown, _slider(tally.shown, 0)

    @property
    def _limits(self) -> Limits:
        return Limits(file_bytes=self._desk.bounds.file_bytes)

    def _checked(
        self, files: list[str] | None, masks: list[str] | None, values: tuple[Value, ...]
    ) -> tuple[Choices, Masks | None]:
        if not files:
            raise ConfigError("there are no pictures yet; drop some, or an archive of them")
        if foreign_files([{"path": file} for file in files + (masks or [])], self._desk.shelf.folder):
            raise ConfigError("a file is not here any more; give it again")
        choices = choices_of(self._desk, values)
        if not self._desk.takes_mask(choices.model, choices.keep):
            return choices, None
        if not masks:
            raise ConfigError("this needs a mask for each picture, named as it is; drop them, or an archive of them")
        return choices, Masks(members(map(Path, masks), self._limits), self._desk.shelf)

    def _restored(
        self, pictures: Iterable[_Paired], choices: Choices, seat: Seat, tally: Tally, pack: Pack
    ) -> Iterator[str]:
        for member, mask in pictures:
            if seat.is_stopped:
                return
            if member.error is not None:
                tally.fail(member.name, str(member.error))
                pack.fail(member.name, str(member.error))
                continue
            for stage in self._one(member, mask, choices, seat):
                if stage.is_last:
                    self._take(member, stage, tally, pack)
                yield said(f"{member.name}: {tally.told()}") + stage_html(Stage(stage.told, stage.share))

    def _one(self, member: Member, mask: bytes | None, choices: Choices, seat: Seat) -> Iterator[Stage]:
        work = work_of(choices, member.data, PurePosixPath(member.name).name, mask)
        for stage in patiently(self._desk.engine, work, seat):
            if stage.result is not None:
                height, width = images.size_of(member.data)
                self._desk.learn(work, stage.result, height * width)
            yield stage

    def _take(self, member: Member, stage: Stage, tally: Tally, pack: Pack) -> None:
        if stage.result is None:
            tally.fail(member.name, stage.error or stage.told)
            pack.fail(member.name, stage.error or stage.told)
            return
        name = str(PurePosixPath(member.name).with_name(stage.result.name))
        pack.add(name, stage.result.data)
        tally.done(name, stage.told)
        if len(tally.shown) < MOST_SHOWN:
            # Of one that cannot be shown the file is there all the same
            with contextlib.suppress(ImageError):
                before = self._desk.shown(f"before-{PurePosixPath(member.name).name}", member.data)
                tally.shown.append((before, self._desk.shown(stage.result.name, stage.result.data), name))


def _paired(pictures: Iterable[Member], masks: Masks | None) -> Iterator[_Paired]:
    """Each with its mask; with the error that there is none in place of the picture."""
    for member in pictures:
        try:
            yield member, None if masks is None or member.error is not None else masks.of(member.name)
        except (ConfigError, ImageError) as error:
            yield Member(member.name, error=error), None


def _gallery(tally: Tally) -> dict[str, Any]:
    return gr.update(value=[(after, name) for _, after, name in tally.shown], visible=bool(tally.shown))
