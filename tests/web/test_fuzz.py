"""The server under whatever its own document allows, and under damaged pictures: refused, never 500, never hurt."""

import random

import odd_models
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, assume, given, settings, strategies
from starlette.testclient import TestClient
from test_images_faults import FORMATS, KINDS, WORST, damaged

from residiff.web import Jobs, Work
from residiff.web.http import create_app

ALLOWED = {200, 202, 400, 401, 404, 405, 408, 409, 413, 415, 422, 503, 504}
"""Of these, 503 and 504 say that there is no room or no time; 500 is not among them."""


@pytest.fixture(scope="module")
def jobs(settings):
    """A queue for short work alone: many cases ask for a thousand steps."""
    with Jobs(settings(max_work=0.05), odd_models.load) as queue:
        assert queue.wait_ready(120)
        yield queue


@pytest.fixture(scope="module")
def app(jobs):
    return create_app(jobs)


def check_document(app, jobs, photo, count):
    """`count` cases, in turn over all operations; some of those with a form get a real picture."""
    document = schemathesis.openapi.from_asgi("/openapi.json", app)
    operations = [each.ok() for each in document.get_all_operations()]
    assert len(operations) == 11
    statuses = {}
    done = jobs.submit(Work(photo(), model="tiny", samples=2))
    assert done.wait(30)
    with TestClient(app, raise_server_exceptions=False) as client:
        for operation in operations:
            # Those with a form have the most to be wrong
            share = count * 2 // 5 if operation.method == "post" else count // 5 // (len(operations) - 2)
            statuses[operation.label] = check_operation(client, operation, photo(), done.id, share)
    for job in list(jobs._known.values()):
        job.cancel()
        assert job.wait(10)
    return statuses


def check_operation(client, operation, image, job, count):
    documented = {*map(int, operation.definition.raw["responses"]), 400, 405}
    seen = []

    @settings(max_examples=count, deadline=None, database=None, derandomize=True, phases=[Phase.generate],
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(case=cases(operation), is_real=strategies.booleans())
    def ask(case, is_real):
        answer = send(client, case, image, job) if is_real else case.call(session=client, timeout=60)
        seen.append(answer.status_code)
        assert answer.status_code in documented & ALLOWED, (operation.label, case.as_curl_command(), answer.text)
        if answer.status_code >= 400:
            told = answer.headers["x-request-id"]
            assert answer.json()["error"]["request_id"] in (told, *told)

    ask()
    return seen


@strategies.composite
def cases(draw, operation):
    """What the document allows, and what it does not."""
    modes = (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE)
    mode = draw(strategies.sampled_from(modes))
    try:
        return draw(operation.as_strategy(generation_mode=mode))
    # It cannot always tell whether files are against the schema
    except ValueError:
        assume(False)


def send(client, case, image, job):
    """Send a case with a real picture in place of its own, to a real job in place of one that is not there."""
    if "id" in case.path_parameters:
        case.path_parameters["id"] = job
    if not isinstance(case.body, dict):
        return case.call(session=client, timeout=60)
    fields = {name: str(value) for name, value in case.body.items() if name not in ("image", "mask")}
    return client.request(case.method, case.formatted_path, files={"image": ("a.png", image)}, data=fields)


def test_300_cases_of_the_document(app, jobs, photo):
    statuses = check_document(app, jobs, photo, 300)
    assert sum(map(len, statuses.values())) >= 250
    assert {200, 404, 422} <= {status for each in statuses.values() for status in each}


@pytest.mark.slow
def test_5000_cases_of_the_document(app, jobs, photo):
    check_document(app, jobs, photo, 5000)


def check_corrupt(app, count):
    source = random.Random(0)
    with TestClient(app, raise_server_exceptions=False) as client:
        for number in range(count):
            data = damaged(source.choice(FORMATS), source.choice(KINDS), number)
            answer = client.post("/v1/restore", files={"image": ("a", data)}, data={"model": "tiny"})
            assert answer.status_code in (200, 413, 415, 422), answer.text


def test_damaged_pictures_are_answered_by_4xx(app, jobs):
    before = jobs.restarts
    check_corrupt(app, 60)
    assert jobs.restarts == before


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_1000_damaged_pictures_are_answered_by_4xx(app, jobs):
    check_corrupt(app, 1000)


# A pixel or two may be read, and nothing else is
HARMLESS = ("tiff loop", "a gigabyte of text", "100,000 frames")


def test_bombs_are_refused_before_anything_is_decoded(app, jobs):
    ended = sum(jobs.outcomes.values())
    with TestClient(app) as client:
        for kind, make in WORST.items():
            answer = client.post("/v1/restore", files={"image": ("a", make())}, data={"model": "tiny"})
            said = (413, 415, 422, 200) if kind in HARMLESS else (413, 415, 422)
            assert answer.status_code in said, (kind, answer.text)
    assert sum(jobs.outcomes.values()) - ended <= len(HARMLESS)
