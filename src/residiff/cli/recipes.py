"""`residiff recipes`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from residiff.cli.console import note, out, show_json, show_table

app = typer.Typer(
    no_args_is_help=True, help="Recipes: experiments as data.", epilog="Example: residiff recipes show tiny"
)
Json = Annotated[bool, typer.Option("--json", help="For a program to read.")]


@app.command("list", epilog="Example: residiff recipes list --json")
def list_(json: Json = False) -> None:
    """List the preset recipes."""
    from residiff import recipe

    rows = [recipe.read(name).model_dump(mode="json", include={"name", "task", "summary"}) for name in recipe.names()]
    if json:
        show_json(rows)
    else:
        show_table(rows)


@app.command("show", epilog="Example: residiff recipes show denoise > mine.toml")
def show(
    recipe: Annotated[str, typer.Argument(help="A preset's name, or a .toml file.")],
    json: Json = False,
) -> None:
    """Print a recipe with every setting written out."""
    from residiff import recipe as recipes

    read = recipes.read(recipe)
    if json:
        show_json(read.model_dump(mode="json", exclude_none=True))
    else:
        out.out(read.toml())


@app.command("check", epilog="Example: residiff recipes check mine.toml")
def check(files: Annotated[list[Path], typer.Argument(help="Recipes, .toml.")]) -> None:
    """Check recipes; each fault is named with what is allowed."""
    from residiff import recipe as recipes
    from residiff.train import pairs_for

    for file in files:
        recipe = recipes.read(str(file))
        recipe.build()
        pairs_for(recipe, None)
        note(f"{file}: fine")
