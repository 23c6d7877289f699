"""Paired sets as folders: made from procedural pictures, or from a folder of clean ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from residiff.data import images
from residiff.data.degrade import DEGRADATIONS, Degraded, Range, degrade
from residiff.data.images import Picture
from residiff.data.pairs import check_degradation
from residiff.data.settings import Degrade
from residiff.data.synthetic import clean_image
from residiff.errors import ConfigError, ImageError, check_range
from residiff.seeds import generator


class Done(NamedTuple):
    """What became of a clean picture; `error` is None where its pair was written."""

    source: Path
    error: ImageError | None = None


def degradations() -> list[dict[str, object]]:
    """The degradations: name, summary, each parameter's default range, and whether there is a mask."""
    return [
        {
            "name": name,
            "summary": row.summary,
            "parameters": ", ".join(f"{p.name}={p.default[0]:g},{p.default[1]:g}" for p in row.parameters),
            "mask": "yes" if row.gives_mask else "no",
        }
        for name, row in DEGRADATIONS.items()
    ]


def parse_ranges(settings: list[str]) -> dict[str, Range | float]:
    """`["sigma=5,50", "gain=0.01"]` as ranges by name; `ConfigError` names what does not read so."""
    ranges: dict[str, Range | float] = {}
    for setting in settings:
        name, _, value = setting.partition("=")
        try:
            numbers = tuple(float(part) for part in value.split(","))
        except ValueError as error:
            raise ConfigError(f"{setting!r} is not NAME=LOW,HIGH or NAME=NUMBER") from error
        if len(numbers) > 2:
            raise ConfigError(f"{setting!r} has {len(numbers)} numbers; give one, or a low and a high one")
        ranges[name] = (numbers[0], numbers[-1])
    return ranges


def make_set(
    output: Path, kind: str, count: int, size: int, parameters: Mapping[str, Range | float], seed: int, test: int = 0
) -> Iterator[str]:
    """Write `count` procedural pairs of `size` x `size` pixels; yields each name when it is written.

    With `test`, they go to `train/`, and so many others to `test/`.
    """
    chosen = Degrade(kind, dict(parameters))
    check_degradation(chosen)
    check_range("count", count, 1, 10_000_000)
    check_range("test", test, 0, 10_000_000)
    check_range("size", size, 1, 16_384)
    places = [output / "train", output / "test"] if test else [output]
    for place in places:
        _refuse_mixture(place)
    for index in range(count + test):
        clean = Picture(clean_image(index, size, seed))
        name = f"{index:06d}"
        _write_pair(places[index >= count], name, ".png", clean, _degraded(clean, chosen, seed, index))
        yield name


def degrade_folder(
    source: Path, output: Path, kind: str, parameters: Mapping[str, Range | float], seed: int
) -> Iterator[Done]:
    """Degrade the pictures of a folder, in the order of their names; yields each when its pair is written.

    One that cannot be read is left out, and the others become what they do with it.

    Raises
    ------
    ConfigError
        Before the first picture, if there is none, two have one name, or `output` holds a set or would be written over
        the source.
    ResourceError
        If the disk is full or the place may not be written to.
    """
    chosen = Degrade(kind, dict(parameters))
    check_degradation(chosen)
    paths = images.images_by_name(source).values()
    if not paths:
        raise ConfigError(f"{source} holds no pictures")
    if source.resolve() in {(output / part).resolve() for part in ("", "clean", "degraded", "mask")}:
        raise ConfigError(f"{output} would be written over the clean pictures in {source}; choose another folder")
    _refuse_mixture(output)
    for index, path in enumerate(paths):
        try:
            read = images.read(path)
        except ImageError as error:
            yield Done(path, error)
            continue
        clean = replace(read, pixels=read.pixels.expand(3, -1, -1).contiguous())
        _write_pair(output, path.stem, ".png", clean, _degraded(clean, chosen, seed, index))
        yield Done(path)


def _refuse_mixture(output: Path) -> None:
    for part in ("clean", "degraded", "mask"):
        if (output / part).is_dir() and any((output / part).iterdir()):
            raise ConfigError(f"{output / part} holds files already, which would mix two sets; choose another folder")


def _degraded(clean: Picture, chosen: Degrade, seed: int, index: int) -> Degraded:
    return degrade(chosen.name, clean.pixels, generator(seed, 5, index), chosen.parameters)


def _write_pair(output: Path, name: str, suffix: str, clean: Picture, result: Degraded) -> None:
    images.write(output / "clean" / (name + suffix), clean)
    images.write(output / "degraded" / (name + suffix), replace(clean, pixels=result.image))
    if result.mask is not None:
        images.write(output / "mask" / (name + suffix), Picture(result.mask))
