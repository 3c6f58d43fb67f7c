"""What `nbgrad warmup` does: the compiled loops go into the disk cache before anybody waits for one.

A container's image, a serverless function, a node of a cluster: the first call of a kernel compiles for seconds, unless
its loop lies in the cache. Here all are called once, on all cores, each in the sizes that take another loop: few
elements (serial loops), many (parallel ones), short and long rows.
"""

from __future__ import annotations

import difflib
import multiprocessing
import os
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import numpy as np
from numba import config

from nbgrad import kernels, regression
from nbgrad.formulas.regression import SCORE_MODELS
from nbgrad.formulas.table import LOSSES, OPS

__all__ = ["names", "warmup"]

Call = tuple[tuple[Any, ...], dict[str, Any]]
#: Elements of a vector: below the work that is shared among threads, and beyond it.
_SIZES = (64, 1 << 21)
#: Rows and entries of a matrix: in lanes of vectors and row by row, each by one thread and by all.
_MATRICES = ((6, 4), (100_000, 4), (6, 300), (4000, 300))


def names(everything: bool = False) -> list[str]:
    """What can be warmed up: the kernels, and with ``everything`` the regression models' functions.

    >>> "softmax" in names(), "softmax_value_and_grad" in names(), "softmax_value_and_grad" in names(everything=True)
    (True, False, True)
    """
    models = ["softmax", *SCORE_MODELS] if everything else []
    return [*kernels.__all__, *(f"{model}_{what}" for model in models for what in ("value_and_grad", "hessp"))]


def warmup(
    chosen: Sequence[str] = (),
    *,
    everything: bool = False,
    dtypes: Iterable[str] = ("float32", "float64"),
    told: Callable[[int, int, str], None] = lambda done, of, name: None,
) -> dict[str, Any]:
    """Compile the loops of the functions ``chosen`` (default: all kernels; ``everything``: and the regression models,
    weights, reductions, strides), in as many processes as there are cores, into Numba's disk cache.

    ``told(done, of, name)`` is called after each function. Returns what was done: "functions", "folder" and "bytes" of
    the cache, "seconds". ValueError for an unknown name.
    """
    from nbgrad.training.info import info

    start, known = time.perf_counter(), names(True)
    for name in chosen:
        if name not in known:
            near = " or ".join(difflib.get_close_matches(name, known)) or "see nbgrad.kernels.__all__"
            raise ValueError(f"NAME: expected a kernel or a function of nbgrad.regression ({near}), got {name!r}")
    tasks = [(name, dtype, everything) for name in chosen or names(everything) for dtype in dtypes]
    # the longest first: what takes seconds should not be what one core does at the end
    tasks.sort(key=lambda task: -_weight(task[0]))
    context = multiprocessing.get_context("spawn")  # a fork would take this process's threads for its own
    with ProcessPoolExecutor(min(os.cpu_count() or 1, len(tasks)), mp_context=context) as pool:
        running = {pool.submit(_call, *task): task for task in tasks}
        for done, future in enumerate(as_completed(running), 1):
            future.result()
            told(done, len(tasks), running[future][0])
    root = Path(config.CACHE_DIR or Path(kernels.__file__).parents[1])
    size = sum(file.stat().st_size for file in root.rglob("*.nbc"))
    folder = str(root) if config.CACHE_DIR else info()["kernel cache"]
    seconds = time.perf_counter() - start
    return {"functions": len({name for name, *_ in tasks}), "folder": folder, "bytes": size, "seconds": seconds}


def _weight(name: str) -> int:
    """How long one compiles, roughly in seconds on one core."""
    return 5 if "_hessp" in name or "value_and_grad" in name else 3 if "softmax" in name or "entropy" in name else 1


def _call(name: str, dtype: str, everything: bool) -> None:
    """All calls of one function in one precision."""
    with np.errstate(all="ignore"):
        function = getattr(kernels if name in kernels.__all__ else regression, name)
        for arguments, keywords in _calls(name, np.dtype(dtype), everything):
            function(*arguments, **keywords)


def _calls(name: str, dtype: np.dtype[Any], everything: bool) -> Iterable[Call]:
    base = name.removesuffix("_backward").removesuffix("_value_and_grad").removesuffix("_hessp")
    if name not in kernels.__all__:
        yield from _passes(name, base, dtype, everything)
    elif base in OPS or base == "gelu":
        operands = 2 if name.endswith("_backward") else 1
        for size in _SIZES:
            yield (np.ones(size, dtype),) * operands, {}
        if everything:
            yield (np.ones((4, 6), dtype)[:, ::2],) * operands, {}
            yield (np.ones(4, dtype), 1.0)[:operands], {}
    elif any(base == loss.kernel for loss in LOSSES.values()):
        for size in _SIZES:
            yield (np.ones(size, dtype), np.full(size, 0.5, dtype)), {}
        for reduction in ("none", "sum") if everything else ():
            yield (np.ones((4, 6), dtype), np.full(6, 0.5, dtype)), {"reduction": reduction}
    else:
        yield from _rows(name, base, dtype, everything)


def _rows(name: str, base: str, dtype: np.dtype[Any], everything: bool) -> Iterable[Call]:
    for rows, length in _MATRICES:
        x = np.zeros((rows, length), dtype)
        labels = np.zeros(rows, np.int64)
        if base in ("cross_entropy", "nll_loss"):
            yield (x, labels), {}
            if everything:
                yield (x, labels), {"weight": np.ones(length, dtype), "reduction": "sum"}
                if base == "cross_entropy":
                    yield (x, labels), {"label_smoothing": 0.1}
                    yield (x, np.full(x.shape, 1 / length, dtype)), {}
        elif base == "maxout":
            yield ((x, 2) if name == base else (x[:, ::2].copy(), np.zeros((rows, length // 2), np.intp), 2)), {}
        elif name == "logsumexp_backward":
            yield (x[:, 0].copy(), x), {}
        else:
            yield (x,) * (2 if name.endswith("_backward") else 1), {}
            if everything:
                yield (x,) * (2 if name.endswith("_backward") else 1), {"axis": 0}


def _passes(name: str, base: str, dtype: np.dtype[Any], everything: bool) -> Iterable[Call]:
    for rows, features in ((30, 5), (20_000, 50), (2000, 784)):
        X = np.zeros((rows, features), dtype)
        y = np.arange(rows) % 2 if base in ("softmax", "logistic", "logistic_mse") else np.ones(rows)
        for classes in (3, 10) if base == "softmax" else (0,):
            params = np.zeros((classes, features + 1) if classes else features + 1)
            heads = (params, params) if name.endswith("_hessp") else (params,)
            yield (*heads, X, y), {}
            if everything:
                yield (*heads, X, y), {"sample_weight": np.ones(rows)}
                yield (*heads, X.astype(np.uint8), y), {"x_scale": 0.5}
