"""`residiff models`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from residiff.cli.console import out, show_json, show_table

app = typer.Typer(
    no_args_is_help=True, help="The models that are here.", epilog="Example: residiff models info denoise"
)
Json = Annotated[bool, typer.Option("--json", help="For a program to read.")]


@app.command("list", epilog="Example: residiff models list --json")
def list_(json: Json = False) -> None:
    """List the bundled models."""
    from residiff.restore import descriptors

    rows = [asdict(descriptor) for descriptor in descriptors()]
    if json:
        show_json(rows)
    else:
        show_table(
            [
                {key: row[key] for key in ("name", "task", "steps", "needs_mask", "parameters", "summary")}
                for row in rows
            ]
        )


@app.command("info", epilog="Example: residiff models info low-light")
def info(
    model: Annotated[str, typer.Argument(help="A bundled name, file, folder or hub id.")],
    json: Json = False,
) -> None:
    """Say all that a model's file knows of it: what it takes, how it was trained, its figures and its recipe."""
    from residiff import models
    from residiff.checkpoint import load_model
    from residiff.restore import Restorer

    held = load_model(models.find(model))
    facts = asdict(Restorer(held).descriptor)
    if json:
        show_json({**facts, "recipe": held.recipe.model_dump(mode="json", exclude_none=True)})
        return
    card = facts.pop("card")
    show_table([{"what": key.replace("_", " "), "value": value} for key, value in {**facts, **card}.items()])
    out.out(held.recipe.toml())
