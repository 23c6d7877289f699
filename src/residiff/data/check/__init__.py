"""The doctor of training sets: what is wrong with one, and with which files, before anything is trained."""

from residiff.data.check.findings import Fault, Finding, Severity
from residiff.data.check.judging import Report, check_set, examine, judge
from residiff.data.check.listing import Listing, Wanted, list_set
from residiff.data.check.looks import Examined
from residiff.data.check.sheet import batch_bytes, in_words

__all__ = [
    "Examined",
    "Fault",
    "Finding",
    "Listing",
    "Report",
    "Severity",
    "Wanted",
    "batch_bytes",
    "check_set",
    "examine",
    "in_words",
    "judge",
    "list_set",
]
