"""`residiff train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from residiff.cli.console import interruptible, note, progress

EXAMPLE = "Example: residiff train denoise -o runs/denoise --set training.iterations=2000"


def train(
    recipe: Annotated[str, typer.Argument(help="A preset's name, or a .toml file.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The run's folder.")],
    data: Annotated[Path | None, typer.Option(help="A folder with clean/ and degraded/ (and mask/).")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change the recipe.")] = None,
    init: Annotated[str | None, typer.Option(metavar="MODEL", help="Start from this model's weights.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in the folder.")] = False,
    device: Annotated[str, typer.Option(help="cpu, cuda, mps.")] = "cpu",
    workers: Annotated[int, typer.Option(min=0, help="Processes that prepare the data.")] = 0,
) -> None:
    """Train a model by a recipe, from procedural pictures or a folder of pairs."""
    from residiff import models
    from residiff import recipe as recipes
    from residiff import train as training
    from residiff.checkpoint import load_model
    from residiff.restore import pick_device

    chosen = recipes.override(recipes.read(recipe), set_ or [])
    pairs, place = training.pairs_for(chosen, data), str(pick_device(device))
    report_every = max(1, chosen.training.iterations // 20)
    start = None if init is None else load_model(models.find(init))
    with training.open_run(chosen, output, place, resume=resume, init=start) as run:
        note(f"{chosen.name}: step {run.step} of {chosen.training.iterations}")
        with progress() as bar:
            task = bar.add_task("training", total=chosen.training.iterations, completed=run.step)
            for state in interruptible(run.train(pairs, workers)):
                bar.update(task, completed=state.step, description=f"loss {state.loss:.4f}")
                if bar.disable and state.step % report_every == 0:
                    note(f"step {state.step}, loss {state.loss:.4f}, {state.seconds:.0f} s")
    note(f"wrote {output / training.MODEL}")
