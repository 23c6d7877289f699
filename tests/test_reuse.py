"""Blocks that the allocator keeps instead of asking the system anew, seen by the pages that it has to clear."""

import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other allocators have rules of their own")

# 8 turns of two tensors of 64 MiB, alive together: 32,768 pages of 4 KiB a turn if all are new
COUNT = """
import resource
import psutil
import torch
from residiff.memory import freed_is_reused

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(8):
        first = torch.ones(2**24)
        second = first + 1
        del first, second
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
before = faults()
held = psutil.Process().memory_info().rss
with freed_is_reused():
    faults()
    during = faults()
print(before, during, psutil.Process().memory_info().rss - held)
"""


def test_large_blocks_are_reused_within_and_returned_afterwards():
    run = subprocess.run([sys.executable, "-c", COUNT], capture_output=True, text=True, check=True)
    before, during, kept = map(int, run.stdout.split())
    assert during < before / 20
    assert kept < 2**25


# A tensor of 8 MiB is one that the allocator keeps by itself: what was set must not make it ask for each one
SMALLER = """
import resource
import sys
import torch
from residiff.memory import freed_is_reused

if "reuse" in sys.argv:
    with freed_is_reused():
        pass
for turn in range(40):
    if turn == 8:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(2**21)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def test_smaller_blocks_are_kept_afterwards_as_before():
    commands = [[sys.executable, "-c", SMALLER, word] for word in ("plain", "reuse")]
    plain, after = (int(subprocess.run(each, capture_output=True, check=True).stdout) for each in commands)
    # 32 tensors of 2,048 pages
    assert max(plain, after) < 10_000
