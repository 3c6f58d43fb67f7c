"""Positions for drawing a directed graph in layers, left to right: plain numbers, no drawing.

K. Sugiyama, S. Tagawa, M. Toda, Methods for visual understanding of hierarchical system structures, IEEE
Trans. SMC 11 (1981) 109: layers by longest path, a way point in each layer that an edge crosses, order within
a layer by the neighbours' mean position, then positions that pull each box to its neighbours without overlap.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Hashable, Iterable, Sequence
from typing import Any

__all__ = ["layered"]

Point = tuple[float, float]


def layered(
    sizes: dict[Any, tuple[float, float]], edges: Sequence[tuple[Any, Any]], *, gap_x: float, gap_y: float
) -> tuple[dict[Any, Point], dict[tuple[Any, Any], list[Point]]]:
    """Centres of the boxes with the given (width, height), and for each edge (from, to) the way points
    between them.

    `sizes` lists the boxes so that every edge goes from an earlier one to a later one.

    >>> layered({"a": (1, 1), "b": (1, 1), "c": (2, 1)}, [("a", "c"), ("b", "c")], gap_x=1, gap_y=1)[0]
    {'a': (0.5, -1.0), 'b': (0.5, 1.0), 'c': (3.0, 0.0)}
    """
    rank = _ranks(list(sizes), edges)
    layers: list[list[Hashable]] = [[] for _ in range(max(rank.values()) + 1)]
    for box in sizes:
        layers[rank[box]].append(box)
    links: dict[tuple[Any, Any], None] = {}  # between neighbouring layers, each once
    chains: dict[tuple[Any, Any], list[Any]] = {}
    for edge in edges:
        # Edges from the same box share their way points: with points of its own for each, a box that 100
        # layers use has 5000.
        chain = [("way point", edge[0], r) for r in range(rank[edge[0]] + 1, rank[edge[1]])]
        chains[edge] = chain
        links.update(dict.fromkeys(zip([edge[0], *chain], [*chain, edge[1]], strict=True)))
    for point in dict.fromkeys(point for chain in chains.values() for point in chain):
        layers[point[2]].append(point)
    before, after = _neighbours(links, 1, 0), _neighbours(links, 0, 1)
    _order(layers, before, after)
    y = _heights(layers, before, after, {box: height for box, (_, height) in sizes.items()}, gap_y)
    x: dict[Any, float] = {}
    left = 0.0
    for layer in layers:
        width = max(sizes.get(box, (0, 0))[0] for box in layer)
        x.update((box, left + width / 2) for box in layer)
        left += width + gap_x
    at = {box: (x[box], y[box]) for box in x}
    return {box: at[box] for box in sizes}, {edge: [at[point] for point in chain] for edge, chain in chains.items()}


def _ranks(boxes: list[Any], edges: Sequence[tuple[Any, Any]]) -> dict[Any, int]:
    """The layer of each box: after all it comes from; one that comes from nothing just before the first it
    goes to.
    """
    before, after = _neighbours(edges, 1, 0), _neighbours(edges, 0, 1)
    rank: dict[Any, int] = {}
    for box in boxes:
        rank[box] = 1 + max((rank[b] for b in before.get(box, ())), default=-1)
    for box in boxes:
        if box not in before and box in after:
            rank[box] = min(rank[b] for b in after[box]) - 1
    return rank


def _neighbours(links: Iterable[tuple[Any, Any]], of: int, which: int) -> dict[Any, list[Any]]:
    out: dict[Any, list[Any]] = {}
    for link in links:
        out.setdefault(link[of], []).append(link[which])
    return out


def _order(layers: list[list[Any]], before: dict[Any, list[Any]], after: dict[Any, list[Any]]) -> None:
    """Sort each layer for few crossings: sweeps over the layers both ways, the best state is kept."""

    at = {box: i for layer in layers for i, box in enumerate(layer)}

    def crossings() -> int:
        count = 0
        for layer in layers:
            pairs = sorted((at[box], at[other]) for box in layer for other in after.get(box, ()))
            ends: list[int] = []
            for _, end in pairs:
                count += len(ends) - bisect.bisect_right(ends, end)
                bisect.insort(ends, end)
        return count

    best, fewest = [list(layer) for layer in layers], crossings()
    for sweep in range(12):
        neighbours = (before, after)[sweep % 2]
        for layer in layers if sweep % 2 == 0 else layers[::-1]:
            mean = {box: _mean([at[b] for b in neighbours.get(box, ())], at[box]) for box in layer}
            layer.sort(key=mean.__getitem__)
            at.update((box, i) for i, box in enumerate(layer))
        if (now := crossings()) < fewest:
            best, fewest = [list(layer) for layer in layers], now
    for layer, order in zip(layers, best, strict=True):
        layer[:] = order


def _mean(values: list[float], default: float) -> float:
    return sum(values) / len(values) if values else default


def _heights(
    layers: list[list[Any]],
    before: dict[Any, list[Any]],
    after: dict[Any, list[Any]],
    height: dict[Any, float],
    gap: float,
) -> dict[Any, float]:
    """The y of each box: pulled to the mean of its neighbours, in the order of its layer, `gap` apart."""
    y: dict[Any, float] = {}

    def place(layer: list[Any], wanted: list[float]) -> None:
        placed: list[float] = []
        free = -math.inf  # the lowest y that the box above leaves
        for box, want in zip(layer, wanted, strict=True):
            half = height.get(box, 0.0) / 2
            placed.append(max(want, free + half))
            free = placed[-1] + half + gap
        shift = _mean([p - w for p, w in zip(placed, wanted, strict=True)], 0.0)
        y.update((box, p - shift) for box, p in zip(layer, placed, strict=True))

    for layer in layers:
        place(layer, [0.0] * len(layer))
    for sweep in range(40):
        for layer in layers if sweep % 2 == 0 else layers[::-1]:
            place(
                layer,
                [_mean([y[b] for b in before.get(box, []) + after.get(box, [])], y[box]) for box in layer],
            )
    return y
