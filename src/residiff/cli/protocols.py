"""`residiff protocols`."""

from __future__ import annotations

from typing import Annotated

import typer

from residiff.cli.console import show_json, show_table

app = typer.Typer(
    no_args_is_help=True, help="The published ways to score.", epilog="Example: residiff protocols show istd-shadow-256"
)
Json = Annotated[bool, typer.Option("--json", help="For a program to read.")]


@app.callback()
def _group() -> None:
    """The published ways to score."""


@app.command("list", epilog="Example: residiff protocols list --json")
def list_(json: Json = False) -> None:
    """List the protocols by which `residiff evaluate` scores."""
    from residiff.evaluate import described

    rows = described()
    if json:
        show_json(rows)
    else:
        show_table([{key: row[key] for key in ("name", "version", "summary")} for row in rows])


@app.command("show", epilog="Example: residiff protocols show rain-y")
def show(name: Annotated[str, typer.Argument(help="Of the protocol.")], json: Json = False) -> None:
    """Say all of a protocol: what it measures of what, whose it is, its quirks, and the sane one beside it."""
    from residiff.evaluate import described, find_protocol

    chosen = find_protocol(name).name
    row = next(row for row in described() if row["name"] == chosen)
    if json:
        show_json(row)
    else:
        show_table([{"what": key, "value": value} for key, value in row.items() if value != ""])
