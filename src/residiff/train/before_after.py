"""What distillation changed: how well a model and its student restore held-out pairs, by the number of steps."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import torch

from residiff import files
from residiff.checkpoint import ModelFile
from residiff.data.pair import Pair
from residiff.errors import ConfigError
from residiff.train.comparing import Judge, in_steps

BEFORE_AFTER = "distil.json"
# Numbers of steps that are compared beside the teacher's and the student's own
STEPS = (1, 2, 3, 5)


class Row(NamedTuple):
    """Mean PSNR in dB of the teacher and of the student in so many steps."""

    steps: int
    before: float
    after: float


@dataclass(frozen=True)
class BeforeAfter:
    """A teacher and its student on `pairs` pictures; `against` says what their results are compared with."""

    teacher: str
    teacher_steps: int
    student_steps: int
    pairs: int
    against: str
    rows: tuple[Row, ...]

    def write(self, folder: Path) -> None:
        """Write it into a run's folder, atomically."""
        facts = asdict(self) | {"rows": [row._asdict() for row in self.rows]}
        files.write_bytes(folder / BEFORE_AFTER, (json.dumps(facts, indent=2) + "\n").encode())


def read_before_after(folder: Path) -> BeforeAfter | None:
    """What a run's folder says of it; None where it says nothing.

    Raises
    ------
    ConfigError
        If the file is damaged.
    """
    path = folder / BEFORE_AFTER
    if not path.is_file():
        return None
    try:
        facts = json.loads(path.read_text("utf-8"))
        rows = tuple(Row(int(row["steps"]), float(row["before"]), float(row["after"])) for row in facts.pop("rows"))
        return BeforeAfter(**facts, rows=rows)
    except (OSError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise ConfigError(f"{path} is damaged: {error}; remove it") from error


def before_and_after(
    teacher: ModelFile, student: ModelFile, pairs: Sequence[Pair], device: torch.device
) -> BeforeAfter:
    """Compare a student with its teacher on pairs (3, H, W) in [0, 1], one or more, from the same noise.

    Raises
    ------
    ConfigError
        If the student's recipe names no teacher, or there are no pairs.
    DivergedError
        If a result is not finite.
    """
    distil = student.recipe.training.distil
    if distil is None or not pairs:
        raise ConfigError("a student is compared with its teacher on pairs held out: it has none")
    own, wanted = student.recipe.sampling.steps, range(1, len(student.recipe.schedule) + 1)
    before, after = (model.denoiser().to(device) for model in (teacher, student))
    judge = Judge(before, teacher.recipe, distil.steps, pairs, device)
    rows = [
        Row(
            steps,
            judge.psnr(before, in_steps(teacher.recipe, steps)),
            judge.psnr(after, in_steps(student.recipe, steps)),
        )
        for steps in sorted({*STEPS, own, distil.steps} & set(wanted))
    ]
    return BeforeAfter(distil.teacher, distil.steps, own, len(pairs), judge.against, tuple(rows))
