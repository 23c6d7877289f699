"""Uploads fit into what the page may hold, whoever sends them, and at the same time."""

import asyncio
import os

import pytest
from clients import alone
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from residiff.web.page.intake import Intake
from residiff.web.page.shelf import AGE, Shelf

UPLOAD = "/gradio_api/upload"
MOST = 1000


@pytest.fixture
def shelf():
    made = Shelf()
    yield made
    made.close()


async def put(request):
    request.app.state.shelf.put("a.png", await request.body())
    return PlainTextResponse("taken")


@pytest.fixture
def client(shelf):
    app = Starlette(routes=[Route("/{path:path}", put, methods=["POST"])])
    app.state.shelf = shelf
    return TestClient(Intake(app, shelf, MOST))


def test_what_fits_is_taken_until_it_is_full(client, shelf):
    assert [client.post(UPLOAD, content=bytes(400)).status_code for _ in range(3)] == [200, 200, 503]
    full = client.post(f"{UPLOAD}/", content=bytes(400))
    assert full.status_code == 503 and full.headers["retry-after"] == "60" and "try again" in full.text
    # What is old goes, and makes room
    for path in shelf.folder.rglob("*"):
        os.utime(path, (0, 0))
    assert AGE and client.post(UPLOAD, content=bytes(400)).text == "taken"
    assert 400 <= shelf.held() < MOST


def test_what_never_fits_or_tells_no_length_is_refused(client):
    assert client.post(UPLOAD, content=bytes(MOST + 1)).status_code == 413
    assert client.post(UPLOAD, content=iter([bytes(10)])).status_code == 411
    for length, status in (("9" * 30, 413), ("-1", 411), ("ten", 411)):
        assert client.post(UPLOAD, content=b"", headers={"content-length": length}).status_code == status


def test_other_requests_pass(client):
    assert client.post("/gradio_api/queue/join", content=bytes(10 * MOST)).text == "taken"


def test_those_on_their_way_count(shelf):
    seen, begun, gate = [], asyncio.Event(), asyncio.Event()

    async def slow(scope, receive, send):
        begun.set()
        await gate.wait()
        await PlainTextResponse("taken")(scope, receive, send)

    async def ask(intake):
        scope = {"type": "http", "path": UPLOAD, "method": "POST", "headers": [(b"content-length", b"600")]}

        async def send(message):
            seen.extend([message["status"]] if message["type"] == "http.response.start" else [])

        await intake(scope, None, send)

    async def both():
        intake = Intake(slow, shelf, MOST)
        first = asyncio.create_task(ask(intake))
        await begun.wait()
        await ask(intake)
        gate.set()
        await first
        await ask(intake)

    alone(both())
    assert seen == [503, 200, 200]
