"""What a recipe may hold, looked up in its JSON schema: the settings of a table, the kinds, the nearest name."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Any, TypeAlias

from residiff.recipe.lines import Place

Schema: TypeAlias = dict[str, Any]


def alternatives(schema: Schema, node: Schema) -> list[Schema]:
    """What a value may be by `node`, a part of `schema`: references followed, one for each member of a union."""
    if "$ref" in node:
        return alternatives(schema, schema["$defs"][node["$ref"].rpartition("/")[2]])
    if "anyOf" in node:
        return [found for member in node["anyOf"] for found in alternatives(schema, member)]
    return [node]


def tables_at(schema: Schema, tables: object, place: Place) -> list[Schema]:
    """What the table at `place` may be; where it names its kind, that one alone."""
    nodes, value = [schema], tables
    for part in place:
        value = inside(value, part)
        if isinstance(part, int):
            members = [node["items"] for node in nodes if isinstance(node.get("items"), dict)]
        else:
            members = [node["properties"][part] for node in nodes if part in node.get("properties", {})]
        nodes = [found for member in members for found in alternatives(schema, member) if _fits(found, value)]
    return [node for node in nodes if "properties" in node]


def inside(value: object, part: str | int) -> object:
    """A table's value by its key, or an array's by its number; None where there is none."""
    if isinstance(value, dict):
        return value.get(part)
    return value[part] if isinstance(value, list) and isinstance(part, int) and part < len(value) else None


def _fits(node: Schema, value: object) -> bool:
    """Whether `value`, if it is a table that names its kind, is of this one."""
    if not isinstance(value, dict) or "kind" not in value:
        return True
    kind = node.get("properties", {}).get("kind", {})
    return value["kind"] == kind["const"] if "const" in kind else True


def keys_at(schema: Schema, tables: object, place: Place) -> list[str]:
    """Names of the settings that the table at `place` may have."""
    return list(dict.fromkeys(key for node in tables_at(schema, tables, place) for key in node["properties"]))


def kinds_at(schema: Schema, place: Place) -> list[str]:
    """The kinds among which the table at `place` is to name one."""
    kinds = (node["properties"].get("kind", {}) for node in tables_at(schema, None, place))
    return [kind["const"] for kind in kinds if "const" in kind]


def settings(schema: Schema, node: Schema | None = None, place: tuple[str, ...] = ()) -> Iterator[str]:
    """Every setting that a recipe may have, "training.batch" say, once for each kind of table that has it."""
    for key, member in (schema if node is None else node)["properties"].items():
        inner = [found for found in alternatives(schema, member) if "properties" in found]
        for found in inner:
            yield from settings(schema, found, (*place, key))
        if not inner:
            yield ".".join((*place, key))


def nearest(schema: Schema, tables: object, place: Place) -> str | None:
    """The setting that was meant by a key that is none: one of its table, or of that name in another table."""
    *table, key = place
    near = difflib.get_close_matches(str(key), keys_at(schema, tables, tuple(table)), 1)
    if near:
        return ".".join(map(str, (*table, near[0])))
    return next((name for name in settings(schema) if name.rpartition(".")[2] == key), None)
