"""What is wrong with a recipe, each fault with the place where it was written, and in words."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from residiff.errors import ConfigError
from residiff.recipe.documents import Document, Spot
from residiff.recipe.keys import KINDS
from residiff.recipe.known import Schema, inside, kinds_at, nearest
from residiff.recipe.lines import Place

SHOWN = 60
MAX_FAULTS = 100


@dataclass(frozen=True)
class Fault:
    """One fault: where it was written, the setting's dotted key ("" where it is of the whole), and what is wrong.

    Of a file that cannot be read the text itself says which; its `spot` is None.
    """

    spot: Spot | None
    key: str
    text: str

    def __str__(self) -> str:
        return self.text if self.spot is None else f"{self.spot}: {self.text}"


class RecipeError(ConfigError):
    """A recipe has faults; the message has a line for each."""

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        super().__init__(faults)
        self.faults = faults

    def __str__(self) -> str:
        return "\n".join(map(str, self.faults))


def faults_of(error: ValidationError, document: Document, schema: Schema) -> tuple[Fault, ...]:
    """The faults that were found in a document, in the order of the places where they were written."""
    items = error.errors()
    placed = [(_place(item, document.tables), item) for item in items[:MAX_FAULTS]]
    # Of a union, a member that was refused for a part of the value says more than one that was refused for the whole
    whole = {place[:end] for place, _ in placed for end in range(1, len(place))}
    found: list[Fault] = []
    for place, pairs in groupby((pair for pair in placed if pair[0] not in whole), lambda pair: pair[0]):
        found += _told(place, [item for _, item in pairs], document, schema)
    more = len(items) - len(placed)
    rest = (Fault(document.spot, "", f"{more} more faults are not shown; mend these first"),) if more else ()
    return (*sorted(found, key=_line), *rest)


def _line(fault: Fault) -> tuple[str, int]:
    return (fault.spot.source, fault.spot.line or 0) if fault.spot else ("", 0)


def _place(item: ErrorDetails, tables: object) -> Place:
    """The keys to what is wrong; pydantic's own names of a union's members among them are left out."""
    place: Place = ()
    value = tables
    for part in item["loc"]:
        if f"{dotted(place)}.kind" in KINDS and isinstance(value, dict) and part == value.get("kind"):
            continue
        if part in (value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()):
            value, place = inside(value, part), (*place, part)
    if item["type"] in ("missing", "missing_argument"):
        return (*place, item["loc"][-1])
    return (*place, "kind") if item["type"].startswith("union_tag") else place


def _told(place: Place, items: list[ErrorDetails], document: Document, schema: Schema) -> Iterator[Fault]:
    """The faults of one place: what its checks say, or one that says all that pydantic finds of it."""
    said = [str(item["ctx"]["error"]) for item in items if item["type"] == "value_error"]
    for line in (line for text in said for line in text.splitlines()):
        written = named(line, place, document)
        table = f"{dotted(place)}: " if place else ""
        yield Fault(document.where(written), dotted(written), f"{table}{line}")
    texts = dict.fromkeys(_text(item, place, document, schema) for item in items if item["type"] != "value_error")
    if texts:
        yield Fault(document.where(place), dotted(place), f"{dotted(place)}: {'; or: '.join(texts)}")


def _text(item: ErrorDetails, place: Place, document: Document, schema: Schema) -> str:
    value = _value(document.tables, place)
    kind, context = item["type"], item.get("ctx", {})
    if kind in ("missing", "missing_argument"):
        return "Field required"
    if kind in ("extra_forbidden", "unexpected_keyword_argument"):
        near = nearest(schema, document.tables, place)
        return "there is no such setting" + (f"; did you mean {near}?" if near else "")
    if kind == "union_tag_not_found":
        return f"Field required; take {_listed(kinds_at(schema, place[:-1]))}"
    if kind == "union_tag_invalid":
        return _no_kind(value, _listed(kinds_at(schema, place[:-1])))
    if kind in ("literal_error", "enum"):
        expected = str(context["expected"])
        return f"{_shown(value)} is not allowed; take {expected}{_hint(value, expected)}"
    return f"{item['msg']} (is {_shown(value)})"


def _no_kind(value: object, expected: str) -> str:
    hint = _hint(value, expected) or "; if a plug-in has it, install that"
    return f"{_shown(value)} is not allowed; take {expected}{hint}"


def _hint(value: object, expected: str) -> str:
    word = value[:SHOWN] if isinstance(value, str) else ""
    near = difflib.get_close_matches(word, re.findall(r"'(.*?)'", expected), 1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _listed(words: list[str]) -> str:
    return ", ".join(map(repr, words))


def named(text: str, table: Place, document: Document) -> Place:
    """The place of the first setting of a table that a message names and that was written; else the table's."""
    for word in re.findall(r"[a-z_]\w*(?:\.\w+)*", text):
        place = (*table, *word.split("."))
        if place in document.spots:
            return place
    return table


def _value(value: object, place: Place) -> object:
    for part in place:
        value = inside(value, part)
    return value


def _shown(value: object) -> str:
    """A value as TOML has it, cut short."""
    return _cut(str(value).lower() if isinstance(value, bool) else repr(value))


def dotted(place: Place) -> str:
    """A place as a recipe's settings are named, "data.mixture.0.path" say; what a terminal would obey is escaped."""
    return ".".join(_cut(part if part.isprintable() else repr(part)) for part in map(str, place))


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."
