"""Several ways to restore one picture, to be seen side by side."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from residiff.errors import ConfigError
from residiff.web import ModelEntry

MOST = 8


@dataclass(frozen=True)
class Variant:
    """A model and its number of steps."""

    model: ModelEntry
    steps: int

    @property
    def label(self) -> str:
        """What it is called."""
        return f"{self.model.name}, {self.steps} {'step' if self.steps == 1 else 'steps'}"


def parse_steps(text: str) -> list[int]:
    """Whole numbers of "1, 2 5", each once, in order; `ConfigError` where something else stands there."""
    words = [word for word in re.split(r"[,;\s]+", text.strip()) if word]
    for word in words:
        if not re.fullmatch(r"\d{1,6}", word, re.ASCII):
            raise ConfigError(f"steps hold {word[:20]!r}; give whole numbers, 1, 2, 5 say, or nothing")
    return list(dict.fromkeys(map(int, words)))


def variants(models: Sequence[ModelEntry], names: Sequence[str], steps: Sequence[int]) -> list[Variant]:
    """Every model of `names` with every number of `steps`, or its own where there are none.

    Raises
    ------
    ConfigError
        If there is no model, a number is more than one takes, or there are more than eight of them.
    """
    chosen = [model for model in models if model.name in names]
    if not chosen:
        raise ConfigError("no model is chosen; tick one or more")
    found = [Variant(model, number) for model in chosen for number in steps or [model.steps]]
    for variant in found:
        if not 1 <= variant.steps <= variant.model.max_steps:
            most = variant.model.max_steps
            raise ConfigError(f"steps are {variant.steps}; {variant.model.name} takes 1 to {most}")
    if len(found) > MOST:
        raise ConfigError(f"these are {len(found)} pictures; at most {MOST} fit side by side, so take fewer")
    return found
