"""`residiff table`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from residiff.cli.console import note, show_text

EXAMPLE = "Example: residiff table ours/ theirs/result.json --published LOL"
Format = Literal["markdown", "latex", "csv"]


def table(
    results: Annotated[list[Path], typer.Argument(metavar="RESULT...", help="What `evaluate -o` wrote.")],
    format: Annotated[Format, typer.Option("--format", "-f", help="How it is written.")] = "markdown",
    published: Annotated[str | None, typer.Option(metavar="DATA", help="Among the papers' rows on this set.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A file; stdout by default.")] = None,
    level: Annotated[float, typer.Option(help="Of the bootstrap intervals.")] = 0.95,
) -> None:
    """Lay results side by side, or among those that the papers print; of one protocol and the same pictures alone."""
    from residiff.evaluate import TableFormat, load_result, published_table, table_of, write_table
    from residiff.files import write_bytes

    loaded = [load_result(path) for path in results]
    rows = None if published is None else published_table(loaded[0].protocol, published)
    text = write_table(table_of(loaded, rows, level), TableFormat(format))
    if output is None:
        show_text(text)
    else:
        write_bytes(output, text.encode())
        note(f"wrote {output}")
