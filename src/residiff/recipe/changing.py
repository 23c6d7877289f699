"""Recipes with other settings in place of their own, and what differs between two."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from typing import Any

import tomli_w

from residiff.errors import ConfigError
from residiff.recipe.documents import Document, Spot, document
from residiff.recipe.experiment import Recipe
from residiff.recipe.keys import KINDS, still_unknown
from residiff.recipe.lines import Place
from residiff.recipe.reading import validated

UNSET = "not set"


def override(recipe: Recipe, settings: list[str]) -> Recipe:
    """`recipe` with settings such as "training.batch=4" in place of its own; values are read as TOML.

    A new `kind` of schedule, prediction or backbone, or another degradation, begins with its own defaults.

    Raises
    ------
    ConfigError
        If a setting is not KEY=VALUE, or the recipe that results cannot be used.
    """
    data = recipe.model_dump(mode="json", exclude_none=True)
    spots: dict[Place, Spot] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise ConfigError(f"{setting!r} is not KEY=VALUE, training.batch=4 say")
        _set(data, key, _value(value))
        spots[tuple(key.split("."))] = Spot(f"--set {setting:.80}")
    source = f"{recipe.name} with {', '.join(settings) or 'no changes'}"
    written = document(tomli_w.dumps(still_unknown(data)), source)
    return validated(Document(written.tables, written.spot, spots))


def _set(data: dict[str, Any], key: str, value: object) -> None:
    *parents, last = key.split(".")
    table = data
    for parent in parents:
        table = table.setdefault(parent, {})
        if not isinstance(table, dict):
            raise ConfigError(f"{key}: {parent} is a value, not a table")
    if key in KINDS and table.get(last) != value:
        table.clear()
    table[last] = value


def _value(text: str) -> object:
    """`text` as TOML; a bare word is a string."""
    try:
        tables = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    return tables["value"] if len(tables) == 1 else text


def difference(one: Recipe, other: Recipe) -> list[str]:
    """A line for each setting in which two recipes differ, "training.batch: 8 -> 4" say, in a recipe's order."""
    first, second = (dict(_leaves(each.model_dump(mode="json", exclude_none=True))) for each in (one, other))
    return [
        f"{key}: {first.get(key, UNSET)} -> {second.get(key, UNSET)}"
        for key in {**first, **second}
        if first.get(key) != second.get(key)
    ]


def _leaves(value: object, key: str = "") -> Iterator[tuple[str, str]]:
    """Each setting's dotted key and its value as TOML; tables in an array are numbered."""
    if isinstance(value, list) and any(isinstance(each, dict) for each in value):
        value = dict(enumerate(value))
    if not isinstance(value, dict):
        yield key, json.dumps(value, ensure_ascii=False)
        return
    for part, member in value.items():
        yield from _leaves(member, f"{key}.{part}" if key else str(part))
