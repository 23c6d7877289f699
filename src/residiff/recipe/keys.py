"""Settings by their dotted keys, "network.clamp" say, in a recipe's tables."""

from __future__ import annotations

from typing import Any

MISSING = object()
# Each value has settings of its own beside it, which mean nothing to another
KINDS = (
    "schedule.kind",
    "prediction.kind",
    "network.backbone.kind",
    "sampling.readjusted.kind",
    "data.degrade.name",
)


def still_unknown(data: dict[str, Any]) -> dict[str, Any]:
    """A recipe's tables without those of `origin.unknown` that name a setting which is there no more."""
    origin = data.get("origin")
    if not isinstance(origin, dict) or not isinstance(origin.get("unknown"), list | tuple):
        return data
    return data | {"origin": origin | {"unknown": [key for key in origin["unknown"] if holds(data, str(key))]}}


def holds(data: object, key: str) -> bool:
    """Whether a recipe's tables have a setting `key`."""
    return setting(data, key, MISSING) is not MISSING


def setting(data: object, key: str, default: object = None) -> object:
    """The value at `key`, "network.clamp" say, of a recipe's tables; `default` where there is none."""
    for part in key.split("."):
        if not isinstance(data, dict) or part not in data:
            return default
        data = data[part]
    return data
