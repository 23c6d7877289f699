"""The settings of the page as values: as a link that opens it so again, and as the command that does the same."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

from residiff.data.images import Format
from residiff.errors import ConfigError, check_range

# More keep others waiting; the command line allows more
MOST_SAMPLES = 16
LARGEST_SEED = 2**53 - 1
# Of a query string; longer ones were not made by the page
LONGEST_VALUE = 100


@dataclass(frozen=True)
class Choices:
    """What is asked of a model.

    Attributes
    ----------
    model : name
    steps : None for the model's own
    seed : 0 to 2^53 - 1, as far as a browser counts exactly
    strength : 0 keeps the input, 1 takes the result
    samples : 1 to 16, each with noise of its own; of more than one the mean is the result
    keep : whether pixels stay where the mask is black
    format : of the result; None for the input's own
    strip : whether metadata are left out
    """

    model: str = "denoise"
    steps: int | None = None
    seed: int = 0
    strength: float = 1.0
    samples: int = 1
    keep: bool = False
    format: Format | None = None
    strip: bool = False

    def checked(self, most: int) -> Choices:
        """Themselves, for a model that takes at most `most` steps; `ConfigError` names what cannot be."""
        check_range("steps", 1 if self.steps is None else self.steps, 1, most)
        check_range("seed", self.seed, 0, LARGEST_SEED)
        check_range("strength", self.strength, 0, 1)
        check_range("samples", self.samples, 1, MOST_SAMPLES)
        return self


def as_query(choices: Choices) -> str:
    """The settings that are not the usual ones as a query string, `model=denoise&steps=5`; the model always."""
    usual = Choices(model="")
    changed = {
        name: _worded(getattr(choices, name)) for name in READERS if getattr(choices, name) != getattr(usual, name)
    }
    return urlencode(changed)


def _worded(value: object) -> str:
    if isinstance(value, Format):
        return value.value
    return "1" if value is True else f"{value:g}" if isinstance(value, float) else str(value)


def from_query(query: Mapping[str, str], most: Mapping[str, int]) -> tuple[Choices, list[str]]:
    """The settings that a link asks for, and what of them was left out because it cannot be, in words.

    `most` are the models by name, with the most steps that each takes. Unknown names are ignored, for links carry
    those of others too.
    """
    choices, left_out = Choices(model=next(iter(most))), []
    for name, read in READERS.items():
        if name not in query:
            continue
        text = query[name][:LONGEST_VALUE]
        try:
            tried = replace(choices, **{name: read(text)})
            if tried.model not in most:
                raise ConfigError(f"model is {text!r}; there are {', '.join(most)}")
            choices = tried.checked(most[tried.model])
        except ValueError as error:
            said = str(error) if isinstance(error, ConfigError) else f"{name} is {text!r}, which cannot be"
            left_out.append(said)
    return choices, left_out


def _switch(text: str) -> bool:
    if text not in ("0", "1"):
        raise ValueError(text)
    return text == "1"


def as_command(choices: Choices, name: str, mask: str | None = None) -> str:
    """The command that does the same to the picture `name`, to be pasted into a shell.

    `mask` is the name of the mask's file, if there is one. The result goes to the folder `restored`.
    """
    parts = ["residiff", "restore", _operand(name), "-o", "restored/", "-m", choices.model]
    parts += [] if mask is None else ["--mask", _operand(mask)]
    parts += [] if choices.steps is None else ["--steps", str(choices.steps)]
    parts += ["--seed", str(choices.seed)]
    parts += [] if choices.strength == 1 else ["--strength", f"{choices.strength:g}"]
    parts += [] if choices.samples == 1 else ["--samples", str(choices.samples)]
    parts += [] if choices.format is None else ["--format", choices.format.value]
    parts += [word for word, is_on in (("--keep", choices.keep), ("--strip", choices.strip)) if is_on]
    return shlex.join(parts)


def _operand(name: str) -> str:
    """A name that no option begins with, and no stream is called."""
    return f"./{name}" if name.startswith("-") else name


READERS: dict[str, Callable[[str], Any]] = {
    "model": str,
    "steps": int,
    "seed": int,
    "strength": float,
    "samples": int,
    "keep": _switch,
    "format": Format,
    "strip": _switch,
}
