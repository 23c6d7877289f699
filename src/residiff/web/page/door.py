"""What of Gradio's server strangers reach: what the page needs, and nothing of its workshop."""

from __future__ import annotations

import re

from starlette.datastructures import MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Recording, editing by language models, proxies, monitoring, histories and the like are not among them
ALLOWED = re.compile(
    r"/(config|theme\.css|favicon\.ico|robots\.txt|manifest\.json|pwa_icon|login|logout|(static|assets|svelte)/.+)?"
    r"|/gradio_api/(app_id|cancel|file=.+|heartbeat/\w+|info|login_check|queue/(data|join)|reset|run/\w+|startup-events|theme\.css"
    r"|token|upload|upload_progress|user)"
)
# Whatever the page shows or sends stays with its server; Gradio makes functions of its templates in the browser
HEADERS = {
    "content-security-policy": "default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; frame-ancestors 'none'; form-action 'self'; base-uri 'self'; object-src 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


class Door:
    """Stands before Gradio's application."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request pass that the page makes; to others there is nothing here."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return

        async def send_on(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        if scope["type"] == "http" and is_allowed(scope["path"]):
            await self._app(scope, receive, send_on)
        elif scope["type"] == "http":
            await PlainTextResponse("there is nothing here", 404)(scope, receive, send_on)


def is_allowed(path: str) -> bool:
    """Whether the page needs what lies at `path`."""
    return ALLOWED.fullmatch(path.removesuffix("/") or "/") is not None and ".." not in path
