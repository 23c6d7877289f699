"""DDPM checkpoints with the papers' U-Net (denoising-diffusion-pytorch), and bare weights of any network here.

DDPM's buffers say the schedule and, by the weight of the loss at each time, the objective: 1 for noise, the ratio of
signal to noise SNR for x_0, SNR / (SNR + 1) for the velocity of v-prediction, which is refused.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from residiff.adapters.found import Found, Table, shown, task
from residiff.adapters.schedules import are_there, buffer_shapes, ddpm_schedule
from residiff.adapters.tables import WeightTable

BUFFERS = (
    "betas",
    "alphas_cumprod",
    "alphas_cumprod_prev",
    "sqrt_alphas_cumprod",
    "sqrt_one_minus_alphas_cumprod",
    "log_one_minus_alphas_cumprod",
    "sqrt_recip_alphas_cumprod",
    "sqrt_recipm1_alphas_cumprod",
    "posterior_variance",
    "posterior_log_variance_clipped",
    "posterior_mean_coef1",
    "posterior_mean_coef2",
)
LOSS_WEIGHTS = ("loss_weight", "p2_loss_weight")
SIGNS = ("alphas_cumprod", "sqrt_recip_alphas_cumprod", "sqrt_alphas_cumprod")
DOUBTS = ("prediction.kind", "network.clamp", "network.backbone.groups", "sampling.steps")
STEPS = 250


def is_ddpm(table: WeightTable) -> bool:
    """Whether the table has DDPM's buffers."""
    return sum(name in table.weights for name in SIGNS) >= 2


def read(table: WeightTable) -> Found:
    """What DDPM's file says; a network that is shown more than x_t does not fit and is reported."""
    weights = table.weights
    needed = buffer_shapes(weights, (*BUFFERS, *(name for name in LOSS_WEIGHTS if name in weights)))
    whole = are_there(weights, needed)
    schedule = ddpm_schedule(weights) if whole else None
    objective, unknown = _objective(weights) if whole else ("noise", "")
    # Six channels are not x_in beside x_t here, but the x_0 of the step before
    alone = {"shows_input": False, "mask": False, "self_condition": table.network.in_channels == 6}
    said: Table = {"network": {**shown(table.network), **alone}}
    return Found(
        origin="DDPM",
        weights=weights,
        network=table.network,
        averaged=table.averaged,
        said=said if schedule is None else {**said, "schedule": schedule},
        assumed={**task(3, table.network), "prediction": {"kind": objective}, "network": {"clamp": "x0"}},
        steps=STEPS,
        doubts=DOUBTS,
        buffers=needed,
        schedule_missing="its buffers are those of no schedule that is known" if whole and schedule is None else "",
        prediction_missing=unknown,
    )


def _objective(weights: Mapping[str, Tensor]) -> tuple[str, str]:
    """What the weight of the loss says is predicted, and why that must be given where it says nothing known."""
    name = next((name for name in LOSS_WEIGHTS if name in weights), None)
    if name is None:
        return "noise", ""
    power, weight = weights["alphas_cumprod"].double(), weights[name].double()
    snr = power / (1 - power)
    if torch.allclose(weight, torch.ones_like(weight)):
        return "noise", ""
    if torch.allclose(weight, snr, rtol=1e-3):
        return "x0", ""
    if torch.allclose(weight, power, rtol=1e-3):
        return "noise", "it was trained on the velocity of v-prediction, which no prediction here is"
    return "noise", "the weight of its loss is that of no objective that is known"


def read_bare(table: WeightTable) -> Found:
    """Weights alone: all but the network must be given."""
    network = table.network
    prediction = {"kind": "residual-noise" if network.heads == 2 else "residual"}
    return Found(
        origin="weights alone",
        weights=table.weights,
        network=network,
        averaged=table.averaged,
        said={"network": shown(network)},
        assumed={**task(network.in_channels, network), "prediction": prediction},
        steps=5,
        doubts=("network.time_input", "network.backbone.groups"),
        schedule_missing="weights alone say nothing of the schedule",
        prediction_missing="weights alone do not say what the network predicts",
    )
