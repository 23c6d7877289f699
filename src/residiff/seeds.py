"""Random generators made from whole numbers, so that every draw depends on what it is for and on nothing before it."""

from __future__ import annotations

import hashlib

import torch

# What a seed of a user's may be: more do not fit into torch's generators
MAX_SEED = 2**63 - 1


def seed_of(*parts: int) -> int:
    """A seed for `parts`: (seed, purpose, index), say. Neighbouring parts give unrelated seeds."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)


def generator(*parts: int, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator for `parts`; what it draws depends on the kind of device."""
    return torch.Generator(device).manual_seed(seed_of(*parts))
