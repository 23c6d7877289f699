"""What came of scoring: the scores of each picture and their means, under the name of the protocol that made them."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from residiff import files
from residiff.errors import ConfigError

FORMAT_VERSION = 1
# Of a file that is asked for by its folder
RESULT = "result.json"
POOLED = "_pooled"


@dataclass(frozen=True)
class Score:
    """One picture's scores by measure; `weights` are what a pooled measure is averaged with (pixels of a region)."""

    name: str
    values: Mapping[str, float]
    weights: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Inputs:
    """Pictures that were read: where, how many, and a SHA-256 over their names and pixels."""

    place: str
    count: int
    sha256: str


def inputs_of(place: str, hashes: Mapping[str, str]) -> Inputs:
    """What was read at a place: a hash over the names and the hashes of the pictures, in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(hashes):
        digest.update(f"{name}\0{hashes[name]}\n".encode("utf-8", "surrogateescape"))
    return Inputs(place, len(hashes), digest.hexdigest())


@dataclass(frozen=True)
class Result:
    """Scores under a protocol.

    Attributes
    ----------
    protocol, version : which protocol; figures of different ones cannot be compared
    images : the pictures' scores, sorted by name; empty where a protocol scores all of them at once
    whole : scores of all pictures at once, a Frechet distance say
    inputs : "predicted", "truth", "mask": what was read
    label : what to call it in a table
    missing : by place the names of pictures that had no partner and were left out
    left_out : measures that could not be taken, and why
    facts : what else a reader needs: the model, its seed and steps
    """

    protocol: str
    version: int
    images: tuple[Score, ...]
    whole: Mapping[str, float] = field(default_factory=dict)
    inputs: Mapping[str, Inputs] = field(default_factory=dict)
    label: str = ""
    missing: Mapping[str, Sequence[str]] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def measures(self) -> list[str]:
        """The measures of each picture."""
        return list(self.images[0].values) if self.images else []

    @property
    def mean(self) -> dict[str, float]:
        """By measure the mean of the pictures' scores, infinite where one of them is.

        For a pooled measure its mean over all pixels as well, "mae_shadow_pooled"; and the scores of the whole.
        """
        means = {name: fmean(score.values[name] for score in self.images) for name in self.measures}
        return means | self._pooled() | dict(self.whole)

    def _pooled(self) -> dict[str, float]:
        names = list(self.images[0].weights) if self.images else []
        return {
            name + POOLED: fmean(
                [score.values[name] for score in self.images], [score.weights[name] for score in self.images]
            )
            for name in names
        }

    def values(self, measure: str) -> list[float]:
        """The pictures' scores by one measure; `ConfigError` if it is not among them."""
        if measure not in self.measures:
            raise ConfigError(f"{self.title} has no measure {measure!r}; it has {', '.join(self.measures)}")
        return [score.values[measure] for score in self.images]

    @property
    def title(self) -> str:
        """The label, or else where the pictures were."""
        return self.label or (Path(self.inputs["predicted"].place).name if "predicted" in self.inputs else "result")

    def as_json(self) -> dict[str, object]:
        """The result as data for JSON.

        JSON knows no infinity: null stands for an infinite PSNR, that of pictures that are equal in every pixel. A mean
        over such a picture is infinite, so null as well.
        """
        images = [
            {"name": score.name, **finite(score.values)} | ({"weights": dict(score.weights)} if score.weights else {})
            for score in self.images
        ]
        data: dict[str, object] = {
            "format_version": FORMAT_VERSION,
            "protocol": self.protocol,
            "version": self.version,
            "label": self.label,
            "count": len(self.images) or max((each.count for each in self.inputs.values()), default=0),
            "mean": finite(self.mean),
            "images": images,
        }
        data |= {"whole": finite(self.whole)} if self.whole else {}
        data |= {"missing": {place: list(names) for place, names in self.missing.items()}} if self.missing else {}
        data |= {"left_out": dict(self.left_out)} if self.left_out else {}
        data |= {"facts": dict(self.facts)} if self.facts else {}
        return data | {"inputs": {side: vars(each) for side, each in self.inputs.items()}}

    def save(self, path: Path) -> None:
        """Write it as JSON, atomically."""
        files.write_bytes(path, json.dumps(self.as_json(), indent=1).encode())


def load(path: Path) -> Result:
    """A result that was saved, its file or the folder that it lies in.

    Raises
    ------
    ConfigError
        If there is none, or the file is another thing, damaged, or of a later version.
    """
    place = path / RESULT if path.is_dir() else path
    try:
        data = json.loads(place.read_text("utf-8"))
        if data["format_version"] != FORMAT_VERSION:
            raise ConfigError(f"{place} is of version {data['format_version']}; this residiff reads {FORMAT_VERSION}")
        return _parsed(data)
    except OSError as error:
        raise ConfigError(f"cannot read {place}: {error.strerror}; `residiff evaluate -o` writes it") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{place} is no result of `residiff evaluate`, or it is damaged: make it again") from error


def _parsed(data: Mapping[str, Any]) -> Result:
    return Result(
        data["protocol"],
        int(data["version"]),
        tuple(_score(image) for image in data["images"]),
        _infinite(data.get("whole", {})),
        {side: Inputs(**each) for side, each in data["inputs"].items()},
        data["label"],
        data.get("missing", {}),
        data.get("left_out", {}),
        data.get("facts", {}),
    )


def _score(image: Mapping[str, Any]) -> Score:
    values = {key: value for key, value in image.items() if key not in ("name", "weights")}
    return Score(image["name"], _infinite(values), image.get("weights", {}))


def finite(values: Mapping[str, float]) -> dict[str, float | None]:
    """The values, None in place of those that are not finite."""
    return {key: value if math.isfinite(value) else None for key, value in values.items()}


def _infinite(values: Mapping[str, float | None]) -> dict[str, float]:
    return {key: math.inf if value is None else float(value) for key, value in values.items()}


def check_comparable(results: Sequence[Result]) -> None:
    """Raise `ConfigError` unless all are of one protocol, version, set of true pictures and set of weights."""
    first = results[0]
    for other in results[1:]:
        if (other.protocol, other.version) != (first.protocol, first.version):
            told = " and ".join(f"{each.title} by {each.protocol} {each.version}" for each in (first, other))
            raise ConfigError(f"figures of different protocols cannot stand in one table: {told}; score both by one")
        if other.facts.get("networks", {}) != first.facts.get("networks", {}):
            raise ConfigError(f"{first.title} and {other.title} were scored by networks of different weights")
        for side in ("truth", "mask"):
            ours, theirs = (each.inputs.get(side) for each in (first, other))
            if ours is not None and theirs is not None and ours.sha256 != theirs.sha256:
                raise ConfigError(
                    f"{first.title} and {other.title} were held against different {side} pictures "
                    f"({ours.place}, {theirs.place}); score both against the same"
                )
