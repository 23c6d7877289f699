"""The JSON schema of recipes, for editors: every setting with its type, its choices and what it means."""

from __future__ import annotations

import re
from collections.abc import Iterator
from copy import deepcopy
from functools import lru_cache
from typing import Any

from pydantic import TypeAdapter

from residiff.plugins import Group
from residiff.recipe.experiment import Recipe
from residiff.recipe.plugged import CLASSES

DIALECT = "https://json-schema.org/draft/2020-12/schema"
# Settings that mean the same wherever they stand
SHARED = {
    "kind": "Which one it is; the other settings of the table are this one's.",
    "length": "T, the number of levels.",
}
# A class beside which those of plug-ins stand
OWN = {Group.SCHEDULES: "RDDM", Group.BACKBONES: "NAFNetSettings"}
INCLUDE = {
    "description": "Recipes to begin from: presets' names, or .toml files beside this one. What stands here wins.",
    "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "maxItems": 16}],
}


def json_schema() -> dict[str, Any]:
    """JSON schema (draft 2020-12) of a recipe's file.

    It knows names, types, choices and the ranges of single numbers. Nothing inside a table is required, since an
    included file may hold it; what is missing, or does not fit together, reading the recipe finds.
    """
    return deepcopy(shared_schema())


@lru_cache(maxsize=1)
def shared_schema() -> dict[str, Any]:
    """The same, made once, for those who only look into it."""
    made = Recipe.model_json_schema()
    _plug_in(made)
    for table in made["$defs"].values():
        table.pop("required", None)
    for table in (made, *made["$defs"].values()):
        _complete(table, made["$defs"])
    for table in (made, *made["$defs"].values()):
        table["description"] = _flat(_prose(table.get("description", "")))
    whole = {"required": made.pop("required")}
    made["properties"] = {"include": INCLUDE, **made["properties"]}
    return {"$schema": DIALECT, **made, "anyOf": [{"required": ["include"]}, whole]}


def _plug_in(made: dict[str, Any]) -> None:
    """Let a table be of a plug-in's class wherever it may be of one of residiff's."""
    for group, own in OWN.items():
        for name, kind in CLASSES[group].added().items():
            schema = TypeAdapter(kind).json_schema(ref_template="#/$defs/{model}")
            made["$defs"] |= schema.pop("$defs", {}) | {f"plug-in {name}": schema | {"additionalProperties": False}}
            for union in _unions(made):
                if {"$ref": f"#/$defs/{own}"} in union:
                    union.append({"$ref": f"#/$defs/plug-in {name}"})


def _unions(made: dict[str, Any]) -> Iterator[list[dict[str, Any]]]:
    for table in (made, *made["$defs"].values()):
        for setting in table.get("properties", {}).values():
            yield from (part["oneOf"] for part in (setting, *setting.get("anyOf", ())) if "oneOf" in part)


def _complete(table: dict[str, Any], tables: dict[str, Any]) -> None:
    """Describe each setting, and leave to the reader what a union or an included file decides."""
    about = table.get("description", "")
    for name, setting in table.get("properties", {}).items():
        chosen = tables.get(setting.get("$ref", "").rpartition("/")[2], {})
        setting["description"] = (
            described(about, name) or SHARED.get(name) or _flat(_prose(chosen.get("description", about)))
        )
        for union in (setting, *setting.get("anyOf", ())):
            union.pop("discriminator", None)
            if "oneOf" in union:
                union["anyOf"] = union.pop("oneOf")


def described(about: str, name: str) -> str:
    """What a class's docstring says of a setting; "" where it says nothing.

    That is its row of the parameters, or else each sentence that has its name in backticks.
    """
    row = re.search(rf"^(?:\w+, )*{name}(?:, \w+)* : (.*(?:\n[ ]+.*)*)", about, re.MULTILINE)
    if row:
        return _sentence(_flat(row[1]))
    prose = re.split(r"(?<=\.)\s+(?=[A-Z`])", _flat(_prose(about)))
    return " ".join(sentence for sentence in prose if re.search(rf"`{name}\b[^`]*`", sentence))


def _prose(about: str) -> str:
    return about.partition("\nParameters\n")[0]


def _flat(text: str) -> str:
    return " ".join(text.split())


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}".rstrip(".") + "."
