"""The JSON schema of recipes: it takes what the reader takes, and refuses names, types and choices that it refuses."""

import inspect
import re
import tomllib
import typing
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest
import tomli_w
from pydantic import BaseModel

from residiff import recipe as recipes
from residiff.errors import ConfigError
from residiff.recipe import json_schema, known, names, parse
from residiff.recipe.schema import SHARED, described

SCHEMA = json_schema()
PRESETS = Path(recipes.__file__).parent.parent / "recipes"
# Settings of which the docstring of their class tells without their names
TYPES = {
    "string": str, "integer": int, "number": (int, float), "boolean": bool, "array": list, "object": dict,
    "null": type(None),
}  # fmt: skip


def valid(value, node):
    """Whether a value is as a part of the schema says."""
    if "$ref" in node and not valid(value, SCHEMA["$defs"][node["$ref"].removeprefix("#/$defs/")]):
        return False
    if "anyOf" in node and not any(valid(value, each) for each in node["anyOf"]):
        return False
    if "type" in node and (
        not isinstance(value, TYPES[node["type"]]) or isinstance(value, bool) != (node["type"] == "boolean")
    ):
        return False
    if "const" in node and value != node["const"] or "enum" in node and value not in node["enum"]:
        return False
    if isinstance(value, dict):
        return valid_table(value, node)
    if isinstance(value, list):
        return valid_array(value, node)
    if isinstance(value, str):
        return len(value) <= node.get("maxLength", 10**9) and bool(re.search(node.get("pattern", ""), value))
    return not isinstance(value, int | float) or in_range(value, node)


def in_range(value, node):
    return (
        node.get("minimum", value) <= value <= node.get("maximum", value)
        and value < node.get("exclusiveMaximum", value + 1)
        and value > node.get("exclusiveMinimum", value - 1)
    )


def valid_table(value, node):
    others = node.get("additionalProperties", True)
    if not set(node.get("required", ())) <= set(value):
        return False
    known_ones = node.get("properties", {})
    if others is False and not set(value) <= set(known_ones):
        return False
    rest = others if isinstance(others, dict) else {}
    return all(valid(each, known_ones.get(key, rest)) for key, each in value.items())


def valid_array(value, node):
    first = node.get("prefixItems", [])
    pairs = [*zip(value, first, strict=False), *((each, node.get("items", {})) for each in value[len(first) :])]
    return node.get("minItems", 0) <= len(value) <= node.get("maxItems", 10**9) and all(valid(*pair) for pair in pairs)


def preset(name):
    return tomllib.loads((PRESETS / f"{name}.toml").read_text("utf-8"))


def changed(tables, path, value):
    return {**tables, path[0]: changed(tables.get(path[0], {}), path[1:], value) if path[1:] else value}


@pytest.mark.parametrize("name", names())
def test_every_preset_is_valid(name):
    assert valid(preset(name), SCHEMA)
    assert valid(tomllib.loads(recipes.read(name).toml()), SCHEMA)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("trainig",), {}), (("training", "bach"), 3), (("training", "batch"), "x"), (("training", "batch"), 0),
        (("training", "batch"), 1.5), (("training", "decay"), "cosin"), (("training", "ema"), 1),
        (("training", "compiled"), 1), (("training", "optimiser", "betas"), [0.5]), (("name",), "A B"),
        (("schedule", "kind"), "rdm"), (("schedule", "kapa"), 1.0), (("schedule", "residual", "shape"), "down"),
        (("network", "backbone", "kind"), "net"), (("network", "backbone", "multipliers"), [1]),
        (("network", "clamp"), "all"), (("data", "augment"), "flip"), (("data", "degrade", "names"), "x"),
        (("data", "degrade", "parameters"), {"sigma": [1, 2, 3]}), (("data", "mixture"), [{"paths": "a"}]),
        (("sampling", "readjusted"), {"kind": "rdm"}), (("include",), 1),
    ],
    ids=str,
)  # fmt: skip
def test_what_the_reader_refuses_is_refused(path, value):
    tables = changed(preset("tiny"), path, value)
    assert not valid(tables, SCHEMA)
    if path != ("include",):
        with pytest.raises(ConfigError):
            recipes.parse(tomli_w.dumps(tables))


def test_what_may_stand_in_an_included_file_is_not_required():
    assert valid({"include": "tiny", "name": "mine"}, SCHEMA)
    assert valid({"include": ["a.toml", "tiny"], "schedule": {"length": 50}, "data": {"crop": 32}}, SCHEMA)
    assert not valid({"name": "mine", "task": "x"}, SCHEMA), "without an included file, data must be there"


def test_the_dialect_is_named_and_no_foreign_keyword_left():
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"

    def words(node):
        if isinstance(node, dict):
            yield from node
            for each in node.values():
                yield from words(each)
        elif isinstance(node, list):
            for each in node:
                yield from words(each)

    assert not {"discriminator", "oneOf", "definitions"} & set(words(SCHEMA))


def test_a_schema_may_be_changed_by_whoever_asked_for_it():
    json_schema()["properties"].clear()
    assert json_schema() == SCHEMA


# Every setting is described


TABLES = {name: table for name, table in {"Recipe": SCHEMA, **SCHEMA["$defs"]}.items() if "properties" in table}


@pytest.mark.parametrize("name", TABLES)
def test_every_setting_is_described(name):
    for key, setting in TABLES[name]["properties"].items():
        assert len(setting["description"]) >= 8 and setting["description"].endswith("."), key


def classes(annotation=recipes.Recipe):
    """The classes of which a recipe's tables are made, as far as an annotation names them."""
    for each in typing.get_args(annotation):
        yield from classes(each)
    if is_dataclass(annotation) or inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        yield annotation
        names_of = (each.name for each in fields(annotation)) if is_dataclass(annotation) else annotation.model_fields
        for name in names_of:
            yield from classes(typing.get_type_hints(annotation)[name])


def test_every_setting_is_named_by_the_docstring_of_its_class():
    unnamed = {
        f"{one.__name__}.{key}"
        for one in set(classes())
        for key in TABLES[one.__name__]["properties"]
        if key not in (*SHARED, "include") and not described(inspect.getdoc(one), key)
    }
    assert unnamed == set()


def test_a_description_is_the_row_of_the_parameters_or_the_sentence_that_names_the_setting():
    about = """It has `first` and `second`. The `first = 1` is more. None else.

Parameters
----------
third, fourth : of both,
    on two lines
fifth : another (see `first`)

Raises
------
sixth : never
"""
    assert described(about, "first") == "It has `first` and `second`. The `first = 1` is more."
    assert described(about, "second") == "It has `first` and `second`."
    assert described(about, "fourth") == described(about, "third") == "Of both, on two lines."
    assert described(about, "fifth") == "Another (see `first`)."
    assert described(about, "seventh") == ""


# What the reader looks up in it


def test_every_setting_of_a_recipe_is_known():
    settings = set(known.settings(SCHEMA))
    for name in names():
        tables = parse(recipes.read(name).toml()).model_dump(mode="json", exclude_none=True)
        tables["data"]["degrade"]["parameters"] = {}
        assert set(leaves(tables)) <= settings
    assert {
        "include",
        "training.plateau.cooldown",
        "schedule.rddm.noise.exponent",
        "sampling.readjusted.kind",
    } <= settings


def leaves(value, key=()):
    if not isinstance(value, dict):
        yield ".".join(key)
        return
    for part, each in value.items():
        yield from leaves(each, (*key, part))


def test_the_settings_of_a_table_are_those_of_its_kind():
    tables = {"schedule": {"kind": "i2sb"}, "data": {"mixture": [{}, {"degrade": {}}]}}
    assert known.keys_at(SCHEMA, tables, ("schedule",)) == ["kind", "length", "low", "high"]
    assert {"kappa", "total_noise"} <= set(known.keys_at(SCHEMA, {}, ("schedule",)))
    assert known.keys_at(SCHEMA, tables, ("data", "mixture", 1, "degrade")) == ["name", "parameters"]
    assert known.keys_at(SCHEMA, tables, ("nothing", "there")) == []
    assert known.kinds_at(SCHEMA, ("network", "backbone")) == ["nafnet", "unet", "ddim-unet", "dit"]


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        (("training", "bach"), "training.batch"),
        (("training", "optimiser", "beta"), "training.optimiser.betas"),
        (("warm_up",), "training.warm_up"),
        (("schedule", "hihg"), "schedule.high"),
        (("schedule", "total_noise"), "schedule.total_noise"),
        (("data", "mixture", 0, "wieght"), "data.mixture.0.weight"),
        (("xyzzy",), None),
    ],
)
def test_the_nearest_setting(place, expected):
    tables = {"schedule": {"kind": "i2sb"}, "data": {"mixture": [{}]}}
    assert known.nearest(SCHEMA, tables, place) == expected
