"""Why a request was not answered by a picture: a code for programs, a message for people, and the HTTP status."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from residiff.errors import (
    ConfigError,
    ImageDecodeError,
    ImageTooLargeError,
    ImageUnsupportedError,
    ModelFileError,
    ResidiffError,
    ResourceError,
)
from residiff.web.work import TooMuchWorkError, UnknownModelError


@dataclass(frozen=True)
class Failure:
    """Why there is no result.

    Attributes
    ----------
    code : a word for programs, "deadline" say
    message : what is the matter, and its mend
    status : that HTTP answers with
    retry_after : seconds after which it may go well; None where it will not
    """

    code: str
    message: str
    status: int
    retry_after: int | None = None

    def facts(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)

    @classmethod
    def of_facts(cls, facts: Mapping[str, Any]) -> Failure:
        """What `facts` were of."""
        return cls(**facts)

    @classmethod
    def of(cls, error: Exception) -> Failure:
        """What an exception means: of one that residiff does not raise on purpose, that there is a bug."""
        if isinstance(error, (BusyError, RefusedError)):
            return error.failure
        for kind, code, status in _KINDS:
            if isinstance(error, kind):
                return cls(code, str(error), status)
        return cls("internal", "this is a bug in residiff; what the server wrote to its log says more", 500)


class BusyError(ResidiffError):
    """A server has no room now, or is not ready, or is about to end; `retry_after` is in seconds."""

    exit_code = 5

    def __init__(self, code: str, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.failure = Failure(code, message, 503, retry_after)


class RefusedError(Exception):
    """A request is answered by a failure."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


# The first that fits
_KINDS: list[tuple[type[Exception], str, int]] = [
    (UnknownModelError, "unknown_model", 404),
    (TooMuchWorkError, "too_much_work", 413),
    (ImageTooLargeError, "too_many_pixels", 413),
    (ImageUnsupportedError, "unsupported_image", 415),
    (ImageDecodeError, "undecodable_image", 422),
    (ConfigError, "bad_parameter", 422),
    (ModelFileError, "model_failed", 422),
    (ResourceError, "out_of_memory", 413),
]
CANCELLED = Failure("cancelled", "the job was cancelled", 409)
DEADLINE = Failure("deadline", "the time for a job is over; take fewer steps, a smaller picture, or try again", 504, 10)
DIED = Failure("worker_died", "the process that computes died of this job twice; another picture may go well", 503, 10)
DRAINING = Failure("draining", "the server is about to end", 503, 10)
