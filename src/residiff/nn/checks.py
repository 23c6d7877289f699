"""What every backbone refuses: an input that does not fit it."""

from __future__ import annotations

from torch import Tensor

from residiff.errors import ConfigError


def check_input(x: Tensor, times: tuple[Tensor, ...], in_channels: int, heads: int, multiple: int) -> None:
    """Raise ConfigError where `x` or `times` do not fit the net."""
    if x.ndim != 4 or x.shape[1] != in_channels:
        raise ConfigError(f"the network takes (N, {in_channels}, H, W), not {tuple(x.shape)}")
    height, width = x.shape[-2:]
    if height % multiple or width % multiple:
        raise ConfigError(f"height and width must be multiples of {multiple}, not {height} x {width}; pad the image")
    # One time is that of every image
    counts = (1,) if all(t.shape == (1,) for t in times) else x.shape[:1]
    if len(times) != heads or any(t.shape != counts for t in times):
        shapes = ", ".join(str(tuple(t.shape)) for t in times)
        raise ConfigError(f"the network takes {heads} tensors of times of shape ({x.shape[0]},), not [{shapes}]")
