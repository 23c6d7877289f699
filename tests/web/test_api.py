"""The HTTP interface: what is answered to what, from good pictures to bad forms; no answer is ever 500."""

import io
import logging
import threading
import time
from urllib.parse import unquote

import odd_models
import pytest
from PIL import Image, PngImagePlugin
from starlette.testclient import TestClient
from test_jobs import by_hand, outcome

from residiff.data import images
from residiff.errors import ImageTooLargeError
from residiff.restore import provenance_of
from residiff.web import Failure, Jobs, Work
from residiff.web.http import FORMAT_VERSION, Fields, create_app


@pytest.fixture(scope="module")
def client(jobs):
    with TestClient(create_app(jobs)) as client:
        yield client


def post(client, image=None, path="/v1/restore", name="a.png", mask=None, headers=None, **fields):
    files = {} if image is None else {"image": (name, image)}
    if mask is not None:
        files["mask"] = ("mask.png", mask)
    return client.post(path, files=files, data={"model": "tiny", **fields}, headers=headers or {})


def refused(answer, status, code, said=""):
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert body["format_version"] == FORMAT_VERSION
    assert set(body["error"]) == {"code", "message", "request_id"} and body["error"]["code"] == code
    assert said in body["error"]["message"] and "Traceback" not in body["error"]["message"]
    assert body["error"]["request_id"] == answer.headers["x-request-id"]
    return answer


def test_a_picture_is_restored_to_the_bytes_of_the_command_line(client, models, photo, tmp_path):
    work = Work(photo(40, 56, "JPEG"), name="fotö.jpg", model="tiny", steps=3, seed=9)
    answer = post(client, work.image, name=work.name, steps="3", seed="9")
    assert answer.status_code == 200 and answer.content == by_hand(models, tmp_path, work, ".jpg")
    assert answer.headers["content-type"] == "image/jpeg"
    assert unquote(answer.headers["content-disposition"]).endswith("fotö.jpg")
    assert answer.headers["x-residiff-model"] == "tiny" and answer.headers["x-residiff-seed"] == "9"
    assert answer.headers["x-content-type-options"] == "nosniff" and answer.headers["cache-control"] == "no-store"


def test_masks_and_formats(client, photo):
    answer = post(client, photo(), mask=photo(bands=1), model="masked", format="webp", strength="0.5")
    assert answer.status_code == 200 and answer.headers["content-type"] == "image/webp"
    assert answer.headers["content-disposition"].endswith("a.webp")


XMP = (
    "<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'>"
    "<rdf:Description rdf:about='' canary='canary'/></rdf:RDF></x:xmpmeta>"
)


def test_metadata_stay_unless_they_are_stripped(client, draw):
    def tagged(kind):
        data, exif, chunks = io.BytesIO(), Image.Exif(), PngImagePlugin.PngInfo()
        exif[0x010F], exif[0x8825] = "canary maker", {1: "N", 2: (12.0, 34.0, 56.0)}
        chunks.add_itxt("XML:com.adobe.xmp", XMP)
        options = {"pnginfo": chunks} if kind == "PNG" else {}
        Image.fromarray(draw((24, 24, 3))).save(data, kind, exif=exif, **options)
        return data.getvalue()

    for kind in ("PNG", "JPEG", "WEBP"):
        kept = post(client, tagged(kind), name="secret name.png").content
        assert b"canary maker" in kept and provenance_of(images.read(kept)).source == "secret name.png"
        bare = post(client, tagged(kind), name="secret name.png", strip="true")
        assert bare.status_code == 200
        assert not any(word in bare.content for word in (b"canary", b"secret", b"residiff", b"Exif\0\0M"))


@pytest.mark.parametrize(
    ("fields", "status", "code", "said"),
    [
        ({"model": "tinny"}, 404, "unknown_model", "did you mean 'tiny'"),
        ({"model": "/etc/passwd"}, 404, "unknown_model", "no model"),
        ({"model": "https://example.com/m"}, 404, "unknown_model", "no model"),
        ({"model": "masked"}, 422, "bad_parameter", "needs a mask"),
        ({"steps": "0"}, 422, "bad_parameter", "steps"),
        ({"steps": "two"}, 422, "bad_parameter", "steps is 'two'"),
        ({"steps": "4001"}, 422, "bad_parameter", "steps is 4001"),
        ({"seed": str(2**63)}, 422, "bad_parameter", "seed"),
        ({"strength": "nan"}, 422, "bad_parameter", "strength"),
        ({"strength": "1.5"}, 422, "bad_parameter", "strength"),
        ({"quality": "0"}, 422, "bad_parameter", "quality"),
        ({"format": "heic"}, 422, "bad_parameter", "format is 'heic'"),
        ({"format": "jpg", "bit_depth": "16"}, 422, "bad_parameter", "8 bits"),
        ({"tile": "-3"}, 422, "bad_parameter", "tile"),
        ({"stepz": "3"}, 422, "bad_parameter", "did you mean `steps`"),
        ({"image_url": "http://169.254.169.254/"}, 422, "bad_parameter", "no field `image_url`"),
        ({"steps": "500", "samples": "100"}, 413, "too_much_work", "over the limit of 3"),
        ({"keep": "yes"}, 422, "bad_parameter", "mask"),
    ],
)
def test_fields_that_cannot_be(client, photo, fields, status, code, said):
    for path in ("/v1/restore", "/v1/jobs"):
        refused(post(client, photo(), path, **fields), status, code, said)


def test_empty_fields_count_as_left_out(client, photo):
    plain = post(client, photo())
    empty = post(client, photo(), steps="", format=" ", mask=b"")
    assert plain.status_code == empty.status_code == 200 and plain.content == empty.content


def test_pictures_that_cannot_be(client, photo):
    refused(post(client, b""), 422, "undecodable_image", "empty")
    refused(post(client, photo()[:-300]), 422, "undecodable_image", "cut short")
    refused(post(client, b"hello"), 415, "unsupported_image", "not a PNG")
    refused(post(client, photo(400, 300)), 413, "too_many_pixels", "over the limit")
    refused(post(client, photo(bands=4), format="jpg"), 415, "unsupported_image", "alpha")
    refused(post(client, photo(), mask=photo(8, 8), model="masked"), 422, "bad_parameter", "the mask is 8 x 8")
    refused(client.post("/v1/restore", files={"model": (None, "tiny")}), 422, "bad_parameter", "`image` is missing")
    refused(client.post("/v1/restore", files={"image": (None, "text")}), 422, "bad_parameter", "is text")
    refused(client.post("/v1/restore", files={"other": ("a.png", photo())}), 422, "bad_parameter", "is a file")
    twice = [("image", ("a.png", photo())), ("image", ("b.png", photo()))]
    refused(client.post("/v1/restore", files=twice), 422, "bad_parameter", "twice")


def test_only_pictures_of_known_kinds_reach_a_decoder(client):
    documents = {
        "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        "pdf": b"%PDF-1.7\n",
        "svg": b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>",
        "wmf": b"\xd7\xcd\xc6\x9a" + bytes(80),
        "msp": b"DanM" + bytes(60),
        "mvg": b"push graphic-context\nimage over 0,0 0,0 'https://example.com/a.png'\n",
        "html": b"<!doctype html><p>hello",
        "zip": b"PK\x03\x04" + bytes(60),
        "elf": b"\x7fELF" + bytes(60),
        "heic": b"\0\0\0\x18ftypheic\0\0\0\0heicmif1",
    }
    for name, data in documents.items():
        refused(post(client, data, name=f"{name}.png"), 415, "unsupported_image")


def test_bad_forms(client, photo, jobs):
    refused(client.post("/v1/restore", json={"image": "x"}), 415, "unsupported_media_type", "multipart")
    refused(client.post("/v1/restore", data={"model": "tiny"}), 415, "unsupported_media_type")
    kind = {"content-type": "multipart/form-data"}
    refused(client.post("/v1/restore", content=b"x", headers=kind), 400, "bad_form")
    kind = {"content-type": "multipart/form-data; boundary=b"}
    refused(client.post("/v1/restore", content=b"nonsense", headers=kind), 400, "bad_form")
    many = [(f"field{number}", (None, "x")) for number in range(1001)]
    refused(client.post("/v1/restore", files=many), 400, "bad_form", "Too many fields")
    refused(client.post("/v1/restore", files={"model": (None, "x" * 10**7)}), 400, "bad_form", "maximum size")
    three = [(name, (name, photo())) for name in ("image", "mask", "third")]
    refused(client.post("/v1/restore", files=three), 400, "bad_form", "Too many files")
    assert jobs.waiting == jobs.running == 0


def test_bodies_are_counted_while_they_arrive(settings, jobs, photo, monkeypatch):
    monkeypatch.setattr(jobs, "settings", settings(max_body=20_000))
    with TestClient(create_app(jobs)) as client:
        assert post(client, photo()).status_code == 200
        refused(post(client, bytes(20_001)), 413, "body_too_large", "20000 bytes")
        given = []

        def parts():
            yield b'--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
            for _ in range(100):
                given.append(1)
                yield bytes(1000)

        kind = {"content-type": "multipart/form-data; boundary=b"}
        refused(client.post("/v1/restore", content=parts(), headers=kind), 413, "body_too_large")


def test_jobs_are_followed_and_fetched(client, photo, jobs, models, tmp_path):
    work = Work(photo(64, 64), name="a.png", model="slow", steps=4)
    made = post(client, work.image, "/v1/jobs", model="slow", steps="4")
    assert made.status_code == 202
    place, told = made.headers["location"], made.json()
    assert place == f"/v1/jobs/{told['id']}" and told["state"] in ("queued", "running")
    assert told["progress"]["steps"] == 4 and told["format_version"] == FORMAT_VERSION
    unfinished = refused(client.get(f"{place}/result"), 409, "not_finished")
    assert unfinished.headers["retry-after"] == "1"
    seen = set()
    while (told := client.get(place).json())["state"] in ("queued", "running"):
        seen.add(told["progress"]["step"])
        if told["has_preview"]:
            preview = client.get(f"{place}/preview")
            assert preview.headers["content-type"] == "image/webp" and images.read(preview.content)
        time.sleep(0.02)
    assert told["state"] == "done" and told["progress"] == {"step": 4, "steps": 4} and len(seen) >= 3
    assert told["result"]["name"] == "a.png" and told["result"]["more"] == [] and told["error"] is None
    fetched = client.get(f"{place}/result")
    assert fetched.content == by_hand(models, tmp_path, work, ".png") and told["result"]["bytes"] == len(
        fetched.content
    )
    refused(client.get(f"{place}/more/doubt.png"), 404, "unknown_file")


def test_what_a_job_made_beside_its_result_is_there(client, photo, jobs):
    place = post(client, photo(), "/v1/jobs", samples="2").headers["location"]
    outcome(jobs.get(place.rpartition("/")[2]))
    assert client.get(place).json()["result"]["more"] == ["deviation.png", "doubt.png"]
    assert images.read(client.get(f"{place}/more/doubt.png").content).pixels.shape == (3, 32, 48)


def test_jobs_are_cancelled(client, photo):
    place = post(client, photo(), "/v1/jobs", model="slow", steps="12").headers["location"]
    assert client.delete(place).status_code == 200
    until = time.monotonic() + 3
    while (told := client.get(place).json())["state"] != "cancelled":
        assert time.monotonic() < until
    assert told["error"]["code"] == "cancelled"
    refused(client.get(f"{place}/result"), 409, "cancelled")
    refused(client.get(f"{place}/preview"), 404, "no_preview") if not told["has_preview"] else None
    assert client.delete(place).json()["state"] == "cancelled"


def test_a_deadline_is_answered_by_504(settings, jobs, photo, monkeypatch):
    monkeypatch.setattr(jobs, "settings", settings(deadline=0.4))
    with TestClient(create_app(jobs)) as client:
        late = refused(post(client, photo(), model="slow", steps="12"), 504, "deadline")
        assert int(late.headers["retry-after"]) >= 1


def test_a_full_queue_is_answered_by_503(client, jobs, photo):
    held = [jobs.submit(Work(photo(), model="slow", steps=12))]
    next(each for each in held[0].events() if each.progress.step)
    held += [jobs.submit(Work(photo(), model="tiny")) for _ in range(4)]
    busy = refused(post(client, photo()), 503, "queue_full", "wait already")
    assert int(busy.headers["retry-after"]) >= 1
    assert client.get("/healthz").status_code == client.get("/readyz").status_code == 200
    held[0].cancel()
    for job in held:
        outcome(job)


@pytest.mark.parametrize("path", ["/v1/jobs/nothing", "/v1/jobs/nothing/result", "/v1/jobs/nothing/preview"])
def test_jobs_that_are_not_there(client, path):
    refused(client.get(path), 404, "unknown_job")


@pytest.mark.parametrize(
    "model", ["../tiny", "tiny/../tiny", "./tiny", "tiny\0", "%2e%2e/tiny", "tiny.safetensors", "~"]
)
def test_models_are_names_and_no_paths(client, photo, model):
    refused(post(client, photo(), model=model), 404, "unknown_model")


@pytest.mark.parametrize(
    "name", ["../../etc/passwd.png", "..\\..\\a.png", "/etc/a.png", "a\r\nx: y.png", "a" * 999, "\u202egnp.a"]
)
def test_names_of_files_lead_nowhere(client, photo, name):
    answer = post(client, photo(), name=name)
    assert answer.status_code == 200
    told = unquote(answer.headers["content-disposition"])
    assert not any(mark in told.partition("''")[2] for mark in "/\\\r\n\u202e") and len(told) < 400


def test_other_methods_and_places(client):
    assert refused(client.get("/v1/restore"), 405, "method_not_allowed").headers["allow"] == "POST"
    refused(client.get("/v1/nothing"), 404, "not_found")
    refused(client.get("/docs"), 404, "not_found")


def test_request_ids_are_kept_where_they_are_words(client):
    assert client.get("/healthz", headers={"x-request-id": "trace-1"}).headers["x-request-id"] == "trace-1"
    made = client.get("/healthz", headers={"x-request-id": "a b<script>"}).headers["x-request-id"]
    assert len(made) == 16 and made != client.get("/healthz").headers["x-request-id"]


def test_nothing_is_said_to_other_origins(client, photo):
    answer = client.get("/v1/models", headers={"origin": "https://example.com"})
    assert not [name for name in answer.headers if name.startswith("access-control")]
    assert client.options("/v1/restore", headers={"origin": "https://example.com"}).status_code == 405


def test_the_token_is_asked_for(settings, jobs, photo, monkeypatch):
    monkeypatch.setattr(jobs, "settings", settings(token="secret"))
    with TestClient(create_app(jobs)) as client:
        for borne in ({}, {"authorization": "Bearer other"}, {"authorization": "Basic secret"}):
            asked = refused(post(client, photo(), headers=borne), 401, "unauthorised")
            assert asked.headers["www-authenticate"] == "Bearer"
            refused(client.get("/v1/models", headers=borne), 401, "unauthorised")
        assert post(client, photo(), headers={"authorization": "bearer secret"}).status_code == 200
        assert client.get("/healthz").status_code == client.get("/readyz").status_code == 200
    assert "secret" not in repr(jobs.settings)


def test_models_are_listed(client, models):
    told = client.get("/v1/models").json()
    assert told["format_version"] == FORMAT_VERSION and told["default"] == "tiny"
    assert [entry["name"] for entry in told["models"]] == list(models)
    tiny, masked = told["models"][0], told["models"][-1]
    assert (tiny["steps"], tiny["needs_mask"], masked["needs_mask"]) == (2, False, True)
    assert tiny["card"] == {"data": "none"} and len(tiny["sha256"]) == 64


def test_metrics_count_requests_and_jobs(client, photo):
    def figures():
        lines = [line for line in client.get("/metrics").text.splitlines() if not line.startswith("#")]
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}

    good = 'residiff_requests_total{method="POST",route="/v1/restore",status="200"}'
    before = figures()
    post(client, photo())
    client.get("/v1/jobs/made-up"), client.get("/made-up"), client.request("BREW", "/healthz")
    after = figures()
    assert after[good] == before.get(good, 0) + 1
    ended = 'residiff_jobs_ended_total{outcome="done"}'
    assert after[ended] == before.get(ended, 0) + 1
    assert after["residiff_jobs_waiting"] == after["residiff_jobs_running"] == 0 and after["residiff_ready"] == 1
    assert after['residiff_memory_bytes{process="worker"}'] > 5e7
    assert not [name for name in after if "made-up" in name or "BREW" in name]


def test_readiness_is_apart_from_health(settings, models, photo):

    with (
        Jobs(settings(models=(str(models["tiny"]),)), odd_models.load) as queue,
        TestClient(create_app(queue)) as client,
    ):
        assert client.get("/healthz").json() == {"format_version": FORMAT_VERSION, "status": "ok"}
        assert int(refused(client.get("/readyz"), 503, "starting").headers["retry-after"]) >= 1
        refused(post(client, photo()), 503, "starting")
        refused(client.get("/v1/models"), 503, "starting")
        assert queue.wait_ready(120)
        assert client.get("/readyz").json()["status"] == "ready"
        queue.drain(5)
        refused(client.get("/readyz"), 503, "draining")
        refused(post(client, photo()), 503, "draining")
        assert client.get("/healthz").status_code == 200


def test_bugs_are_answered_without_a_trace(client, photo, monkeypatch, jobs, caplog):
    monkeypatch.setattr(type(jobs), "submit", lambda *given: 1 / 0)
    with caplog.at_level(logging.ERROR):
        refused(post(client, photo()), 500, "internal", "bug")
    assert "ZeroDivisionError" in caplog.text


def test_failures_of_bugs_and_of_users_are_told_apart():
    assert Failure.of(ZeroDivisionError("secret")).status == 500
    assert "secret" not in Failure.of(ZeroDivisionError("secret")).message
    assert Failure.of(ImageTooLargeError("large")).status == 413


def test_warnings_come_along(client, photo):
    left = post(client, photo(90, 120, "JPEG")[:-300], name="a.jpg", allow_truncated="true")
    assert left.status_code == 200 and "cut short" in unquote(left.headers["x-residiff-warnings"])
    assert "x-residiff-warnings" not in post(client, photo()).headers


def test_the_document_describes_the_form_and_every_failure(client):
    document = client.get("/openapi.json").json()
    post = document["paths"]["/v1/restore"]["post"]
    form = post["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert set(form["properties"]) == {"image", "mask", *Fields.model_fields} and form["required"] == ["image"]
    assert all(each.get("description") for each in form["properties"].values())
    assert {"200", "400", "404", "413", "415", "422", "503", "504"} <= set(post["responses"])
    assert all(
        each.get("summary") and each.get("description") for path in document["paths"].values() for each in path.values()
    )


def test_many_threads_can_ask_at_once(client, photo):
    answers = []

    def ask(seed):
        answers.append((seed, post(client, photo(), seed=str(seed % 2)).content))

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({content for _, content in answers}) == 2 and len(answers) == 4
