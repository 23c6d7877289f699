"""Make a bundled model of a training run: averaged weights in float16, and a card of how it came to be and what it reaches.

    python benchmarks/bundle.py runs/denoise --figures quality.json --note "two CPU cores, 45 minutes"

Writes src/residiff/models/NAME.safetensors and its model card NAME.md.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from datetime import date
from pathlib import Path

import torch

from residiff.checkpoint import ModelFile, load_model, save_model
from residiff.errors import ConfigError

MODELS = Path(__file__).parent.parent / "src" / "residiff" / "models"
LARGEST = 6_000_000

CARD = """# {name}

{summary}

| | |
|---|---|
| task | {task} |
| training data | procedural pictures of `residiff.data.synthetic`, degraded by `{degradation}`; no photograph |
| steps | {iterations} of batch {batch}, crop {crop}; {note} |
| recipe | `residiff recipes show {name}`; also in the file's header |
| network | {parameters:,} parameters, float16 in the file |
| SHA-256 | `{sha256}` |
| licence | Apache-2.0 |

Figures on photographs never seen in training (`python benchmarks/quality.py`, {date}):

{figures}
"""


def bundle(run: Path, figures: dict[str, object], note: str) -> Path:
    """Write the model of `run` among the bundled ones, with its card; returns its path."""
    model = load_model(run)
    recipe = model.recipe
    card = {**model.card, "note": note, "figures": figures, "date": date.today().isoformat()}
    path = MODELS / f"{recipe.name}.safetensors"
    save_model(path, replace(model, card=card), torch.float16)
    if path.stat().st_size > LARGEST:
        raise ConfigError(f"{path} has {path.stat().st_size} bytes; bundled models hold at most {LARGEST}")
    path.with_suffix(".md").write_text(_card(load_model(path)), "utf-8")
    return path


def _card(model: ModelFile) -> str:
    recipe, figures = model.recipe, model.card["figures"]
    rows = "\n".join(f"| {name} | {value} |" for name, value in figures.items())
    return CARD.format(
        name=recipe.name,
        summary=recipe.summary,
        task=recipe.task,
        degradation=recipe.data.degrade.name,
        iterations=model.card["iterations"],
        batch=recipe.training.batch,
        crop=recipe.data.crop,
        note=model.card["note"],
        parameters=sum(weight.numel() for weight in model.weights.values()),
        sha256=model.sha256,
        date=model.card["date"],
        figures=f"| figure | value |\n|---|---|\n{rows}",
    )


def main() -> None:
    """Parse the command line and bundle."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="a training run's folder")
    parser.add_argument("--figures", type=Path, help="JSON object of figures for the card")
    parser.add_argument("--note", default="", help="machine and time of the training")
    arguments = parser.parse_args()
    figures = json.loads(arguments.figures.read_text("utf-8")) if arguments.figures else {}
    path = bundle(arguments.run, figures, arguments.note)
    print(f"wrote {path} ({path.stat().st_size} bytes)")


if __name__ == "__main__":
    main()
