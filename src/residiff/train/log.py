"""What a run writes down as it goes: a row an update, a row a validation, and what else happened."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from itertools import takewhile
from pathlib import Path
from typing import Any, TextIO, TypeVar

from residiff import files

METRICS, DETAILS = "metrics.csv", "metrics.jsonl"
SCORES, STRIPS = "validation.csv", "validation"
EVENTS = "events.jsonl"


@dataclass(frozen=True)
class Progress:
    """One update done: its number (1-based), loss, learning rate, and seconds since this process began training.

    `gradient_norm` is that before clipping, `images_per_second` the rate since the update before, `memory` the bytes
    that the process holds (on a GPU: has held at most there).
    """

    step: int
    loss: float
    learning_rate: float
    seconds: float
    gradient_norm: float = math.nan
    images_per_second: float = 0.0
    memory: int = 0


@dataclass(frozen=True)
class Score:
    """One validation: after which update, and the means over the held-out pairs.

    `loss` is that of training, at fixed times and noise; PSNR in dB and SSIM are of what is restored, and of the
    degraded pictures themselves (`input_...`), or None where results have no true picture to be compared with. `by`
    are digits that change with what is restored and how: scores of other digits are not to be compared.
    """

    step: int
    loss: float
    psnr: float | None = None
    ssim: float | None = None
    input_psnr: float | None = None
    input_ssim: float | None = None
    by: str = field(default="", kw_only=True)

    def figures(self) -> dict[str, float]:
        """Those that are known, by name."""
        named = {name: vars(self)[name] for name in _FIGURES}
        return {name: value for name, value in named.items() if value is not None}

    @property
    def worth(self) -> float:
        """What the best is chosen by, higher is better: PSNR, or else the loss."""
        return -self.loss if self.psnr is None else self.psnr


Row = TypeVar("Row", Progress, Score)
_METRICS = ("step", "loss", "learning_rate", "seconds")
_NONE: Mapping[str, str] = {}
_FIGURES = ("loss", "psnr", "ssim", "input_psnr", "input_ssim")


class RunLog:
    """The tables of a run in its folder, each row written as it comes; a process that does not write has none.

    `by` is what the run is validated by now: `Score.by`.
    """

    def __init__(self, folder: Path, *, writes: bool = True) -> None:
        self.folder, self.writes, self.by = folder, writes, ""
        self.scores: list[Score] = []
        self._open: dict[str, TextIO] = {}

    def update(self, progress: Progress) -> None:
        """Note an update."""
        self._line(METRICS, _csv_line(_metrics(progress)))
        self._line(DETAILS, _json_line(asdict(progress)))

    def score(self, score: Score) -> None:
        """Note a validation."""
        self.scores.append(score)
        self._line(SCORES, _csv_line(_texts(score)))

    def event(self, step: int, event: str, text: str) -> None:
        """Note what happened after update number `step`: "resumed", "fault", "skipped", "best", say."""
        self._line(EVENTS, _json_line({"step": step, "event": event, "text": text, "time": round(time.time(), 3)}))

    def events(self, event: str) -> list[str]:
        """The texts of such events, in order."""
        return [row["text"] for row in _json_rows(self.folder / EVENTS) if row.get("event") == event]

    @property
    def best(self) -> Score | None:
        """The best of the validations since the last by other pairs, the first one among equals."""
        return max(self._comparable(), key=lambda score: score.worth, default=None)

    def at(self, step: int) -> Score | None:
        """The validation after update number `step` among these."""
        return next((score for score in self._comparable() if score.step == step), None)

    def _comparable(self) -> list[Score]:
        return list(takewhile(lambda score: score.by == self.by, reversed(self.scores)))[::-1]

    def sync(self) -> None:
        """Let what is written outlast a loss of power."""
        with files.environment_errors(self.folder):
            for file in self._open.values():
                file.flush()
                os.fsync(file.fileno())

    def close(self) -> None:
        """Write no more."""
        opened, self._open = self._open, {}
        with files.environment_errors(self.folder):
            for file in opened.values():
                file.close()

    def check(self, step: int) -> None:
        """Raise `ValueError` unless the tables can be read and hold each update up to number `step` once."""
        rows = read_metrics(self.folder)
        if [row.step for row in rows if row.step <= step] != list(range(1, step + 1)):
            raise ValueError(f"{METRICS} does not hold each step up to {step} once")
        read_scores(self.folder)

    def back_to(self, step: int) -> None:
        """Forget what is later than update number `step`, from which training goes on; 0 is the beginning."""
        self.close()
        self.scores = [score for score in read_scores(self.folder) if score.step <= step] if step else []
        if not self.writes:
            return
        rows = [row for row in read_metrics(self.folder) if row.step <= step] if step else []
        self._replace(METRICS, _csv_line(_METRICS), map(_csv_line, map(_metrics, rows)))
        self._replace(SCORES, _csv_line(_names(Score)), map(_csv_line, map(_texts, self.scores)))
        for name in (DETAILS, EVENTS):
            kept = (row for row in _json_rows(self.folder / name) if row["step"] <= step) if step else ()
            self._replace(name, "", map(_json_line, kept))

    def _replace(self, name: str, head: str, lines: Iterator[str]) -> None:
        files.write_bytes(self.folder / name, (head + "".join(lines)).encode())

    def _line(self, name: str, line: str) -> None:
        if self.writes:
            with files.environment_errors(self.folder / name):
                if name not in self._open:
                    # A line at a time, so that others may read along
                    self._open[name] = (self.folder / name).open("a", 1, encoding="utf-8", newline="")
                self._open[name].write(line)


def read_metrics(folder: Path) -> list[Progress]:
    """The updates that a run's table holds, in its order; none where there is no table."""
    return [
        Progress(int(row["step"]), float(row["loss"]), float(row["learning_rate"]), float(row["seconds"]))
        for row in _csv_rows(folder / METRICS, _METRICS)
    ]


def read_scores(folder: Path) -> list[Score]:
    """The validations that a run's table holds, in its order; none where there is no table."""
    return [
        Score(int(row["step"]), float(row["loss"]), *(_number(row[name]) for name in _FIGURES[1:]), by=row["by"])
        for row in _csv_rows(folder / SCORES, _names(Score), {"by": ""})
    ]


def _number(text: str) -> float | None:
    return float(text) if text else None


def _names(kind: type[Row]) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))


def _metrics(row: Progress) -> tuple[str, ...]:
    # The shortest digits that read back as the same number: a continued run writes what an unbroken one does
    return str(row.step), repr(row.loss), repr(row.learning_rate), f"{row.seconds:.2f}"


def _texts(row: Score) -> tuple[str, ...]:
    return *("" if value is None else repr(value) for value in list(asdict(row).values())[:-1]), row.by


def _csv_line(values: Sequence[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue()


def _json_line(row: Mapping[str, Any]) -> str:
    """JSON has no numbers that are not finite."""
    broken = [key for key, value in row.items() if isinstance(value, float) and not math.isfinite(value)]
    return json.dumps({**row, **dict.fromkeys(broken)}) + "\n"


def _csv_rows(path: Path, names: Sequence[str], lacking: Mapping[str, str] = _NONE) -> Iterator[dict[str, str]]:
    """The whole rows of a table: what a killed process left of its last line is none; `lacking` are older tables'."""
    if path.exists():
        with path.open(encoding="utf-8", newline="") as file:
            whole = (line for line in file if line.endswith("\n"))
            rows = ({**lacking, **row} for row in csv.DictReader(whole))
            yield from (row for row in rows if None not in row.values() and set(row) == set(names))


def _json_rows(path: Path) -> Iterator[dict[str, Any]]:
    if path.exists():
        with path.open(encoding="utf-8") as file:
            yield from (json.loads(line) for line in file if line.endswith("}\n"))
