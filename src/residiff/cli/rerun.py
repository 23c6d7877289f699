"""`residiff rerun`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from residiff.cli.console import note, show_json

if TYPE_CHECKING:
    from residiff.restore import Rerun

EXAMPLE = "Example: residiff rerun restored/photo.png --source photos/photo.png"


def rerun(
    image: Annotated[Path, typer.Argument(help="A picture that residiff has restored.")],
    source: Annotated[Path | None, typer.Option(help="What it was made of; else looked for.")] = None,
    mask: Annotated[Path | None, typer.Option(help="The mask, if there was one; else looked for.")] = None,
    model: Annotated[list[Path] | None, typer.Option("--model", "-m", help="Files, runs, folders to look in.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Where to write what comes out.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Restore a picture again, by what it says of how it was made, and say whether the same comes out.

    Ends with 3 if a value differs by more than one grey level of 255.
    """
    from residiff import restore
    from residiff.files import write_bytes

    origin = restore.origin(image)
    found = restore.find_source(image, origin, source)
    matte = restore.find_mask(origin, mask)
    told = origin.provenance
    file, settings = restore.find_model(told, model or []), told.settings.settings
    restorer = restore.load(file, device, settings, backend=told.made.backend)
    done = restore.rerun(image, told, found, matte, restorer)
    if output is not None:
        write_bytes(output, done.result.data)
    facts = {
        "image": str(image),
        "source": str(found),
        "same_bytes": done.same_bytes,
        "same_pixels": done.same_pixels,
        "largest": done.largest,
        "differing": done.differing,
        "values": done.values,
        "then": told.model_dump(),
        "now": done.result.provenance.model_dump(),
    }
    if json:
        show_json(facts)
    note(f"{image}: {_said(done)}")
    if not done.is_close:
        raise typer.Exit(3)


def _said(done: Rerun) -> str:
    if done.same_bytes:
        return "the same file comes out, bit by bit"
    if done.same_pixels:
        return "the same pixels come out, bit by bit; what else the file holds differs"
    return f"{done.differing} of {done.values} values differ, by at most {done.largest}"
