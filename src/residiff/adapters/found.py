"""What a reader of published files finds: weights, what the file says of the model, and what has to be assumed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from residiff.adapters.keys import Shape
from residiff.adapters.networks import Network

Table = dict[str, Any]

# Input channels of every published network -> what it is shown beside x_t
SHOWN: dict[int, Table] = {
    3: {"shows_input": False, "mask": False},
    6: {"shows_input": True, "mask": False},
    7: {"shows_input": True, "mask": True, "mask_form": "signed"},
    8: {"shows_input": True, "mask": True, "mask_form": "one-hot"},
    9: {"shows_input": True, "mask": True, "mask_form": "rgb"},
}
RESTORES = SHOWN[6]


@dataclass(frozen=True)
class Found:
    """A published model as its file gives it.

    Attributes
    ----------
    origin : whose format it is, "RDDM" say
    weights : by the names that the file has; those of the network begin with the network's prefix
    network : which one it is
    averaged : whether the weights are the running average
    said : tables of a recipe that the file's contents fix
    assumed : the rest of a recipe, as published
    steps : of sampling, as published; fewer where the schedule has fewer
    doubts : settings of the recipe that the file does not say
    buffers : names and shapes that the file must have beside the network's
    schedule_missing : why the schedule must be given, "" where the file says it
    prediction_missing : the same of the prediction
    card : facts worth keeping
    """

    origin: str
    weights: Mapping[str, Tensor]
    network: Network
    averaged: bool
    said: Table
    assumed: Table
    steps: int
    doubts: tuple[str, ...] = ()
    buffers: Mapping[str, Shape] = field(default_factory=dict)
    schedule_missing: str = ""
    prediction_missing: str = ""
    card: Table = field(default_factory=dict)


def shown(network: Network) -> Table:
    """The recipe's `network` table as the weights say it; unknown channels count as restoration's, and are reported."""
    return {**SHOWN.get(network.in_channels or 6, RESTORES), "backbone": network.backbone}


def task(in_channels: int | None, network: Network) -> Table:
    """Task and data of a recipe for the network: restoration, shadows by their mask, or generation."""
    channels = in_channels or 6
    multiple = 2 ** (len(network.backbone.get("multipliers", ())) or 1)
    if channels == 3:
        crop = network.backbone.get("input_size") or max(64, multiple)
        return {"task": "generate", "data": {"degrade": {"name": "blank"}, "crop": crop, "picture": crop}}
    name, degrade = ("shadow", "shadow") if SHOWN.get(channels, RESTORES)["mask"] else ("restore", "noise")
    crop = network.backbone.get("input_size", 256)
    return {"task": name, "data": {"degrade": {"name": degrade}, "crop": crop, "picture": crop}}
