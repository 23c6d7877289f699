"""What runs a network: torch, plain or compiled, ONNX Runtime, OpenVINO, a graphics card; and its graph for others."""

from residiff.backends.exporting import exported, onnx_bytes, torch_bytes
from residiff.backends.folding import Folded
from residiff.backends.kinds import Backend, Call, Prepared
from residiff.backends.preparing import prepare

__all__ = [
    "Backend",
    "Call",
    "Folded",
    "Prepared",
    "exported",
    "onnx_bytes",
    "prepare",
    "torch_bytes",
]
