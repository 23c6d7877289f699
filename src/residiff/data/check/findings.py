"""What can be wrong with a set of pictures to train on: the table of faults, and a `Finding` of one of them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

SHOWN = 3


class Severity(Enum):
    """`ERROR` would stop a training or spoil it; a `WARNING` is odd and may be meant; a `NOTE` is good to know."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


class _Row(NamedTuple):
    """How bad a fault is, and what to do about it."""

    severity: Severity
    mend: str


class Fault(Enum):
    """The kinds of fault; `FAULTS` says how bad each is and what to do."""

    MISSING = "missing partner"
    EXTRA = "no clean picture"
    SAME_NAME = "two files of one name"
    CASE = "names differ in case"
    CASE_TWINS = "names alike but for case"
    STRAY = "no picture"
    MISNAMED = "not named as its set"
    NOTHING = "no pictures"
    SINGLE = "one pair alone"
    EMPTY = "empty file"
    UNREADABLE = "unreadable"
    SUFFIX = "wrong suffix"
    SIZE = "size differs"
    TOO_SMALL = "smaller than the crop"
    CHANNELS = "channels differ"
    DEPTH = "bit depth differs"
    UNCHANGED = "degraded is clean"
    REPEATED = "repeated pair"
    REPEATED_CLEAN = "repeated clean picture"
    SHARED_DEGRADED = "shared degraded picture"
    NEAR_COPY = "near copy"
    LEAK = "in two splits"
    NEAR_LEAK = "near copy in two splits"
    SHIFTED = "shifted"
    TURNED = "turned or mirrored"
    SWAPPED = "swapped partner"
    UNRELATED = "unlike its partner"
    MASK_EMPTY = "empty mask"
    MASK_FULL = "full mask"
    MASK_SOFT = "mask not binary"
    FRAMES = "several images"
    ALPHA = "transparency"
    DEEP = "16 bits"
    READING = "read with a warning"
    COUNT = "count"
    NOT_OPENED = "split not looked at"


@dataclass(frozen=True)
class Finding:
    """One thing that was found: how bad, of what kind, in which files, what it is, and what to do."""

    severity: Severity
    fault: Fault
    files: tuple[str, ...]
    text: str
    mend: str

    def as_json(self) -> dict[str, object]:
        """All of it, for JSON."""
        return self._words() | {"files": list(self.files)}

    def row(self) -> dict[str, object]:
        """All of it on one line, for a table of a file: the files apart by " | "."""
        return self._words() | {"files": " | ".join(self.files)}

    def shown(self) -> list[str]:
        """The same for people, in lines: what it is, and then the first few files, each on a line of its own."""
        more = len(self.files) - SHOWN
        names = [*self.files[:SHOWN], *([f"and {more} more"] if more > 0 else [])]
        head = f"{self.severity.value}: {self.fault.value}: {self.text}; {self.mend}"
        return [head, *(f"  {name}" for name in names)]

    def _words(self) -> dict[str, object]:
        return {
            "severity": self.severity.value,
            "kind": self.fault.value,
            "files": "",
            "what": self.text,
            "mend": self.mend,
        }


def finding(
    fault: Fault, files: tuple[str, ...], text: str, *, mend: str = "", severity: Severity | None = None
) -> Finding:
    """A finding of `fault`, with the table's severity and mend unless others are given."""
    row = FAULTS[fault]
    return Finding(row.severity if severity is None else severity, fault, files, text, mend or row.mend)


_E, _W, _N = Severity.ERROR, Severity.WARNING, Severity.NOTE

FAULTS: dict[Fault, _Row] = {
    Fault.MISSING: _Row(_E, "add its partner, or take it out"),
    Fault.EXTRA: _Row(_E, "add the clean picture, or take it out"),
    Fault.SAME_NAME: _Row(_E, "keep one of them"),
    Fault.CASE: _Row(_E, "give both the same name, letter for letter"),
    Fault.CASE_TWINS: _Row(_W, "rename one; many disks take them for one file"),
    Fault.STRAY: _Row(_N, "rename, convert or remove it"),
    Fault.MISNAMED: _Row(_E, "rename or remove it; training refuses the set with it"),
    Fault.NOTHING: _Row(_E, "put pictures there, or choose another folder or layout"),
    Fault.SINGLE: _Row(_W, "add pairs, or set validation.on = none"),
    Fault.EMPTY: _Row(_E, "get it again"),
    Fault.UNREADABLE: _Row(_E, "get it again"),
    Fault.SUFFIX: _Row(_W, "give it the suffix of what it is"),
    Fault.SIZE: _Row(_E, "make them the same size"),
    Fault.TOO_SMALL: _Row(_E, "set a smaller data.crop, set data.pad or data.resize, or take it out"),
    Fault.CHANNELS: _Row(_W, "make both grey or both colour, unless colour is what shall be learnt"),
    Fault.DEPTH: _Row(_W, "give both the same bit depth"),
    Fault.UNCHANGED: _Row(_W, "there is nothing to learn from it; is it the right file?"),
    Fault.REPEATED: _Row(_W, "keep one of them; it counts twice in training"),
    Fault.REPEATED_CLEAN: _Row(_N, "keep all of its degraded versions on the same side when some are held out"),
    Fault.SHARED_DEGRADED: _Row(_E, "find out whose it is; one of the pairs is wrong"),
    Fault.NEAR_COPY: _Row(_N, "keep one, unless they are meant to be there"),
    Fault.LEAK: _Row(_E, "take it out of the training split; scores on the test split mean nothing otherwise"),
    Fault.NEAR_LEAK: _Row(_W, "look at both; take the copy out of the training split"),
    Fault.SHIFTED: _Row(_E, "align or crop both alike"),
    Fault.TURNED: _Row(_E, "turn it as its partner is"),
    Fault.SWAPPED: _Row(_E, "give each the name of its partner"),
    Fault.UNRELATED: _Row(_W, "look at both; is it the right partner?"),
    Fault.MASK_EMPTY: _Row(_W, "white is where to work; is it inverted, or the wrong file?"),
    Fault.MASK_FULL: _Row(_W, "white is where to work; is it inverted, or the wrong file?"),
    Fault.MASK_SOFT: _Row(_W, "save it as black and white in PNG, not as JPEG"),
    Fault.FRAMES: _Row(_N, "only the first is read"),
    Fault.ALPHA: _Row(_N, "it is ignored in training; flatten it if what it hides should not be seen"),
    Fault.DEEP: _Row(_N, "they are read in full; training needs no conversion"),
    Fault.READING: _Row(_N, "look at it"),
    Fault.NOT_OPENED: _Row(_N, "nothing, if the set has no such split"),
    Fault.COUNT: _Row(_W, "is all of it there, and nothing else?"),
}
