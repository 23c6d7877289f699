"""`residiff train`."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from residiff.cli.console import interruptible, note, progress, show_table, silence, stop_on_signals
from residiff.errors import ConfigError

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

    from residiff.checkpoint import ModelFile
    from residiff.recipe import Recipe
    from residiff.train import Processes, Progress, Run, TrainingData

EXAMPLE = "Example: residiff train denoise -o runs/denoise --set training.iterations=2000"


NEEDS = {"--alpha-rate": "--auto-objective", "--budget": "--probe", "--override": "--resume", "--steps": "--distill"}
APART = {
    "--probe": ("--resume", "--init", "--auto-objective"),
    "--distill": ("--init", "--auto-batch", "--probe", "--auto-objective"),
}


@dataclass(frozen=True)
class Task:
    """What is trained, where, and on what."""

    recipe: Recipe
    data: TrainingData
    folder: Path | None
    output: Path
    processes: Processes
    workers: int


@dataclass(frozen=True)
class Start:
    """What a run begins from: the weights of a model, a teacher, or where it stopped."""

    init: ModelFile | None
    teacher: ModelFile | None
    resume: bool
    override: bool


def train(
    output: Annotated[Path, typer.Option("--output", "-o", metavar="RUN", help="The run's folder.")],
    recipe: Annotated[str | None, typer.Argument(metavar="[RECIPE]", help="A preset's name, or a .toml file.")] = None,
    data: Annotated[Path | None, typer.Option(metavar="DIR", help="A set: see `data layouts`.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="K=VALUE", help="Change the recipe.")] = None,
    init: Annotated[str | None, typer.Option(metavar="MODEL", help="From its weights.")] = None,
    distill: Annotated[str | None, typer.Option(metavar="MODEL", help="Learn to do in few steps what it does.")] = None,
    steps: Annotated[int | None, typer.Option(metavar="N", help="... in so many: 1.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run.")] = False,
    override: Annotated[bool, typer.Option("--override", help="... though the recipe changed.")] = False,
    choose_on_test: Annotated[bool, typer.Option("--choose-on-test", help="Validate on the test split.")] = False,
    auto_batch: Annotated[bool, typer.Option("--auto-batch", help="Fit the batch to the memory.")] = False,
    auto_objective: Annotated[bool, typer.Option("--auto-objective", help="Learn what to predict first.")] = False,
    alpha_rate: Annotated[float | None, typer.Option(metavar="RATE", help="... how fast: 8e-5.")] = None,
    probe: Annotated[bool, typer.Option("--probe", help="Only compare methods in short runs.")] = False,
    budget: Annotated[float | None, typer.Option(metavar="SECONDS", help="... in that time: 600.")] = None,
    device: Annotated[str, typer.Option(metavar="NAME", help="cpu, cuda, mps.")] = "cpu",
    processes: Annotated[int | None, typer.Option(metavar="N", help="That torchrun must have started.")] = None,
    workers: Annotated[int, typer.Option(metavar="N", min=0, help="Processes that prepare data.")] = 0,
    tensorboard: Annotated[bool, typer.Option("--tensorboard/--no-tensorboard", help="Event files.")] = True,
) -> None:
    """Train a model by a recipe, on procedural pictures or a set of pairs; docs/training.md says how."""
    from residiff.restore import pick_device
    from residiff.train import started, training_data

    flags = {"--resume": resume, "--override": override, "--auto-batch": auto_batch, "--probe": probe}
    values = {"--init": init, "--alpha-rate": alpha_rate, "--budget": budget, "--steps": steps, "--distill": distill}
    flags |= {"--auto-objective": auto_objective} | {name: value is not None for name, value in values.items()}
    _check({name for name, given in flags.items() if given})
    place = started(str(pick_device(device)), processes)
    if not place.is_first:
        silence()
    changes, teacher = [*(set_ or []), *(["validation.on=test"] if choose_on_test else [])], _model(distill)
    chosen = _chosen(recipe, teacher, steps, changes)
    chosen = _fitted(chosen, place, output if resume else None) if auto_batch else chosen
    if probe:
        return _probe(chosen, output, data, place, 600.0 if budget is None else budget, workers)
    task = Task(chosen, training_data(chosen, data), data, output, place, workers)
    if auto_objective:
        task = _decided(task, 8e-5 if alpha_rate is None else alpha_rate, resume=resume)
    return _train(task, Start(_model(init), teacher, resume, override), tensorboard=tensorboard)


def _chosen(recipe: str | None, teacher: ModelFile | None, steps: int | None, changes: list[str]) -> Recipe:
    """The recipe that is named, or made of the teacher's."""
    from residiff import recipe as recipes
    from residiff.train import distilled

    if teacher is not None and recipe is None:
        return distilled(teacher, 1 if steps is None else steps, changes)
    if steps is not None:
        raise ConfigError("RECIPE, which says it, does not go with --steps; leave one of them out")
    return recipes.override(recipes.read(_named(recipe)), changes)


def _check(given: set[str]) -> None:
    """Raise `ConfigError` where of the options that are given one needs another, or two contradict each other."""
    for option, other in NEEDS.items():
        if option in given and other not in given:
            raise ConfigError(f"{option} is of {other}; give both or neither")
    for option, others in APART.items():
        if option in given and (found := [other for other in others if other in given]):
            raise ConfigError(f"{option} does not go with {found[0]}; leave one of them out")


def _named(recipe: str | None) -> str:
    if recipe is None:
        raise ConfigError("name a recipe: a preset, or a .toml file; `residiff recipes list` lists the presets")
    return recipe


def _fitted(recipe: Recipe, processes: Processes, folder: Path | None) -> Recipe:
    """The recipe as it fits the first process's memory, or as it did when the run in `folder` began."""
    from residiff.recipe import parse
    from residiff.train import fitted, fitted_before

    known = None if folder is None else fitted_before(recipe, folder)
    chosen = known or (fitted(recipe, processes.device, processes=processes.count) if processes.is_first else recipe)
    return parse(processes.told_text(chosen.toml()), recipe.name)


def _model(source: str | None) -> ModelFile | None:
    from residiff import models
    from residiff.checkpoint import load_model

    return None if source is None else load_model(models.find(source))


def _train(task: Task, start: Start, *, tensorboard: bool) -> None:
    from residiff import train as training
    from residiff.train.launch import others_lost
    from residiff.train.trackers import TensorBoardTracker

    recipe, output = task.recipe, task.output
    with (
        others_lost(),
        stop_on_signals(passed_on=task.processes.launcher is not None) as stop,
        training.open_run(
            recipe,
            output,
            task.processes,
            resume=start.resume,
            override=start.override,
            init=start.init,
            teacher=start.teacher,
        ) as run,
    ):
        run.held_out = task.data.record
        note(f"{recipe.name}: step {run.step} of {recipe.training.iterations}")
        wanted = tensorboard and task.processes.is_first
        with contextlib.ExitStack() as opened, progress("speed", "score") as bar:
            trackers = [TensorBoardTracker(output / "tensorboard", run.step)] if wanted else []
            for tracker in trackers:
                opened.callback(tracker.close)
            states = run.train(
                task.data.training, task.workers, held_out=task.data.held_out, stop=stop, trackers=trackers
            )
            for state in states:
                _show(bar, run, state)
        if start.teacher is not None:
            _compare(run, start.teacher, task.data)
        _finish(run, task.folder)
    if run.stopped:
        # Another process was told
        raise typer.Exit(143)


def _show(bar: Bar, run: Run, state: Progress) -> None:
    """The state of a run on the progress bar, or where there is none now and then in a line."""
    total = run.recipe.training.iterations
    if not bar.tasks:
        bar.add_task("training", total=total, completed=run.step, speed="", score="")
    speed = f"{state.images_per_second:.1f} pairs/s, {state.memory / 2**20:,.0f} MiB"
    best = run.log.best
    score = "" if best is None or best.psnr is None else f"best {best.psnr:.2f} dB"
    bar.update(bar.tasks[0].id, completed=state.step, description=f"loss {state.loss:.4f}", speed=speed, score=score)
    if bar.disable and state.step % max(1, total // 20) == 0:
        note(f"step {state.step}, loss {state.loss:.4f}, {state.seconds:.0f} s, {speed} {score}".rstrip())


def _compare(run: Run, teacher: ModelFile, data: TrainingData) -> None:
    """Write and show how well teacher and student restore what was held out."""
    from residiff.checkpoint import load_model
    from residiff.train import BEST, before_and_after

    if run.stopped or not run.processes.is_first or not data.held_out:
        return
    found = before_and_after(teacher, load_model(run.folder / BEST), data.held_out, run.processes.device)
    found.write(run.folder)
    show_table([{key: round(value, 2) for key, value in row._asdict().items()} for row in found.rows])


def _finish(run: Run, data: Path | None) -> None:
    """Say how the run ended, and write its report."""
    from residiff import files
    from residiff.reports import over, training_report
    from residiff.train import BEST, MODEL

    if not run.processes.is_first:
        return
    if run.stopped:
        return note(f"saved at step {run.step}; continue with --resume")
    report = run.folder / "report.html"
    files.write_bytes(report, training_report(run.folder, data))
    best = run.log.best
    if best is not None and best.psnr is not None and best.input_psnr is not None:
        gain = over(best.psnr - best.input_psnr, "their input")
        pairs = "test pairs" if run.recipe.validation.on == "test" else "held-out pairs"
        note(f"{pairs}: best at step {best.step} ({run.folder / BEST}): {best.psnr:.2f} dB, {gain}")
    note(f"report: {report}")
    note(f"wrote {run.folder / MODEL}")


def _decided(task: Task, rate: float, *, resume: bool) -> Task:
    """The task with the objective of the run in the folder, or else with the one that is chosen now."""
    from dataclasses import replace

    from residiff.train import auto
    from residiff.train.objective import decided

    if task.processes.are_many:
        raise ConfigError("--auto-objective is of one process; choose the objective first, then train by many")
    known = auto.stored(task.recipe, task.output) if resume else None
    if known is not None:
        note(f"objective: {known.prediction.kind}, as the run began")
        return replace(task, recipe=known)
    device, pairs = str(task.processes.device), task.data.training
    with progress() as bar:
        bar_task = bar.add_task("objective", total=auto.LIMIT)
        rows = auto.select_objective(
            task.recipe, pairs, task.output, device, alpha_rate=rate, workers=task.workers, resume=resume
        )
        for row in interruptible(rows):
            bar.update(bar_task, completed=row.step, description=f"alpha {row.alpha:.4f}")
    found = decided(task.recipe, row.objective())
    note(f"objective: {found.prediction.kind}, since alpha is {row.alpha:.4f} after {row.step} steps")
    return replace(task, recipe=found)


def _probe(recipe: Recipe, output: Path, data: Path | None, processes: Processes, budget: float, workers: int) -> None:
    from residiff.train import split
    from residiff.train.probe import RECOMMENDED, probe

    if processes.are_many:
        raise ConfigError("--probe is of one process; leave torchrun out")
    with progress() as bar:
        task = bar.add_task("probing", total=round(budget))
        moments = probe(recipe, split(recipe, data), output, str(processes.device), budget=budget, workers=workers)
        for moment in interruptible(moments):
            bar.update(task, completed=round(moment.seconds), description=moment.doing)
    verdict = moment.verdict
    show_table(verdict.rows())
    note(verdict.text())
    note(f"wrote {output / RECOMMENDED}; train by it: residiff train {output / RECOMMENDED} -o RUN")
