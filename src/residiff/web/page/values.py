"""What controls of the page send: not all of it was made by the page, so each is looked at."""

from __future__ import annotations

import math
from typing import TypeAlias

from residiff.errors import ConfigError

Value: TypeAlias = str | float | bool | None


def number(name: str, value: Value) -> float:
    """A number that is finite; `ConfigError` says what `name` is instead."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ConfigError(f"{name} is {_shown(value)}; give a number")
    return float(value)


def whole(name: str, value: Value) -> int:
    """A whole number; `ConfigError` says what `name` is instead."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1:
        raise ConfigError(f"{name} is {_shown(value)}; give a whole number")
    return int(value)


def word(value: Value) -> str:
    """Text, as it is compared with names; empty for anything else."""
    return value if isinstance(value, str) else ""


def switch(value: Value) -> bool:
    """Whether it is on."""
    return value is True


def _shown(value: Value) -> str:
    return "empty" if value is None or value == "" else repr(value)[:40]
