"""Messages between a server and its worker: a line of JSON, and the bytes that belong to it.

The worker decodes what strangers send. Whoever took it over could send back bytes and numbers, but no code: nothing
that is received here is unpickled.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

Facts = Mapping[str, Any]


class Message(NamedTuple):
    """What it is about, its facts as JSON has them, and the bytes that belong to it, by name."""

    kind: str
    facts: Facts
    blobs: Mapping[str, bytes]


def send(connection: Connection, kind: str, facts: Facts, blobs: Mapping[str, bytes] | None = None) -> None:
    """Send a message; `OSError` where nobody is there."""
    held = blobs or {}
    connection.send_bytes(json.dumps([kind, facts, list(held)]).encode())
    for blob in held.values():
        connection.send_bytes(blob)


def receive(connection: Connection) -> Message:
    """Wait for a message; `EOFError` or `OSError` where there will be none."""
    kind, facts, names = json.loads(connection.recv_bytes())
    return Message(kind, facts, {name: connection.recv_bytes() for name in names})
