"""Names and shapes of weights: how a file's differ from those of the network that it should be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from residiff.errors import ModelFileError

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]

SHOWN = 8


@dataclass(frozen=True)
class KeyReport:
    """Names that a file lacks, that it has too many, and those of another shape (the file's, the one needed)."""

    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    mismatched: tuple[tuple[str, Shape, Shape], ...] = ()

    def __bool__(self) -> bool:
        """Whether there is anything to report."""
        return bool(self.missing or self.unexpected or self.mismatched)

    def facts(self) -> dict[str, object]:
        """The whole report, for a program to read."""
        shapes = [{"key": key, "file": given, "needed": needed} for key, given, needed in self.mismatched]
        return {"missing": self.missing, "unexpected": self.unexpected, "mismatched": shapes}

    def __str__(self) -> str:
        """The report for the console: the first `SHOWN` of each kind, and how many more there are."""
        shapes = [f"{key} is {given}, needed is {needed}" for key, given, needed in self.mismatched]
        rows = {"missing": self.missing, "unexpected": self.unexpected, "of another shape": shapes}
        return "\n".join(f"  {len(names)} {kind}: {_first(names)}" for kind, names in rows.items() if names)


class KeysError(ModelFileError):
    """A file's weights are not those of the network; `report` names every one of them."""

    def __init__(self, origin: str, report: KeyReport) -> None:
        super().__init__(f"{origin}: its weights do not fit, and nothing was loaded:\n{report}")
        self.report = report


def _first(names: Sequence[str]) -> str:
    more = f", and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def shapes(weights: Mapping[str, Tensor]) -> dict[str, Shape]:
    """The shape of each tensor."""
    return {key: tuple(value.shape) for key, value in weights.items()}


def compared(needed: Shapes, given: Shapes) -> KeyReport:
    """How the names and shapes that a file gives differ from those needed, in order of name."""
    both = sorted(needed.keys() & given.keys())
    return KeyReport(
        missing=tuple(sorted(needed.keys() - given.keys())),
        unexpected=tuple(sorted(given.keys() - needed.keys())),
        mismatched=tuple((key, given[key], needed[key]) for key in both if given[key] != needed[key]),
    )
