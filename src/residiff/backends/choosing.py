"""The fastest of several backends, found by a short measurement on the first picture of a size class, and remembered.

Pictures are of one class where their pixels, times the batch, have the same power of two below them. What is
remembered is the name alone, under the network's weights, the machine, its threads, and what is installed.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from torch import Tensor, nn

from residiff.backends import cache
from residiff.backends.folding import Folded
from residiff.backends.kinds import Backend, Outputs, Prepared
from residiff.errors import ResourceError

logger = logging.getLogger("residiff")
_ROUNDS = 2
Network = Callable[[Tensor, tuple[Tensor, ...]], Outputs]


class Candidate(NamedTuple):
    """A backend by name, and how a network is made its own."""

    name: Backend
    make: Callable[[Folded], nn.Module]


def automatic(network: Folded, candidates: Sequence[Candidate]) -> Prepared:
    """The network as the fastest of the candidates runs it, chosen anew for each size class; the first is always there.

    A candidate whose packages are missing is left out; one that is alone is not measured.
    """
    made: dict[Backend, Network] = {}
    chosen: dict[int, Network] = {}
    key = cache.key(network, "auto", [each.name for each in candidates])

    def there(candidate: Candidate) -> bool:
        try:
            made.setdefault(candidate.name, candidate.make(network))
        except ResourceError as error:
            logger.debug("%s is left out: %s", candidate.name, error)
        return candidate.name in made

    def run(x: Tensor, times: tuple[Tensor, ...]) -> Outputs:
        size = size_class(x)
        if size not in chosen:
            chosen[size] = _chosen(f"{key}-{size}.json", x, times)
        return chosen[size](x, times)

    def _chosen(entry: str, x: Tensor, times: tuple[Tensor, ...]) -> Network:
        def measure() -> bytes:
            present = {each.name: made[each.name] for each in candidates if there(each)}
            return json.dumps({"backend": fastest(present, x, times)}).encode()

        known = {each.name: each for each in candidates}
        name = json.loads(cache.remembered(entry, measure)).get("backend")
        wanted = known.get(name, candidates[0])
        return made[next(each for each in (wanted, candidates[0]) if there(each)).name]

    return Prepared(network, run)


def size_class(x: Tensor) -> int:
    """The power of two below the pixels of a batch (N, C, H, W)."""
    return (len(x) * x.shape[-2] * x.shape[-1]).bit_length()


def fastest(networks: dict[Backend, Network], x: Tensor, times: tuple[Tensor, ...]) -> Backend:
    """The one that answers soonest, each asked in turn, once to warm up and then twice."""
    if len(networks) == 1:
        return next(iter(networks))
    best = dict.fromkeys(networks, float("inf"))
    for number in range(1 + _ROUNDS):
        for name, network in networks.items():
            began = time.perf_counter()
            network(x, times)
            if number:
                best[name] = min(best[name], time.perf_counter() - began)
    logger.debug("seconds of a call: %s", {str(name): round(taken, 4) for name, taken in best.items()})
    return min(best, key=lambda name: best[name])
