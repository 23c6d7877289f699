"""`residiff train`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from residiff.cli.console import interruptible, note, progress, show_table
from residiff.errors import ConfigError

if TYPE_CHECKING:
    from residiff.data.pair import Pairs
    from residiff.recipe import Recipe

EXAMPLE = "Example: residiff train denoise -o runs/denoise --set training.iterations=2000"

AutoObjective = Annotated[
    bool,
    typer.Option(
        "--auto-objective",
        help="First learn whether residual or noise is the better objective (RDDM), then train by that one. "
        "Its path is in objective.csv; with --resume the run keeps its objective.",
    ),
]
Probe = Annotated[
    bool,
    typer.Option(
        "--probe",
        help="Train no model, but compare objectives, schedules and total noise in short runs on these data: "
        "a table, probe.csv, and recommended.toml to train by.",
    ),
]


def train(
    recipe: Annotated[str, typer.Argument(help="A preset's name, or a .toml file.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The run's folder.")],
    data: Annotated[Path | None, typer.Option(help="A folder with clean/ and degraded/ (and mask/).")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change the recipe.")] = None,
    init: Annotated[str | None, typer.Option(metavar="MODEL", help="Start from this model's weights.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in the folder.")] = False,
    auto_objective: AutoObjective = False,
    alpha_rate: Annotated[
        float | None, typer.Option(help="How fast --auto-objective decides; 8e-5 as published.")
    ] = None,
    probe: Probe = False,
    budget: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="The time that --probe may take; 600 by default.")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, mps.")] = "cpu",
    workers: Annotated[int, typer.Option(min=0, help="Processes that prepare the data.")] = 0,
) -> None:
    """Train a model by a recipe, from procedural pictures or a folder of pairs."""
    from residiff import recipe as recipes
    from residiff.restore import pick_device
    from residiff.train import pairs_for

    if alpha_rate is not None and not auto_objective:
        raise ConfigError("--alpha-rate is of --auto-objective; give both or neither")
    if budget is not None and not probe:
        raise ConfigError("--budget is of --probe; give both or neither")
    chosen, place = recipes.override(recipes.read(recipe), set_ or []), str(pick_device(device))
    if probe:
        if resume or init is not None or auto_objective:
            raise ConfigError("--probe goes with none of --resume, --init and --auto-objective; leave them out")
        return _probe(chosen, output, data, place, 600.0 if budget is None else budget, workers)
    pairs = pairs_for(chosen, data)
    if auto_objective:
        chosen = _decided(
            chosen, pairs, output, place, 8e-5 if alpha_rate is None else alpha_rate, workers, resume=resume
        )
    return _train(chosen, pairs, output, place, init, workers, resume=resume)


def _train(
    recipe: Recipe, pairs: Pairs, output: Path, device: str, init: str | None, workers: int, *, resume: bool
) -> None:
    from residiff import models
    from residiff import train as training
    from residiff.checkpoint import load_model

    report_every = max(1, recipe.training.iterations // 20)
    start = None if init is None else load_model(models.find(init))
    with training.open_run(recipe, output, device, resume=resume, init=start) as run:
        note(f"{recipe.name}: step {run.step} of {recipe.training.iterations}")
        with progress() as bar:
            task = bar.add_task("training", total=recipe.training.iterations, completed=run.step)
            for state in interruptible(run.train(pairs, workers)):
                bar.update(task, completed=state.step, description=f"loss {state.loss:.4f}")
                if bar.disable and state.step % report_every == 0:
                    note(f"step {state.step}, loss {state.loss:.4f}, {state.seconds:.0f} s")
    note(f"wrote {output / training.MODEL}")


def _decided(
    recipe: Recipe, pairs: Pairs, output: Path, device: str, rate: float, workers: int, *, resume: bool
) -> Recipe:
    """The recipe with the objective of the run in the folder, or else with the one that is chosen now."""
    from residiff.train import auto
    from residiff.train.objective import decided

    known = auto.stored(recipe, output) if resume else None
    if known is not None:
        note(f"objective: {known.prediction.kind}, as the run began")
        return known
    with progress() as bar:
        task = bar.add_task("objective", total=auto.LIMIT)
        for row in interruptible(
            auto.select_objective(recipe, pairs, output, device, alpha_rate=rate, workers=workers)
        ):
            bar.update(task, completed=row.step, description=f"alpha {row.alpha:.4f}")
    found = decided(recipe, row.objective())
    note(f"objective: {found.prediction.kind}, since alpha is {row.alpha:.4f} after {row.step} steps")
    return found


def _probe(recipe: Recipe, output: Path, data: Path | None, device: str, budget: float, workers: int) -> None:
    from residiff.train import split
    from residiff.train.probe import RECOMMENDED, probe

    with progress() as bar:
        task = bar.add_task("probing", total=round(budget))
        moments = probe(recipe, split(recipe, data), output, device, budget=budget, workers=workers)
        for moment in interruptible(moments):
            bar.update(task, completed=round(moment.seconds), description=moment.doing)
    verdict = moment.verdict
    show_table(verdict.rows())
    note(verdict.text())
    note(f"wrote {output / RECOMMENDED}; train by it: residiff train {output / RECOMMENDED} -o RUN")
