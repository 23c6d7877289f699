"""Recipes from TOML: by a preset's name, from a file and what it includes, or from text."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, time
from importlib import resources
from pathlib import Path

from pydantic import ValidationError

from residiff.errors import ConfigError
from residiff.nearest import path_hint
from residiff.recipe.documents import MAX_TEXT, Document, document, merged
from residiff.recipe.experiment import Recipe
from residiff.recipe.faults import Fault, RecipeError, dotted, faults_of
from residiff.recipe.lines import Place
from residiff.recipe.schema import shared_schema

MAX_FILES = 16
INCLUDE = "include"


def parse(text: str, origin: str = "recipe") -> Recipe:
    """Read a recipe from TOML, which may include no other: what a model file holds is to read no files.

    Raises
    ------
    ConfigError
        Naming each key that is unknown, missing, of another type or out of range, with its line and what is allowed.
    """
    return validated(document(text, origin))


def validated(whole: Document) -> Recipe:
    """The recipe that a document is; `RecipeError` where it is none, or would have another read."""
    if INCLUDE in whole.tables:
        raise _fault(whole, (INCLUDE,), "only a file may include another recipe; write its settings out")
    if (place := next(_dates(whole.tables), None)) is not None:
        raise _fault(whole, place, "a date or a time; no setting is one")
    try:
        # JSON's strict mode takes arrays as tuples and names as enums, but no truth value as a number
        return Recipe.model_validate_json(json.dumps(whole.tables), strict=True)
    except ValidationError as error:
        raise RecipeError(faults_of(error, whole, shared_schema())) from error


def _fault(whole: Document, place: Place, text: str) -> RecipeError:
    return RecipeError((Fault(whole.where(place), dotted(place), f"{dotted(place)}: {text}"),))


def _dates(value: object, place: Place = ()) -> Iterator[Place]:
    """Where a document holds what JSON cannot."""
    if isinstance(value, date | time):
        yield place
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for part, member in members:
        yield from _dates(member, (*place, part))


def read(name: str) -> Recipe:
    """Read a recipe by the name of a preset, or from a .toml file and those that it includes."""
    return validated(gathered(name))


def gathered(name: str) -> Document:
    """A recipe's document, with those that it includes laid below it.

    Raises
    ------
    ConfigError
        If a file cannot be read or is no TOML, includes itself by way of others, or more than `MAX_FILES` are read;
        with the chain of those that include one another.
    """
    return _Gathering().read(name, None, ())


class _Gathering:
    """Reads a recipe and all that it includes; counts them, for each may include two more."""

    def __init__(self) -> None:
        self.count = 0

    def read(self, name: str, folder: Path | None, chain: tuple[str, ...]) -> Document:
        """The recipe `name`, a file's relative to `folder`, which the recipes of `chain` lead to."""
        self.count += 1
        path = Path(os.path.normpath((folder or Path()) / name)) if Path(name).suffix == ".toml" else None
        here = str(path or name)
        links = (*chain, here)
        if here in chain:
            raise ConfigError(f"{' includes '.join(links)}: a recipe cannot include itself; leave one of them out")
        if self.count > MAX_FILES:
            raise ConfigError(f"{chain[0]} includes more than {MAX_FILES - 1} recipes; write some of them together")
        whole = document(_preset(name, chain) if path is None else _file(path, chain), here)
        return self._completed(whole, None if path is None else path.parent, links)

    def _completed(self, whole: Document, folder: Path | None, links: tuple[str, ...]) -> Document:
        """`whole` laid over what it includes, the later over the earlier."""
        above = replace(whole, tables={key: value for key, value in whole.tables.items() if key != INCLUDE})
        below = Document({}, whole.spot)
        for name in _included(whole):
            below = merged(below, self.read(name, folder, links))
        return merged(below, above)


def _included(whole: Document) -> list[str]:
    value = whole.tables.get(INCLUDE, [])
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        told = f"{value!r:.60} is no recipe's name; give a preset's, a .toml file, or a list of them"
        raise _fault(whole, (INCLUDE,), told)
    return names


def _by(chain: tuple[str, ...]) -> str:
    return f", which {' includes '.join(chain)} includes" if chain else ""


def _file(path: Path, chain: tuple[str, ...]) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            return file.read(MAX_TEXT + 1)
    except FileNotFoundError as error:
        told = f"cannot read recipe {str(path)!r}{_by(chain)}: No such file or directory"
        raise ConfigError(f"{told}; {path_hint(path)}") from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read recipe {str(path)!r}{_by(chain)}: {error}") from error


def _preset(name: str, chain: tuple[str, ...]) -> str:
    presets = names()
    if name not in presets:
        near = difflib.get_close_matches(name, presets, 1)
        hint = f"did you mean {near[0]!r}?" if near else "see `residiff recipes list`"
        raise ConfigError(f"no recipe {name!r}{_by(chain)}; {hint}")
    return (resources.files("residiff.recipes") / f"{name}.toml").read_text("utf-8")


def names() -> list[str]:
    """Names of the presets, sorted."""
    entries = resources.files("residiff.recipes").iterdir()
    return sorted(entry.name.removesuffix(".toml") for entry in entries if entry.name.endswith(".toml"))
