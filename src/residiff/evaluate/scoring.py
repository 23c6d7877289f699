"""Scoring pictures one by one under a protocol, in one process or several, few of them in memory at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from residiff.data.images import Picture
from residiff.data.parts import Part
from residiff.errors import ConfigError, ResourceError
from residiff.evaluate.measures import Measure, Metric, Network, region_of
from residiff.evaluate.networks import network_metric
from residiff.evaluate.pairing import Item
from residiff.evaluate.protocol import Protocol, Saving
from residiff.evaluate.protocols import find_paired
from residiff.evaluate.results import Score
from residiff.parallel import spread

# Fewer pictures than these are scored before a process has begun
WORTH_PROCESSES = 32


@dataclass(frozen=True)
class Scan:
    """A picture as it is scored: `pixels` (C, H, W) of 8 bits, uint8; `depth` in bits and a hash of the pixels."""

    name: str
    pixels: Tensor
    depth: int
    sha256: str


@dataclass(frozen=True)
class Scored:
    """A picture's scores, and by side the hashes of what they were made of."""

    score: Score
    hashes: Mapping[str, str]


@dataclass(frozen=True)
class Scorer:
    """A protocol made ready: with its networks loaded, and what cannot be measured left out.

    Parameters
    ----------
    protocol : by which is scored
    metrics : by measure
    left_out : measures whose network has no weights, and what to fetch
    networks : by measure whose weights its network has
    source : where they are from
    """

    protocol: Protocol
    metrics: Mapping[Measure, Metric]
    left_out: Mapping[str, str] = field(default_factory=dict)
    networks: Mapping[str, str] = field(default_factory=dict)
    source: str | None = None

    @classmethod
    def of(cls, protocol: Protocol, weights: str | None = None) -> Scorer:
        """Load the networks of a protocol; `weights` is a file, folder or hub address of them.

        Raises
        ------
        ResourceError
            If nothing at all can be measured: says what to fetch.
        """
        metrics: dict[Measure, Metric] = {}
        left_out: dict[str, str] = {}
        networks: dict[str, str] = {}
        for measure in protocol.measures:
            if not isinstance(measure.metric, Network):
                metrics[measure] = measure.metric
                continue
            try:
                loaded = network_metric(measure.metric.name, weights)
            except ResourceError as error:
                left_out[measure.name] = str(error)
            else:
                metrics[measure], networks[measure.name] = loaded.metric, loaded.weights
        if not metrics:
            raise ResourceError("; ".join(left_out.values()))
        return cls(protocol, metrics, left_out, networks, weights)

    def score(self, predicted: Scan, truth: Scan | None, mask: Scan | None = None, name: str = "") -> Score:
        """Scores of one picture.

        Raises
        ------
        ConfigError
            If sizes, colours or bit depths differ where they must not, or the mask is of another size, black, or
            missing; both pictures are named.
        """
        _check_alike(predicted, truth, mask, self.protocol)
        against = predicted if truth is None else truth
        size = (predicted.pixels.shape[1], predicted.pixels.shape[2])
        try:
            return self._scored(predicted.pixels, against.pixels, _matte(mask), size, name or predicted.name)
        except ConfigError as error:
            named = ", ".join(each.name for each in (predicted, truth, mask) if each is not None)
            raise ConfigError(f"{named}: {error}") from error

    def _scored(
        self, predicted: Tensor, truth: Tensor, matte: Tensor | None, size: tuple[int, int], name: str
    ) -> Score:
        views: dict[object, tuple[Tensor, Tensor]] = {}
        values: dict[str, float] = {}
        weights: dict[str, float] = {}
        for measure, metric in self.metrics.items():
            if measure.if_masked and matte is None:
                continue
            if measure.view not in views:
                views[measure.view] = measure.view(predicted, size), measure.view(truth, size)
            first, second = views[measure.view]
            shape = (first.shape[1], first.shape[2])
            region = region_of(measure.where, matte, self.protocol.regions, shape, measure.name)
            found = metric(first, second, region)
            values[measure.name] = found.score
            if measure.pooled:
                weights[measure.name] = found.weight
        return Score(name, values, weights)


def scan(part: Part) -> Scan:
    """Read a picture to be scored; alpha plays no part. Raises `ImageError` if it cannot be read."""
    return scan_of(part.read(), part.name)


def scan_of(picture: Picture, name: str, saving: Saving = Saving.ROUND) -> Scan:
    """A picture in memory, made 8 bits as `saving` says."""
    scaled = picture.pixels * 255
    # As pictures are written, half up
    whole = (scaled + 0.5).floor() if saving is Saving.ROUND else scaled.floor()
    pixels = whole.clamp_(0, 255).to(torch.uint8)
    digest = hashlib.sha256(f"{picture.bit_depth} {tuple(pixels.shape)}".encode())
    digest.update((picture.pixels if picture.bit_depth == 16 else pixels).contiguous().numpy().data)
    return Scan(name, pixels, picture.bit_depth, digest.hexdigest())


def _check_alike(predicted: Scan, truth: Scan | None, mask: Scan | None, protocol: Protocol) -> None:
    if truth is not None:
        same = predicted.pixels.shape == truth.pixels.shape
        colours = predicted.pixels.shape[0] == truth.pixels.shape[0]
        if not (same or colours and not protocol.alike):
            raise ConfigError(
                f"{predicted.name} is {_size(predicted)}, {truth.name} is {_size(truth)}; make them alike"
            )
        if predicted.depth != truth.depth:
            told = f"{predicted.name} has {predicted.depth} bits, {truth.name} has {truth.depth}"
            raise ConfigError(f"{told}; save both with the same bit depth (restore has --bit-depth)")
    if mask is not None and mask.pixels.shape[1:] != (truth or predicted).pixels.shape[1:]:
        raise ConfigError(
            f"{mask.name}: the mask is {_size(mask)}, the picture {_size(truth or predicted)}; make them equal in size"
        )


def _size(found: Scan) -> str:
    channels, height, width = found.pixels.shape
    return f"{width} x {height} pixels in {'grey' if channels == 1 else 'colour'}"


def _matte(mask: Scan | None) -> Tensor | None:
    return None if mask is None else mask.pixels.amax(0, keepdim=True)


def hashes_of(scored: Iterable[Scored], side: str) -> dict[str, str]:
    """By name the hashes of what was read on one side."""
    return {each.score.name: each.hashes[side] for each in scored}


def score_item(item: Item, scorer: Scorer) -> Scored:
    """Read and score the pictures of one name."""
    scans = {"predicted": scan(item.predicted)}
    for side, part in (("truth", item.truth), ("mask", item.mask)):
        if part is not None:
            scans[side] = scan(part)
    score = scorer.score(scans["predicted"], scans.get("truth"), scans.get("mask"), item.name)
    return Scored(score, {side: found.sha256 for side, found in scans.items()})


def score_all(items: Sequence[Item], scorer: Scorer, *, processes: int = 1) -> Iterator[Scored]:
    """Score pictures, in their order; few are in memory at a time.

    Raises
    ------
    ConfigError, ImageError
        At the first picture that cannot be scored, which is named.
    """
    count = min(processes, len(items) // WORTH_PROCESSES)
    if count < 2:
        return (score_item(item, scorer) for item in items)
    return spread(_score_here, items, count, _begin, (scorer.protocol.name, scorer.source))


# A process's own, made once
_scorers: list[Scorer] = []


def _begin(protocol: str, weights: str | None) -> None:
    _scorers.append(Scorer.of(find_paired(protocol), weights))


def _score_here(item: Item) -> Scored:
    return score_item(item, _scorers[0])
