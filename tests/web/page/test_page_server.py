"""What the page's server gives to strangers: no file of its own, nothing of Gradio's workshop, errors as JSON."""

import httpx
import pytest


@pytest.fixture(scope="module")
def config(server):
    return httpx.get(f"{server}/config").json()


@pytest.mark.parametrize("path", ["/etc/passwd", "http://127.0.0.1:9/x.png", "file:///etc/passwd", "../../etc/passwd"])
def test_no_file_of_the_servers_is_taken_for_an_upload(server, config, path):
    files = {each["id"] for each in config["components"] if each["type"] == "file"}
    listening = [each for each in config["dependencies"] if len(each["inputs"]) == 1 and each["inputs"][0] in files]
    assert listening
    for each in listening:
        given = {"path": path, "url": path, "meta": {"_type": "gradio.FileData"}}
        for data in ([given], [[given]]):
            body = {"data": data, "fn_index": each["id"], "session_hash": "stranger"}
            answer = httpx.post(f"{server}/gradio_api/run/predict", json=body, timeout=30)
            assert answer.status_code >= 400 and "root:" not in answer.text, answer.text


@pytest.mark.parametrize(
    "path",
    ["/gradio_api/file=/etc/passwd", "/gradio_api/proxy=http://127.0.0.1:9/", "/gradio_api/vibe-code", "/monitoring",
     "/gradio_api/runs", "/gradio_api/file=../../etc/passwd", "/static/../../../etc/passwd", "/gradio_api/deep_link",
     "/gradio_api/openapi.json", "/gradio_api/dev/reload", "/gradio_api/component_server", "/gradio_api/info/../runs"],
)  # fmt: skip
def test_gradios_workshop_is_shut(server, path):
    answer = httpx.get(server + path)
    assert answer.status_code in (403, 404) and "root:" not in answer.text


def test_the_page_is_sent_with_its_policy(server):
    headers = httpx.get(server).headers
    assert "default-src 'self'" in headers["content-security-policy"] and headers["x-frame-options"] == "DENY"


def test_the_interface_answers_beside_it(server):
    answer = httpx.get(f"{server}/v1/restore")
    assert answer.status_code == 405 and answer.json()["error"]["code"] == "method_not_allowed"
    answer = httpx.get(f"{server}/v1/nothing")
    assert answer.status_code == 404 and answer.json()["error"]["code"] == "not_found"
    assert httpx.get(f"{server}/healthz").status_code == 200
