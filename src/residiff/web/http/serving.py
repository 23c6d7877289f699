"""`residiff serve`: the application on a socket, from the first signal to the last answer."""

from __future__ import annotations

import errno
import logging
import socket
import threading
import time
from collections.abc import Callable
from types import FrameType

import uvicorn
from fastapi import FastAPI

from residiff.errors import ResourceError
from residiff.web import Jobs, Settings
from residiff.web.http.app import create_app
from residiff.web.http.connection import protocol

logger = logging.getLogger(__name__)

# Seconds that answers have to get to who asked, beside their own time
_TRANSFER = 60.0
# They write a line for each malformed request
_NOISY = ("uvicorn.error", "python_multipart")
# Of headers, in bytes
_MOST_HEADERS = 32 * 1024


Mount = Callable[[FastAPI, Jobs, Settings], FastAPI]


def serve(settings: Settings, started: Callable[[str], None], mount: Mount | None = None) -> int:
    """Serve until a signal comes, and give the exit code: 0 where all jobs came to their end, else 128 and the signal.

    At the first signal no more jobs are taken, and those there are have `settings.drain` seconds to end; a second one
    ends them at once. `started` is told the address when requests are answered; `mount` puts a page beside the rest.

    Raises
    ------
    ResourceError
        If the port is in use, or may not be listened at.
    ResidiffError
        If a model cannot be loaded.
    """
    for name in _NOISY:
        logging.getLogger(name).setLevel(logging.ERROR)
    with listen(settings.host, settings.port) as listening, Jobs(settings) as jobs:
        longest = settings.body_seconds + settings.deadline + settings.grace + _TRANSFER
        app = create_app(jobs)
        config = uvicorn.Config(
            app if mount is None else mount(app, jobs, settings),
            http=protocol(settings.body_seconds, longest),
            ws="none",
            # Gradio begins its work in it
            lifespan="off" if mount is None else "on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=5,
            h11_max_incomplete_event_size=_MOST_HEADERS,
            timeout_graceful_shutdown=10,
        )
        server = _Server(config, jobs, lambda: started(address(listening)))
        server.run(sockets=[listening])
        if jobs.unfit is not None:
            raise jobs.unfit
        return server.exit_code


def listen(host: str, port: int) -> socket.socket:
    """A socket bound to an address; `ResourceError` if that cannot be."""
    try:
        family, kind, number, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, number)
    except OSError as error:
        raise ResourceError(
            f"cannot listen at {host!r} ({error.strerror}); give --host an address of this machine"
        ) from error
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(place)
    except OSError as error:
        listening.close()
        mend = _MENDS.get(error.errno or 0, f"{error.strerror}; give --host an address of this machine")
        raise ResourceError(f"cannot listen at {host}, port {port}: {mend}") from error
    return listening


_MENDS = {
    errno.EADDRINUSE: "another program is there; end it, or take another by --port (0 finds a free one)",
    errno.EACCES: "permission denied; take a port above 1023 by --port",
}


def address(listening: socket.socket) -> str:
    """Where a socket listens, as a browser has it."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class _Server(uvicorn.Server):
    """Ends when the queue is empty."""

    def __init__(self, config: uvicorn.Config, jobs: Jobs, started: Callable[[], None]) -> None:
        super().__init__(config)
        self.exit_code = 0
        self._jobs, self._told = jobs, started
        self._draining: threading.Thread | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and say so."""
        await super().startup(sockets)
        threading.Thread(target=self._watch, daemon=True).start()
        self._told()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to end; at once where it had begun."""
        if self._draining is not None:
            self.exit_code = 128 + sig
            self.should_exit = self.force_exit = True
            return
        self._draining = threading.Thread(target=self._drain, args=(sig,), daemon=True)
        self._draining.start()

    def _drain(self, sig: int) -> None:
        logger.info("ending: no more jobs are taken; %d are left", self._jobs.waiting + self._jobs.running)
        if not self._jobs.drain(self._jobs.settings.drain):
            self.exit_code = 128 + sig
        self.should_exit = True

    def _watch(self) -> None:
        """End where the models cannot be loaded."""
        while not self.should_exit and not self._jobs.wait_ready(1.0):
            if self._jobs.unfit is not None:
                self.should_exit = True
            time.sleep(0.05)
