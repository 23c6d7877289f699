"""`residiff models`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from residiff.cli.console import interruptible, note, out, progress, show_json, show_table

if TYPE_CHECKING:
    from residiff.curve import Curve
    from residiff.train import Tuned

app = typer.Typer(
    no_args_is_help=True, help="The models that are here.", epilog="Example: residiff models info denoise"
)
Json = Annotated[bool, typer.Option("--json", help="For a program to read.")]


@app.command("list", epilog="Example: residiff models list --json")
def list_(json: Json = False) -> None:
    """List the bundled models."""
    from residiff.restore import descriptors

    rows = [asdict(descriptor) for descriptor in descriptors()]
    if json:
        show_json(rows)
    else:
        show_table(
            [
                {key: row[key] for key in ("name", "task", "steps", "needs_mask", "parameters", "summary")}
                for row in rows
            ]
        )


@app.command("info", epilog="Example: residiff models info low-light")
def info(
    model: Annotated[str, typer.Argument(help="A bundled name, file, folder or hub id.")],
    json: Json = False,
) -> None:
    """Say all that a model's file knows of it: what it takes, how it was trained, its figures and its recipe."""
    from residiff import models
    from residiff.checkpoint import load_model
    from residiff.restore import Restorer

    held = load_model(models.find(model))
    facts = asdict(Restorer(held).descriptor)
    if json:
        show_json({**facts, "recipe": held.recipe.model_dump(mode="json", exclude_none=True)})
        return
    card = facts.pop("card")
    show_table([{"what": key.replace("_", " "), "value": value} for key, value in {**facts, **card}.items()])
    out.out(held.recipe.toml())


@app.command("import", epilog="Example: residiff models import last.ckpt -o raindrop.safetensors --length 12")
def import_(
    source: Annotated[str, typer.Argument(metavar="FILE", help="A .pt, .ckpt or .safetensors, a folder, a hub id.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The model file to write, .safetensors.")],
    recipe: Annotated[str | None, typer.Option(help="A preset or .toml, for what the file does not say.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change the recipe.")] = None,
    length: Annotated[int | None, typer.Option(metavar="T", help="Resfusion's T, which its files do not say.")] = None,
    weights: Annotated[str | None, typer.Option(help="ema or plain; the average by default, if there is one.")] = None,
    name: Annotated[str | None, typer.Option(help="The model's; the file's by default.")] = None,
    json: Json = False,
) -> None:
    """Turn a published checkpoint (RDDM, Resfusion, DDPM, diffusers) into a model file, whole or not at all."""
    from residiff.adapters import ImportOptions, KeysError, import_model
    from residiff.checkpoint import save_model

    try:
        model = import_model(source, ImportOptions(recipe, tuple(set_ or ()), length, weights, name))
    except KeysError as error:
        if json:
            show_json({"error": str(error), **error.report.facts()})
        raise
    save_model(output, model)
    if json:
        show_json({"output": output, "card": model.card, "recipe": model.recipe.model_dump(mode="json")})
    else:
        show_table([{"what": key.replace("_", " "), "value": value} for key, value in model.card.items()])
        note(f"wrote {output}")


@app.command("export", epilog="Example: residiff models export denoise -o exported/")
def export(
    model: Annotated[str, typer.Argument(help="A bundled name, file, folder or hub id.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="A folder, or the .onnx or .pt2 file to write.")],
    format: Annotated[str | None, typer.Option(help="onnx or torch; by the file's name, else onnx.")] = None,
    steps: Annotated[int | None, typer.Option(help="Sampling steps; the model's own number by default.")] = None,
    json: Json = False,
) -> None:
    """Write a model's network as a graph, any size and batch, and beside it how it is sampled, as JSON."""
    from residiff import models
    from residiff.checkpoint import load_model
    from residiff.restore.exporting import export_model

    done = export_model(load_model(models.find(model)), output, format, steps)
    if json:
        show_json(asdict(done))
        return
    for path in (done.graph, done.sampler):
        note(f"wrote {path}")
    note(f"largest difference to the network here: {done.difference:.1e}")


@app.command("tune", epilog="Example: residiff models tune denoise --steps 1,2,3,5 -o tuned.safetensors")
def tune(
    model: Annotated[str, typer.Argument(help="A bundled name, file, folder or hub id.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The model file to write, .safetensors.")],
    steps: Annotated[
        str, typer.Option(metavar="N,N,...", help="Numbers of steps to find the best times for.")
    ] = "1,2,3,5",
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="A set of pairs; procedural ones by default.")
    ] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change the recipe.")] = None,
    own: Annotated[bool, typer.Option("--own", help="Aim at its own results in many steps, not at the truth.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    json: Json = False,
) -> None:
    """Find the times at which a model is best asked, by measured error, and how quality and time go with the steps."""
    from dataclasses import replace

    from residiff import models
    from residiff import recipe as recipes
    from residiff.checkpoint import load_model, save_model
    from residiff.restore import pick_device
    from residiff.train import Tuner, calibration, tuned_model

    held = load_model(models.find(model))
    held = replace(held, recipe=recipes.override(held.recipe, set_ or []))
    pairs = calibration(held.recipe, data)
    tuner = Tuner(held, pairs.held_out, _numbers(steps), pick_device(device), own=own)
    results = []
    with progress() as bar:
        task = bar.add_task("tuning", total=len(tuner.steps))
        for found in interruptible(tuner.tuned()):
            results.append(found)
            bar.update(task, advance=1, description=f"tuned {found.steps}")
    curve = tuner.curve(results, str(pairs.record["of"]))
    made = tuned_model(held, results, curve)
    save_model(output, made, next(iter(made.weights.values())).dtype)
    _show_tuned(output, results, curve, json)


def _show_tuned(output: Path, results: list[Tuned], curve: Curve, as_json: bool) -> None:
    rows = [
        {"steps": one.steps, "times": list(one.times), "PSNR": round(one.psnr, 2), "own_times": round(one.own, 2)}
        | {"s_a_megapixel": float(f"{point.seconds_per_megapixel:.3g}")}
        for one, point in zip(results, curve.points, strict=True)
    ]
    if as_json:
        show_json({"output": output, "tuned": rows, "curve": curve.facts()})
        return
    show_table(rows)
    note(f"wrote {output}")


def _numbers(text: str) -> list[int]:
    """The numbers of "1,2,3"; `ConfigError` where it does not read so."""
    from residiff.errors import ConfigError

    if not all(part.strip().isdecimal() for part in text.split(",")):
        raise ConfigError(f"steps is {text!r}; give numbers with commas between them, 1,2,5")
    return [int(part) for part in text.split(",")]


@app.command("cost", epilog="Example: residiff models cost denoise --size 256 --size 1024x768 --steps 1 --steps 5")
def cost(
    model: Annotated[
        str | None, typer.Argument(metavar="[MODEL]", help="A bundled name, file, folder, hub id.")
    ] = None,
    recipe: Annotated[str | None, typer.Option("--recipe", "-r", help="Count this recipe's network in place.")] = None,
    sizes: Annotated[list[str] | None, typer.Option("--size", metavar="N|WxH", help="Of the picture; 256.")] = None,
    steps: Annotated[list[int] | None, typer.Option("--steps", help="Of sampling; the model's own number.")] = None,
    threads: Annotated[int, typer.Option(help="Of the processor, when it is timed.")] = 1,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    published: Annotated[bool, typer.Option("--published", help="What the papers print, too.")] = False,
    json: Json = False,
) -> None:
    """Say what a model costs: parameters, MACs, seconds, memory; and what the papers' counter would have said."""
    from residiff import models
    from residiff import recipe as recipes
    from residiff.checkpoint import load_model
    from residiff.errors import ConfigError
    from residiff.evaluate import cost_rows, measure_cost, parse_size, published_costs, timed_row

    if (model is None) == (recipe is None):
        raise ConfigError("name a model to count and time, or a recipe to count with --recipe")
    asked, numbers = [parse_size(size) for size in sizes or ["256"]], steps or (None,)
    if recipe is not None:
        rows = cost_rows(recipes.read(recipe), asked, numbers)
    else:
        held = load_model(models.find(str(model))).recipe
        runs = measure_cost(str(model), asked, numbers, device=device, threads=threads)
        rows = [timed_row(held, run) for run in runs]
    if json:
        show_json({"costs": rows, "published": published_costs()} if published else rows)
        return
    show_table(rows)
    if published:
        show_table(published_costs(), "as the papers print it, 256x256")
