"""Random generators made from whole numbers, so that every draw depends on what it is for and on nothing before it."""

from __future__ import annotations

import hashlib

import torch


def generator(*parts: int) -> torch.Generator:
    """A CPU generator for `parts`: (seed, purpose, index), say. Neighbouring parts give unrelated streams."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little", signed=True))
