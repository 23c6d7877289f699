"""The devices that models run on, by name."""

from __future__ import annotations

import torch

from residiff.errors import ConfigError

DEVICES = ("cpu", "cuda", "mps", "xpu")


def pick_device(name: str) -> torch.device:
    """The device called `name`; "auto" is CUDA, then MPS, then the CPU. `ConfigError` if there is no such device."""
    if name == "auto":
        found = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        return torch.device(found)
    # torch has more, some of which compute nothing
    if name.partition(":")[0] not in DEVICES:
        raise ConfigError(f"device {name!r} is not known; allowed are auto, {', '.join(DEVICES)}, cuda:1 and so on")
    try:
        return torch.zeros(1, device=name).device
    except (RuntimeError, AssertionError) as error:
        cause = str(error).splitlines()[0]
        raise ConfigError(f"device {name!r} cannot be used here ({cause}); take auto or cpu") from error
