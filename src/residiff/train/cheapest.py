"""Cheapest ways of so many steps through a table of what each step costs, by dynamic programming.

With c(i, j) the cost of the step from node i to node j > i, the cheapest way of n steps to j is

    C_n(j) = min over i < j of C_(n-1)(i) + c(i, j),

so that one table gives the ways of every n at once (Watson et al. 2021, for the terms of a likelihood; Chen et al.
2024, for the errors of steps along a fine trajectory). Several of the cheapest are kept of each, not one alone: the sum
is only a guess of what a way's errors come to at its end.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence

Way = tuple[int, ...]


def cheapest(costs: Sequence[Sequence[float]], steps: int, count: int = 1) -> tuple[tuple[Way, ...], ...]:
    """For each n of 1 to `steps`, the `count` cheapest ways of n steps from the first node to the last, cheapest first.

    `costs` is (M, M), of which what is right of the diagonal is read. A way names the nodes that it steps from, in
    order; there are none of more than M - 1 steps.
    """
    nodes = len(costs)
    ends: list[list[tuple[float, Way]]] = [[] for _ in range(nodes)]
    ends[0] = [(0.0, ())]
    found = []
    for _ in range(steps):
        ends = [
            heapq.nsmallest(
                count,
                [(cost + costs[i][j], (*way, i)) for i in range(j) for cost, way in ends[i]],
            )
            for j in range(nodes)
        ]
        found.append(tuple(way for _, way in ends[-1]))
    return tuple(found)
