"""Degradations: what makes a clean picture one to be restored, each a function and a row of the table."""

from residiff.data.degrade.draws import Degraded, Parameter, Range, to_8_bit, to_linear, to_srgb
from residiff.data.degrade.holes import without
from residiff.data.degrade.table import DEGRADATIONS, Degradation, degrade

__all__ = [
    "DEGRADATIONS",
    "Degradation",
    "Degraded",
    "Parameter",
    "Range",
    "degrade",
    "to_8_bit",
    "to_linear",
    "to_srgb",
    "without",
]
