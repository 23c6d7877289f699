"""ONNX Runtime, on the CPU."""

from __future__ import annotations

import torch
from torch import Tensor

from residiff.backends import cache
from residiff.backends.exporting import exported, onnx_bytes
from residiff.backends.folding import Folded
from residiff.backends.kinds import Prepared, needed


def onnx_network(network: Folded) -> Prepared:
    """The network as ONNX Runtime runs it, in float32, by as many threads as torch has now."""
    runtime = needed("onnxruntime", "onnx")
    name = f"{cache.key(network, 'onnx')}.onnx"
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    data = cache.remembered(name, lambda: onnx_bytes(exported(network), network.heads))
    session = runtime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]

    def run(x: Tensor, times: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        given = [each.contiguous().float().numpy() for each in (x, *times)]
        return tuple(torch.from_numpy(each) for each in session.run(None, dict(zip(names, given, strict=True))))

    return Prepared(network, run)
