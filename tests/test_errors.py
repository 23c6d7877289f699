"""What libraries say when memory runs out is one error of ours, and nothing else is."""

import errno
import os

import pytest
import torch

from residiff.errors import ConfigError, ResourceError, memory_errors

# As torch 2.13, CUDA's libraries and the C++ runtime word it
OUT = [
    MemoryError(),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 1.00 GiB"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:116] data. DefaultCPUAllocator: not enough memory: you tried to"),
    RuntimeError("MPS backend out of memory (MPS allocated: 5.00 GB, other allocations: 1.00 GB)"),
    RuntimeError("CUDA error: out of memory"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("std::bad_alloc"),
    OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)),
]
OTHERS = [
    RuntimeError("The tensor has a non-zero number of elements, but its data is not allocated yet."),
    RuntimeError("sizes do not match"),
    OSError(errno.ENOENT, "No such file or directory"),
    OSError("out of memory"),
    ConfigError("memory"),
    KeyError("out of memory"),
]


@pytest.mark.parametrize("error", OUT, ids=str)
def test_no_memory_is_a_resource_error_with_the_mend(error):
    with pytest.raises(ResourceError, match="take less") as caught, memory_errors("take less"):
        raise error
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("error", OTHERS, ids=str)
def test_other_errors_stay_what_they_are(error):
    with pytest.raises(type(error)) as caught, memory_errors("take less"):
        raise error
    assert caught.value is error


def test_it_may_stand_above_a_function():
    @memory_errors("take less")
    def allocate(size):
        return torch.empty(size)

    for _ in range(2):
        assert allocate(3).shape == (3,)
        with pytest.raises(ResourceError):
            allocate(2**55)
