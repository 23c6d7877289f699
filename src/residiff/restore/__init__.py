"""The product: pictures of any size and depth in, the same kind of picture out; single ones, and folders of them."""

from residiff.restore.answers import Answers
from residiff.restore.batch import There, left_to_do, restore_all, restore_stream
from residiff.restore.budget import Budget, parse_seconds
from residiff.restore.devices import pick_device
from residiff.restore.estimating import Estimate, estimate
from residiff.restore.failures import Failures, write_failures
from residiff.restore.frames import check_sizes, gaps, in_order
from residiff.restore.gallery import Gallery, Generated
from residiff.restore.generate import generate
from residiff.restore.jobs import Job, Outcome, Shard
from residiff.restore.loading import descriptors, load
from residiff.restore.manifest import Manifest, Record
from residiff.restore.memory import memory_errors
from residiff.restore.options import Options
from residiff.restore.planning import plan, survey
from residiff.restore.provenance import Provenance, provenance_of
from residiff.restore.rerunning import Origin, Rerun, find_mask, find_model, find_source, origin, rerun
from residiff.restore.restorer import Descriptor, Restorer
from residiff.restore.watch import Watcher
from residiff.restore.work import (
    Decoded,
    Result,
    Sources,
    answers_to,
    compute,
    decode,
    encode,
    restore_bytes,
    restore_file,
)

__all__ = [
    "Answers",
    "Budget",
    "Decoded",
    "Descriptor",
    "Estimate",
    "Failures",
    "Gallery",
    "Generated",
    "Job",
    "Manifest",
    "Options",
    "Origin",
    "Outcome",
    "Provenance",
    "Record",
    "Rerun",
    "Restorer",
    "Result",
    "Shard",
    "Sources",
    "There",
    "Watcher",
    "answers_to",
    "check_sizes",
    "compute",
    "decode",
    "descriptors",
    "encode",
    "estimate",
    "find_mask",
    "find_model",
    "find_source",
    "gaps",
    "generate",
    "in_order",
    "left_to_do",
    "load",
    "memory_errors",
    "origin",
    "parse_seconds",
    "pick_device",
    "plan",
    "provenance_of",
    "rerun",
    "restore_all",
    "restore_bytes",
    "restore_file",
    "restore_stream",
    "survey",
    "write_failures",
]
