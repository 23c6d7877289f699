"""What stands for a model where none is needed, and a program that has nothing to load, for tests that start it often.

    python stubs.py

loads residiff once, and then starts it as often as it is asked to, each time in a process of its own.
"""

import hashlib
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace

import torch


@dataclass
class Stub:
    """Inverts pictures; takes `seconds` for each, and `each` for a pixel; notes how many came at once."""

    seconds: float = 0.0
    each: float = 0.0
    name: str = "stub"
    seen: list = field(default_factory=list)
    device = torch.device("cpu")
    backend, budget = "eager", None
    recipe = SimpleNamespace(task="restore")

    @property
    def descriptor(self):
        sha256 = hashlib.sha256(self.name.encode()).hexdigest()
        return SimpleNamespace(name=self.name, sha256=sha256, steps=2, size_multiple=8)

    def steps_for(self, pixels):
        return 2

    def tiling(self, height, width, tile="auto"):
        return None

    def check(self, *, steps, seed, masked, keep=False):
        pass

    def restore(self, picture, mask=None, *, steps=None, seed=0, strength=1.0, tile="auto", keep=False):
        return self.restore_together([picture], steps=steps, seed=seed, strength=strength)[0]

    def restore_together(self, pictures, masks=None, *, steps=None, seed=0, strength=1.0, keep=False):
        self.seen.append(len(pictures))
        time.sleep(sum(self.seconds + self.each * picture.pixels[0].numel() for picture in pictures))
        return [
            replace(picture, pixels=torch.lerp(picture.pixels, 1 - picture.pixels, strength)) for picture in pictures
        ]


def load(source, device="auto", settings=(), *, backend="eager", calibration=(), budget=None):
    """A stub for "stub" and "stub:0.1", which takes so many seconds."""
    name, _, seconds = str(source).partition(":")
    return Stub(float(seconds or 0), name=name)


def serve():
    """For each line of stdin, a list of arguments and a file for stderr, start the program and print its number."""
    import gc

    import typer.rich_utils

    from residiff import recipe, restore
    from residiff.cli.app import app, main
    from residiff.data.images.codecs import libvips

    restore.load = load
    typer.main.get_command(app), libvips(), recipe.names()
    gc.freeze()
    for line in sys.stdin:
        arguments, said = json.loads(line)
        if arguments[0] == "wait":
            print(os.waitstatus_to_exitcode(os.waitpid(arguments[1], 0)[1]), flush=True)
        elif (child := os.fork()) == 0:
            os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            sys.argv = ["residiff", *arguments]
            try:
                main()
            except SystemExit as end:
                # Taking torch down takes longer than all the rest
                os._exit(end.code or 0)
        else:
            print(child, flush=True)


class Server:
    """`start("restore", ...)` gives a run: `kill(number)`, `wait()` for its exit code, `err` for what it said."""

    def __init__(self, folder):
        self.folder, self.count = folder, 0
        environment = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "240"}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen([sys.executable, __file__], env=environment, **pipes)

    def ask(self, arguments, said=""):
        self.process.stdin.write(json.dumps([arguments, str(said)]) + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def start(self, *arguments):
        self.count += 1
        said = self.folder / f"{self.count}.txt"
        return Started(self, self.ask([str(each) for each in arguments], said), said)

    def run(self, *arguments):
        """As `start`, until it ends."""
        started = self.start(*arguments)
        started.wait()
        return started

    def close(self):
        self.process.stdin.close()
        self.process.wait(20)
        self.process.stdout.close()


@dataclass
class Started:
    server: Server
    number: int
    said: Path
    code: int | None = None

    def kill(self, signal):
        os.kill(self.number, signal)

    def wait(self):
        if self.code is None:
            self.code = self.server.ask(["wait", self.number])
        return self.code

    @property
    def err(self):
        return self.said.read_text()


if __name__ == "__main__":
    serve()
