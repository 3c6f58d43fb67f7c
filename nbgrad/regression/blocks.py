"""Data that come in blocks of rows: fitting out of core.

A block is ``(X, y)`` or ``(X, y, sample_weight)``. `Blocks` reads them in this process, one after the other;
`nbgrad.regression.distributed.DaskBlocks` computes with them where they lie. Both have one method, ``reduce``:
a function of each block, its results combined in order, as a tree whose shape depends on nothing but the
number of blocks. The same blocks give the same bits, whoever computes, on however many machines.

`scan` is the pass a fit needs first (rows, features, classes, weights); `nbgrad.regression.block_problem` adds up the
``..._sums`` of the blocks. Errors name the block, counted from 0.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbgrad.arrays import FLOAT64, as_float, check_mask
from nbgrad.cpu.sums.add_up import add_up
from nbgrad.regression.data import check_labels

__all__ = ["Blocks", "Summary", "scan"]

# Results combined at a time. With 1000 blocks a fan-in of 2 is 999 tasks in 10 levels, 8 is 143 in 4: a scheduler
# pays for each task, and a sum of 8 gradients costs next to nothing.
FAN_IN = 8


def tree(items: Iterable[Any], combine: Callable[..., Any]) -> Any:
    """All items combined, `FAN_IN` neighbours at a time, then those results, and so on; order is kept.

    No more than ``FAN_IN`` items of each level are held. None where there are no items.

    >>> tree("abcdefghij", lambda *parts: "(" + "".join(parts) + ")")
    '((abcdefgh)(ij))'
    """
    levels: list[list[Any]] = []

    def push(level: int, item: Any) -> None:
        if level == len(levels):
            levels.append([])
        levels[level].append(item)
        if len(levels[level]) == FAN_IN:
            full, levels[level] = levels[level], []
            push(level + 1, combine(*full))

    for item in items:
        push(0, item)
    last = None
    for level in levels:
        rest = level if last is None else [*level, last]
        if rest:
            last = rest[0] if len(rest) == 1 else combine(*rest)
    return last


class Blocks:
    """Blocks read by this process, again for each pass: ``source`` is an iterable that can be read more than once
    (a list, an object whose ``__iter__`` opens a file) or a function that returns a fresh iterator.

    A pass holds two blocks, the one at work and the one that is being read.

    >>> import numpy as np
    >>> def source():
    ...     for start in range(0, 6, 2):
    ...         yield np.arange(start, start + 2.0)[:, None], np.arange(start, start + 2)
    >>> scan(Blocks(source), classify=False).rows
    6

    Errors: TypeError for an iterator, which can be read only once, and for anything else that is not ``source``.
    """

    def __init__(self, source: Iterable[Any] | Callable[[], Iterable[Any]]) -> None:
        if isinstance(source, Iterator):
            raise TypeError(
                "X: expected blocks that can be read again (a list, or a function that returns a fresh iterator), "
                f"got {type(source).__name__}, which can be read once"
            )
        if not (callable(source) or isinstance(source, Iterable)):
            raise TypeError(f"X: expected an iterable of blocks (X, y), got {type(source).__name__}")
        self.source, self._read = source, False

    def reduce(self, name: str, function: Callable[..., Any], combine: Callable[..., Any], argument: Any) -> Any:
        """``function(i, (X, y, sample_weight), argument)`` of each block i, combined by `tree`."""
        blocks = self.source() if callable(self.source) else self.source
        found = tree((at_block(i, function, block, argument) for i, block in enumerate(blocks)), combine)
        if found is None and self._read:
            raise ValueError(
                "X: expected the blocks of the first pass again, got none (a function must return a fresh iterator "
                "each time)"
            )
        self._read = True
        return found


def at_block(i: int, function: Callable[..., Any], block: Any, argument: Any) -> Any:
    """``function`` of block i; its errors begin with the block's number."""
    try:
        return function(i, _parts(block), argument)
    except (TypeError, ValueError) as error:
        raise (TypeError if isinstance(error, TypeError) else ValueError)(f"block {i}: {error}") from error


def _parts(block: Any) -> tuple[Any, Any, Any]:
    if not isinstance(block, (tuple, list)) or len(block) not in (2, 3):
        size = f" of {len(block)}" if isinstance(block, (tuple, list)) else ""
        raise TypeError(f"expected (X, y) or (X, y, sample_weight), got {type(block).__name__}{size}")
    X, y, weight = (*block, None)[:3]
    for name, value in (("X", X), ("y", y), ("sample_weight", weight)):
        check_mask(value, name)
    if not hasattr(X, "tocsr"):  # a sparse matrix stays one
        X = np.asarray(X)
    elif X.format != "csr":
        X = X.tocsr()
    if hasattr(X, "tocsr") and not X.dtype.isnative:  # SciPy multiplies the machine's byte order only
        X = X.astype(X.dtype.newbyteorder("="))
    y = np.asarray(y)
    if X.ndim != 2:
        raise ValueError(f"X: expected shape (rows, features), got {X.shape}")
    if not (y.shape[:1] == X.shape[:1] and y.ndim <= 2):
        raise ValueError(f"y: expected shape ({X.shape[0]},), a target for each row of X, got {y.shape}")
    return X, y, weight


@dataclass(frozen=True)
class Summary:
    """What a pass over the blocks finds: number of rows and features, X's dtype, Σ sample_weight, the sorted labels
    of y and Σ sample_weight of each (None in regression).
    """

    rows: int
    features: int
    dtype: np.dtype[Any]
    weight_sum: float
    classes: NDArray[Any] | None = None
    class_weights: NDArray[Any] | None = None
    targets: tuple[int, ...] = ()  # a row's: one, or so many
    block: int = 0  # the first of them, for errors


def scan(blocks: Any, *, classify: bool) -> Summary:
    """The first pass, which also checks what no block can check alone, and that X is finite.

    >>> import numpy as np
    >>> summary = scan(Blocks([(np.ones((2, 3)), ["a", "b"]), (np.ones((1, 3)), ["b"])]), classify=True)
    >>> summary.rows, summary.classes.tolist(), summary.class_weights.tolist()
    (3, ['a', 'b'], [1.0, 2.0])

    Errors, each with the number of the block: ValueError for another number of features than in the blocks before,
    lengths that differ, nan or inf in X, weights that are negative or not finite, no rows at all; TypeError for
    another dtype of X than in the blocks before, and for numbers and strings among the labels.
    """
    summary = blocks.reduce("scan", _scan_block, _merge, classify)
    if summary is None or summary.rows == 0:
        raise ValueError(f"X: expected at least one row, got {'no blocks' if summary is None else 'empty blocks'}")
    return summary


def _scan_block(i: int, block: tuple[Any, Any, Any], classify: bool) -> Summary:
    X, y, weight = block
    if classify:
        check_labels(y)
    numbers = X.data if hasattr(X, "tocsr") else X
    as_float(numbers[:0], "X")  # its dtype
    if numbers.dtype.kind == "f":
        with np.errstate(all="ignore"):
            total = numbers.sum(dtype=np.float64)  # needs no memory; a mask would be as large as uint8 data
        if not np.isfinite(total) and not np.isfinite(numbers).all():
            raise ValueError("Input X contains " + ("NaN." if np.isnan(numbers).any() else "infinity."))
    if classify and y.ndim != 1:
        raise ValueError(f"y: expected shape ({len(y)},), a target for each row of X, got {y.shape}")
    if y.shape[1:] == (0,):
        raise ValueError(f"y: expected a target or more for each row of X, got shape {y.shape}")
    if weight is not None:
        weight = np.asarray(weight)
        if weight.shape != y.shape[:1]:
            raise ValueError(
                f"sample_weight: expected shape {y.shape[:1]}, a weight for each row of X, got {weight.shape}"
            )
        good = (weight >= 0) & (weight < np.inf)
        if not good.all():
            raise ValueError(f"sample_weight: expected finite numbers >= 0, got {weight[np.argmin(good)]}")
    summary = Summary(
        rows=X.shape[0],
        features=X.shape[1],
        dtype=X.dtype.newbyteorder("="),
        targets=y.shape[1:],
        weight_sum=float(len(y) if weight is None else add_up(weight, dtype=FLOAT64)),
        block=i,
    )
    if not classify:
        y = as_float(y, "y")
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        raise ValueError("Input y contains " + ("NaN." if np.isnan(y).any() else "infinity."))
    if not classify:
        return summary
    classes, codes = np.unique(y, return_inverse=True)
    counts = np.bincount(codes, weight, minlength=len(classes)).astype(np.float64)
    return replace(summary, classes=classes, class_weights=counts)


def _merge(*parts: Summary) -> Summary:
    return functools.reduce(_merge_two, parts)


def _merge_two(a: Summary, b: Summary) -> Summary:
    def differ(kind: type[Exception], what: str, expected: Any, got: Any) -> Exception:
        return kind(f"block {b.block}: {what} {expected} as in block {a.block}, got {got}")

    if a.features != b.features:
        raise differ(ValueError, "X: expected the number of features", a.features, b.features)
    if a.targets != b.targets:
        raise differ(ValueError, "y: expected the shape of a row's targets", a.targets, b.targets)
    if a.dtype != b.dtype:
        raise differ(TypeError, "X: expected dtype", a.dtype, b.dtype)
    merged = replace(a, rows=a.rows + b.rows, weight_sum=a.weight_sum + b.weight_sum)
    if a.classes is None or b.classes is None:
        return merged
    if a.classes.size and b.classes.size and _kind(a.classes) != _kind(b.classes):
        raise differ(TypeError, "y: expected labels of dtype", a.classes.dtype, b.classes.dtype)
    labels = [part for part in (a.classes, b.classes) if part.size]
    classes = np.unique(np.concatenate(labels)) if labels else a.classes
    weights = np.zeros(len(classes))
    for part in (a, b):
        weights[np.searchsorted(classes, np.asarray(part.classes))] += np.asarray(part.class_weights)
    return replace(merged, classes=classes, class_weights=weights)


def _kind(labels: NDArray[Any]) -> str:
    return "number" if labels.dtype.kind in "biuf" else labels.dtype.kind
