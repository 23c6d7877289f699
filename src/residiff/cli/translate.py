"""`residiff translate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from residiff.cli.restore import run_jobs

EXAMPLE = "Example: residiff translate dusk/ -o day/ -m translate.safetensors --seed 3"


def translate(
    sources: Annotated[list[Path], typer.Argument(metavar="IN...", help="Pictures or folders.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="A picture or folder to write.")],
    model: Annotated[str, typer.Option("--model", "-m", help="A bundled name, file, folder or hub id.")],
    steps: Annotated[int | None, typer.Option(help="Sampling steps; the model's own number by default.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the noise.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Sub-folders too, kept in shape.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Leave out what is already written.")] = False,
    suffix: Annotated[str, typer.Option(help="Put after the name: cat_translated.png.")] = "",
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change the recipe.")] = None,
    save_steps: Annotated[bool, typer.Option("--save-steps", help="Write x_t and x_0 of every step too.")] = False,
) -> None:
    """Translate pictures into another domain; the network is not shown them, they are where sampling starts."""
    from residiff.errors import ConfigError
    from residiff.restore import Options, load, plan

    options = Options(steps=steps, seed=seed, suffix=suffix, save_steps=save_steps)
    restorer = load(model, device, set_ or [])
    if restorer.recipe.task != "translate":
        raise ConfigError(f"model {restorer.descriptor.name!r} is for {restorer.recipe.task!r}; use `residiff restore`")
    run_jobs(plan(sources, output, options, recursive=recursive), restorer, options, output, resume)
