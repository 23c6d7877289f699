"""Which network a table of weights is for, and its settings, as the names and shapes say.

Several weights tell each width, and the most common answer counts, so that one that is missing or of another shape is
reported as such and changes nothing else.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from residiff.adapters.keys import Shapes
from residiff.errors import ModelFileError
from residiff.nn.dit import SIZES

Settings = dict[str, Any]

GRAMMARS = {
    "unet": r"(init_conv|time_mlp\.\d|downs\.\d|mid_(block\d|attn)|ups(_no_skip)?\.\d|final_(res_block|conv)(_\d)?)\.",
    "ddim-unet": r"(temb\.dense\.\d|conv_in|down\.\d|mid\.(block|attn)_\d|up\.\d|norm_out|conv_out)\.",
    "dit": r"(x_embedder|t_embedder|blocks\.\d+\.(attn|mlp|adaLN_modulation)|final_layer)\.|pos_embed$",
}
LEAST_NAMES = 8


@dataclass(frozen=True)
class Network:
    """A network found among weights: the prefix of its names, its settings in a recipe, its input channels, heads."""

    prefix: str
    backbone: Settings
    in_channels: int | None
    heads: int


def find(given: Shapes) -> Network | None:
    """The network that most of the names belong to, or None if there is none of a known kind.

    Raises
    ------
    ModelFileError
        If the names are those of a known network, but of sizes that none has.
    """
    votes = Counter(vote for name in given if (vote := _vote(name)) is not None)
    if not votes or (most := votes.most_common(1)[0])[1] < LEAST_NAMES:
        return None
    kind, prefix = most[0]
    inside = {name.removeprefix(prefix): shape for name, shape in given.items() if name.startswith(prefix)}
    return READERS[kind](prefix, inside)


def _vote(name: str) -> tuple[str, str] | None:
    """The kind of network and the prefix that a name speaks for; two U-Nets and a lone one share the prefix above."""
    for kind, grammar in GRAMMARS.items():
        found = re.search(rf"(?:^|\.){grammar}", name)
        if found:
            start = found.start() + (name[found.start()] == ".")
            return kind, re.sub(r"unet[01]\.$", "", name[:start])
    return None


def _unet(prefix: str, given: Shapes) -> Network:
    nets = {name[:6] for name in given if re.match(r"unet[01]\.", name)}
    shared = not nets and any(name.startswith("ups_no_skip.") for name in given)
    inside = {name.removeprefix("unet0."): shape for name, shape in given.items() if not name.startswith("unet1.")}
    settings: Settings = {"kind": "unet", **_unet_widths(inside)}
    if shared:
        settings["shared"] = True
    alone = nets == {"unet0."}
    heads = 2 if shared or "unet1." in nets else 1
    return Network(prefix + "unet0." if alone else prefix, settings, _channels(inside, "init_conv.weight"), heads)


def _unet_widths(given: Shapes) -> Settings:
    count = 1 + _last(given, r"downs\.(\d+)\.")
    stem = ["init_conv.weight", "init_conv.bias", "time_mlp.1.weight/1", "downs.0.0.block1.norm.bias"]
    width = _most(given, [*stem, "downs.0.0.block2.norm.bias", "final_res_block.block1.norm.bias"])
    levels = [
        _most(
            given,
            [
                f"downs.{level}.3.bias",
                f"downs.{level + 1}.0.block1.norm.bias",
                f"downs.{level + 1}.1.block1.norm.bias",
                f"ups.{count - 1 - level}.0.block1.norm.bias",
                f"ups.{count - 1 - level}.1.block1.norm.bias",
            ],
        )
        for level in range(count)
    ]
    return {"width": width, "multipliers": _multipliers(width, levels)}


def _ddim_unet(prefix: str, given: Shapes) -> Network:
    count = 1 + _last(given, r"down\.(\d+)\.")
    blocks = 1 + _last(given, r"down\.\d+\.block\.(\d+)\.")
    width = _most(given, ["conv_in.weight", "conv_in.bias", "temb.dense.0.weight/1", "down.0.block.0.norm1.bias"])
    witnesses = [f"{way}.{{}}.block.0.{name}.bias" for way in ("down", "up") for name in ("conv1", "norm2", "conv2")]
    levels = [_most(given, [witness.format(level) for witness in witnesses]) for level in range(count)]
    size = max(32, 2 ** (count - 1))
    settings = {
        "kind": "ddim-unet",
        "width": width,
        "multipliers": _multipliers(width, levels),
        "blocks": blocks,
        "attention": [size >> level for level in range(count) if _attends(given, level, blocks)],
        "image_size": size,
    }
    return Network(prefix, settings, _channels(given, "conv_in.weight"), 1)


def _attends(given: Shapes, level: int, blocks: int) -> bool:
    """Whether a level has attention: at least half of its ten weights a block are there."""
    return sum(bool(re.match(rf"(down|up)\.{level}\.attn\.", name)) for name in given) >= 5 * (2 * blocks + 1)


def _dit(prefix: str, given: Shapes) -> Network:
    depth = 1 + _last(given, r"blocks\.(\d+)\.")
    width = _most(given, ["x_embedder.proj.weight", "x_embedder.proj.bias", "t_embedder.mlp.0.bias", "pos_embed/2"])
    size = next((name for name, known in SIZES.items() if (known.width, known.depth) == (width, depth)), None)
    if size is None:
        known = ", ".join(f"{name} ({size.width}, {size.depth})" for name, size in SIZES.items())
        raise ModelFileError(f"a DiT of width {width} and depth {depth} is none of the published sizes {known}")
    patch = _most(given, ["x_embedder.proj.weight/2", "x_embedder.proj.weight/3"])
    side = math.isqrt(_most(given, ["pos_embed/1"]))
    settings = {"kind": "dit", "size": size, "patch": patch, "input_size": side * patch}
    return Network(prefix, settings, _channels(given, "x_embedder.proj.weight"), 1)


def _channels(given: Shapes, name: str) -> int | None:
    return given[name][1] if len(given.get(name, ())) > 1 else None


def _last(given: Shapes, pattern: str) -> int:
    """The largest number that two names or more have where `pattern` has its group; 0 if none does."""
    numbers = Counter(int(found[1]) for name in given if (found := re.match(pattern, name)))
    return max((number for number, names in numbers.items() if names > 1), default=0)


def _most(given: Shapes, witnesses: Iterable[str]) -> int:
    """The most common size among the witnesses: "name" for its first axis, "name/2" for its third."""
    sizes: Counter[int] = Counter()
    for witness in witnesses:
        name, _, axis = witness.partition("/")
        shape = given.get(name, ())
        if len(shape) > int(axis or 0):
            sizes[shape[int(axis or 0)]] += 1
    if not sizes:
        raise ModelFileError(f"too many weights are missing to tell the network's sizes: {', '.join(witnesses)}")
    return sizes.most_common(1)[0][0]


def _multipliers(width: int, levels: list[int]) -> list[int]:
    if any(level % width for level in levels):
        raise ModelFileError(f"its levels have widths {levels}, which are no multiples of the first one's {width}")
    return [level // width for level in levels]


READERS: dict[str, Callable[[str, Shapes], Network]] = {"unet": _unet, "ddim-unet": _ddim_unet, "dit": _dit}
