"""A recipe's tables before they are checked, each key with the place where it was written."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from residiff.errors import ConfigError
from residiff.recipe.keys import KINDS
from residiff.recipe.lines import Place, lines

MAX_TEXT = 32_000
# The longest summary fits, all of it escaped; TOML's cost grows with the square of a dotted key
MAX_LINE = 4_200
MAX_DEPTH = 16
_AT = re.compile(r"(?P<cause>.*) \(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)", re.DOTALL)
# What a recipe says of itself alone: one that includes it is another
OWN = ("name", "summary", "origin")


@dataclass(frozen=True)
class Spot:
    """Where something was written: a file's name (or other words for it), and the line, where there is one."""

    source: str
    line: int | None = None

    def __str__(self) -> str:
        return self.source if self.line is None else f"{self.source}:{self.line}"


@dataclass(frozen=True)
class Document:
    """Tables as TOML has them, and the spots of their keys; `spot` is of the whole."""

    tables: dict[str, Any]
    spot: Spot
    spots: Mapping[Place, Spot] = field(default_factory=dict)

    def where(self, place: Place) -> Spot:
        """The spot of a key, or of the innermost table around it that was written."""
        for end in range(len(place), 0, -1):
            if place[:end] in self.spots:
                return self.spots[place[:end]]
        return self.spot


class NotTomlError(ConfigError):
    """A text is no TOML: where, and why."""

    def __init__(self, spot: Spot, cause: str) -> None:
        super().__init__(spot, cause)
        self.spot, self.cause = spot, cause

    def __str__(self) -> str:
        return f"{self.spot}: {self.cause}"


def document(text: str, source: str) -> Document:
    """Read TOML, which is all that `text` may be.

    Raises
    ------
    ConfigError
        If it is longer than `MAX_TEXT`, or a line than `MAX_LINE`; if it is not TOML, with the line; if it is nested
        deeper than `MAX_DEPTH`, or holds a date, which no setting is.
    """
    if len(text) > MAX_TEXT or max(map(len, text.split("\n"))) > MAX_LINE:
        raise ConfigError(f"{source} is too long: allowed are {MAX_TEXT} characters, {MAX_LINE} in a line")
    try:
        tables = tomllib.loads(text)
    except RecursionError as error:
        raise ConfigError(f"{source} is nested too deeply") from error
    except ValueError as error:
        raise _not_toml(text, source, str(error)) from error
    if _deep(tables):
        raise ConfigError(f"{source} is nested too deeply")
    return Document(tables, Spot(source), {place: Spot(source, line) for place, line in lines(text).items()})


def _not_toml(text: str, source: str, told: str) -> NotTomlError:
    """What tomllib tells, with its line in the place where an editor looks for one."""
    match = _AT.fullmatch(told)
    if match is None:
        return NotTomlError(Spot(source), f"not TOML: {told}")
    line = int(match["line"]) if match["line"] else max(1, len(text.rstrip().splitlines()))
    column = f"column {match['column']}" if match["column"] else "the end"
    return NotTomlError(Spot(source, line), f"not TOML: {match['cause']}, at {column}")


def _deep(value: object) -> bool:
    """Whether tables and arrays stand in one another more than `MAX_DEPTH` deep."""
    level = [value]
    for _ in range(MAX_DEPTH):
        tables = [each.values() for each in level if isinstance(each, dict)]
        level = [one for each in (*tables, *(each for each in level if isinstance(each, list))) for one in each]
    return bool(level)


def merged(below: Document, above: Document) -> Document:
    """`above` laid over `below`: tables are merged, all else is replaced, arrays too.

    A table whose kind is another takes nothing of the one below it, and what a recipe says of itself alone (`OWN`) is
    taken from `above` or not at all.
    """
    base = {key: value for key, value in below.tables.items() if key not in OWN}
    replaced: list[Place] = [(key,) for key in OWN]
    tables = _laid(base, above.tables, (), replaced)
    kept = {place: spot for place, spot in below.spots.items() if not any(_within(place, each) for each in replaced)}
    return Document(tables, above.spot, {**kept, **above.spots})


def _laid(below: dict[str, Any], above: dict[str, Any], place: Place, replaced: list[Place]) -> dict[str, Any]:
    result = dict(below)
    for key, value in above.items():
        here, old = (*place, key), below.get(key)
        if isinstance(value, dict) and isinstance(old, dict) and not _another_kind(old, value, here):
            result[key] = _laid(old, value, here, replaced)
        else:
            result[key] = value
            replaced.append(here)
    return result


def _another_kind(old: dict[str, Any], new: dict[str, Any], place: Place) -> bool:
    """Whether both tables say what they are, and not the same."""
    for kind in KINDS:
        *table, key = kind.split(".")
        if tuple(table) == place:
            return key in old and key in new and old[key] != new[key]
    return False


def _within(place: Place, table: Place) -> bool:
    return place[: len(table)] == table
