"""Uploads within what the page's folder holds: many files, each within its own limit, would fill a disk."""

from __future__ import annotations

import asyncio

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from residiff.web.page.shelf import Shelf

_UPLOAD = "/gradio_api/upload"
# A length with more digits is too long, whatever it is
_DIGITS = 20
# Seconds after which it is worth to try again
_AGAIN = "60"


class Intake:
    """Passes on all but uploads that the shelf has no room for, by the length that browsers tell before they send.

    Parameters
    ----------
    app : which
    shelf : where uploads come to lie
    most : bytes that lie there, and are on their way, at one time
    """

    def __init__(self, app: ASGIApp, shelf: Shelf, most: int) -> None:
        self._app, self._shelf, self._most = app, shelf, most
        self._coming = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request pass, or answer it: 411 without a length, 413 where it can never fit, 503 where not now."""
        if scope["type"] != "http" or scope["path"].rstrip("/") != _UPLOAD or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        told = Headers(scope=scope).get("content-length", "")
        if not (told.isascii() and told.isdecimal()):
            await PlainTextResponse("send the length of the upload before it", 411)(scope, receive, send)
        elif len(told) > _DIGITS or int(told) > self._most:
            refused = f"more than {self._most >> 20} MiB at once; send a part of it, and the rest afterwards"
            await PlainTextResponse(refused, 413)(scope, receive, send)
        else:
            await self._take(int(told), scope, receive, send)

    async def _take(self, length: int, scope: Scope, receive: Receive, send: Send) -> None:
        held = await asyncio.to_thread(self._shelf.held)
        if held + self._coming + length > self._most:
            full = "the server holds as many uploads as it may; try again when older ones are gone, in a while"
            await PlainTextResponse(full, 503, {"retry-after": _AGAIN})(scope, receive, send)
            return
        self._coming += length
        try:
            await self._app(scope, receive, send)
        finally:
            self._coming -= length
