"""Networks as graphs that other programs run: torch.export's, and ONNX; any batch, height and width.

A graph takes `x` (N, in_channels, H, W), H and W multiples of the network's size multiple, and one time a head of
shape (1,), `time_0` and so on, the same for the batch; it gives `output_0` and so on, (N, C, H, W) each.
"""

from __future__ import annotations

import io
import logging
import warnings
from typing import final

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from residiff.backends.kinds import needed
from residiff.errors import ResourceError

# Protocol buffers, of which ONNX is made, hold no more in one file
MAX_ONNX = 2**31 - 1
_MOST = 2**15


@final
class _Flat(nn.Module):
    """A network whose times are arguments of their own."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, *times: Tensor) -> tuple[Tensor, ...]:
        result: tuple[Tensor, ...] = self.network(x, times)
        return result


def exported(network: nn.Module) -> ExportedProgram:
    """The graph of a network on the CPU, of any batch up to 32,768, and height and width up to 32,768 multiples."""
    multiple, heads = int(network.size_multiple), int(network.heads)  # type: ignore[arg-type]
    x = torch.zeros(2, int(network.in_channels), 6 * multiple, 8 * multiple)  # type: ignore[arg-type]
    sides = (multiple * Dim(name, min=1, max=_MOST) for name in ("rows", "columns"))
    # One tensor given twice would be one input of the graph
    times = [torch.zeros(1) for _ in range(heads)]
    shapes = {"x": dict(zip((0, 2, 3), (Dim("batch", min=1, max=_MOST), *sides), strict=True))}
    with warnings.catch_warnings(), torch.no_grad():
        # torch's own, about its own
        warnings.simplefilter("ignore")
        return torch.export.export(_Flat(network), (x, *times), dynamic_shapes=shapes | {"times": (None,) * heads})


def torch_bytes(program: ExportedProgram) -> bytes:
    """A .pt2 file of the graph."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(program, buffer)
    return buffer.getvalue()


def onnx_bytes(program: ExportedProgram, heads: int) -> bytes:
    """An ONNX file of the graph.

    Raises
    ------
    ResourceError
        If the packages of the extra `onnx` are missing, or the file would be larger than 2 GiB.
    """
    for module in ("onnx", "onnxscript"):
        needed(module, "onnx")
    # It tells of packages that it does without
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    names = ["x", *(f"time_{head}" for head in range(heads))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph = torch.onnx.export(
            program, dynamo=True, verbose=False, input_names=names,
            output_names=[f"output_{head}" for head in range(heads)],
        )  # fmt: skip
    if graph is None:
        raise ResourceError("torch gave no ONNX graph; take another version of torch")
    proto = graph.model_proto
    if proto.ByteSize() > MAX_ONNX:
        raise ResourceError("the network is larger than 2 GiB, which no ONNX file holds; export it with --format torch")
    data: bytes = proto.SerializeToString()
    return data
