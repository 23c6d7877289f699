"""The tables of plug-ins: entry points by group and name, loaded when they are asked for, with faults told as such."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import StrEnum
from importlib import metadata
from typing import Any, Generic, TypeVar

from residiff.errors import ConfigError, ResidiffError

Row = TypeVar("Row")
Result = TypeVar("Result")


class Group(StrEnum):
    """The groups of entry points."""

    SCHEDULES = "residiff.schedules"
    BACKBONES = "residiff.backbones"
    DEGRADATIONS = "residiff.degradations"
    DATASETS = "residiff.datasets"
    METRICS = "residiff.metrics"


class PluginError(ConfigError):
    """A plug-in cannot be used; says which, of which package, and why."""


class PluginWarning(UserWarning):
    """A plug-in was left out of a list, since it cannot be used."""


@dataclass(frozen=True)
class Plugin:
    """An entry point: its `group` and `name`, and the packages that have it, "residiff-weave 0.1" say."""

    group: Group
    name: str
    packages: tuple[str, ...]
    point: metadata.EntryPoint

    def __str__(self) -> str:
        """For a list: what it is, whose, and whether it can be imported."""
        try:
            self.load()
        except PluginError:
            state = ", broken"
        else:
            state = ""
        return f"{self.name} ({self.group}) of {' and '.join(self.packages)}{state}"

    def fault(self, why: str) -> PluginError:
        """The error that says why it cannot be used."""
        whose = " and ".join(self.packages)
        return PluginError(
            f"plug-in {self.name!r} of {whose} ({self.group}) cannot be used: {why}; update or remove it"
        )

    def call(self, function: Callable[[], Result]) -> Result:
        """What `function`, a part of the plug-in, gives; a `PluginError` in place of any error that is not ours."""
        try:
            return function()
        except ResidiffError:
            raise
        except Exception as error:
            words = " ".join(str(error).split())
            raise self.fault(f"{type(error).__name__}: {words}" if words else type(error).__name__) from error

    @functools.cache  # noqa: B019  there are a few, for as long as the process lives
    def load(self) -> object:
        """What the entry point names; a `PluginError` where that fails, or two packages have the name."""
        if len(self.packages) > 1:
            raise self.fault("two packages have this name")
        return self.call(self.point.load)


@functools.cache
def found(group: Group) -> Mapping[str, Plugin]:
    """The plug-ins of a group by name, from the metadata of what is installed; none is imported."""
    points: dict[str, list[metadata.EntryPoint]] = {}
    for point in metadata.entry_points(group=group):
        points.setdefault(point.name, []).append(point)
    return {name: Plugin(group, name, _packages(same), same[0]) for name, same in sorted(points.items())}


def _packages(points: list[metadata.EntryPoint]) -> tuple[str, ...]:
    whose = (point.dist for point in points)
    return tuple(sorted({"an unknown package" if dist is None else f"{dist.name} {dist.version}" for dist in whose}))


def listed() -> list[Plugin]:
    """Every plug-in that is installed."""
    return [plugin for group in Group for plugin in found(group).values()]


@dataclass(frozen=True)
class Guarded:
    """A function of a plug-in, whose errors name the plug-in."""

    plugin: Plugin
    function: Callable[..., Any]

    def __call__(self, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401  whatever the function takes
        """Call it."""
        return self.plugin.call(lambda: self.function(*arguments, **options))


class Table(Mapping[str, Row], Generic[Row]):
    """Rows of residiff's `own` by name, and behind them those of the plug-ins of a group.

    `check` makes a row of what a plug-in's entry point names, or raises by `Plugin.fault`. A name of a plug-in that
    cannot be used is in the table, and a `PluginError` when it is asked for; lists leave it out with a warning.
    """

    def __init__(self, own: Mapping[str, Row], group: Group, check: Callable[[Plugin, object], Row]) -> None:
        self.own, self.group, self.check = own, group, check

    def __getitem__(self, name: str) -> Row:
        """The row; `KeyError` where there is none, `PluginError` where a plug-in has it that cannot be used."""
        if name in self.own:
            return self.own[name]
        plugin = found(self.group)[name]
        return self.check(plugin, plugin.load())

    def __contains__(self, name: object) -> bool:
        """Whether there is a row of that name, usable or not."""
        return name in self.own or name in found(self.group)

    def __iter__(self) -> Iterator[str]:
        """The names whose rows can be used."""
        yield from self.own
        yield from self.added()

    def __len__(self) -> int:
        """How many rows can be used."""
        return sum(1 for _ in self)

    def added(self) -> dict[str, Row]:
        """The rows of plug-ins alone; what cannot be used is warned of."""
        rows = {}
        for name, plugin in found(self.group).items():
            try:
                if name in self.own:
                    raise plugin.fault("residiff itself has this name")
                rows[name] = self[name]
            except PluginError as error:
                warnings.warn(PluginWarning(f"{error}"), stacklevel=2)
        return rows


def settings_class(plugin: Plugin, value: object) -> type:
    """`value` if it is a frozen dataclass whose field `kind` is the entry's name; a `PluginError` otherwise."""
    if not isinstance(value, type) or not is_dataclass(value):
        raise plugin.fault("it is no dataclass")
    if not value.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        raise plugin.fault("its dataclass is not frozen")
    kind = next((field.default for field in fields(value) if field.name == "kind"), None)
    if kind != plugin.name:
        raise plugin.fault(f"its kind is {kind!r}, the entry's name {plugin.name!r}")
    return value
