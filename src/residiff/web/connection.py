"""HTTP/1.1 connections that end in time: slow headers, slow readers and endless bodies are cut off."""

from __future__ import annotations

import asyncio
import time
from typing import cast

from uvicorn.protocols.http.h11_impl import H11Protocol

# Seconds: between looks at a connection, and that it may be without a request
_LOOK, _IDLE = 2.0, 15.0


def protocol(longest: float) -> type[H11Protocol]:
    """A class of connections on which a request, from its headers to the end of its answer, takes `longest` seconds."""

    class Timed(H11Protocol):
        """A connection that is looked at again and again."""

        _idle_since = _busy_since = 0.0

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            """Begin to look at it."""
            super().connection_made(cast(asyncio.Transport, transport))
            self._idle_since = time.monotonic()
            self._look()

        def _look(self) -> None:
            if self.transport.is_closing():
                return
            now = time.monotonic()
            if self.cycle is None or self.cycle.response_complete:
                self._busy_since = 0.0
                self._idle_since = self._idle_since or now
            else:
                self._idle_since = 0.0
                self._busy_since = self._busy_since or now
            if (self._idle_since and now - self._idle_since > _IDLE) or (
                self._busy_since and now - self._busy_since > longest
            ):
                self.transport.abort()
                return
            self.loop.call_later(_LOOK, self._look)

    return Timed
