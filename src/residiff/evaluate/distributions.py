"""Scoring sets of pictures as wholes: how far what was generated lies from what is real.

No picture has a partner here. FID and KID compare the features of two sets, the Inception Score is of one alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import torch
from torch import Tensor

from residiff.data import images
from residiff.data.catalog import AUTO, detect, open_set
from residiff.data.images import Picture
from residiff.data.parts import FilePart, Part
from residiff.data.transforms import resize
from residiff.errors import ConfigError
from residiff.evaluate.networks import network_features
from residiff.evaluate.protocol import Distance, SetProtocol
from residiff.evaluate.results import Inputs, Result
from residiff.metrics import RunningMoments, frechet_distance, inception_score, kernel_distance
from residiff.metrics.frechet import Features
from residiff.nearest import path_hint

_BATCH = 32


@dataclass(frozen=True)
class Gathered:
    """Features (N, D) of some pictures of one side, and the hashes of their pixels."""

    side: str
    features: Tensor
    hashes: tuple[str, ...]


@dataclass(frozen=True)
class SetEvaluation:
    """Sets of pictures by side, "predicted" and "truth", that are about to be scored; `places` say where they are."""

    protocol: SetProtocol
    sides: dict[str, Sequence[Part]]
    places: dict[str, str]
    weights: str | None = None
    device: str = "cpu"

    @property
    def total(self) -> int:
        """How many pictures are read."""
        return sum(len(parts) for parts in self.sides.values())

    def scores(self) -> Iterator[Gathered]:
        """The features of all pictures, some at a time."""
        network = network_features(self.protocol.features.name, self.weights, self.device)
        for side, parts in self.sides.items():
            pictures = (self._picture(side, part) for part in parts)
            for _, alike in groupby(pictures, lambda each: each.shape):
                yield from self._features(side, alike, network)

    def _features(self, side: str, alike: Iterator[Tensor], network: Features) -> Iterator[Gathered]:
        for batch in _batches(alike):
            with torch.inference_mode():
                features = network(torch.stack(batch)).cpu()
            yield Gathered(side, features, tuple(_hash(picture) for picture in batch))

    def _picture(self, side: str, part: Part) -> Tensor:
        """The picture (3, H, W) in [0, 1] as the protocol has it, rounded to 8 bits."""
        pixels, wanted = _rgb(part.read()), self.protocol.side
        if wanted and tuple(pixels.shape[1:]) != (wanted, wanted) and side == "truth":
            pixels = resize(pixels, self.protocol.resize, (wanted, wanted))
        if wanted and tuple(pixels.shape[1:]) != (wanted, wanted):
            size = f"{pixels.shape[2]} x {pixels.shape[1]}"
            raise ConfigError(f"{part.name} is {size}; {self.protocol.name} compares pictures of {wanted} x {wanted}")
        return (pixels * 255).round_().div_(255)

    def result(self, gathered: Iterable[Gathered], label: str = "") -> Result:
        """What came of it."""
        told = _Told(self.protocol.distances)
        for each in gathered:
            told.take(each)
        whole, spread = told.figures()
        return Result(
            self.protocol.name,
            self.protocol.version,
            (),
            whole,
            {side: Inputs(self.places[side], *told.counted(side)) for side in self.sides},
            label,
            facts={"spread": spread} if spread else {},
        )


class _Told:
    """What is kept of the features: moments for FID, all of them for the others."""

    def __init__(self, distances: Sequence[Distance]) -> None:
        self.distances = distances
        self.moments: dict[str, RunningMoments] = {}
        self.kept: dict[str, list[Tensor]] = {}
        self.hashes: dict[str, list[str]] = {}

    def take(self, each: Gathered) -> None:
        self.hashes.setdefault(each.side, []).extend(each.hashes)
        if Distance.FID in self.distances:
            self.moments.setdefault(each.side, RunningMoments()).update(each.features)
        if set(self.distances) - {Distance.FID}:
            self.kept.setdefault(each.side, []).append(each.features)

    def counted(self, side: str) -> tuple[int, str]:
        """How many pictures there were, and the hash of all of them, whatever their order."""
        hashes = self.hashes.get(side, [])
        return len(hashes), hashlib.sha256("\n".join(sorted(hashes)).encode()).hexdigest()

    def figures(self) -> tuple[dict[str, float], dict[str, float]]:
        """By distance its value, and how it spreads over subsets or splits."""
        whole: dict[str, float] = {}
        spread: dict[str, float] = {}
        features = {side: torch.cat(parts) for side, parts in self.kept.items()}
        for each in self.distances:
            if each is Distance.FID:
                whole["fid"] = frechet_distance(*(self.moments[side].moments() for side in ("predicted", "truth")))
            elif each is Distance.KID:
                first, second = features["predicted"], features["truth"]
                found = kernel_distance(first, second, size=min(1000, len(first), len(second)))
                whole["kid"], spread["kid"] = found.mean, found.deviation
            else:
                score = inception_score(features["predicted"])
                whole["is"], spread["is"] = score.mean, score.deviation
        return whole, spread


def open_sets(
    protocol: SetProtocol, predicted: Path, truth: Path | None, weights: str | None = None, device: str = "cpu"
) -> SetEvaluation:
    """Find the pictures of two folders, those in sub-folders too, or of a folder and a data set; none is read yet.

    Raises
    ------
    ConfigError
        If a folder is not there or holds fewer than two pictures, or true ones are missing or given for nothing.
    """
    if protocol.truth != (truth is not None):
        raise ConfigError(
            f"{protocol.name} compares with true pictures; give their folder after that of the generated ones"
            if protocol.truth
            else f"{protocol.name} scores pictures by themselves; leave out the true ones"
        )
    sides: dict[str, Sequence[Part]] = {"predicted": _folder(predicted)}
    places = {"predicted": str(predicted)}
    if truth is not None:
        sides["truth"], places["truth"] = _truth(truth, protocol), str(truth)
    return SetEvaluation(protocol, sides, places, weights, device)


def _folder(path: Path) -> list[Part]:
    found: list[Part] = [FilePart(each) for each in images.list_images(path, recursive=True)]
    if len(found) < 2:
        raise ConfigError(f"{path} holds {len(found)} pictures; a set needs 2 or more, and a figure thousands")
    return found


def _truth(path: Path, protocol: SetProtocol) -> Sequence[Part]:
    """The clean pictures of a data set's part; of another folder all."""
    if not path.is_dir():
        raise ConfigError(f"{path} is no folder; {path_hint(path)}")
    try:
        is_set = detect(path) not in ("pictures", "paired")
    except ConfigError:
        is_set = False
    return open_set(path, AUTO, protocol.split, kinds=("clean",)).columns["clean"] if is_set else _folder(path)


def _batches(pictures: Iterator[Tensor]) -> Iterator[list[Tensor]]:
    batch: list[Tensor] = []
    for picture in pictures:
        batch.append(picture)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _rgb(picture: Picture) -> Tensor:
    return picture.pixels.expand(3, -1, -1).contiguous()


def _hash(picture: Tensor) -> str:
    return hashlib.sha256((picture * 255).round_().to(torch.uint8).numpy().tobytes()).hexdigest()
