"""What a protocol is: which figures are taken of which views of pictures, by a name and a version."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Literal

from residiff.data.settings import Resize
from residiff.errors import ConfigError
from residiff.evaluate.measures import Measure, Network, Regions, Where
from residiff.evaluate.views import Light


class Saving(Enum):
    """How results that were never in a file become 8 bits: rounded, or cut off as TensorBoard's pictures are."""

    ROUND = "round"
    TRUNCATE = "truncate"


@dataclass(frozen=True)
class Protocol:
    """A way to score pictures, one by one.

    Attributes
    ----------
    version : changes with every change of a figure
    summary : what it is, in a line
    source : whose figures are made so
    measures : what is taken of each picture
    regions : what its mask means, where one is used
    alike : whether both pictures must have one size; otherwise the true one is resized, or both
    truth : whether there are true pictures
    saving : how results become 8 bits that come from a model and not from files
    quirks : what it does that nobody would choose
    sane : the protocol without them
    """

    name: str
    version: int
    summary: str
    source: str
    measures: tuple[Measure, ...]
    regions: Regions = Light()
    alike: bool = True
    truth: bool = True
    saving: Saving = Saving.ROUND
    quirks: str = ""
    sane: str = ""

    @property
    def needs_mask(self) -> bool:
        """Whether it cannot score without a mask."""
        return any(each.where is not Where.ALL and not each.if_masked for each in self.measures)

    @property
    def takes_mask(self) -> bool:
        """Whether it has a use for one."""
        return any(each.where is not Where.ALL for each in self.measures)

    def higher(self, name: str) -> bool:
        """Whether more is better of a measure, or of a pooled one; `ConfigError` if there is none of that name."""
        for each in self.measures:
            if name in (each.name, f"{each.name}_pooled"):
                return each.higher
        raise ConfigError(f"{self.name} has no measure {name!r}; it has {', '.join(m.name for m in self.measures)}")


class Distance(Enum):
    """A figure of whole sets: FID and KID compare two, the Inception Score (IS) is of one."""

    FID = "fid"
    KID = "kid"
    IS = "is"


@dataclass(frozen=True)
class SetProtocol:
    """A way to score a set of pictures as a whole; none has a partner.

    Attributes
    ----------
    features : the network in whose features the sets are compared
    distances : what is taken of them
    split : which part of a data set is the truth
    resize : what is done to true pictures first that are not `side` pixels wide and high
    side : of generated pictures, 0 for any
    """

    name: str
    version: int
    summary: str
    source: str
    features: Network
    distances: tuple[Distance, ...]
    split: Literal["train", "test"] = "test"
    resize: Resize = Resize.NONE
    side: int = 0
    quirks: str = ""
    sane: str = ""

    @property
    def truth(self) -> bool:
        """Whether there are true pictures."""
        return any(each is not Distance.IS for each in self.distances)

    def higher(self, name: str) -> bool:
        """Whether more is better of a measure; `ConfigError` if there is none of that name."""
        known = [each.value for each in self.distances]
        if name not in known:
            raise ConfigError(f"{self.name} has no measure {name!r}; it has {', '.join(known)}")
        return name == Distance.IS.value
