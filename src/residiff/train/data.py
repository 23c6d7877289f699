"""What a recipe is trained on, and what is held out of that to see by how it goes."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from residiff.data.catalog import Kind, Split, open_set
from residiff.data.holding_out import carve, validation_pairs, without_copies
from residiff.data.mixture import Mixed
from residiff.data.pair import Pair, Pairs
from residiff.data.pairs import PicturePairs, SyntheticPairs
from residiff.data.parts import PictureSet
from residiff.data.purposes import SOURCE
from residiff.data.settings import Source
from residiff.errors import ConfigError
from residiff.recipe import Recipe, Validation
from residiff.seeds import seed_of

logger = logging.getLogger(__name__)

# The first procedural picture that is held out
FAR = 2**40


class TrainingData(NamedTuple):
    """Pairs to train on, pairs (3, H, W) in [0, 1] that are never trained on, and what to say of these.

    Where a set holds nothing but copies of them, so that they are trained on after all, the record has "seen".
    """

    training: Pairs
    held_out: tuple[Pair, ...]
    record: dict[str, object]


class _Divided(NamedTuple):
    """What there is of a set to train on, and what is held out, if anything."""

    training: PictureSet
    held_out: PictureSet | None


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
    counted = [(source, _count(recipe.validation, sources, source)) for source in sources]
    divided = [_divided(recipe, source, folder, most) for source, most in counted]
    held_out = [one.held_out for one in divided if one is not None and one.held_out is not None]
    supplies = [
        _procedural(own, source, most) if one is None else _supply(own, source, one, held_out)
        for own, (source, most), one in zip(_seeded(recipe, len(sources)), counted, divided, strict=True)
    ]
    return _mixed(recipe, [source.weight for source in sources], supplies)


def _mixed(recipe: Recipe, weights: Sequence[float], supplies: Sequence[TrainingData]) -> TrainingData:
    training = supplies[0].training
    if len(supplies) > 1:
        weighted = [(one.training, weight) for one, weight in zip(supplies, weights, strict=True)]
        training = Mixed(weighted, recipe.training.seed)
    held_out = tuple(pair for one in supplies for pair in one.held_out)
    record: dict[str, object] = {"on": recipe.validation.on, "of": "; ".join(str(one.record["of"]) for one in supplies)}
    record |= {"seen": True} if any("seen" in one.record for one in supplies) else {}
    return TrainingData(training, held_out, {**record, "pairs": len(held_out)} if held_out else {})


def _seeded(recipe: Recipe, count: int) -> Iterator[Recipe]:
    """The recipe with a seed for each of its sources, the first one's being its own: no two draw alike."""
    yield recipe
    for number in range(1, count):
        seed = seed_of(recipe.training.seed, SOURCE, number) % 2**62
        yield recipe.model_copy(update={"training": recipe.training.model_copy(update={"seed": seed})})


def _count(validation: Validation, sources: Sequence[Source], source: Source) -> int:
    """How many pairs of one of the sources may be held out."""
    return max(1, round(validation.most * source.weight / sum(one.weight for one in sources)))


def _divided(recipe: Recipe, source: Source, folder: Path | None, most: int) -> _Divided | None:
    """A source's set, divided; None where it is procedural, as in a mixture one without a path is."""
    if folder is None or (recipe.data.mixture and not source.path):
        return None
    place, on = folder / source.path, recipe.validation.on
    pictures = _known(_opened(recipe, source, place, "train"))
    if on == "carved":
        return _Divided(*carve(pictures, recipe.validation.share, most))
    if on == "test":
        return _Divided(pictures, _thinned(_known(_opened(recipe, source, place, "test")), most))
    return _Divided(pictures, None)


def _known(pictures: PictureSet) -> PictureSet:
    """The set with its fingerprint, so that a run is not continued on others of the same number."""
    return replace(pictures, source=f"{pictures.source} ({pictures.fingerprint})")


def _supply(recipe: Recipe, source: Source, divided: _Divided, held_out: Sequence[PictureSet]) -> TrainingData:
    """Pairs of a set, none of which is held out of this one or another, unless it holds nothing else."""
    seed, mask, pictures = recipe.training.seed, recipe.network.mask, without_copies(divided.training, held_out)
    seen: dict[str, object] = {"seen": True} if pictures is None else {}
    if pictures is None:
        pictures = replace(divided.training, source=f"{divided.training.source}, all of them copies of these")
        logger.warning("%s: they are trained on all the same; take more pictures", pictures.source)
    pairs = PicturePairs(pictures, recipe.data, seed, mask=mask, degrade=source.degrade)
    if divided.held_out is None:
        return TrainingData(pairs, (), {"of": pictures.source} | seen)
    crop = recipe.validation.crop or recipe.data.crop
    kept = validation_pairs(divided.held_out, recipe.data, crop, mask, seed=seed, degrade=source.degrade)
    return TrainingData(pairs, kept, {"of": divided.held_out.source} | seen)


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
