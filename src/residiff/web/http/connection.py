"""HTTP/1.1 connections that end in time: slow headers, slow readers and endless bodies are cut off."""

from __future__ import annotations

import asyncio
import time
from typing import cast

from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

# Seconds between looks at a connection
_LOOK = 1.0
# By these a page is told of what goes on, as long as it is open
_STREAMS = ("/gradio_api/heartbeat/", "/gradio_api/queue/data")


def protocol(idle: float, longest: float) -> type[H11Protocol]:
    """A class of connections that are cut off.

    `idle` is in seconds without a request whose headers are whole, `longest` from there to the end of its answer.
    """

    class Timed(H11Protocol):
        """A connection that is looked at again and again: it may stay for so long at one thing."""

        _at: tuple[RequestResponseCycle | None, bool] = (None, True)
        _since = 0.0

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            """Begin to look at it."""
            super().connection_made(cast(asyncio.Transport, transport))
            self._since = time.monotonic()
            self._look()

        def _look(self) -> None:
            if self.transport.is_closing():
                return
            is_idle = self.cycle is None or self.cycle.response_complete
            now, at = time.monotonic(), (self.cycle, is_idle)
            if at != self._at:
                self._at, self._since = at, now
            is_stream = self.cycle is not None and self.cycle.scope["path"].startswith(_STREAMS)
            if now - self._since > (idle if is_idle else longest) and (is_idle or not is_stream):
                self.transport.abort()
            else:
                self.loop.call_later(_LOOK, self._look)

    return Timed
