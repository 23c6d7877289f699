"""What tests of the page in a browser share: its server, the browser, and pages that may ask for nothing outside."""

import io
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
# What the server, started from this file's folder, cannot do without
KEPT = {"OMP_NUM_THREADS": "1", "GRADIO_ANALYTICS_ENABLED": "True"}


@pytest.fixture(scope="session")
def server(tmp_path_factory, tiny_file, masked_file):
    """The address of a server with the models `tiny`, `masked` and `slow`."""
    folder = tmp_path_factory.mktemp("served")
    for name, path in (("tiny", tiny_file), ("masked", masked_file), ("slow", tiny_file)):
        shutil.copy(path, folder / f"{name}.safetensors")
    models = [str(folder / f"{name}.safetensors") for name in ("tiny", "masked", "slow")]
    scratch = tmp_path_factory.mktemp("scratch")
    command = [sys.executable, str(Path(__file__).with_name("serving.py")), *models]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=os.environ | KEPT | {"TMPDIR": str(scratch)}
    ) as run:
        try:
            yield run.stdout.readline().strip()
        finally:
            # Twice: not to wait for streams that pages have left open
            run.terminate()
            time.sleep(0.3)
            run.terminate()
            run.wait(20)
    # Gradio's own leavings would lie here too
    assert not [path for path in scratch.iterdir() if path.name.startswith(("residiff-page-", "gradio"))]


@pytest.fixture(scope="session")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install playwright")
    if BROWSER is None:
        pytest.skip("no browser: apt-get install chromium")
    with playwright.sync_playwright() as started:
        launched = started.chromium.launch(executable_path=BROWSER, args=ARGUMENTS)
        yield launched
        launched.close()


@pytest.fixture
def opened(browser, server):
    """`opened(query="", is_left=False, **options)`: the page in a context of its own, which must ask nothing elsewhere.

    Nor may a dialog appear, or anything be said on its console, but where it `is_left` while something runs.
    """
    contexts, said = [], []

    def open_page(query="", is_left=False, **options):
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}} | options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on(
            "console",
            lambda message: said.append(f"{message.type}: {message.text}") if is_news(message, is_left) else None,
        )
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: (said.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda asked: said.append(asked.url) if is_foreign(asked.url) else None)
        page.goto(f"{server}/{query}")
        page.wait_for_function("document.querySelector('#model input')?.value")
        return page

    def is_news(message, is_left):
        # Gradio's own, at each start, and where a page is left while something runs
        return message.text != "Method not implemented." and not is_left

    def is_foreign(url):
        return not url.startswith((f"{server}/", "data:", "blob:"))

    yield open_page
    for context in contexts:
        context.close()
    assert said == []


def png(size=(40, 56), seed=0, **options):
    """The bytes of a PNG of random colours."""
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", **options)
    return file.getvalue()


@pytest.fixture(scope="session", name="png")
def _png():
    """`png(size=(40, 56), seed=0)`: the bytes of a PNG."""
    return png


def give(page, name, data, where="#file"):
    """Put a file into one of the page's places for files."""
    kind = "application/zip" if name.endswith(".zip") else "image/png"
    page.locator(f"{where} input[type=file]").set_input_files([{"name": name, "mimeType": kind, "buffer": data}])


@pytest.fixture(scope="session", name="give")
def _give():
    """`give(page, name, data, where="#file")`: upload a file."""
    return give
