"""What is shown of a run at one moment, and the words for it."""

from __future__ import annotations

from dataclasses import dataclass

from residiff.web import Product, Snapshot

STOPPED = "Stopped."


@dataclass(frozen=True)
class Stage:
    """What is shown of a run at one moment.

    Attributes
    ----------
    told : where it stands, in words
    share : of the steps that have been made, 0 to 1; None while nothing is known
    preview : a small picture of it, or None
    result : at the end of one that went well
    error : at the end of one that did not, in words
    """

    told: str
    share: float | None = None
    preview: bytes | None = None
    result: Product | None = None
    error: str | None = None

    @property
    def is_last(self) -> bool:
        """Whether nothing more comes."""
        return self.result is not None or self.error is not None


def told_of(snapshot: Snapshot) -> str:
    """Where a run stands, in words."""
    if snapshot.position > 0:
        return f"Waiting, number {snapshot.position} in the queue."
    done, of = snapshot.progress
    return f"Step {done} of {of}." if done else "Starting."


def share_of(snapshot: Snapshot) -> float | None:
    """Of the steps that have been made, 0 to 1; None where it waits."""
    done, of = snapshot.progress
    return done / of if of and snapshot.position == 0 else None


def told_at_end(result: Product) -> str:
    """What became of a picture, in words."""
    said = f"Done in {result.seconds:.2g} s. Changed by {result.change:.1f} of 255 grey levels on average."
    return " ".join([said, result.hint and f"Hint: {result.hint}.", *(f"{each}." for each in result.warnings)]).strip()
