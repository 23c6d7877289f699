"""Memory that runs out, told as what it is."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

from residiff.errors import ResourceError


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocator raised `error` because memory ran out; torch's for the CPU has no class for it."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "alloc" in str(error)


@contextlib.contextmanager
def memory_errors() -> Iterator[None]:
    """Turn what the allocators raise when memory runs out into a `ResourceError`."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise ResourceError("the picture does not fit into memory; restore it in parts or at a smaller size") from error
