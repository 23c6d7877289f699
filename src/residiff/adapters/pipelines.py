"""diffusers pipelines of one `UNet2DModel` and a DDPM or DDIM scheduler, from a folder or the hub.

Every field of both configurations is looked at: one that is not known here, or has a value that residiff's network or
sampler does not have, is refused by name. Sampled with `sampling.grid` "leading" at eta = 0 the model gives what
diffusers' DDIM loop gives.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from residiff import models
from residiff.adapters import archive
from residiff.adapters.found import Found, Table
from residiff.adapters.networks import Network
from residiff.errors import ModelFileError, ResourceError

INDEX, MODEL_CONFIG, SCHEDULER_CONFIG = "model_index.json", "config.json", "scheduler_config.json"
WEIGHT_FILES = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin")
STEPS = 50
MAX_CONFIG = 1_000_000


def find(source: str | Path) -> Path | None:
    """The folder that `source` means, fetched if it is a hub id; None if it is a file.

    Raises
    ------
    ResourceError
        If it is a hub id and huggingface_hub is not installed, or the hub cannot be reached.
    """
    path = Path(source)
    if path.is_dir():
        return path
    if path.exists() or path.suffix or not models.HUB_ID.fullmatch(str(source)):
        return None
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        mend = "to fetch it from the hub: pip install huggingface_hub"
        raise ResourceError(f"{source} is no file here; {mend}") from error
    wanted = [INDEX, *(f"*{name}" for name in (MODEL_CONFIG, SCHEDULER_CONFIG, *WEIGHT_FILES))]
    try:
        return Path(snapshot_download(str(source), allow_patterns=wanted))
    except (OSError, ValueError) as error:
        raise ResourceError(f"cannot fetch {source} from the hub: {error}") from error


def weights_file(folder: Path) -> Path:
    """The file of the network's weights; `ModelFileError` if there is none."""
    places = [place / name for place in (folder / "unet", folder) for name in WEIGHT_FILES]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise ModelFileError(f"{folder} holds no {' or '.join(WEIGHT_FILES)}, neither there nor in unet/")
    return found


def read(folder: Path) -> Found:
    """What a pipeline's folder says.

    Raises
    ------
    ModelFileError
        Naming the field that cannot be represented, or the file that is missing or damaged.
    """
    path = weights_file(folder)
    network = _network(_config(path.parent / MODEL_CONFIG))
    scheduler = _scheduler(_config(_scheduler_file(folder)))
    clamp = "x0" if scheduler["clip_sample"] else "none"
    shown = {"shows_input": False, "mask": False, "clamp": clamp, "backbone": network.backbone}
    size, multiple = network.backbone["image_size"], 2 ** (len(network.backbone["multipliers"]) - 1)
    crop = max(size, 8, multiple)
    return Found(
        origin="diffusers",
        weights=_renamed(archive.read(path).tensors, len(network.backbone["multipliers"])),
        network=network,
        averaged=False,
        said={"network": shown, **_schedule(scheduler)},
        assumed={"task": "generate", "data": {"degrade": {"name": "blank"}, "crop": crop, "picture": crop}},
        steps=STEPS,
        doubts=("sampling.steps", "sampling.eta"),
    )


def _scheduler_file(folder: Path) -> Path:
    places = (folder / "scheduler" / SCHEDULER_CONFIG, folder / SCHEDULER_CONFIG)
    return next((place for place in places if place.is_file()), places[0])


def _config(path: Path) -> Table:
    try:
        with path.open("rb") as file:
            data = json.loads(file.read(MAX_CONFIG))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelFileError(f"cannot read {path}: {error}") from error
    if not isinstance(data, dict):
        raise ModelFileError(f"{path} is not a table")
    return data


def _checked(config: Mapping[str, Any], kinds: tuple[str, ...], known: Mapping[str, Any]) -> Table:
    """The configuration with what it leaves out as diffusers has it; `ModelFileError` where it has fields not known."""
    kind = config.get("_class_name")
    if kind not in kinds:
        raise ModelFileError(f"a {kind} cannot be imported; allowed are {', '.join(kinds)}")
    own = {key: value for key, value in config.items() if not key.startswith("_")}
    if unknown := sorted(own.keys() - known.keys()):
        raise ModelFileError(f"{kind} has fields that are not known here: {', '.join(unknown)}")
    return {**known, **own}


def _require(kind: str, config: Table, allowed: Mapping[str, tuple[Any, ...]]) -> None:
    """`ModelFileError` naming every field whose value is not among those allowed."""
    wrong = {key: values for key, values in allowed.items() if config[key] not in values}
    if wrong:
        told = "; ".join(f"{key} = {config[key]!r}, only {_listed(values)}" for key, values in wrong.items())
        raise _unfit(kind, told)


def _unfit(kind: str, why: str) -> ModelFileError:
    return ModelFileError(f"{kind} cannot be represented: {why}")


def _listed(values: tuple[Any, ...]) -> str:
    return " or ".join(repr(value) for value in values)


def _network(given: Table) -> Network:
    config = _checked(given, ("UNet2DModel",), NETWORK_DEFAULTS)
    _require("UNet2DModel", config, NETWORK_ALLOWED)
    down, up = _attends(config["down_block_types"], "Down"), _attends(config["up_block_types"], "Up")
    widths, blocks = _whole(config, "block_out_channels"), config["layers_per_block"]
    if not (len(down) == len(up) == len(widths)) or down != up[::-1]:
        raise _unfit("UNet2DModel", "up_block_types do not mirror down_block_types")
    if any(width % widths[0] for width in widths):
        raise _unfit("UNet2DModel", f"block_out_channels = {widths}, no multiples of the first")
    head = config["attention_head_dim"]
    attending = {width for width, attends in zip(widths, down, strict=True) if attends} | {widths[-1]}
    if head is not None and attending != {head}:
        raise _unfit("UNet2DModel", f"attention_head_dim = {head} gives more heads than one")
    size = _size(config["sample_size"], len(widths))
    backbone = {
        "kind": "ddim-unet",
        "width": widths[0],
        "multipliers": [width // widths[0] for width in widths],
        "blocks": blocks,
        "attention": [size >> level for level, attends in enumerate(down) if attends],
        "image_size": size,
        "dropout": config["dropout"],
    }
    return Network("", backbone, 3, 1)


def _attends(kinds: object, way: str) -> list[bool]:
    """Whether each level has attention; `ModelFileError` if a block is of another kind."""
    allowed = {f"{way}Block2D": False, f"Attn{way}Block2D": True}
    if not isinstance(kinds, list) or not kinds or any(kind not in allowed for kind in kinds):
        raise _unfit("UNet2DModel", f"blocks {kinds}; allowed are {', '.join(allowed)}")
    return [allowed[kind] for kind in kinds]


def _whole(config: Table, key: str) -> list[int]:
    values = config[key]
    if not isinstance(values, list) or not values or any(type(value) is not int or value < 1 for value in values):
        raise _unfit("UNet2DModel", f"{key} = {values!r}; needed are whole numbers")
    return values


def _size(size: object, levels: int) -> int:
    """The side of an image, which names the levels with attention; any will do where the pipeline says none."""
    multiple = 2 ** (levels - 1)
    side = size if isinstance(size, int) else 8 * multiple
    if side < 1 or side % multiple:
        raise _unfit("UNet2DModel", f"sample_size = {size} is no multiple of {multiple}")
    return side


def _scheduler(given: Table) -> Table:
    config = _checked(given, ("DDPMScheduler", "DDIMScheduler"), SCHEDULER_DEFAULTS)
    _require(given["_class_name"], config, SCHEDULER_ALLOWED)
    return config


def _schedule(config: Table) -> Table:
    """The recipe's schedule, in RDDM's coefficients, its prediction and its sampling."""
    base = {
        "kind": "ddpm",
        "length": config["num_train_timesteps"],
        "betas": BETAS[config["beta_schedule"]],
        "beta_start": config["beta_start"],
        "beta_end": config["beta_end"],
    }
    grid = LEADING[config["steps_offset"]]
    return {
        "schedule": {"kind": "converted-ddpm", "base": base},
        "prediction": {"kind": PREDICTIONS[config["prediction_type"]]},
        "sampling": {"eta": 0.0, "grid": grid, "sampler": "direct"},
    }


def _renamed(weights: Mapping[str, Tensor], levels: int) -> dict[str, Tensor]:
    """The weights under the published names of DDIM's U-Net; linear maps of attention become 1x1 convolutions."""
    renamed = {}
    for key, value in weights.items():
        name = re.sub(r"^up_blocks\.(\d+)\.", lambda found: f"up.{levels - 1 - int(found[1])}.", key)
        for pattern, replacement in NAMES:
            name = re.sub(pattern, replacement, name)
        is_linear = re.search(r"attn(_1)?\..*(q|k|v|proj_out)\.weight$", name) and value.dim() == 2
        renamed[name] = value[:, :, None, None] if is_linear else value
    return renamed


NAMES: tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...] = (
    (r"^time_embedding\.linear_([12])\.", lambda found: f"temb.dense.{int(found[1]) - 1}."),
    (r"^down_blocks\.", "down."),
    (r"^mid_block\.resnets\.([01])\.", lambda found: f"mid.block_{int(found[1]) + 1}."),
    (r"^mid_block\.attentions\.0\.", "mid.attn_1."),
    (r"^(down|up)\.(\d+)\.resnets\.", r"\1.\2.block."),
    (r"^(down|up)\.(\d+)\.attentions\.", r"\1.\2.attn."),
    (r"\.(down|up)samplers\.0\.", r".\1sample."),
    (r"\.time_emb_proj\.", ".temb_proj."),
    (r"\.conv_shortcut\.", ".nin_shortcut."),
    (r"\.group_norm\.", ".norm."),
    (r"\.(to_q|query)\.", ".q."),
    (r"\.(to_k|key)\.", ".k."),
    (r"\.(to_v|value)\.", ".v."),
    (r"\.(to_out\.0|proj_attn)\.", ".proj_out."),
    (r"^conv_norm_out\.", "norm_out."),
)
BETAS = {"linear": "linear", "scaled_linear": "scaled-linear", "squaredcos_cap_v2": "squared-cosine"}
PREDICTIONS = {"epsilon": "noise", "sample": "x0"}
LEADING = {0: "leading", 1: "leading-1"}
NETWORK_DEFAULTS: Table = {
    "sample_size": None,
    "in_channels": 3,
    "out_channels": 3,
    "center_input_sample": False,
    "time_embedding_type": "positional",
    "time_embedding_dim": None,
    "freq_shift": 0,
    "flip_sin_to_cos": True,
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"],
    "mid_block_type": "UNetMidBlock2D",
    "up_block_types": ["AttnUpBlock2D", "AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"],
    "block_out_channels": [224, 448, 672, 896],
    "layers_per_block": 2,
    "mid_block_scale_factor": 1,
    "downsample_padding": 1,
    "downsample_type": "conv",
    "upsample_type": "conv",
    "dropout": 0.0,
    "act_fn": "silu",
    "attention_head_dim": 8,
    "norm_num_groups": 32,
    "attn_norm_num_groups": None,
    "norm_eps": 1e-5,
    "resnet_time_scale_shift": "default",
    "class_embed_type": None,
    "num_class_embeds": None,
    "num_train_timesteps": None,
    "add_attention": True,
}
NETWORK_ALLOWED: dict[str, tuple[Any, ...]] = {
    "in_channels": (3,),
    "out_channels": (3,),
    "center_input_sample": (False,),
    "time_embedding_type": ("positional",),
    "time_embedding_dim": (None,),
    "freq_shift": (1,),
    "flip_sin_to_cos": (False,),
    "mid_block_type": ("UNetMidBlock2D",),
    "mid_block_scale_factor": (1,),
    "downsample_padding": (0,),
    "downsample_type": ("conv",),
    "upsample_type": ("conv",),
    "act_fn": ("silu", "swish"),
    "norm_num_groups": (32,),
    "attn_norm_num_groups": (None, 32),
    "norm_eps": (1e-6,),
    "resnet_time_scale_shift": ("default",),
    "class_embed_type": (None,),
    "num_class_embeds": (None,),
    "add_attention": (True,),
}
SCHEDULER_DEFAULTS: Table = {
    "num_train_timesteps": 1000,
    "beta_start": 0.0001,
    "beta_end": 0.02,
    "beta_schedule": "linear",
    "trained_betas": None,
    "variance_type": "fixed_small",
    "clip_sample": True,
    "prediction_type": "epsilon",
    "thresholding": False,
    "dynamic_thresholding_ratio": 0.995,
    "clip_sample_range": 1.0,
    "sample_max_value": 1.0,
    "timestep_spacing": "leading",
    "steps_offset": 0,
    "set_alpha_to_one": True,
    "rescale_betas_zero_snr": False,
    "skip_prk_steps": True,
}
SCHEDULER_ALLOWED: dict[str, tuple[Any, ...]] = {
    "beta_schedule": tuple(BETAS),
    "trained_betas": (None,),
    "prediction_type": tuple(PREDICTIONS),
    "thresholding": (False,),
    "clip_sample_range": (1.0,),
    "timestep_spacing": ("leading",),
    "steps_offset": tuple(LEADING),
    "set_alpha_to_one": (True,),
    "rescale_betas_zero_snr": (False,),
}
