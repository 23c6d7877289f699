"""`residiff evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from residiff.cli.console import show_json, show_table

EXAMPLE = "Example: residiff evaluate restored/ truth/ --json"


def evaluate(
    predicted: Annotated[Path, typer.Argument(metavar="PRED", help="Pictures to score, or one.")],
    truth: Annotated[Path, typer.Argument(metavar="GT", help="The true ones, of the same names.")],
    mask: Annotated[Path | None, typer.Option(help="Score these pixels too.")] = None,
    json: Annotated[bool, typer.Option("--json", help="For a program to read.")] = False,
) -> None:
    """Score pictures against the truth: PSNR and SSIM of the full-size 8-bit RGB pictures."""
    from residiff.evaluate import evaluate as score

    report = score(predicted, truth, mask)
    if json:
        show_json(report.as_json())
    else:
        show_table(report.rows(), report.protocol)
