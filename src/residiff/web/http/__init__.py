"""HTTP in front of the queue: endpoints, limits, metrics, and the server itself."""

from residiff.web.http.app import create_app
from residiff.web.http.connection import protocol
from residiff.web.http.forms import Fields
from residiff.web.http.guard import FORMAT_VERSION
from residiff.web.http.serving import listen, serve

__all__ = ["FORMAT_VERSION", "Fields", "create_app", "listen", "protocol", "serve"]
