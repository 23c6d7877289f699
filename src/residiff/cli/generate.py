"""`residiff generate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from residiff.cli.console import interruptible, note, progress

EXAMPLE = "Example: residiff generate -m faces.safetensors -n 16 -o faces/ --steps 20 --seed 7"


def generate(
    model: Annotated[str, typer.Option("--model", "-m", help="A bundled name, file, folder or hub id.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="A folder for all, or a picture for a grid of them.")],
    count: Annotated[int, typer.Option("--count", "-n", help="How many pictures.")] = 16,
    steps: Annotated[int | None, typer.Option(help="Sampling steps; the model's own number by default.")] = None,
    seed: Annotated[int, typer.Option(help="Of the first picture's noise; the next has the next.")] = 0,
    size: Annotated[int | None, typer.Option(help="Side in pixels; what it was trained on by default.")] = None,
    batch: Annotated[int, typer.Option(help="Made at a time.")] = 16,
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change the recipe.")] = None,
    save_steps: Annotated[bool, typer.Option("--save-steps", help="Write x_t and x_0 of every step too.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
) -> None:
    """Make pictures from noise: one file each and a grid; the same seed gives the same picture."""
    from residiff.restore import Gallery, load
    from residiff.restore import generate as made

    gallery = Gallery(output, count, moments=save_steps)
    pictures = made(
        load(model, device, set_ or []),
        count,
        steps=steps,
        seed=seed,
        size=size,
        batch=batch,
        keep_moments=save_steps,
    )
    with gallery.lock(), progress() as bar:
        task = bar.add_task("generating", total=count)
        for picture in interruptible(pictures):
            gallery.add(picture)
            bar.advance(task)
        note(f"wrote {gallery.finish()}")
