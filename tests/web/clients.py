"""Clients of a server that runs in another process or thread: raw ones, and many at once."""

import asyncio
import http.client
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import httpx


@dataclass
class Place:
    """Where a server listens."""

    port: int

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def get(self, path, timeout=10):
        return httpx.get(self.url + path, timeout=timeout)

    def post(self, image, timeout=60, name="a.png", **fields):
        return httpx.post(f"{self.url}/v1/restore", files={"image": (name, image)}, data=fields, timeout=timeout)

    def figures(self):
        """The metrics by name."""
        lines = [line for line in self.get("/metrics").text.splitlines() if not line.startswith("#")]
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}

    def memory(self):
        """Bytes resident in the server and its worker."""
        told = self.figures()
        return [told[f'residiff_memory_bytes{{process="{name}"}}'] for name in ("server", "worker")]

    def wait_ready(self, seconds=120):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            try:
                if self.get("/readyz").status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.05)
        raise AssertionError("not ready")

    def raw(self, data, seconds=20):
        """What comes back when `data` is sent as it is; until the other side closes, or says no more for a while."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=seconds) as connection:
            connection.settimeout(seconds)
            told = b""
            try:
                connection.sendall(data)
                while part := connection.recv(65536):
                    told += part
                    if b"\r\n\r\n" in told:
                        connection.settimeout(0.2)
            except (TimeoutError, ConnectionError):
                pass
            return told


def alone(coroutine):
    """Run it in a thread of its own: in this one a browser's loop may be running."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()


@dataclass
class Load:
    """What many clients saw.

    `answers` are (what was asked, status, headers, body), `health` the seconds that /healthz took.
    """

    answers: list = field(default_factory=list)
    health: list = field(default_factory=list)

    def statuses(self):
        return {status for _, status, _, _ in self.answers}

    def slowest_health(self, share=0.99):
        return sorted(self.health)[int(share * (len(self.health) - 1))]


def load(place, corpus, count, seconds):
    """`count` clients ask for `seconds`, each for one of `corpus` (a list of forms by name) after the other."""
    seen = Load()
    stop = threading.Event()
    watch = threading.Thread(target=_health, args=(place, seen, stop))
    watch.start()
    try:
        alone(_ask(place, corpus, count, seconds, seen))
    finally:
        stop.set()
        watch.join()
    return seen


def _health(place, seen, stop):
    while not stop.wait(0.05):
        began = time.perf_counter()
        connection = http.client.HTTPConnection("127.0.0.1", place.port, timeout=30)
        connection.request("GET", "/healthz")
        assert connection.getresponse().status == 200
        connection.close()
        seen.health.append(time.perf_counter() - began)


async def _ask(place, corpus, count, seconds, seen):
    until = time.monotonic() + seconds
    names = list(corpus)

    async def client(number, session):
        turn = number
        while time.monotonic() < until:
            name = names[turn % len(names)]
            turn += 1
            files, fields = corpus[name]
            answer = await session.post("/v1/restore", files=files, data=fields)
            seen.answers.append((name, answer.status_code, answer.headers, answer.content))
            if answer.status_code == 503:
                await asyncio.sleep(0.3)

    limits = httpx.Limits(max_connections=count)
    async with httpx.AsyncClient(base_url=place.url, timeout=60, limits=limits) as session:
        await asyncio.gather(*(client(number, session) for number in range(count)))
