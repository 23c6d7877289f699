"""A server stays as it is under load, and one that leaks is found out by the same measure."""

import importlib
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
MINUTES = 4


@pytest.fixture(scope="module")
def soaking():
    sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
    yield importlib.import_module("soak")
    sys.path.pop(0)


def test_a_server_stays_flat(soaking, tiny_file):
    found = soaking.verdict(soaking.soak(tiny_file, MINUTES))
    assert found.is_flat and found.requests > 500, found


def test_one_that_leaks_is_found_out(soaking, tiny_file):
    found = soaking.verdict(soaking.soak(tiny_file, MINUTES / 2, leaks=True))
    assert found.bytes_a_minute > soaking.FLAT and found.objects_a_request > soaking.OBJECTS, found
