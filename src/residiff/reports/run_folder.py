"""What a run's folder holds besides its tables: the recipe, the model files and the strips of pictures."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass, field, replace
from pathlib import Path

from residiff.checkpoint import BEST, MODEL, Card, load_model
from residiff.data import images
from residiff.errors import ConfigError, ImageError, ModelFileError
from residiff.plots.history import History, read_history
from residiff.recipe import Recipe, parse
from residiff.train import RECIPE, STRIPS
from residiff.train.strips import column_count, headings

MAX_STRIPS = 5
# Above it a strip is shown as WebP; the file stays as it is
MAX_PNG_BYTES = 400_000


@dataclass(frozen=True)
class Weights:
    """A model file of a run: `sha256` is of all its bytes, `identity` the hash in its header.

    `same_as` is the name of another one that has the same bytes.
    """

    name: str
    sha256: str = ""
    identity: str = ""
    megabytes: float = 0.0
    parameters: int = 0
    card: Card = field(default_factory=dict)
    problem: str = ""
    same_as: str = ""


@dataclass(frozen=True)
class Strip:
    """Pictures after update number `step`, as a data URI; `columns` are empty where nobody knows what they show."""

    step: int
    source: str
    width: int
    height: int
    columns: tuple[str, ...]
    problem: str = ""


@dataclass(frozen=True)
class RunFolder:
    """Everything a report is made from; what is missing is empty, what is damaged has a `problem`."""

    folder: Path
    history: History
    recipe: Recipe | None
    recipe_text: str
    recipe_problem: str
    weights: tuple[Weights, ...]
    strips: tuple[Strip, ...]

    @property
    def card(self) -> Card:
        """Facts of the newest model file that could be read."""
        return next((weights.card for weights in self.weights if weights.card), {})

    @property
    def chosen(self) -> Card:
        """Facts of the weights that did best; of the newest, where no best can be read."""
        return next((weights.card for weights in self.weights if weights.name == BEST and weights.card), self.card)

    @property
    def chosen_on_test(self) -> bool:
        """Whether the best weights were chosen by pictures of a test split, as they say themselves."""
        told = self.chosen.get("validation")
        if isinstance(told, dict):
            told = told.get("on")
        if told is None:
            return self.recipe is not None and self.recipe.validation.on == "test"
        return str(told).lower().startswith("test")


def read_run(folder: Path) -> RunFolder:
    """Read a run's folder.

    Raises
    ------
    ConfigError
        If it is no run's, or its tables are damaged.
    """
    history = read_history(folder)
    others = sorted(path.name for path in folder.glob("model-*.safetensors"))
    weights = _compared([_weights(folder / name) for name in (MODEL, BEST, *others) if (folder / name).is_file()])
    recipe, text, problem = _recipe(folder)
    strips = tuple(_strip(path, recipe, "psnr" in history.scores) for path in _chosen(folder, history))
    return RunFolder(folder, history, recipe, text, problem, weights, strips)


def _recipe(folder: Path) -> tuple[Recipe | None, str, str]:
    """The recipe, its text, and why it cannot be read; that of the model file where it lies nowhere else."""
    path = folder / RECIPE
    try:
        if path.is_file():
            text = path.read_text("utf-8")
            return parse(text, str(path)), text, ""
        if (folder / MODEL).is_file():
            recipe = load_model(folder / MODEL, allow_not_finite=True).recipe
            return recipe, recipe.toml(), ""
    except (OSError, UnicodeDecodeError, ConfigError, ModelFileError) as error:
        return None, "", str(error)
    return None, "", f"the folder holds no {RECIPE}"


def _weights(path: Path) -> Weights:
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            size = file.tell()
        model = load_model(path, allow_not_finite=True)
    except (OSError, ModelFileError) as error:
        return Weights(path.name, problem=str(error))
    count = sum(tensor.numel() for tensor in model.weights.values())
    return Weights(path.name, digest, model.sha256, size / 1e6, count, model.card)


def _compared(found: list[Weights]) -> tuple[Weights, ...]:
    """The files, each that has the bytes of one before it marked so."""
    first: dict[str, str] = {}
    for weights in found:
        if weights.sha256:
            first.setdefault(weights.sha256, weights.name)
    names = [first.get(weights.sha256, weights.name) for weights in found]
    return tuple(
        replace(weights, same_as="" if name == weights.name else name)
        for weights, name in zip(found, names, strict=True)
    )


def _chosen(folder: Path, history: History) -> list[Path]:
    """The first strip, the last, and some between, evenly; those before the pairs became others show these no more."""
    told = history.scores.get("loss")
    since = 0 if told is None else int(told.steps[0])
    paths = sorted(path for path in (folder / STRIPS).glob("step-*.png") if (_step(path) or 0) >= max(1, since))
    last = len(paths) - 1
    places = {round(last * part / (MAX_STRIPS - 1)) for part in range(MAX_STRIPS)} if paths else set()
    return [paths[place] for place in sorted(places)]


def _step(path: Path) -> int | None:
    found = re.fullmatch(r"step-(\d+)", path.stem)
    return int(found[1]) if found else None


def _strip(path: Path, recipe: Recipe | None, truth: bool) -> Strip:
    step = _step(path) or 0
    try:
        data = path.read_bytes()
        picture = images.read(data)
        height, width = picture.pixels.shape[1:]
        kind = "png"
        if len(data) > MAX_PNG_BYTES:
            data, kind = images.encode(picture, images.Format.WEBP, quality=90), "webp"
    except (OSError, ImageError) as error:
        return Strip(step, "", 0, 0, (), f"{path.name}: {error}")
    source = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    return Strip(step, source, width, height, _columns(width, recipe, truth))


def _columns(width: int, recipe: Recipe | None, truth: bool) -> tuple[str, ...]:
    if recipe is None:
        return ()
    crop = recipe.validation.crop or recipe.data.crop
    count = column_count(width, crop if isinstance(crop, int) else crop[1])
    if count is None or count < 2 + truth:
        return ()
    named, steps = headings(count, truth=truth), recipe.sampling.steps
    # Of fewer columns than states nobody knows here which ones they are
    if count != steps + 2 + truth:
        return tuple(named)
    return tuple(f"{place - 1} of {steps}" if name == _MIDDLE else name for place, name in enumerate(named))


_MIDDLE = "on the way"
