"""OpenVINO, on the CPU: float32, bfloat16 where the processor has it, and 8-bit integers.

The last are NNCF's post-training quantisation: ranges of weights and activations are found on some calls of the
network, as it was called in restoring, and the biases corrected (fast bias correction).
"""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import threading
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from residiff.backends import cache
from residiff.backends.exporting import exported
from residiff.backends.folding import Folded
from residiff.backends.kinds import Backend, Call, Prepared, needed
from residiff.errors import ConfigError

if TYPE_CHECKING:
    from openvino import Model

EXTRA = "openvino"


def float32_network(network: Folded) -> Prepared:
    """The network in float32."""
    return _compiled(network, _graph(network), "f32")


def bfloat16_network(network: Folded) -> Prepared:
    """The network in bfloat16; `ConfigError` where the processor has none."""
    vino = needed("openvino", EXTRA)
    if "BF16" not in vino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise ConfigError(f"this processor has no bfloat16; take the backend {Backend.OPENVINO} in place")
    return _compiled(network, _graph(network), "bf16")


def int8_network(network: Folded, calls: Callable[[], Sequence[Call]]) -> Prepared:
    """The network in 8-bit integers, calibrated on some `calls` of it, with one time a head each."""
    needed("nncf", EXTRA)
    return _compiled(network, _quantised(network, calls()), "f32")


def _graph(network: Folded) -> Model:
    """OpenVINO's graph of the network: from the cache, or converted."""

    def convert() -> bytes:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _packed(vino.convert_model(exported(network)))

    vino = needed("openvino", EXTRA)
    return _unpacked(cache.remembered(f"{cache.key(network, 'openvino')}.vino", convert))


def _quantised(network: Folded, calls: Sequence[Call]) -> Model:
    given = [[each.contiguous().numpy() for each in (x, *times)] for x, times in calls]

    def quantise() -> bytes:
        nncf = needed("nncf", EXTRA)
        graph = _graph(network)
        logging.getLogger("nncf").setLevel(logging.ERROR)
        # Its progress bars are printed
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            # Activations of these networks lie about 0 unevenly, and what they lose first and last is seen most
            ends = nncf.IgnoredScope(names=_ends(graph))
            preset = nncf.QuantizationPreset.MIXED
            data = nncf.Dataset(given)
            return _packed(nncf.quantize(graph, data, preset=preset, subset_size=len(given), ignored_scope=ends))

    values = [each.tobytes() for arrays in given for each in arrays]
    return _unpacked(cache.remembered(f"{cache.key(network, 'int8-inner', values)}.vino", quantise))


def _ends(graph: Model) -> list[str]:
    """Names of the first and the last convolution, which stay in float32."""
    names = [each.get_friendly_name() for each in graph.get_ordered_ops() if each.get_type_name() == "Convolution"]
    return [*names[:1], *names[1:][-1:]]


def _packed(graph: Model) -> bytes:
    """Structure and weights of a graph in one."""
    with tempfile.TemporaryDirectory() as place:
        structure, weights = Path(place) / "graph.xml", Path(place) / "graph.bin"
        needed("openvino", EXTRA).serialize(graph, structure, weights)
        text = structure.read_bytes()
        return len(text).to_bytes(8, "little") + text + weights.read_bytes()


def _unpacked(data: bytes) -> Model:
    end = 8 + int.from_bytes(data[:8], "little")
    return needed("openvino", EXTRA).Core().read_model(data[8:end], data[end:])


def _compiled(network: Folded, graph: Model, precision: str) -> Prepared:
    settings = {
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "INFERENCE_PRECISION_HINT": precision,
        "PERFORMANCE_HINT": "LATENCY",
    }
    compiled = needed("openvino", EXTRA).Core().compile_model(graph, "CPU", settings)
    # A compiled graph has one request, which serves one call at a time
    alone = threading.Lock()

    def run(x: Tensor, times: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        given = [each.contiguous().float().numpy() for each in (x, *times)]
        with alone:
            return tuple(torch.from_numpy(each) for each in compiled(given).values())

    return Prepared(network, run)
