"""Files as the published trainers save them, of small networks that nobody trained."""

import torch

from residiff.nn.ddim_unet import DDIMUNet
from residiff.nn.dit import Size
from residiff.nn.unet import SharedEncoderUNet, TwoUNets, UNet
from residiff.schedule import RDDM

WIDTHS = {"dim": 8, "dim_mults": (1, 2)}
SMALL_DIT = Size(depth=2, width=16, heads=2)


def weights(network, seed=0):
    """Random weights of a network that is built by a function, no two alike."""
    with torch.device("meta"):
        expected = network().state_dict()
    source = torch.Generator().manual_seed(seed)
    return {key: 0.2 * torch.randn(value.shape, generator=source) for key, value in expected.items()}


def under(prefix, table):
    return {prefix + key: value for key, value in table.items()}


def rddm_buffers(schedule):
    """The twelve buffers of a schedule, in float32, with the quirks of the published code at t = 0."""
    _, residual, noise, _ = schedule.coefficients()
    before = torch.cat([torch.ones(1).double(), (noise**2)[:-1]])
    alphas = torch.cat([residual[:1], residual.diff()])
    betas2 = torch.cat([noise[:1] ** 2, (noise**2).diff()])
    total = noise**2
    variance = torch.cat([torch.zeros(1).double(), (betas2 * before / total)[1:]])
    buffers = {
        "alphas": alphas,
        "alphas_cumsum": residual,
        "one_minus_alphas_cumsum": (1 - residual).clamp(min=1e-6),
        "betas2": betas2,
        "betas": betas2.sqrt(),
        "betas2_cumsum": total,
        "betas_cumsum": noise,
        "posterior_mean_coef1": torch.cat([torch.zeros(1).double(), (before / total)[1:]]),
        "posterior_mean_coef2": torch.zeros_like(total),
        "posterior_mean_coef3": torch.cat([torch.ones(1).double(), (betas2 / total)[1:]]),
        "posterior_variance": variance,
        "posterior_log_variance_clipped": variance.clamp(min=1e-20).log(),
    }
    return {key: value.float() for key, value in buffers.items()}


def ddpm_buffers(schedule, loss_weight):
    """The buffers of DDPM in denoising-diffusion-pytorch; `loss_weight` of the ratio of signal to noise."""
    power = schedule.signal_power
    before = torch.cat([torch.ones(1).double(), power[:-1]])
    betas = 1 - power / before
    buffers = {
        "betas": betas,
        "alphas_cumprod": power,
        "alphas_cumprod_prev": before,
        "sqrt_alphas_cumprod": power.sqrt(),
        "sqrt_one_minus_alphas_cumprod": (1 - power).sqrt(),
        "log_one_minus_alphas_cumprod": (1 - power).log(),
        "sqrt_recip_alphas_cumprod": power.rsqrt(),
        "sqrt_recipm1_alphas_cumprod": (1 / power - 1).sqrt(),
        "posterior_variance": betas * (1 - before) / (1 - power),
        "posterior_log_variance_clipped": (betas * (1 - before) / (1 - power)).clamp(min=1e-20).log(),
        "posterior_mean_coef1": betas * before.sqrt() / (1 - power),
        "posterior_mean_coef2": (1 - before) * (1 - betas).sqrt() / (1 - power),
        "loss_weight": loss_weight(power / (1 - power)),
    }
    return {key: value.float() for key, value in buffers.items()}


def trainers(model, ema=None):
    """`model-<k>.pt`: with the averager's own entries, an optimiser's state and a scaler where there is an average."""
    held = {"step": 1000, "model": model, "opt": {"state": {0: {"step": 3, "m": torch.ones(2)}}, "param_groups": []}}
    if ema is not None:
        clock = {"initted": torch.tensor([True]), "step": torch.tensor([100])}
        held["ema"] = {**clock, **under("online_model.", model), **under("ema_model.", ema)}
    return {**held, "scaler": None}


def lightning(weights_):
    """A Lightning `.ckpt` of Resfusion, with what its callbacks and a figure of merit leave there."""
    inception = {f"{stage}_FID.inception.Conv2d_1a.conv.weight": torch.ones(2, 3, 3, 3) for stage in ("val", "test")}
    return {
        "epoch": 7,
        "global_step": 70,
        "pytorch-lightning_version": "2.1.0",
        "state_dict": {**under("denoising_module.", weights_), **inception},
        "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"total": {"ready": 1}}}},
        "callbacks": {"ModelCheckpoint{'monitor': 'val_PSNR'}": {"best_model_score": torch.tensor(30.0)}},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.ones(3)}}}],
        "lr_schedulers": [],
        "hparams_name": "kwargs",
        "hyper_parameters": {"lr": 1e-4, "mode": "epsilon"},
    }


def one(channels=6):
    return UNet(channels, **WIDTHS)


def two(channels=6):
    return TwoUNets(channels, **WIDTHS)


def shared(channels=6):
    return SharedEncoderUNet(channels, **WIDTHS)


def ddim(channels=3):
    return DDIMUNet(channels, width=32, multipliers=(1, 2), blocks=1, attention=(16,), image_size=32)


def dit(channels=6):
    return SMALL_DIT.build(4, channels, 3, 16)


def rddm_keys(table, lone):
    """A network's weights and a schedule's buffers as RDDM names them."""
    return {**rddm_buffers(RDDM(total_noise=1.0)), **under("model.unet0." if lone else "model.", table)}
