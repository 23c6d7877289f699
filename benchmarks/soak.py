"""Whether a server stays as it is for hours: its memory, open files, threads and Python's objects under load.

Two servers are asked, one after the other: the one that is shipped, which must stay flat, and one that keeps a little
of each request, which must be found out. `--minutes 30` is what a release is held to.

For example: python benchmarks/soak.py --minutes 30 --json soak.json
"""

from __future__ import annotations

import argparse
import gc
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import httpx
import numpy as np
import psutil
from PIL import Image

from residiff.environment import describe
from residiff.files import write_bytes

# Bytes a minute, and objects a request, that count as a leak
FLAT, OBJECTS = 2**20, 0.1
# Seconds between two looks; the share of the time before which caches fill
EVERY, WARM = 1.0, 0.4
CLIENTS = 4
# Bytes of each request that the leaking server keeps
KEPT = 20_000


class Look(NamedTuple):
    """The server and its worker at one moment: seconds, bytes resident, open files, threads, objects, requests."""

    at: float
    resident: int
    files: int
    threads: int
    objects: int
    requests: int


@dataclass(frozen=True)
class Verdict:
    """What became of a server: slopes by least squares, and what it had more at the end."""

    bytes_a_minute: float
    objects_a_request: float
    files: int
    threads: int
    requests: int

    @property
    def is_flat(self) -> bool:
        """Whether nothing grew."""
        still = self.files <= 0 and self.threads <= 0
        return still and self.bytes_a_minute <= FLAT and self.objects_a_request <= OBJECTS


def verdict(looks: list[Look]) -> Verdict:
    """Of the looks after the caches have filled."""
    warm = [look for look in looks if look.at >= WARM * looks[-1].at]
    half = len(warm) // 2

    def slope(of: Callable[[Look], float], by: Callable[[Look], float]) -> float:
        return float(np.polyfit([by(look) for look in warm], [of(look) for look in warm], 1)[0])

    def more(of: Callable[[Look], int]) -> int:
        """The least of the second half over the least of the first: what requests open they close again."""
        return min(map(of, warm[half:])) - min(map(of, warm[:half]))

    return Verdict(
        60 * slope(lambda look: look.resident, lambda look: look.at),
        slope(lambda look: look.objects, lambda look: look.requests),
        more(lambda look: look.files),
        more(lambda look: look.threads),
        looks[-1].requests,
    )


def soak(model: Path | str, minutes: float, *, leaks: bool = False) -> list[Look]:
    """Ask a server for so long, and look at it all the time."""
    with tempfile.TemporaryDirectory() as folder:
        census = Path(folder) / "census"
        census.touch()
        kind = "leaking" if leaks else "shipped"
        command = [sys.executable, __file__, "--serve", str(census), kind, "--port", "0", "--no-page", "--threads", "1"]
        options = [
            "--model",
            str(model),
            "--device",
            "cpu",
            "--queue",
            "8",
            "--max-pixels",
            "200000",
            "--deadline",
            "20",
        ]
        with subprocess.Popen([*command, *options], stderr=subprocess.PIPE, text=True) as process:
            try:
                return _watched(process, census, minutes)
            finally:
                process.terminate()
                process.communicate(timeout=60)


def _watched(process: subprocess.Popen[str], census: Path, minutes: float) -> list[Look]:
    assert process.stderr is not None
    line = process.stderr.readline()
    found = re.search(r"listening at (http://\S+)", line)
    if found is None:
        raise SystemExit(line + process.stderr.read())
    threading.Thread(target=process.stderr.read, daemon=True).start()
    address, asked, stop = found[1], Counter[int](), threading.Event()
    clients = [threading.Thread(target=_ask, args=(address, number, asked, stop)) for number in range(CLIENTS)]
    while httpx.get(f"{address}/readyz").status_code != 200:
        time.sleep(0.1)
    for client in clients:
        client.start()
    began, looks = time.monotonic(), list[Look]()
    while (at := time.monotonic() - began) < 60 * minutes:
        looks.append(_look(process.pid, census, at, asked.total()))
        time.sleep(EVERY)
    stop.set()
    for client in clients:
        client.join()
    if set(asked) - {200, 413, 415, 422, 503, 504}:
        raise SystemExit(f"answers that may not be: {dict(asked)}")
    return looks


def _look(number: int, census: Path, at: float, requests: int) -> Look:
    server = psutil.Process(number)
    found = [server, *server.children(recursive=True)]
    told = census.read_text().split()
    return Look(
        at,
        sum(each.memory_info().rss for each in found),
        sum(each.num_fds() for each in found),
        sum(each.num_threads() for each in found),
        int(told[-1]) if told else 0,
        requests,
    )


def _ask(address: str, number: int, asked: Counter[int], stop: threading.Event) -> None:
    """Ask for good pictures and bad ones, with a connection for each."""
    turns = [(_png(48 + 16 * turn, 64), {"seed": str(turn)}) for turn in range(6)]
    turns += [(b"no picture", {}), (_png(64, 64)[:-100], {}), (_png(64, 64), {"steps": "none"}), (_png(600, 600), {})]
    turn = number
    while not stop.is_set():
        image, fields = turns[turn % len(turns)]
        turn += 1
        answer = httpx.post(f"{address}/v1/restore", files={"image": ("a.png", image)}, data=fields, timeout=60)
        asked[answer.status_code] += 1
        if answer.status_code == 503:
            stop.wait(0.2)


def _png(height: int, width: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)).save(file, "PNG")
    return file.getvalue()


def serve(census: Path, kind: str, options: list[str]) -> None:
    """Run `residiff serve` in this process, and write how many objects there are, again and again."""
    from residiff.cli import main as program
    from residiff.web.http.metrics import Metrics

    def count() -> None:
        while True:
            time.sleep(EVERY)
            gc.collect()
            census.write_text(str(len(gc.get_objects())))

    if kind == "leaking":
        kept: list[list[bytes]] = []
        counted = Metrics.count

        def leak(self: Metrics, method: str, path: str, status: int, seconds: float) -> None:
            kept.append([os.urandom(KEPT)])
            counted(self, method, path, status, seconds)

        Metrics.count = leak  # type: ignore[method-assign]
    threading.Thread(target=count, daemon=True).start()
    sys.argv = ["residiff", "serve", *options]
    program()


def main() -> None:
    """Measure both servers, and say whether the one stayed flat and the other was found out."""
    if "--serve" in sys.argv:
        serve(Path(sys.argv[2]), sys.argv[3], sys.argv[4:])
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="denoise")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    found = {}
    for kind in ("shipped", "leaking"):
        # What leaks is seen much earlier
        minutes = given.minutes if kind == "shipped" else min(given.minutes, 5)
        found[kind] = verdict(soak(given.model, minutes, leaks=kind == "leaking"))
        one = found[kind]
        print(
            f"{kind}: {'flat' if one.is_flat else 'grows'} over {minutes:g} minutes and {one.requests} requests: "
            f"{one.bytes_a_minute / 2**20:+.2f} MiB a minute, {one.objects_a_request:+.3f} objects a request, "
            f"{one.files:+d} files, {one.threads:+d} threads"
        )
    if given.json:
        facts = {"machine": describe(), "minutes": given.minutes} | {kind: asdict(one) for kind, one in found.items()}
        write_bytes(given.json, (json.dumps(facts, indent=1, default=str) + "\n").encode())
    if not found["shipped"].is_flat or found["leaking"].is_flat:
        sys.exit(1)


if __name__ == "__main__":
    main()
