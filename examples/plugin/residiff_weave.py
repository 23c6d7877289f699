"""A plug-in for residiff: a row of its own for each of the tables that plug-ins may add to."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from residiff.data.catalog import Layout, PairedFiles
from residiff.data.degrade import Degradation, Degraded, Parameter, to_8_bit
from residiff.evaluate import Measure, unit, whole
from residiff.schedule import Schedule

LIGHT = Parameter("light", "share of the light that is left in every other row", (0.2, 0.8), (0, 1))


def weave(clean, generator, *, light=LIGHT.default):
    """Every other row darker."""
    woven = clean.clone()
    woven[:, ::2] *= LIGHT.draw(light, generator)
    return Degraded(to_8_bit(woven))


@dataclass(frozen=True)
class Sine(Schedule):
    """x_t = x_0 + sin(pi u / 2) R + sqrt(u) / 10 eps, u = (t + 1) / T; `length` is T."""

    kind: Literal["sine"] = "sine"
    length: int = 100

    def coefficients(self):
        """Signal, residual, noise and memory."""
        u = torch.arange(1, self.length + 1, dtype=torch.float64) / self.length
        return torch.ones_like(u), torch.sin(torch.pi / 2 * u), u.sqrt() / 10, torch.ones_like(u)


class Plain(nn.Module):
    """Two convolutions, a pair for each head, that are told nothing of the time."""

    def __init__(self, in_channels, out_channels, heads, width):
        super().__init__()
        self.in_channels, self.heads, self.size_multiple = in_channels, heads, 1
        pairs = ((nn.Conv2d(in_channels, width, 3, padding=1), nn.Conv2d(width, out_channels, 1)) for _ in range(heads))
        self.each = nn.ModuleList(nn.Sequential(first, nn.SiLU(), second) for first, second in pairs)

    def forward(self, x, times):
        """(N, in_channels, H, W) and a time (N,) for each head -> (N, out_channels, H, W) for each head."""
        return tuple(head(x) for head in self.each)


@dataclass(frozen=True)
class PlainSettings:
    """Settings of `Plain`: its `width`."""

    kind: Literal["plain"] = "plain"
    width: int = 16

    def build(self, in_channels, out_channels, heads):
        """The network, with random weights."""
        return Plain(in_channels, out_channels, heads, self.width)


WEAVE = Degradation(weave, "every other row darker", (LIGHT,))
ERROR = Measure("error", unit, whole(lambda result, truth: float((result - truth).abs().mean())), higher=False)
RULE = [{"clean": "good/{name}", "degraded": "bad/{name}"}]
PAIRS = Layout("good and bad", "Pairs as we keep them.", "good/ and bad/; equal names", (PairedFiles({"train": RULE}),))
