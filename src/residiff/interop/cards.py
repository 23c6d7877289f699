"""Model cards: a README.md for the hub, whose head programs read and whose body people do."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from residiff.checkpoint import ModelFile
from residiff.errors import ConfigError
from residiff.models import bundled

# A name of the hub's list, "apache-2.0" say
LICENCE = re.compile(r"[a-z0-9][a-z0-9.-]*")
BUNDLED_LICENCE = "apache-2.0"
OURS = "residiff"
_FIGURES, _VALIDATION = "figures", "validation"
_PIPELINE = {"generate": "unconditional-image-generation"}
_SCORES = ("psnr", "ssim", "lpips", "fid")


def model_card(model: ModelFile, name: str, licence: str | None = None) -> str:
    """The README.md of `model`, which is loaded by `name`, a hub id or a folder.

    Parameters
    ----------
    model : what its file holds
    name : what `residiff.load` is given
    licence : a name of the hub's list; a bundled model's is apache-2.0, any other's is left open

    Raises
    ------
    ConfigError
        If `licence` is no such name.
    """
    if licence is None and model.recipe.name in bundled():
        licence = BUNDLED_LICENCE
    if licence is not None and not LICENCE.fullmatch(licence):
        raise ConfigError(f"licence is {licence!r}; give a name of the hub's list, apache-2.0 or cc-by-4.0 say")
    parts = (_head(model, licence), _facts(model, licence), _figures(model.card), _use(model, name), _recipe(model))
    return "\n".join(part for part in parts if part)


def _head(model: ModelFile, licence: str | None) -> str:
    """YAML between two lines of dashes; every value is JSON, which YAML holds whole."""
    recipe = model.recipe
    head: dict[str, Any] = {
        "library_name": OURS,
        "pipeline_tag": _PIPELINE.get(recipe.task, "image-to-image"),
        "tags": [OURS, "diffusion", "image-restoration", recipe.task, recipe.schedule.kind],
    }
    head |= {} if licence is None else {"license": licence}
    metrics = [{"type": key, "value": value} for key, value in _measured(model.card).items()]
    if metrics:
        data = {"name": str(model.card.get("data", "unknown")), "type": "image"}
        result = {"task": {"type": head["pipeline_tag"]}, "dataset": data, "metrics": metrics}
        head["metrics"] = [metric["type"] for metric in metrics]
        head["model-index"] = [{"name": recipe.name, "results": [result]}]
    lines = (f"{key}: {json.dumps(value, ensure_ascii=True)}" for key, value in head.items())
    return "\n".join(["---", *lines, "---", ""])


def _measured(card: Mapping[str, Any]) -> dict[str, float]:
    """The model's own scores: of its figures, or else of its validation."""
    figures = card.get(_FIGURES)
    own = figures.get(OURS) if isinstance(figures, dict) else card.get(_VALIDATION)
    found = own if isinstance(own, dict) else {}
    return {key: found[key] for key in _SCORES if _is_number(found.get(key))}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _facts(model: ModelFile, licence: str | None) -> str:
    recipe = model.recipe
    parameters = sum(value.numel() for value in model.weights.values())
    rows: dict[str, object] = {
        "task": recipe.task,
        "schedule": f"{recipe.schedule.kind}, {len(recipe.schedule)} levels",
        "network": f"{recipe.network.backbone.kind}, {parameters:,} parameters",
        "steps": recipe.sampling.steps,
        "needs a mask": "yes" if recipe.network.mask else "no",
        "licence": licence or "not stated",
    }
    rows |= {key: value for key, value in model.card.items() if isinstance(value, str | int | float)}
    body = [f"| {_cell(key)} | {_cell(value)} |" for key, value in rows.items()]
    return "\n".join([f"# {recipe.name}", "", _cell(recipe.summary), "", "| | |", "|---|---|", *body, ""])


def _figures(card: Mapping[str, Any]) -> str:
    figures = {key: value for key, value in _tables(card) if isinstance(value, dict)}
    measures = list(dict.fromkeys(key for row in figures.values() for key in row))
    if not measures:
        return ""
    lines = [f"| | {' | '.join(map(_cell, measures))} |", f"|---|{'--:|' * len(measures)}"]
    for name, row in figures.items():
        cells = (_cell("" if row.get(measure) is None else row[measure]) for measure in measures)
        lines.append(f"| {_cell(name)} | {' | '.join(cells)} |")
    return "\n".join(["## Results", "", *lines, ""])


def _tables(card: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    figures = card.get(_FIGURES)
    if isinstance(figures, dict):
        yield from figures.items()
    elif _VALIDATION in card:
        yield _VALIDATION, card[_VALIDATION]


def _cell(value: object) -> str:
    """Text that cannot leave its cell: a card may come from anybody's file."""
    return " ".join(str(value).split()).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")


def _use(model: ModelFile, name: str) -> str:
    mask = ", mask" if model.recipe.network.mask else ""
    command = "generate -n 16 -o made" if model.recipe.task == "generate" else "restore photo.png -o restored.png"
    lines = ["## Use", "", "    pip install residiff", f"    residiff {command} -m {name}"]
    if model.recipe.task != "generate":
        lines += ["", "```python", "import residiff", f"restorer = residiff.load({json.dumps(name)})"]
        lines += [f"restored = restorer(image{mask})", "```"]
    return "\n".join([*lines, ""])


def _recipe(model: ModelFile) -> str:
    return "\n".join(["## Recipe", "", "```toml", model.recipe.toml().strip(), "```", ""])
