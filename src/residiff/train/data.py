"""What a recipe is trained on, and what is held out of that to see by how it goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from residiff.data.catalog import Kind, Split, open_set
from residiff.data.holding_out import carve, validation_pairs
from residiff.data.mixture import Mixed
from residiff.data.pair import Pair, Pairs
from residiff.data.pairs import PicturePairs, SyntheticPairs
from residiff.data.parts import PictureSet
from residiff.data.purposes import SOURCE
from residiff.data.settings import Source
from residiff.errors import ConfigError
from residiff.recipe import Recipe, Validation
from residiff.seeds import seed_of

# The first procedural picture that is held out
FAR = 2**40


class TrainingData(NamedTuple):
    """Pairs to train on, pairs (3, H, W) in [0, 1] that are never trained on, and what to say of these."""

    training: Pairs
    held_out: tuple[Pair, ...]
    record: dict[str, object]


def training_data(recipe: Recipe, folder: Path | None) -> TrainingData:
    """The data that a recipe names, its sets below `folder`; procedural pictures where neither names a set.

    Raises
    ------
    ConfigError
        If there is no such set, or it lacks what the recipe needs.
    ImageError
        If a picture that is held out cannot be read.
    """
    sources = recipe.data.mixture or (Source(layout=recipe.data.layout),)
    if folder is None and any(source.path for source in sources):
        raise ConfigError("data.mixture names sets; give the folder that they are in with --data")
    supplies = [
        _supply(_seeded(recipe, number), source, folder, _count(recipe.validation, sources, source))
        for number, source in enumerate(sources)
    ]
    training = supplies[0].training
    if len(supplies) > 1:
        weighted = [(one.training, source.weight) for one, source in zip(supplies, sources, strict=True)]
        training = Mixed(weighted, recipe.training.seed)
    held_out = tuple(pair for one in supplies for pair in one.held_out)
    record = {"on": recipe.validation.on, "of": "; ".join(str(one.record["of"]) for one in supplies)}
    return TrainingData(training, held_out, {**record, "pairs": len(held_out)} if held_out else {})


def _seeded(recipe: Recipe, number: int) -> Recipe:
    """The recipe with a seed for one of its sources, the first one's being its own: no two draw alike."""
    seed = seed_of(recipe.training.seed, SOURCE, number) % 2**62 if number else recipe.training.seed
    return recipe.model_copy(update={"training": recipe.training.model_copy(update={"seed": seed})})


def _count(validation: Validation, sources: Sequence[Source], source: Source) -> int:
    """How many pairs of one of the sources may be held out."""
    return max(1, round(validation.most * source.weight / sum(one.weight for one in sources)))


def _supply(recipe: Recipe, source: Source, folder: Path | None, most: int) -> TrainingData:
    # In a mixture, a source without a path is procedural
    if folder is None or (recipe.data.mixture and not source.path):
        return _procedural(recipe, source, most)
    place, on = folder / source.path, recipe.validation.on
    pictures, held_out = _opened(recipe, source, place, "train"), None
    # So that a run is not continued on others of the same number
    pictures = replace(pictures, source=f"{pictures.source} ({pictures.fingerprint})")
    if on == "carved":
        pictures, held_out = carve(pictures, recipe.validation.share, most)
    elif on == "test":
        held_out = _thinned(_opened(recipe, source, place, "test"), most)
    seed, mask = recipe.training.seed, recipe.network.mask
    pairs = PicturePairs(pictures, recipe.data, seed, mask=mask, degrade=source.degrade)
    if held_out is None:
        return TrainingData(pairs, (), {"of": pictures.source})
    crop = recipe.validation.crop or recipe.data.crop
    kept = validation_pairs(held_out, recipe.data, crop, mask, seed=seed, degrade=source.degrade)
    return TrainingData(pairs, kept, {"of": held_out.source})


def _opened(recipe: Recipe, source: Source, place: Path, split: Split) -> PictureSet:
    data = recipe.data
    kinds: tuple[Kind, ...] = ()
    if source.degrade is not None or recipe.task == "generate":
        kinds = ("clean",)
    elif data.from_masks:
        kinds = ("clean", "mask")
    return open_set(place, source.layout, split, pairing=data.pairing, domains=data.domains, kinds=kinds)


def _thinned(pictures: PictureSet, most: int) -> PictureSet:
    """At most `most` pictures of a set, spread over it."""
    count = len(pictures)
    places = [place * count // min(most, count) for place in range(min(most, count))]
    return pictures.select(places, f"{len(places)} of them")


def _procedural(recipe: Recipe, source: Source, most: int) -> TrainingData:
    """Procedural pairs; held out are pictures that come after the last that training could draw."""
    data = replace(recipe.data, degrade=source.degrade or recipe.data.degrade)
    settings, mask, validation = recipe.training, recipe.network.mask, recipe.validation
    pairs = SyntheticPairs(data, settings.seed, mask=mask)
    if validation.on == "none":
        return TrainingData(pairs, (), {"of": pairs.source})
    # Pair i shows one of the `window` pictures from i // reuse on: however long training becomes, none of these
    first = FAR * data.reuse
    beyond = SyntheticPairs(replace(data, crop=validation.crop or data.crop), settings.seed, mask=mask)
    held_out = tuple(beyond(first + data.reuse * index) for index in range(most))
    return TrainingData(pairs, held_out, {"of": f"{pairs.source}, other pictures"})
