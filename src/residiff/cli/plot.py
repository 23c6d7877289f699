"""`residiff plot`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from residiff.cli.console import note

app = typer.Typer(
    no_args_is_help=True,
    help="Pictures of what goes on inside.",
    epilog="Example: residiff plot schedule -r denoise -o s.svg",
)


@app.callback()
def _group() -> None:
    """Pictures of what goes on inside."""


@app.command("schedule", epilog="Example: residiff plot schedule --recipe denoise -o schedule.svg")
def schedule(
    output: Annotated[Path, typer.Option("--output", "-o", help="A .png or .svg file; a .csv is written beside it.")],
    recipe: Annotated[str, typer.Option("--recipe", "-r", help="A preset's name, or a .toml file.")] = "denoise",
) -> None:
    """Plot a recipe's coefficients over time, and where x_0 vanishes."""
    from residiff import plots
    from residiff import recipe as recipes

    for path in plots.plot_schedule(recipes.read(recipe).schedule, output):
        note(f"wrote {path}")
