"""The server as a program: many clients, bad ones, slow ones, signals, and a port that is taken."""

import contextlib
import hashlib
import io
import random
import re
import signal
import socket
import sys
import threading
import time

import httpx
import psutil
import pytest
import uvicorn
from clients import Place, load
from PIL import Image

from residiff.web.http import create_app, protocol

BODY_SECONDS, MAX_BODY = 4, 300_000
MIB = 2**20


def start(program, *arguments):
    process = program("serve", "--port", "0", "--device", "cpu", "--threads", "1", "--no-page", *arguments)
    line = process.stderr.readline().decode()
    found = re.search(r"listening at http://127\.0\.0\.1:(\d+)", line)
    assert found, line + process.stderr.read().decode()
    return process, Place(int(found[1]))


def end(process, seconds=30):
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=seconds)
    return process.returncode, said.decode()


@pytest.fixture(scope="module")
def served(program, models):
    """A program that serves; its place."""
    limits = ["--queue", 8, "--deadline", 20, "--body-seconds", BODY_SECONDS, "--max-body", MAX_BODY]
    process, place = start(program, "--model", models["tiny"], "--max-pixels", 200_000, *limits)
    place.wait_ready()
    yield place
    assert end(process)[0] == 0


@pytest.fixture(scope="module")
def live(jobs):
    """A server in this process, over the queue with the odd models; its place."""
    config = uvicorn.Config(create_app(jobs), port=0, http=protocol(5, 60), ws="none", lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield Place(server.servers[0].sockets[0].getsockname()[1])
    server.should_exit = True
    thread.join()


def corpus(photo):
    """Forms, good and bad, by what should come back at best."""
    sizes = [(32, 48), (64, 64), (17, 301), (200, 150), (256, 256)]
    good = {f"200 {number}": photo(*size, seed=number) for number, size in enumerate(sizes)}
    good["200 jpeg"] = photo(90, 120, "JPEG")
    bad = {
        "413 body": bytes(MAX_BODY + 1),
        "413 pixels": photo(500, 500, "JPEG"),
        "415 text": b"hello",
        "422 cut": photo()[:-200],
        "422 empty": b"",
    }
    forms = {name: ({"image": ("a", data)}, {"seed": "3"}) for name, data in {**good, **bad}.items()}
    forms["422 steps"] = ({"image": ("a", photo())}, {"steps": "none"})
    forms["413 work"] = ({"image": ("a", photo())}, {"steps": "1000", "samples": "1000"})
    return forms


def check_load(place, photo, count, seconds):
    forms = corpus(photo)
    serial = {}
    for name, (files, fields) in forms.items():
        answer = place.post(files["image"][1], name="a", **fields)
        assert answer.status_code == int(name[:3]), (name, answer.text)
        serial[name] = hashlib.sha256(answer.content).digest() if answer.status_code == 200 else None
    before = place.memory()
    seen = load(place, forms, count, seconds)
    for name, status, headers, body in seen.answers:
        assert status in (int(name[:3]), 503, 504), (name, status, body[:200])
        if status == 200:
            assert hashlib.sha256(body).digest() == serial[name]
        else:
            assert headers["content-type"] == "application/json" and headers["x-request-id"]
        assert status not in (503, 504) or int(headers["retry-after"]) >= 1
    assert {200, 413, 415, 422, 503} <= seen.statuses() <= {200, 413, 415, 422, 503, 504}
    assert len(seen.health) > seconds and seen.slowest_health() < 1.0
    time.sleep(1)
    after, told = place.memory(), place.figures()
    print(before, after, len(seen.answers), seen.slowest_health(), max(seen.health))
    assert max(now - then for now, then in zip(after, before, strict=True)) < 50 * MIB, (before, after)
    assert told["residiff_jobs_waiting"] == told["residiff_jobs_running"] == told["residiff_worker_restarts_total"] == 0
    return seen


def test_64_clients_get_good_answers_or_are_told_to_come_again(served, photo):
    check_load(served, photo, 64, 15)


@pytest.mark.slow
def test_64_clients_for_a_minute(served, photo):
    check_load(served, photo, 64, 60)


def test_bodies_that_are_too_long(served):
    head = b"POST /v1/restore HTTP/1.1\r\nHost: a\r\nContent-Type: multipart/form-data; boundary=b\r\n"
    part = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
    told = served.raw(head + b"Content-Length: 999999999999\r\n\r\n" + part)
    assert told.startswith(b"HTTP/1.1 413") and b"body_too_large" in told
    chunk = b"10000\r\n" + bytes(0x10000) + b"\r\n"
    told = served.raw(head + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(part) + part + b"\r\n" + 8 * chunk)
    assert told.startswith(b"HTTP/1.1 413") and b"body_too_large" in told
    expecting = head + b"Expect: 100-continue\r\nContent-Length: 400000\r\n\r\n"
    assert served.raw(expecting).startswith(b"HTTP/1.1 413")
    big = b"GET /healthz HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 2_000_000 + b"\r\n\r\n"
    told = served.raw(big)
    assert not told or told.startswith(b"HTTP/1.1 4")


def test_work_over_the_limits_is_refused_before_a_pixel_is_decoded(served, photo):
    file = io.BytesIO()
    # 100 megapixels of white are a small file
    Image.new("L", (10_000, 10_000), 255).save(file, "PNG")
    assert len(file.getvalue()) < MAX_BODY
    over = [(file.getvalue(), {}), (photo(500, 500, "JPEG"), {}), (photo(), {"steps": "1000", "samples": "1000"})]
    done = 'residiff_jobs_ended_total{outcome="done"}'
    assert served.post(over[0][0]).status_code == 413 and served.post(photo()).status_code == 200
    before, count = served.memory(), served.figures()[done]
    for turn in range(30):
        image, fields = over[turn % len(over)]
        answer = served.post(image, **fields)
        assert answer.status_code == 413 and answer.json()["error"]["code"] in ("too_many_pixels", "too_much_work")
    assert all(now - then < 5 * MIB for now, then in zip(served.memory(), before, strict=True))
    assert served.figures()[done] == count


def test_slow_clients_are_cut_off_and_the_others_do_not_notice(served, photo):
    head = b"POST /v1/restore HTTP/1.1\r\nHost: a\r\nContent-Length: 999\r\n"
    head += b"Content-Type: multipart/form-data; boundary=b\r\n"
    before, began = served.memory(), time.monotonic()
    slow = [socket.create_connection(("127.0.0.1", served.port)) for _ in range(100)]
    for number, connection in enumerate(slow):
        # Half of them never come to the end of their headers
        connection.sendall(head + (b"\r\n" if number % 2 else b""))
    closed = set()
    while len(closed) < len(slow) and time.monotonic() - began < 25:
        for number in set(range(len(slow))) - closed:
            slow[number].setblocking(False)
            try:
                slow[number].send(b"-" if number % 2 else b"x")
                if not slow[number].recv(65536):
                    closed.add(number)
            except BlockingIOError:
                pass
            except ConnectionError:
                closed.add(number)
        assert served.post(photo()).status_code == 200
        time.sleep(0.5)
    took = time.monotonic() - began
    for connection in slow:
        connection.close()
    assert len(closed) == len(slow) and took < BODY_SECONDS + 6
    assert served.memory()[0] - before[0] < 20 * MIB


def malformed(source):
    """A request that is none, or half of one."""
    method = source.choice([b"GET", b"POST", b"PUT", b"\0", b"GET" * 99])
    path = source.choice([b"/v1/restore", b"/v1/jobs/%ff%00", b"*", b"//", b"/" + source.randbytes(20), b"http://[::1"])
    headers = source.choice(
        [b"Content-Length: -1", b"Content-Length: 1\r\nContent-Length: 2", b"Transfer-Encoding: gzip", b": x",
         b"a b: c", b"Content-Type: multipart/form-data",
         b"Content-Type: multipart/form-data; boundary=" + source.randbytes(9),
         b"Content-Length: 5", b"Host: a\r\nHost: b", b"Authorization: Bearer \xff", b"X-Request-ID: \r\n\tx"]
    )  # fmt: skip
    body = source.choice([b"", b"--b--", source.randbytes(50), b"5\r\nhello\r\n0\r\n\r\n"])
    whole = method + b" " + path + b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n" + headers + b"\r\n\r\n" + body
    return source.choice([whole, whole, source.randbytes(80), whole[: source.randrange(len(whole))]])


def check_malformed(place, count):
    source = random.Random(0)
    for _ in range(count):
        with socket.create_connection(("127.0.0.1", place.port), timeout=10) as connection:
            connection.sendall(malformed(source))
            connection.shutdown(socket.SHUT_WR)
            told = b""
            while part := connection.recv(65536):
                told += part
        assert not told or re.match(rb"HTTP/1\.1 (200|4\d\d) ", told), told
    assert place.get("/readyz").status_code == 200


def test_malformed_requests(served):
    check_malformed(served, 200)


@pytest.mark.slow
def test_2000_malformed_requests(served):
    check_malformed(served, 2000)


STEPS_UP = ("..", "%2e%2e", "%252e%252e", "..%2f..", "..%5c..", "%c0%ae%c0%ae", "....//", "..;", "..%00")
WHERE = (
    "/v1/jobs/{}/{}/etc/passwd",
    "/{}/{}/{}/etc/passwd",
    "/v1/jobs/{}%2f{}%2fetc%2fpasswd/result",
    "/static/{}/etc/passwd",
)
WHOLE = ("//etc/passwd", "/v1/jobs/x%00", "file:///etc/passwd", "/v1/jobs/%2fetc%2fpasswd", "/v1/jobs/~/.ssh/id_rsa")
PATHS = [*(place.format(up, up, up) for place in WHERE for up in STEPS_UP), *WHOLE]


def test_paths_that_look_for_files(served):
    assert len(PATHS) >= 40
    for path in PATHS:
        told = served.raw(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        assert re.match(rb"HTTP/1\.1 40[04] ", told) and b"root:" not in told, (path, told)


def disconnect(place, photo, model):
    head = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
    fields = b"".join(
        b'\r\n--b\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s' % field
        for field in ((b"model", model), (b"steps", b"12"))
    )
    body = head + photo() + fields + b"\r\n--b--\r\n"
    kind = b"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: %d\r\n\r\n" % len(body)
    connection = socket.create_connection(("127.0.0.1", place.port))
    connection.sendall(b"POST /v1/restore HTTP/1.1\r\nHost: a\r\n" + kind + body)
    return connection


@pytest.mark.parametrize("turns", [3, pytest.param(13, marks=pytest.mark.slow)])
def test_whoever_goes_away_frees_the_place(live, jobs, photo, turns):
    before = jobs.outcomes["cancelled"]
    for turn in range(1, turns + 1):
        gone = [disconnect(live, photo, b"slow") for _ in range(4)]
        while jobs.running + jobs.waiting < 4:
            time.sleep(0.01)
        for connection in gone:
            connection.close()
        until = time.monotonic() + 3
        while jobs.running + jobs.waiting:
            assert time.monotonic() < until
            time.sleep(0.01)
        assert jobs.outcomes["cancelled"] == before + 4 * turn
    assert live.post(photo(), model="tiny").status_code == 200


def test_answers_are_json_when_the_worker_dies(live, jobs, photo):
    answer = live.post(photo(), model="deadly")
    assert answer.status_code == 503 and int(answer.headers["retry-after"]) >= 1
    assert answer.json()["error"]["code"] == "worker_died"
    live.wait_ready()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_20_workers_that_are_killed_with_requests_in_flight(live, jobs, photo):
    image = photo()
    for _ in range(20):
        live.wait_ready()
        answers = []
        asked = [threading.Thread(target=lambda: answers.append(live.post(image, model="slow"))) for _ in range(10)]  # noqa: B023
        for thread in asked:
            thread.start()
        while not jobs.running:
            time.sleep(0.01)
        began = time.monotonic()
        psutil.Process(jobs.worker_number).kill()
        while jobs.ready:
            time.sleep(0.005)
        assert live.get("/healthz").status_code == 200 and live.get("/readyz").status_code == 503
        live.wait_ready()
        assert time.monotonic() - began <= 10
        for thread in asked:
            thread.join()
        assert len(answers) == 10 and {answer.status_code for answer in answers} <= {200, 503}
        assert all(answer.headers["retry-after"] for answer in answers if answer.status_code == 503)


def check_draining(program, models, photo):
    process, place = start(program, "--model", models["tiny"])
    place.wait_ready()
    image, answers = photo(256, 256, "JPEG"), []
    asked = [threading.Thread(target=lambda: answers.append(place.post(image, steps="6"))) for _ in range(4)]
    for thread in asked:
        thread.start()
    while place.figures()["residiff_jobs_waiting"] < 3:
        time.sleep(0.02)
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    time.sleep(0.1)
    late = place.post(photo())
    assert late.status_code == 503 and late.json()["error"]["code"] == "draining" and late.headers["retry-after"]
    assert place.get("/readyz").status_code == 503 and place.get("/healthz").status_code == 200
    for thread in asked:
        thread.join()
    assert [answer.status_code for answer in answers] == [200] * 4
    assert len({answer.content for answer in answers}) == 1
    _, said = process.communicate(timeout=20)
    assert process.returncode == 0 and time.monotonic() - began < 20
    assert b"ending: no more jobs are taken; 4 are left" in said and b"Traceback" not in said
    with pytest.raises(httpx.ConnectError):
        place.get("/healthz")


def test_a_signal_ends_the_server_after_its_jobs(program, models, photo):
    check_draining(program, models, photo)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_20_servers_end_after_their_jobs(program, models, photo):
    for _ in range(20):
        check_draining(program, models, photo)


def test_a_second_signal_ends_it_at_once(program, models, photo):
    process, place = start(program, "--model", models["tiny"])
    place.wait_ready()
    image = photo(1200, 1200, "JPEG")

    def ask():
        with contextlib.suppress(httpx.TransportError):
            place.post(image, steps="50")

    thread = threading.Thread(target=ask)
    thread.start()
    while not place.figures()["residiff_jobs_running"]:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 130
    thread.join()
    process.communicate()


def test_the_worker_does_not_outlive_the_server(program, models):
    process, place = start(program, "--model", models["tiny"])
    place.wait_ready()
    (worker,) = [each for each in psutil.Process(process.pid).children() if "spawn_main" in " ".join(each.cmdline())]
    assert worker.nice() >= 10
    process.kill()
    process.communicate()
    _, alive = psutil.wait_procs([worker], timeout=10)
    assert not alive


@pytest.mark.parametrize(("host", "warned"), [("127.0.0.1", False), ("0.0.0.0", True)])
def test_open_doors_are_warned_of(cli, monkeypatch, host, warned):
    monkeypatch.setattr("residiff.web.http.serve", lambda settings, started, mount=None: started("http://here") or 0)
    run = cli("serve", "--host", host)
    assert run.code == 0 and "listening at http://here" in run.err and ("RESIDIFF_TOKEN" in run.err) == warned
    monkeypatch.setenv("RESIDIFF_TOKEN", "secret")
    run = cli("serve", "--host", host)
    assert "warning" not in run.err and "secret" not in run.err


def test_a_port_that_is_taken_is_said(cli):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        run = cli("serve", "--port", port)
    assert run.code == 5 and f"port {port}: another program is there" in run.err and "--port" in run.err


def test_addresses_of_other_machines_are_said(cli):
    run = cli("serve", "--host", "203.0.113.7", "--port", 0)
    assert run.code == 5 and "--host" in run.err
    run = cli("serve", "--host", "no such host", "--port", 0)
    assert run.code == 5 and "--host" in run.err


@pytest.mark.parametrize("options", [("--queue", 0), ("--port", 70000), ("--token", "two words"), ("--deadline", -1)])
def test_settings_that_cannot_be(cli, options):
    run = cli("serve", *options)
    assert run.code == 2 and options[0].removeprefix("--") in run.err


def test_a_missing_extra_is_named(cli, monkeypatch):
    for name in [name for name in sys.modules if name.startswith("residiff.web.") or name == "fastapi"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "fastapi", None)
    run = cli("serve", "--port", 0)
    assert run.code == 5 and "pip install 'residiff[web]'" in run.err and "fastapi" in run.err


def test_a_model_that_is_not_there_ends_it(program):
    process = program("serve", "--port", "0", "--no-page", "--model", "denois")
    _, said = process.communicate(timeout=60)
    assert process.returncode == 4 and b"did you mean 'denoise'" in said and b"Traceback" not in said
