"""`residiff data`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from residiff.cli.console import interruptible, note, progress, show_json, show_table

app = typer.Typer(
    no_args_is_help=True, help="Training data that need no download.", epilog="Example: residiff data list"
)
Settings = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=LOW[,HIGH]", help="A parameter's range.")]
Output = Annotated[Path, typer.Option("--output", "-o", help="The folder to write.")]
Kind = Annotated[str, typer.Option("--kind", "-k", help="A degradation; see `residiff data list`.")]


@app.command("list", epilog="Example: residiff data list --json")
def list_(json: Annotated[bool, typer.Option("--json", help="For a program to read.")] = False) -> None:
    """List the degradations and the ranges of their parameters."""
    from residiff.data.sets import degradations

    rows = degradations()
    if json:
        show_json(rows)
    else:
        show_table(rows)


@app.command("degrade", epilog="Example: residiff data degrade photos/ -o dark/ -k low-light")
def degrade(
    source: Annotated[Path, typer.Argument(metavar="IN", help="A folder of clean pictures.")],
    output: Output,
    kind: Kind,
    settings: Settings = None,
    seed: Annotated[int, typer.Option(help="Of what is drawn.")] = 0,
) -> None:
    """Degrade a folder of pictures: degraded/ (and mask/) beside copies in clean/, a set to train on."""
    from residiff.data.sets import degrade_folder, parse_ranges

    _write(degrade_folder(source, output, kind, parse_ranges(settings or []), seed), output)


@app.command("make", epilog="Example: residiff data make -o set/ -k rain -n 485 --size 256")
def make(
    output: Output,
    kind: Kind,
    count: Annotated[int, typer.Option("--count", "-n", help="How many pairs.")] = 100,
    size: Annotated[int, typer.Option(help="Width and height in pixels.")] = 256,
    settings: Settings = None,
    seed: Annotated[int, typer.Option(help="Of what is drawn.")] = 0,
) -> None:
    """Make a paired set of procedural pictures: clean/, degraded/ and, where there is one, mask/."""
    from residiff.data.sets import make_set, parse_ranges

    _write(make_set(output, kind, count, size, parse_ranges(settings or []), seed), output)


def _write(names: Iterator[str], output: Path) -> None:
    count = 0
    with progress() as bar:
        task = bar.add_task("writing", total=None)
        for count, _ in enumerate(interruptible(names), 1):  # noqa: B007
            bar.advance(task)
    note(f"{count} pairs in {output}")
