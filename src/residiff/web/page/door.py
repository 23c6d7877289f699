"""What of Gradio's server strangers reach: what the page needs, and nothing of its workshop."""

from __future__ import annotations

import re

from starlette.datastructures import MutableHeaders
from starlette.routing import Match, Mount
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


class Door(Mount):
    """Gradio's application, mounted at "/" for what the page asks for; for all else the server answers."""

    def __init__(self, app: ASGIApp) -> None:
        super().__init__("", app=_Sealed(app))

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Whether a request is one that the page makes."""
        if scope["type"] != "http" or not is_allowed(scope["path"]):
            return Match.NONE, {}
        return super().matches(scope)


class _Sealed:
    """Sends the policy with each answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_on(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        await self._app(scope, receive, send_on)


def is_allowed(path: str) -> bool:
    """Whether the page needs what lies at `path`."""
    return ALLOWED.fullmatch(path.removesuffix("/") or "/") is not None and ".." not in path
