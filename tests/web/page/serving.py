"""A server of the page as a process of its own: `python serving.py MODEL...` prints the address when it is ready.

A model file called `slow` takes half a second for each step.
"""

import socket
import sys
import time
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from residiff import restore
from residiff.web import Jobs, Settings
from residiff.web.page import mount


def load(source, device, *, backend):
    restorer = restore.load(source, device, backend=backend)
    if Path(source).stem == "slow":
        restorer.denoiser.backbone.register_forward_pre_hook(lambda *_: time.sleep(0.5))
    return restorer


def main(models):
    settings = Settings(models=tuple(models), device="cpu", threads=1, max_pixels=1_000_000)
    with socket.create_server(("127.0.0.1", 0)) as listening, Jobs(settings, load) as jobs:
        app = FastAPI()
        mount(app, jobs, settings)
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", ws="none", timeout_graceful_shutdown=1))
        assert jobs.wait_ready(120)
        print(f"http://127.0.0.1:{listening.getsockname()[1]}", flush=True)
        server.run(sockets=[listening])


if __name__ == "__main__":
    main(sys.argv[1:])
