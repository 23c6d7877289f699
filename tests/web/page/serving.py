"""The server with the page as a process of its own: `python serving.py MODEL...` prints the address when it is ready.

A model file called `slow` takes half a second for each step.
"""

import sys
import time
from pathlib import Path

from residiff import restore
from residiff.web import Jobs, Settings
from residiff.web.http import serve, serving
from residiff.web.page import mount


def load(source, device, *, backend):
    restorer = restore.load(source, device, backend=backend)
    if Path(source).stem == "slow":
        restorer.denoiser.backbone.register_forward_pre_hook(lambda *_: time.sleep(0.5))
    return restorer


def main(models):
    settings = Settings(models=tuple(models), port=0, device="cpu", threads=1, max_pixels=1_000_000)
    serving.Jobs = lambda chosen: Jobs(chosen, load)
    serve(settings, lambda place: print(place, flush=True), mount)


if __name__ == "__main__":
    main(sys.argv[1:])
