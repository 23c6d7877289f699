"""Where the weights lie in a file: plain ones and their running average, in whichever table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from residiff.adapters import networks
from residiff.adapters.archive import Archive
from residiff.adapters.keys import shapes
from residiff.adapters.networks import Network
from residiff.errors import ConfigError, ModelFileError

AVERAGED = ("ema", "params_ema", "model_ema", "ema_state_dict", "ema_model")
AVERAGE = "ema_model."
# What the averager keeps beside the average: its clock, and the plain weights once more
AVERAGERS_OWN = ("initted", "step")
AVERAGERS_COPY = "online_model."


@dataclass(frozen=True)
class WeightTable:
    """One table of weights with a known network among them."""

    path: str
    weights: Mapping[str, Tensor]
    network: Network
    averaged: bool


def choose(archive: Archive, wanted: str | None) -> WeightTable:
    """The table of weights to read: the running average unless `wanted` is "plain" or there is none.

    Raises
    ------
    ConfigError
        If `wanted` is neither "ema" nor "plain", or the file has none of that kind.
    ModelFileError
        If no table holds a network of a known kind.
    """
    if wanted not in (None, "ema", "plain"):
        raise ConfigError(f"weights is {wanted!r}; allowed are ema, plain")
    tables = _tables(archive)
    if not tables:
        raise ModelFileError("it holds no network that is known: the U-Net of RDDM, Resfusion and DDPM, DDIM's, or DiT")
    kinds = {"ema": [table for table in tables if table.averaged], "plain": [t for t in tables if not t.averaged]}
    if wanted is None:
        wanted = "ema" if kinds["ema"] else "plain"
    if not kinds[wanted]:
        other = "plain" if wanted == "ema" else "ema"
        raise ConfigError(f"the file holds no {wanted} weights, only {other} ones; take --weights {other}")
    if len(kinds[wanted]) > 1:
        places = ", ".join(repr(table.path) for table in kinds[wanted])
        raise ModelFileError(f"it holds several networks, in the tables {places}; save the one wanted alone")
    return kinds[wanted][0]


def _tables(archive: Archive) -> list[WeightTable]:
    found = []
    for path, weights in sorted(archive.tables().items()):
        averaged = path.rpartition("/")[2] in AVERAGED
        if any(key.startswith(AVERAGE) for key in weights):
            # Never begun, it still holds the random numbers of the start
            if "initted" in weights and not bool(weights["initted"].all()):
                continue
            weights, averaged = _average(weights), True
        network = networks.find(shapes(weights))
        if network is not None:
            found.append(WeightTable(path, weights, network, averaged))
    return found


def _average(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The averaged weights, without the averager's own."""
    others = {key for key in weights if key in AVERAGERS_OWN or key.startswith(AVERAGERS_COPY)}
    return {key.removeprefix(AVERAGE): value for key, value in weights.items() if key not in others}
