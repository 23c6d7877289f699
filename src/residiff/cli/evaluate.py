"""`residiff evaluate`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from residiff.cli.console import interruptible, note, progress, show_json, show_table

if TYPE_CHECKING:
    from residiff.evaluate import Evaluation, Result

EXAMPLE = "Example: residiff evaluate restored/ truth/ --json. Or: residiff evaluate --model denoise --data pairs/"
Item = TypeVar("Item")

Predicted = Annotated[Path | None, typer.Argument(metavar="[PRED]", help="Pictures to score, or one.")]
Truth = Annotated[Path | None, typer.Argument(metavar="[GT]", help="The true ones, of the same names; or a data set.")]
Mask = Annotated[Path | None, typer.Option(help="Where the region is, white: a folder, or a picture.")]
Name = Annotated[str, typer.Option("--protocol", "-p", metavar="NAME", help="See `residiff protocols list`.")]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="A folder for result.json, images.csv, table.*.")]
Label = Annotated[str, typer.Option(help="What to call it in tables; the folder's or model's name by default.")]
Model = Annotated[str | None, typer.Option("--model", "-m", help="Restore --data by this model, and score that.")]
Data = Annotated[Path | None, typer.Option(help="What the model restores: a data set's test part.")]
Layout = Annotated[str | None, typer.Option(metavar="NAME", help="Of a data set; see `residiff data layouts`.")]
Steps = Annotated[int | None, typer.Option(help="Of the model's sampling; its own number by default.")]
Seed = Annotated[int, typer.Option(help="Of the model's noise; the first one.")]
Repeats = Annotated[int, typer.Option(help="Seeds to restore from; their spread is told.")]
AsTrained = Annotated[bool, typer.Option("--as-trained", help="Resize as the model's recipe does in training.")]
Save = Annotated[bool, typer.Option("--save", help="Write what the model makes into the output folder, too.")]
Device = Annotated[str, typer.Option(help="Of the model: auto, cpu, cuda, cuda:1, mps.")]
Recursive = Annotated[bool, typer.Option("--recursive", "-r", help="Pictures in sub-folders, too.")]
Partial = Annotated[bool, typer.Option("--partial", help="Leave out what has no partner, and say so.")]
Processes = Annotated[int | None, typer.Option(help="That score at once; one for each core by default.")]
Weights = Annotated[str | None, typer.Option(help="Of LPIPS, FID and others: a file, folder or hub address.")]
Json = Annotated[bool, typer.Option("--json", help="For a program to read.")]


def evaluate(
    predicted: Predicted = None,
    truth: Truth = None,
    mask: Mask = None,
    protocol: Name = "rgb-8bit-full",
    output: Output = None,
    label: Label = "",
    model: Model = None,
    data: Data = None,
    layout: Layout = None,
    steps: Steps = None,
    seed: Seed = 0,
    repeats: Repeats = 1,
    as_trained: AsTrained = False,
    save: Save = False,
    device: Device = "auto",
    recursive: Recursive = False,
    partial: Partial = False,
    processes: Processes = None,
    weights: Weights = None,
    json: Json = False,
) -> None:
    """Score pictures against the truth by a published protocol, or a model on a data set, in one go."""
    from residiff.evaluate import open_evaluation, open_model_evaluation
    from residiff.restore import load

    _check(predicted, model, data, save and output is None)
    opened: Evaluation[Any]
    if predicted is not None:
        opened = open_evaluation(
            predicted, truth, mask, protocol=protocol, layout=layout, recursive=recursive, partial=partial,
            weights=weights, processes=processes or os.cpu_count() or 1,
        )  # fmt: skip
    else:
        opened = open_model_evaluation(
            load(str(model), device), Path(str(data)), protocol=protocol, layout=layout or "auto", seed=seed,
            repeats=repeats, steps=steps, weights=weights, output=output if save else None, as_trained=as_trained,
        )  # fmt: skip
    _show(opened.result(_counted(opened.scores(), opened.total), label), output, json)


def _check(predicted: Path | None, model: str | None, data: Path | None, saves: bool) -> None:
    from residiff.errors import ConfigError

    if saves:
        raise ConfigError("--save writes what a model makes into the output folder; name it with --output")
    if (predicted is None) == (model is None) or (model is None) != (data is None):
        raise ConfigError("give the pictures to score and the true ones, or else --model and --data")


def _counted(items: Iterator[Item], total: int) -> Iterator[Item]:
    """The items, under a progress bar."""
    with progress() as bar:
        task = bar.add_task("scoring", total=total)
        for item in interruptible(items):
            bar.advance(task)
            yield item


def _show(result: Result, output: Path | None, json: bool) -> None:
    from residiff.evaluate import rows_of, write_result

    for place, names in result.missing.items():
        note(f"{place} lacks {len(names)} of the names; these were left out: {', '.join(names[:5])}")
    for measure, why in result.left_out.items():
        note(f"{measure} is left out: {why}")
    if output is not None:
        write_result(result, output)
        note(f"wrote {output}")
    if json:
        show_json(result.as_json())
    else:
        show_table(rows_of(result), f"{result.protocol}, version {result.version}")
