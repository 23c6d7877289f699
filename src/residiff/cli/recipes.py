"""`residiff recipes`."""

from __future__ import annotations

import textwrap
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from residiff.cli.console import note, notes, out, show_json, show_table
from residiff.errors import ConfigError

if TYPE_CHECKING:
    from residiff.nn import AnyBackbone
    from residiff.recipe import Fault, Recipe

app = typer.Typer(
    no_args_is_help=True, help="Recipes: experiments as data.", epilog="Example: residiff recipes show tiny"
)
Json = Annotated[bool, typer.Option("--json", help="For a program to read.")]
UNKNOWN = "# not published"
WIDTH = 100


@app.command("list", epilog="Example: residiff recipes list --json")
def list_(json: Json = False) -> None:
    """List the preset recipes."""
    from residiff import recipe

    presets = [recipe.read(name) for name in recipe.names()]
    if json:
        show_json([_facts(preset) for preset in presets])
    else:
        show_table([_row(preset) for preset in presets])


@app.command("show", epilog="Example: residiff recipes show denoise > mine.toml")
def show(
    recipe: Annotated[str, typer.Argument(help="A preset's name, or a .toml file.")],
    json: Json = False,
) -> None:
    """Print a recipe with every setting written out; comments say what it is, and which settings nobody published."""
    from residiff import recipe as recipes

    read = recipes.read(recipe)
    if json:
        show_json(read.model_dump(mode="json", exclude_none=True))
    else:
        comments = [f"# {line}\n" for text in _told(read) for line in textwrap.wrap(text, WIDTH)]
        out.out("".join(comments) + "\n" + _marked(read))


@app.command("schema", epilog="Example: residiff recipes schema > recipe.schema.json")
def schema() -> None:
    """Print the JSON schema of recipes, by which editors complete, explain and check settings while you type."""
    from residiff import recipe as recipes

    show_json(recipes.json_schema())


@app.command("check", epilog="Example: residiff recipes check mine.toml")
def check(files: Annotated[list[Path], typer.Argument(help="Recipes, .toml.")], json: Json = False) -> None:
    """Check recipes: every fault of each, with its line and what is allowed."""
    from residiff import recipe as recipes

    found = {str(file): recipes.check(str(file)) for file in files}
    if json:
        show_json([_checked(name, faults) for name, faults in found.items()])
    else:
        _show_faults(found)
    if faulty := sum(map(bool, found.values())):
        raise ConfigError(f"{faulty} of {len(found)} recipes cannot be used")


def _show_faults(found: dict[str, tuple[Fault, ...]]) -> None:
    for name, faults in found.items():
        for fault in faults:
            notes.print(str(fault), markup=False)
        if not faults:
            note(f"{name}: fine")


def _checked(name: str, faults: tuple[Fault, ...]) -> dict[str, object]:
    """What a program is told of one recipe."""
    return {
        "name": name,
        "fine": not faults,
        "faults": [
            {
                "file": fault.spot.source if fault.spot else name,
                "line": fault.spot.line if fault.spot else None,
                "key": fault.key,
                "message": fault.text,
            }
            for fault in faults
        ],
    }


def _facts(recipe: Recipe) -> dict[str, object]:
    """What a program may want to know of a preset before it reads it; `origin` is None where it is of no paper."""
    facts = recipe.model_dump(mode="json", include={"name", "task", "summary", "origin"})
    return facts | {"steps": recipe.sampling.steps, "parameters": _parameters(recipe)}


def _row(recipe: Recipe) -> dict[str, object]:
    """A line of the table."""
    origin = recipe.origin
    return {
        "name": recipe.name,
        "task": recipe.task,
        "paper": origin.paper.partition(",")[0] if origin else "",
        "steps": recipe.sampling.steps,
        "parameters": f"{_parameters(recipe) / 1e6:.1f}M",
        "unknown": len(origin.unknown) if origin else "",
    }


def _told(recipe: Recipe) -> list[str]:
    """A recipe in words: where it comes from, what it is, how it is trained."""
    origin, training = recipe.origin, recipe.training
    pairs, data = training.batch * training.accumulate, recipe.data
    told = [
        f"The network, {_parameters(recipe):,} parameters, predicts {recipe.prediction.kind.replace('-', ' and ')}; "
        f"sampling takes {recipe.sampling.steps} of {len(recipe.schedule)} levels.",
        f"Training: {training.iterations:,} updates of {pairs} pairs of {data.width} x {data.height} pixels; "
        f"without a folder of pairs, procedural pictures and the degradation {data.degrade.name}.",
    ]
    if origin is None:
        return told
    gaps = f"Not published, so a choice of ours: {', '.join(origin.unknown)}." if origin.unknown else ""
    return [f"{origin.paper}. {origin.row}.", *told, gaps]


def _marked(recipe: Recipe) -> str:
    """The recipe as TOML, with a comment behind each setting, or table, that `origin.unknown` names."""
    unknown = recipe.origin.unknown if recipe.origin else ()
    table, lines = "", []
    for line in recipe.toml().splitlines():
        if line.startswith("["):
            table = key = line.strip("[]")
        else:
            key = f"{table}.{line.partition(' = ')[0]}" if table else line.partition(" = ")[0]
        lines.append(f"{line}  {UNKNOWN}" if key in unknown else line)
    return "\n".join(lines)


def _parameters(recipe: Recipe) -> int:
    """How many the network has."""
    return _counted(recipe.network.backbone, recipe.in_channels, recipe.prediction.heads)


@lru_cache(maxsize=64)
def _counted(backbone: AnyBackbone, in_channels: int, heads: int) -> int:
    import torch

    # Nothing is allocated
    with torch.device("meta"):
        network = backbone.build(in_channels, 3, heads)
    return sum(parameter.numel() for parameter in network.parameters())
