"""What the folder of a training run tells: its figures step by step, its validations, and what else happened."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from residiff.checkpoint import MODEL
from residiff.errors import ConfigError
from residiff.train import DETAILS, EVENTS, METRICS, RECIPE, SCORES

Array: TypeAlias = NDArray[np.float64]

_ANY_OF = (METRICS, RECIPE, EVENTS, MODEL)
_DETAILS = ("gradient_norm", "images_per_second", "memory")


class Series(NamedTuple):
    """Finite values (n,) at steps (n,); what was not finite is left out."""

    steps: Array
    values: Array


class Event(NamedTuple):
    """What happened after update number `step`; `time` is in seconds since 1970, None where it was not noted."""

    step: int
    kind: str
    text: str
    time: float | None


@dataclass(frozen=True, eq=False)
class History:
    """A run by its folder.

    `figures` are those of each update: loss, learning_rate, seconds, and where given gradient_norm, images_per_second
    and memory, in bytes. `scores` are those of each validation: loss, psnr, ssim, input_psnr and input_ssim; where the
    pairs that the run is validated by have changed, of those since. Either has only the names that have values.
    `seconds` is the time all its parts took together, `last` its last update.
    """

    folder: Path
    figures: Mapping[str, Series]
    scores: Mapping[str, Series]
    events: tuple[Event, ...]
    last: int
    seconds: float

    @property
    def name(self) -> str:
        """The folder's own."""
        return self.folder.resolve().name

    @property
    def best(self) -> int | None:
        """The update of the best validation: highest PSNR, or else least loss; the first among equals."""
        if "psnr" in self.scores:
            steps, values = self.scores["psnr"]
            return int(steps[values.argmax()])
        if "loss" in self.scores:
            steps, values = self.scores["loss"]
            return int(steps[values.argmin()])
        return None

    def told(self, kind: str) -> list[Event]:
        """The events of one kind, in order."""
        return [event for event in self.events if event.kind == kind]

    def score(self, name: str, step: int) -> float | None:
        """A figure of the validation after update number `step`; None where there is none."""
        steps, values = self.scores.get(name, _NOTHING)
        return next((float(value) for at, value in zip(steps, values, strict=True) if at == step), None)


def read_history(folder: Path) -> History:
    """Read what a run's folder tells by now; what is not there yet is left out.

    Raises
    ------
    ConfigError
        If the folder is no run's, or a file in it is not what its name says.
    """
    if not any((folder / name).is_file() for name in _ANY_OF):
        raise ConfigError(f"{folder} is no training run: it holds none of {', '.join(_ANY_OF)}; give a run's folder")
    try:
        tables = [_table(folder / name) for name in (METRICS, SCORES)]
        figures = _series(tables[0]) | _series(_columns(_rows(folder / DETAILS), ("step", *_DETAILS)))
        scores = _series(tables[1])
        events = tuple(sorted(map(_event, _rows(folder / EVENTS)), key=lambda event: event.step))
    except (OSError, ValueError, LookupError, TypeError, csv.Error) as error:
        raise ConfigError(f"the tables in {folder} cannot be read: {error}") from error
    last = max((int(step) for table in tables for step in table.get("step", ())[-1:]), default=0)
    return History(folder, figures, scores, events, last, _total(figures.get("seconds", _NOTHING).values))


def _total(seconds: Array) -> float:
    """The time of all parts of a run, whose clock begins anew with each."""
    grown = np.diff(seconds, prepend=0.0)
    return float(np.where(grown < 0, seconds, grown).sum())


def _table(path: Path) -> dict[str, Array]:
    """The columns of a table, NaN where a cell is empty; what a killed process left of its last line is none."""
    if not path.exists():
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.reader(line for line in file if line.endswith("\n"))
        names = next(reader, ["step"])
        rows: Iterator[list[str]] = (_whole(row, names, path) for row in reader)
        if names[-1] == "by":
            rows, names = _comparable(rows), names[:-1]
        return _split((float(cell or "nan") for row in rows for cell in row), names)


def _comparable(rows: Iterator[list[str]]) -> Iterator[list[str]]:
    """The last validations that are by the same pairs, without what says so."""
    known = list(rows)
    last = takewhile(lambda row: row[-1] == known[-1][-1], reversed(known))
    return (row[:-1] for row in reversed(list(last)))


def _whole(row: list[str], names: Sequence[str], path: Path) -> list[str]:
    if len(row) != len(names):
        raise ValueError(f"a row of {path.name} has {len(row)} cells, its head has {len(names)}")
    return row


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    if path.exists():
        with path.open(encoding="utf-8") as file:
            yield from (json.loads(line) for line in file if line.endswith("}\n"))


def _columns(rows: Iterator[dict[str, Any]], names: Sequence[str]) -> dict[str, Array]:
    """Columns of rows by name, NaN where a row lacks it; a row at a time, for there may be millions."""
    return _split((float("nan" if (cell := row.get(name)) is None else cell) for row in rows for name in names), names)


def _split(cells: Iterator[float], names: Sequence[str]) -> dict[str, Array]:
    values = np.fromiter(cells, np.float64).reshape(-1, len(names))
    return dict(zip(names, values.T, strict=True))


def _series(columns: Mapping[str, Array]) -> dict[str, Series]:
    found = {}
    for name, values in columns.items():
        known = np.isfinite(values)
        if name != "step" and known.any():
            found[name] = Series(columns["step"][known], values[known])
    return found


def _event(row: Mapping[str, Any]) -> Event:
    when = row.get("time")
    return Event(int(row["step"]), str(row["event"]), str(row["text"]), None if when is None else float(when))


_NOTHING = Series(np.empty(0), np.empty(0))
