"""`residiff env`."""

from __future__ import annotations

from typing import Annotated

import typer

from residiff.cli.console import show_json, show_table

EXAMPLE = "Example: residiff env --json"


def env(json: Annotated[bool, typer.Option("--json", help="For a program to read.")] = False) -> None:
    """Say what residiff runs on: versions, devices, cores, memory. Paste it into a bug report."""
    from residiff.environment import describe

    facts = describe()
    if json:
        show_json(facts)
    else:
        show_table([{"what": key, "value": value} for key, value in facts.items()])
