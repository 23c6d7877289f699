"""`residiff bench`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from residiff.cli.console import note, show_json, show_table

EXAMPLE = "Example: residiff bench -m denoise --size 256 --backend eager --backend openvino -o bench.json"


def bench(
    model: Annotated[str, typer.Option("--model", "-m", help="A bundled name, file, folder or hub id.")] = "denoise",
    sizes: Annotated[list[int] | None, typer.Option("--size", help="Side of the picture; 256.")] = None,
    steps: Annotated[list[int] | None, typer.Option("--steps", help="Of sampling; the model's own number.")] = None,
    backends: Annotated[list[str] | None, typer.Option("--backend", help="As of restore; eager.")] = None,
    batches: Annotated[list[int] | None, typer.Option("--batch", help="Pictures at once; 1.")] = None,
    threads: Annotated[int | None, typer.Option(help="Of the processor; as many as torch takes.")] = None,
    rounds: Annotated[int, typer.Option(help="Of which the median counts.")] = 5,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "cpu",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="JSON to write.")] = None,
    plot: Annotated[Path | None, typer.Option(help="A .svg or .png to draw.")] = None,
    json: Annotated[bool, typer.Option("--json", help="For a program to read.")] = False,
) -> None:
    """Time restoring, as multiples of the published U-Net's speed in the same run: 36M parameters, five steps."""
    import torch

    from residiff import bench as library

    if plot is not None:
        library.check_plot(plot)
    if threads is not None:
        torch.set_num_threads(threads)
    found = library.bench(
        model, sizes or (256,), steps or (None,), backends or ("eager",), batches or (1,), rounds, device
    )
    if output is not None:
        library.write_results(output, found, model)
        note(f"wrote {output}")
    if plot is not None:
        library.plot(plot, found)
        note(f"wrote {plot}")
    rows = list(library.rows(found))
    if json:
        show_json(rows)
    else:
        show_table(rows)
