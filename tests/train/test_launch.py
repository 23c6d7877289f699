"""What a launcher says is checked, and waiting for processes that do not come ends, by a signal or in time."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
import torch

from residiff.errors import ConfigError, ResourceError
from residiff.train import Processes, launch, started
from residiff.train.launch import Launch, launched, meet, others_lost, torchrun

WHOLE = {"WORLD_SIZE": "3", "RANK": "2", "LOCAL_RANK": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}
ELASTIC = ("TORCHELASTIC_RUN_ID", "TORCHELASTIC_USE_AGENT_STORE")


@pytest.fixture
def says(monkeypatch):
    """Sets what the launcher says: `says(RANK="1")`, None to leave one out."""

    def say(**values):
        for name in (*WHOLE, *ELASTIC):
            monkeypatch.delenv(name, raising=False)
        for name, value in values.items():
            if value is not None:
                monkeypatch.setenv(name, value)

    return say


@pytest.fixture
def port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def test_what_a_launcher_says_is_read(says):
    says(**WHOLE)
    assert launched() == Launch(rank=2, size=3, host="127.0.0.1", port=29500)


@pytest.mark.parametrize("values", [{}, {"WORLD_SIZE": ""}, {"WORLD_SIZE": "1"}, {"WORLD_SIZE": "1", "RANK": "x"}])
def test_alone_there_is_nothing_to_say(says, values):
    says(**values)
    assert launched() is None


BROKEN = [
    ("WORLD_SIZE", "x", "WORLD_SIZE is 'x'; allowed are 1 to"),
    ("WORLD_SIZE", "0", "WORLD_SIZE is '0'; allowed are 1 to"),
    ("WORLD_SIZE", "-2", "WORLD_SIZE is '-2'; allowed are 1 to"),
    ("RANK", None, "WORLD_SIZE is 3, but RANK is not set"),
    ("RANK", "3", "RANK is '3'; allowed are 0 to 2"),
    ("RANK", "²", "RANK is '²'; allowed are 0 to 2"),
    ("LOCAL_RANK", None, "WORLD_SIZE is 3, but LOCAL_RANK is not set"),
    ("LOCAL_RANK", "one", "LOCAL_RANK is 'one'; allowed are 0 to 2"),
    ("MASTER_ADDR", None, "WORLD_SIZE is 3, but MASTER_ADDR is not set"),
    ("MASTER_PORT", None, "WORLD_SIZE is 3, but MASTER_PORT is not set"),
    ("MASTER_PORT", "70000", "MASTER_PORT is '70000'; allowed are 1 to 65535"),
]


@pytest.mark.parametrize(("name", "value", "message"), BROKEN)
def test_nonsense_is_refused(says, name, value, message):
    says(**WHOLE | {name: value})
    with pytest.raises(ConfigError, match=f"{message}.*let torchrun start the processes.*or unset WORLD_SIZE"):
        started()


@pytest.mark.parametrize("values", [{"WORLD_SIZE": "2"}, {"WORLD_SIZE": "x"}])
def test_nonsense_is_2_for_the_program(cli, says, tmp_path, values):
    says(**values)
    done = cli("train", "tiny", "-o", tmp_path / "run")
    assert done.code == 2 and "error: WORLD_SIZE is" in done.err and "bug" not in done.err


def test_more_processes_than_asked_for_are_refused_without_waiting(says):
    says(**WHOLE)
    with pytest.raises(ConfigError, match="2 processes were asked for, but 3 started"):
        started("cpu", 2)


# Meeting


def test_those_who_wait_give_up_and_say_how_many_came(port):
    with pytest.raises(ResourceError, match=f"of 2 processes 1 came to 127.0.0.1:{port} .*: no more within 0.5 s"):
        meet(Launch(0, 2, "127.0.0.1", port), 0.5)


def test_where_the_first_does_not_come_the_others_give_up(port):
    with pytest.raises(ResourceError, match=f"process 0 did not come to 127.0.0.1:{port} .*refused"):
        meet(Launch(1, 2, "127.0.0.1", port), 0.5)


def test_a_port_in_use_is_said(port):
    with socket.socket() as other:
        other.bind(("0.0.0.0", port))
        other.listen()
        with pytest.raises(ResourceError, match="of 2 processes 0 came to .*address already in use"):
            meet(Launch(0, 2, "127.0.0.1", port), 5)


def test_all_who_come_meet(port, monkeypatch):
    monkeypatch.setattr(launch, "PAUSE", 0.01)
    stores = {}

    def come(rank, late):
        time.sleep(late)
        stores[rank] = meet(Launch(rank, 3, "127.0.0.1", port), 30)

    threads = [threading.Thread(target=come, args=pair) for pair in ((2, 0), (0, 0.1), (1, 0.3))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stores[0].set("word", "given")
    assert stores.keys() == {0, 1, 2} and all(store.get("word") == b"given" for store in stores.values())
    assert stores[0].timeout == launch.TIMEOUT


def test_a_signal_ends_the_waiting_even_in_torch(tmp_path):
    with socket.socket() as silent, contextlib.ExitStack() as kept:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        said = WHOLE | {"WORLD_SIZE": "2", "RANK": "1", "MASTER_PORT": str(silent.getsockname()[1])}
        command = [sys.executable, "-m", "residiff", "train", "tiny", "-o", str(tmp_path / "run")]
        process = subprocess.Popen(command, env=os.environ | said, stderr=subprocess.DEVNULL)
        try:
            silent.settimeout(60)
            # A look, and torch, which waits for an answer
            for _ in range(2):
                kept.enter_context(silent.accept()[0])
            time.sleep(0.1)
            process.terminate()
            assert process.wait(timeout=10) in (-signal.SIGTERM, 128 + signal.SIGTERM)
        finally:
            process.kill()
            process.wait()
    assert not (tmp_path / "run").exists()


# torchrun


def test_only_torchrun_is_known_to_outlive_what_it_starts(says):
    says()
    assert torchrun() is None and started().launcher is None
    says(TORCHELASTIC_RUN_ID="none")
    assert torchrun() == os.getppid() == started().launcher


def test_a_process_whose_torchrun_has_gone_stops():
    cpu = torch.device("cpu")
    for launcher, gone in ((None, False), (os.getppid(), False), (os.getpid(), True)):
        processes = Processes(cpu, launcher=launcher)
        assert processes.stopped_by(lambda: False)() is gone
        assert processes.stopped_by(lambda: True)()


def test_what_torch_says_of_a_lost_process_is_an_error_of_ours():
    for message, kind in (
        ("[third_party/gloo/gloo/transport/tcp/pair.cc:537] Read error", ResourceError),
        ("else", RuntimeError),
    ):
        with pytest.raises(RuntimeError if kind is RuntimeError else ResourceError) as caught, others_lost():
            raise RuntimeError(message)
        assert type(caught.value) is kind
    with pytest.raises(ResourceError, match="continue with --resume"), others_lost():
        raise torch.distributed.DistBackendError("NCCL")
