"""Make a bundled model of a training run: averaged weights in float16, and a card of how it came to be.

    python benchmarks/quality.py --tasks denoise --model denoise=runs/denoise --json quality.json
    python benchmarks/bundle.py runs/denoise --figures quality.json --note "35 minutes on one core"

Writes src/residiff/models/NAME.safetensors and its model card NAME.md. The file holds a curve of quality and time by
the number of steps, measured at the model's usual times on the pairs that it was validated by. Of a bundled model's own
file and no figures it measures the curve again, and leaves all else as it is.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from datetime import date
from pathlib import Path

import torch

from residiff.checkpoint import ModelFile, load_model, save_model
from residiff.curve import CURVE, Curve
from residiff.errors import ConfigError
from residiff.train import Tuner, calibration

MODELS = Path(__file__).parent.parent / "src" / "residiff" / "models"
LARGEST = 6_000_000
STEPS = (1, 2, 3, 5)

Figures = dict[str, dict[str, float | None]]

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


def bundle(run: Path, figures: Figures | None, note: str) -> Path:
    """Write the model of `run` among the bundled ones, with its card; returns its path."""
    model = load_model(run)
    known = {} if figures is None else {"note": note, "figures": figures, "date": date.today().isoformat()}
    card = {**model.card, **known, CURVE: curve_of(model).facts()}
    path = MODELS / f"{model.recipe.name}.safetensors"
    save_model(path, replace(model, card=card), torch.float16)
    if path.stat().st_size > LARGEST:
        raise ConfigError(f"{path} has {path.stat().st_size} bytes; bundled models hold at most {LARGEST}")
    path.with_suffix(".md").write_text(_card(load_model(path)), "utf-8")
    return path


def curve_of(model: ModelFile) -> Curve:
    """Quality and time by the number of steps, at the times that the recipe takes, on this machine."""
    pairs = calibration(model.recipe, None)
    tuner = Tuner(model, pairs.held_out, STEPS, torch.device("cpu"))
    return tuner.curve(list(tuner.usual()), str(pairs.record["of"]))


def figures_of(measured: Path, task: str) -> Figures:
    """Each method's mean scores on `task`, from the JSON of quality.py."""
    results = json.loads(measured.read_text("utf-8"))["results"]
    return {
        row["method"]: {key: _rounded(value) for key, value in row["mean"].items()}
        for row in results
        if row["task"] == task
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def _card(model: ModelFile) -> str:
    recipe, figures = model.recipe, model.card["figures"]
    keys = list(next(iter(figures.values())))
    rows = "\n".join(
        f"| {name} | " + " | ".join(_cell(row[key]) for key in keys) + " |" for name, row in figures.items()
    )
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
        figures="| | " + " | ".join(keys) + " |\n|---|" + "--:|" * len(keys) + f"\n{rows}",
    )


def _cell(value: float | None) -> str:
    return "infinite" if value is None else f"{value:g}"


def main() -> None:
    """Parse the command line and bundle."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="a training run's folder, or a bundled model's file")
    parser.add_argument("--figures", type=Path, help="what quality.py wrote with --json")
    parser.add_argument("--note", default="", help="machine and time of the training")
    arguments = parser.parse_args()
    if arguments.figures is None and "figures" not in load_model(arguments.run).card:
        parser.error("a run needs --figures")
    name = load_model(arguments.run).recipe.name
    figures = None if arguments.figures is None else figures_of(arguments.figures, name)
    path = bundle(arguments.run, figures, arguments.note)
    print(f"wrote {path} ({path.stat().st_size} bytes)")


if __name__ == "__main__":
    main()
