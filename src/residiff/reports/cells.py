"""What tables on pages are made of: texts, with the values that they are sorted by."""

from __future__ import annotations

from typing import NamedTuple

NONE = "–"


class Head(NamedTuple):
    """A column: its name, an arrow to where better is, and whether it begins with the greatest when it is sorted."""

    name: str
    arrow: str = ""
    greatest_first: bool = False


class Cell(NamedTuple):
    """A text, what it lies between, the value that it is sorted by, and whether it is the best of its column."""

    text: str
    between: str = ""
    value: float | None = None
    best: bool = False

    @property
    def key(self) -> str:
        """What the page sorts by, as its script reads it: it has another word for infinity."""
        if self.value is None:
            return self.text
        return repr(self.value).replace("inf", "Infinity")


class Row(NamedTuple):
    """A row; `place` is the method's, -1 of the input."""

    place: int
    name: str
    cells: tuple[Cell, ...]
    note: str = ""


def arrow(higher: bool) -> str:
    """To where better is."""
    return "↑" if higher else "↓"
