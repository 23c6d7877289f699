"""The program in processes of its own, one or several under torchrun, and what becomes of them."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


def command(recipe, folder, *more, processes=1):
    """What trains by a recipe in a folder, beside which it is written."""
    path = folder.parent / f"{folder.name}.toml"
    path.write_text(recipe.toml(), "utf-8")
    launcher = ["torch.distributed.run", "--standalone", "--nproc_per_node", str(processes), "-m"]
    launched = launcher if processes > 1 else []
    given = ["-o", str(folder), "--no-tensorboard", "--processes", str(processes), *more]
    return [sys.executable, "-m", *launched, "residiff", "train", str(path), *given]


@contextlib.contextmanager
def running(command):
    """A process that is killed at the end, if it has not ended, and what it started with it."""
    # A suite that a shell runs in the background is told to ignore SIGINT, and so would the program be
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=ENVIRONMENT
        )
    finally:
        signal.signal(signal.SIGINT, before)
    ranks = []
    try:
        yield process, ranks
    finally:
        for number in (*ranks, process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
        process.communicate()


def ranks_of(launcher):
    """Process numbers of the launcher's children."""
    children = Path(f"/proc/{launcher}/task/{launcher}/children").read_text("ascii").split()
    return [int(child) for child in children]


def gone(number):
    try:
        return Path(f"/proc/{number}/stat").read_text("ascii").split()[2] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def steps_done(folder):
    """How many updates the log tells of; training goes on meanwhile."""
    try:
        return max(0, (folder / "metrics.csv").read_bytes().count(b"\n") - 1)
    except FileNotFoundError:
        return 0


def seconds_to_end(process):
    """Until a process has ended, less those in which it could run, but other programs had the processor."""
    began, waited = time.monotonic(), _waited(process.pid)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    return time.monotonic() - began - (_waited(process.pid) - waited)


def _waited(number):
    return int(Path(f"/proc/{number}/schedstat").read_text("ascii").split()[1]) / 1e9
