"""The results that the two papers print, as data (`published.toml`), so that a new one can stand among them."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from residiff.errors import ConfigError


@dataclass(frozen=True)
class PublishedRow:
    """A method's figures by measure, those that are printed; `of` is the paper that prints them."""

    method: str
    of: str
    values: Mapping[str, float]


@dataclass(frozen=True)
class PublishedTable:
    """Methods on one set of pictures under one protocol."""

    title: str
    protocol: str
    data: str
    measures: tuple[str, ...]
    rows: tuple[PublishedRow, ...]


def published_costs() -> list[dict[str, object]]:
    """What the papers print of the cost of a picture of 256 x 256, by their counter; a row a method."""
    columns = ("method", "parameters_M", "GMAC_a_step", "steps", "seconds_a_step", "of")
    return [{key: row.get(key, "") for key in columns} for row in _data()["cost"]["rows"]]


@cache
def _data() -> dict[str, Any]:
    return tomllib.loads(resources.files("residiff.evaluate").joinpath("published.toml").read_text("utf-8"))


@cache
def published_tables() -> tuple[PublishedTable, ...]:
    """All tables, in the order of the papers."""
    return tuple(
        PublishedTable(
            table["title"],
            table["protocol"],
            table["data"],
            tuple(table["measures"]),
            tuple(
                PublishedRow(row["method"], row["of"], _printed(table["measures"], row["values"]))
                for row in table["rows"]
            ),
        )
        for table in _data()["table"]
    )


def published_table(protocol: str, data: str) -> PublishedTable:
    """The table of a protocol on the set `data`, in upper or lower case.

    Raises
    ------
    ConfigError
        If the papers print none; says which there are.
    """
    for table in published_tables():
        if table.protocol == protocol and table.data.lower() == data.lower():
            return table
    there = ", ".join(f"{table.data} by {table.protocol}" for table in published_tables())
    raise ConfigError(f"no figures are published of {data!r} by {protocol}; there are {there}")


def _printed(measures: list[str], values: list[float | str]) -> dict[str, float]:
    """The figures of a row; what a paper leaves open is an empty text."""
    return {name: float(value) for name, value in zip(measures, values, strict=True) if value != ""}
