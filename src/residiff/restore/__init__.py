"""The product: pictures of any size and depth in, the same kind of picture out; single ones, and folders of them."""

from residiff.restore.batch import Job, Options, Outcome, plan, restore_all, restore_bytes, restore_file, write_failures
from residiff.restore.budget import Budget, parse_seconds
from residiff.restore.gallery import Gallery, Generated
from residiff.restore.generate import generate
from residiff.restore.restorer import Descriptor, Restorer, descriptors, load, pick_device

__all__ = [
    "Budget",
    "Descriptor",
    "Gallery",
    "Generated",
    "Job",
    "Options",
    "Outcome",
    "Restorer",
    "descriptors",
    "generate",
    "load",
    "parse_seconds",
    "pick_device",
    "plan",
    "restore_all",
    "restore_bytes",
    "restore_file",
    "write_failures",
]
