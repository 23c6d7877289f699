"""Resfusion's Lightning checkpoints: `denoising_module.*` alone, for the schedule is not stored."""

from __future__ import annotations

from residiff.adapters.found import Found, shown, task
from residiff.adapters.tables import WeightTable

ORIGIN = "Resfusion"
PREFIX = "denoising_module."
# Figures of merit that hold networks of their own
SKIPPED = ("val_FID.", "test_FID.")
DOUBTS = ("prediction.kind", "schedule.betas", "sampling.eta", "network.backbone.groups")
LENGTH_MISSING = (
    "the file does not say T, the length of the schedule before it is cut: give --length (12 is the paper's restoration"
    " in 5 steps; 27, 54, 136 or 273 its generation in 10, 20, 50 or 100); a wrong T gives garbage without a word"
)


def is_resfusion(table: WeightTable) -> bool:
    """Whether the network is a Lightning module's `denoising_module`."""
    return table.network.prefix.endswith(PREFIX)


def read(table: WeightTable, length: int | None) -> Found:
    """What Resfusion's file says, with T given as `length`."""
    network = table.network
    said = {"network": shown(network)}
    return Found(
        origin=ORIGIN,
        weights={key: value for key, value in table.weights.items() if not key.startswith(SKIPPED)},
        network=network,
        averaged=table.averaged,
        said=said if length is None else {**said, "schedule": {"kind": "resfusion", "length": length}},
        assumed={
            **task(network.in_channels, network),
            "prediction": {"kind": "resnoise"},
            "sampling": {"eta": 1.0},
            "compat": "paper",
        },
        # All that are left after the cut
        steps=100_000,
        doubts=DOUBTS,
        schedule_missing=LENGTH_MISSING if length is None else "",
    )
