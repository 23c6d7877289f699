"""What every request passes: it gets an id, is counted, and under /v1 bears the token and ends within its limits.

A body is counted while it arrives; what is too long or too slow is refused there and then, whatever its header says.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import re
import secrets
import time
import traceback
from collections.abc import Callable, Mapping

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from residiff.web import Failure, RefusedError, Settings

FORMAT_VERSION = 1
REQUEST_ID = "x-request-id"
_GUARDED = "/v1/"
_ID = re.compile(r"[\w.:-]{1,64}", re.ASCII)
# A length with more of them is too long, whatever it is
_DIGITS = 20
_HEADERS = {"x-content-type-options": "nosniff", "cache-control": "no-store"}
_UNAUTHORISED = Failure("unauthorised", "send the server's token as `Authorization: Bearer TOKEN`", 401)

logger = logging.getLogger(__name__)

# Is told of a request's method, path, status and seconds
Counter = Callable[[str, str, int, float], None]


def answer(failure: Failure, request_id: str) -> JSONResponse:
    """A failure as it is answered."""
    headers: dict[str, str] = {}
    if failure.retry_after is not None:
        headers["retry-after"] = str(failure.retry_after)
    if failure.status == 401:
        headers["www-authenticate"] = "Bearer"
    if failure.status == 408:
        headers["connection"] = "close"
    error = {"code": failure.code, "message": failure.message, "request_id": request_id}
    return JSONResponse({"format_version": FORMAT_VERSION, "error": error}, failure.status, headers)


class Guard:
    """Stands before an application.

    Parameters
    ----------
    app : which
    settings : limits and token
    count : is told of each request when it has been answered
    """

    def __init__(self, app: ASGIApp, settings: Settings, count: Counter) -> None:
        self._app, self._settings, self._count = app, settings, count

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request pass, or answer it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, given = time.monotonic(), Headers(scope=scope).get(REQUEST_ID, "")
        request_id = given if _ID.fullmatch(given) else secrets.token_hex(8)
        scope.setdefault("state", {})["request_id"] = request_id
        labelled = _Labelled(send, request_id, _HEADERS if _is_guarded(scope) else {})
        try:
            await self._pass(scope, receive, labelled)
        except Exception as error:
            logger.error("request %s: %s", request_id, traceback.format_exc())
            if labelled.status:
                raise
            await answer(Failure.of(error), request_id)(scope, receive, labelled)
        finally:
            self._count(scope["method"], scope["path"], labelled.status, time.monotonic() - began)

    async def _pass(self, scope: Scope, receive: Receive, send: _Labelled) -> None:
        if not _is_guarded(scope):
            await self._app(scope, receive, send)
        elif (failure := self._refused(scope)) is not None:
            await answer(failure, send.request_id)(scope, receive, send)
        else:
            await self._app(scope, _Body(receive, self._settings).receive, send)

    def _refused(self, scope: Scope) -> Failure | None:
        """Why a request is not even looked at, from its headers."""
        headers, token = Headers(scope=scope), self._settings.token
        if token is not None:
            kind, _, borne = headers.get("authorization", "").partition(" ")
            if kind.lower() != "bearer" or not hmac.compare_digest(borne.strip().encode(), token.encode()):
                return _UNAUTHORISED
        length = headers.get("content-length", "0")
        if length.isdecimal() and (len(length) > _DIGITS or int(length) > self._settings.max_body):
            return _too_long(self._settings)
        return None


def _is_guarded(scope: Scope) -> bool:
    return str(scope["path"]).startswith(_GUARDED)


class _Labelled:
    """Sends an answer with the request's id and other headers; `status` is 0 until it has begun."""

    def __init__(self, send: Send, request_id: str, headers: Mapping[str, str]) -> None:
        self.request_id, self.status = request_id, 0
        self._send, self._headers = send, headers

    async def __call__(self, message: Message) -> None:
        """Send a part of it."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers[REQUEST_ID] = self.request_id
            headers.update(self._headers)
        await self._send(message)


class _Body:
    """The body of a request, counted while it arrives."""

    def __init__(self, receive: Receive, settings: Settings) -> None:
        self._receive, self._settings = receive, settings
        self._length, self._is_whole = 0, False
        self._until = time.monotonic() + settings.body_seconds

    async def receive(self) -> Message:
        """The next part of it; `RefusedError` if it is too long or too late."""
        if self._is_whole:
            return await self._receive()
        try:
            message = await asyncio.wait_for(self._receive(), max(0.0, self._until - time.monotonic()))
        except TimeoutError as error:
            seconds = f"{self._settings.body_seconds:g} seconds"
            raise RefusedError(Failure("slow_body", f"the request did not arrive within {seconds}", 408)) from error
        self._length += len(message.get("body", b""))
        self._is_whole = not message.get("more_body", False)
        if self._length > self._settings.max_body:
            raise RefusedError(_too_long(self._settings))
        return message


def _too_long(settings: Settings) -> Failure:
    return Failure("body_too_large", f"the request is over the limit of {settings.max_body} bytes", 413)
