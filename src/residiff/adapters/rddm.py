"""RDDM's checkpoints, and those of DiffUIR, which has its network, buffers and loop with two buffers more.

The file says the network, its input and, by twelve buffers, the schedule. It does not say the objective, nor whether
the network is told t or (abar_t T, bbar_t T): see `DOUBTS`. AOSA's `alpha_res` says which one head it settled for.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from residiff.adapters.found import Found, Table, shown, task
from residiff.adapters.keys import Shape
from residiff.adapters.networks import Network
from residiff.adapters.schedules import are_there, buffer_shapes, diffuir_schedule, rddm_schedule
from residiff.adapters.tables import WeightTable

BUFFERS = (
    "alphas",
    "alphas_cumsum",
    "one_minus_alphas_cumsum",
    "betas2",
    "betas",
    "betas2_cumsum",
    "betas_cumsum",
    "posterior_mean_coef1",
    "posterior_mean_coef2",
    "posterior_mean_coef3",
    "posterior_variance",
    "posterior_log_variance_clipped",
)
OF_DIFFUIR = ("delta", "delta_cumsum")
# Buffers that no other format has
SIGNS = ("alphas_cumsum", "betas2_cumsum", "betas_cumsum", "one_minus_alphas_cumsum", "posterior_mean_coef3")
DOUBTS = ("prediction.kind", "network.time_input", "network.clamp", "network.backbone.groups", "sampling.steps")
STEPS = {"restoration": 5, "generation": 10, "DiffUIR": 3}
AOSA = "alpha_res"
UNDECIDED = 0.01
# What stands in the published code for 1 - abar_T, which the noise alone is divided by
GUARD = 1e-6


def is_rddm(table: WeightTable) -> bool:
    """Whether the table has RDDM's buffers."""
    return sum(name in table.weights for name in SIGNS) >= 2


def read(table: WeightTable) -> Found:
    """What RDDM's or DiffUIR's file says."""
    network, weights = table.network, table.weights
    diffuir = any(name in weights for name in OF_DIFFUIR)
    buffers = buffer_shapes(weights, (*BUFFERS, *OF_DIFFUIR) if diffuir else BUFFERS)
    schedule, missing = _schedule(weights, buffers)
    prediction, undecided = _prediction(network, weights)
    time = {"time_input": "coefficient"} if diffuir else {}
    told: Table = {"prediction": prediction, "network": {"clamp": "residual", **time}, "compat": "paper"}
    return Found(
        origin="DiffUIR" if diffuir else "RDDM",
        weights={key: value for key, value in weights.items() if key.removeprefix("model.") != AOSA},
        network=network,
        averaged=table.averaged,
        said={"network": shown(network), **schedule},
        assumed={**task(network.in_channels, network), **told},
        steps=STEPS["DiffUIR" if diffuir else "generation" if network.in_channels == 3 else "restoration"],
        doubts=DOUBTS,
        buffers=buffers,
        schedule_missing=missing,
        prediction_missing=undecided,
    )


def _schedule(weights: Mapping[str, Tensor], buffers: Mapping[str, Shape]) -> tuple[Table, str]:
    """The recipe's schedule, and why it must be given where the buffers do not say it."""
    if not are_there(weights, buffers):
        # They are reported one by one
        return {}, ""
    schedule = diffuir_schedule(weights) if "delta_cumsum" in buffers else rddm_schedule(weights)
    return (
        ({}, "its buffers are those of no schedule that is known") if schedule is None else ({"schedule": schedule}, "")
    )


def _prediction(network: Network, weights: Mapping[str, Tensor]) -> tuple[Table, str]:
    """What the network predicts, and why that must be given where the file leaves it open."""
    if network.heads == 2:
        return {"kind": "residual-noise"}, ""
    alpha = next((value for key, value in weights.items() if key.removeprefix("model.") == AOSA), None)
    if alpha is None:
        return {"kind": "residual"}, ""
    share = float(alpha.float().mean())
    if abs(share - 0.5) < UNDECIDED:
        return {"kind": "residual"}, f"AOSA has not settled for residual or noise yet (alpha_res is {share:.3f})"
    return {"kind": "residual"} if share > 0.5 else {"kind": "noise", "guard": GUARD}, ""
