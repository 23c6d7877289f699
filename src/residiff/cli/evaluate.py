"""`residiff evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from residiff.cli.console import interruptible, note, out, progress, show_json, show_table

if TYPE_CHECKING:
    from residiff.evaluate import Evaluation, Result

EXAMPLE = "Example: residiff evaluate restored/ truth/ --json"


def evaluate(
    predicted: Annotated[Path | None, typer.Argument(metavar="PRED", help="Pictures to score, or one.")] = None,
    truth: Annotated[
        Path | None, typer.Argument(metavar="GT", help="The true ones, of the same names; or a data set.")
    ] = None,
    mask: Annotated[Path | None, typer.Option(help="Where the region is, white: a folder, or a picture.")] = None,
    protocol: Annotated[str, typer.Option("--protocol", "-p", help="See `residiff protocols list`.")] = "rgb-8bit-full",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A folder: result.json, images.csv, table.md, table.tex.")
    ] = None,
    label: Annotated[str, typer.Option(help="What to call it in tables; the folder's name by default.")] = "",
    layout: Annotated[str | None, typer.Option(help="Of a data set; see `residiff data layouts`.")] = None,
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Pictures in sub-folders, too.")] = False,
    partial: Annotated[bool, typer.Option("--partial", help="Leave out what has no partner.")] = False,
    processes: Annotated[int | None, typer.Option(help="How many; one for each core by default.")] = None,
    weights: Annotated[str | None, typer.Option(help="Of LPIPS, FID, ...: a file, folder or hub address.")] = None,
    json: Annotated[bool, typer.Option("--json", help="For a program to read.")] = False,
) -> None:
    """Score pictures against the truth by a published protocol; without one, PSNR and SSIM of 8-bit RGB."""
    from residiff.errors import ConfigError
    from residiff.evaluate import open_evaluation

    if predicted is None:
        raise ConfigError("name the pictures to score, and the true ones")
    opened = open_evaluation(
        predicted,
        truth,
        mask,
        protocol=protocol,
        layout=layout,
        recursive=recursive,
        partial=partial,
        weights=weights,
    )
    show_result(_scored(opened, processes, label), output, json)
