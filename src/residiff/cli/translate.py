"""`residiff translate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from residiff.cli.folder import Run, run_jobs

EXAMPLE = "Example: residiff translate dusk/ -o day/ -m translate.safetensors --seed 3"


def translate(
    sources: Annotated[list[Path], typer.Argument(metavar="IN...", help="Pictures or folders.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="A picture or folder to write.")],
    model: Annotated[str, typer.Option("--model", "-m", help="A bundled name, file, folder or hub id.")],
    steps: Annotated[int | None, typer.Option(help="Sampling steps; the model's own number by default.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the noise.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Sub-folders too, kept in shape.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Keep what the manifest vouches for.")] = False,
    suffix: Annotated[str, typer.Option(help="Put after the name: cat_translated.png.")] = "",
    grid: Annotated[Path | None, typer.Option(help="Also a .png or .svg of the first 16 beside their sources.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change the recipe.")] = None,
    save_steps: Annotated[bool, typer.Option("--save-steps", help="Write x_t and x_0 of every step too.")] = False,
) -> None:
    """Translate pictures into another domain; the network is not shown them, they are where sampling starts."""
    from residiff.data.images import MAX_PIXELS
    from residiff.errors import ConfigError
    from residiff.plots import check_suffix, plot_before_and_after
    from residiff.restore import Options, load, plan

    options = Options.checked(steps, seed, 1.0, None, 95, None, suffix, MAX_PIXELS, save_steps, settings=set_ or [])
    if grid is not None:
        check_suffix(grid, "grid")
    restorer = load(model, device, options.settings)
    if restorer.recipe.task != "translate":
        raise ConfigError(f"model {restorer.descriptor.name!r} is for {restorer.recipe.task!r}; use `residiff restore`")
    jobs = plan(sources, output, options, recursive=recursive)
    try:
        run_jobs(jobs, Run(restorer, options, output, resume))
    finally:
        # Where nothing was made, what went wrong is said by itself
        if grid is not None and any(job.target.is_file() for job in jobs):
            plot_before_and_after([(job.source, job.target) for job in jobs], grid)
