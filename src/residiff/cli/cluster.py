"""`residiff restore --engine ray`: what its options mean, and quiet while Ray runs."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

from residiff.cli.folder import Many
from residiff.cli.options import Engine

if TYPE_CHECKING:
    from residiff.data.images import Picture
    from residiff.restore import Options
    from residiff.restore.cluster import Cluster


class Loads(Protocol):
    """What says which model restores, and on what."""

    @property
    def model(self) -> str:
        """Its name."""

    @property
    def device(self) -> str:
        """Where it computes."""

    @property
    def backend(self) -> str:
        """What runs the network."""

    @property
    def budget(self) -> float | None:
        """Seconds that a picture may take."""

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """Those to calibrate on."""


def is_uri(text: str) -> bool:
    """Whether `text` names something in an object store; without loading anything."""
    return "://" in text


def cluster_of(engine: Engine, address: str | None, workers: int | None, cpus: float | None) -> Cluster | None:
    """The cluster that is asked for; None for this process. `ConfigError` where options are for nothing."""
    from residiff.errors import ConfigError

    if engine is Engine.RAY:
        from residiff.restore.cluster import Cluster

        return Cluster(address, workers) if cpus is None else Cluster(address, workers, cpus)
    if (address, workers, cpus) != (None, None, None):
        raise ConfigError("--address, --workers and --cpus-per-worker are for --engine ray; add it, or leave them out")
    return None


def many_of(loading: Loads, options: Options, cluster: Cluster) -> Many:
    """The workers of `cluster`, with the model."""
    from residiff.restore.cluster import Loading

    pictures, way = loading.pictures, (loading.model, loading.device, options.settings)
    return Many(cluster, Loading.of(*way, backend=loading.backend, calibration=pictures, budget=loading.budget))


@contextlib.contextmanager
def hushed() -> Iterator[None]:
    """Within it, only what residiff says reaches the terminal, unless the user wants all.

    Ray prints, to stdout as well, and the libraries below it write past Python. Its session's log files have it all.
    """
    if logging.getLogger("residiff").level == logging.DEBUG:
        yield
        return
    out, err, kept = sys.stdout, sys.stderr, os.dup(2)
    with open(os.devnull, "w") as nowhere, open(kept, "w", buffering=1, errors="backslashreplace") as terminal:
        err.flush()
        # Where another has taken the place of stderr, as tests do, it stays
        sys.stdout, sys.stderr = nowhere, terminal if err is sys.__stderr__ else err
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            sys.stdout, sys.stderr = out, err
