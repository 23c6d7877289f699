"""What a server allows and how it works, fixed when it starts."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from residiff import models
from residiff.errors import ConfigError, check_range

MEBIBYTE = 2**20
_MODEL_FILE = "model"


@dataclass(frozen=True)
class Settings:
    """Settings of a server; `ConfigError` where one cannot be.

    Attributes
    ----------
    host, port : where it listens; port 0 takes a free one
    models : bundled names, files, folders or hub ids that may be asked for; all bundled ones if empty
    device, backend : of computing, as `residiff restore` has them
    threads : of computing; as many as torch takes by itself if None
    queue : jobs that wait at most
    deadline : seconds from the arrival of a job to its result
    grace : seconds that a worker has to stop what it was told to, before it is killed
    drain : seconds that jobs have to end when the server is told to
    max_body : bytes of a request
    max_pixels : of a picture, from its header
    max_work : of a job, millions of pixels times steps times samples
    max_parts : of a form
    body_seconds : that a request may take to arrive
    keep : seconds that results wait to be fetched
    token : that requests under /v1 must bear; none if None
    page : whether the page is served beside the HTTP interface
    loaded : models that stay in memory at once
    """

    host: str = "127.0.0.1"
    port: int = 8000
    models: tuple[str, ...] = ()
    device: str = "auto"
    backend: str = "eager"
    threads: int | None = None
    queue: int = 16
    deadline: float = 60.0
    grace: float = 5.0
    drain: float = 20.0
    max_body: int = 32 * MEBIBYTE
    max_pixels: int = 25_000_000
    max_work: float = 500.0
    max_parts: int = 32
    body_seconds: float = 30.0
    keep: float = 300.0
    token: str | None = field(default=None, repr=False)
    page: bool = True
    loaded: int = 3

    def __post_init__(self) -> None:
        for name, (low, high) in _RANGES.items():
            check_range(name.replace("_", "-"), getattr(self, name), low, high)
        if self.threads is not None:
            check_range("threads", self.threads, 1, 1024)
        if self.token is not None and (not self.token.isascii() or not self.token.strip() or " " in self.token):
            raise ConfigError("the token must be one word of ASCII; make one by `openssl rand -hex 32`")

    @property
    def is_private(self) -> bool:
        """Whether only programs of this machine reach it."""
        return self.host == "localhost" or self.host == "::1" or self.host.startswith("127.")

    def catalogue(self) -> dict[str, str]:
        """What each model is loaded from, by the name it is asked for by: its own, or that of its file or folder.

        Raises
        ------
        ConfigError
            If two have the same name.
        """
        found: dict[str, str] = {}
        for source in self.models or tuple(models.bundled()):
            name = _name_of(source)
            if name in found:
                raise ConfigError(f"two models are called {name!r}: {found[name]} and {source}; rename one of them")
            found[name] = source
        return found


def _name_of(source: str) -> str:
    if source in models.bundled():
        return source
    path = Path(source)
    return path.absolute().parent.name if path.stem == _MODEL_FILE else path.stem


_RANGES: dict[str, tuple[float, float]] = {
    "port": (0, 65535),
    "queue": (1, 10_000),
    "deadline": (0.1, 86_400),
    "grace": (0.1, 600),
    "drain": (0, 86_400),
    "max_body": (1024, 2**31),
    "max_pixels": (1, 10**12),
    "max_work": (1e-6, 1e12),
    "max_parts": (2, 1000),
    "body_seconds": (0.1, 3600),
    "keep": (1, 86_400),
    "loaded": (1, 1000),
}
