"""Dask's processes on this machine: time of a pass (value and gradient of softmax regression) by 1 and by 2, and what
of it is Dask's own: the cost of a task, of a pass over nothing, the bytes that travel.

MNIST's pixels, ``--repeat`` times, where ``NBGRAD_DATA`` names a folder that has them; otherwise drawn numbers of that
shape. Each worker has one thread; this process has BLAS's (OPENBLAS_NUM_THREADS).
"""

from __future__ import annotations

import argparse
import contextlib
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from bench.machine import line, optional
from bench.method import interleaved
from bench.tables import Table, markdown
from nbgrad.regression import softmax_value_and_grad
from nbgrad.regression.block_problem import BlockProblem

ROWS, FEATURES, CLASSES = 60_000, 784, 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--blocks", type=int, default=16)
    parser.add_argument("--repeat", type=int, default=4, help="how often MNIST's 60000 rows are there")
    parser.add_argument("--rounds", type=int, default=9)


def _pixels() -> tuple[str, np.ndarray, np.ndarray]:
    if os.environ.get("NBGRAD_DATA"):
        from nbgrad.datasets import load_mnist

        data = load_mnist(Path(os.environ["NBGRAD_DATA"]))
        return "MNIST", data.train_images.reshape(ROWS, FEATURES), data.train_labels.astype(np.int64)
    rng = np.random.default_rng(0)
    return (
        "drawn",
        rng.integers(0, 256, (ROWS, FEATURES)).astype(np.uint8),
        rng.integers(0, CLASSES, ROWS),
    )


def _rows(folder: str, start: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the files, which begin again at their end: a block, read by the worker that is to have it."""
    X, y = (np.load(Path(folder, name), mmap_mode="r") for name in ("X.npy", "y.npy"))
    at = np.arange(start, start + count) % len(y)
    return X[at], y[at]


def transferred(dask_worker: Any) -> int:
    """Bytes that a worker had from others (distributed hands itself in by that name)."""
    return sum(entry["total"] for entry in dask_worker.transfer_incoming_log)


def _problem(client: Any, folder: str, rows: int, blocks: int) -> BlockProblem:
    from nbgrad.regression.distributed import DaskBlocks

    size = rows // blocks
    futures = client.map(_rows, [folder] * blocks, [i * size for i in range(blocks)], [size] * blocks, pure=False)
    return BlockProblem("softmax", DaskBlocks(futures), num_classes=CLASSES, x_scale=1 / 255, dtype=np.float32)


def run(arguments: argparse.Namespace) -> None:
    print(line())
    if optional("dask") is None or (distributed := optional("distributed")) is None:
        return
    name, X, y = _pixels()
    params = np.random.default_rng(1).normal(scale=0.01, size=(CLASSES, FEATURES + 1)).astype(np.float32)
    rows = ROWS * arguments.repeat
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        np.save(Path(folder, "X.npy"), X)
        np.save(Path(folder, "y.npy"), y)
        big, small, bytes_a_pass = {}, {}, {}
        clients = {}
        for workers in arguments.workers:
            cluster = stack.enter_context(
                distributed.LocalCluster(
                    n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=":0"
                )
            )
            client = stack.enter_context(distributed.Client(cluster, set_as_default=False))
            clients[workers] = client
            big[workers] = _problem(client, folder, rows, arguments.blocks)
            small[workers] = {count: _problem(client, folder, count, count) for count in (8, 200)}
            big[workers].value_and_grad(params)
            before = sum(client.run(transferred).values())
            for _ in range(5):
                big[workers].value_and_grad(params)
            bytes_a_pass[workers] = (sum(client.run(transferred).values()) - before) / 5
        at = np.arange(rows) % ROWS
        X, y = X[at], y[at]
        calls = {w: lambda w=w: big[w].value_and_grad(params) for w in big}
        local = {"here": lambda: softmax_value_and_grad(params, X, y, x_scale=1 / 255)}
        times = interleaved({**local, **calls}, rounds=arguments.rounds)  # type: ignore[dict-item]
        one = arguments.workers[0]
        table_rows = [["in this process, its threads", f"{1e3 * times['here'].median:.0f}", "", ""]]
        for w in big:
            speed_up = f"{times[w].ratio_to(times[one]):.2f}"  # type: ignore[index]
            table_rows.append(
                [f"{w} workers", f"{1e3 * times[w].median:.0f}", speed_up, f"{bytes_a_pass[w] / 1e3:.0f}"]  # type: ignore[index]
            )
        header = [f"{name}, {rows}×{FEATURES} uint8, {arguments.blocks} blocks", "ms a pass"]
        header += [f"speed-up over {one}", "kB between workers"]
        print("\n" + markdown(Table("", header, table_rows)))

        table_rows = []
        for w in big:
            calls = {count: lambda p=p: p.value_and_grad(params) for count, p in small[w].items()}
            few, many = interleaved(calls, rounds=max(3, arguments.rounds // 2)).values()  # type: ignore[arg-type]
            cpu = [_cpu(call) for call in calls.values()]
            further = [(b - a) / (200 - 8) for a, b in ((few.median, many.median), cpu)]
            table_rows.append([f"{w} workers", f"{1e3 * few.median:.1f}", *(f"{1e3 * t:.2f}" for t in further)])
        header = ["blocks of one row", "ms a pass of 8", "ms for each further block", "CPU of client and scheduler"]
        print("\n" + markdown(Table("", header, table_rows)))


def _cpu(call: Any) -> float:
    """Seconds of this process, where client and scheduler live; processes beside it do not count."""
    start = time.process_time()
    for _ in range(3):
        call()
    return (time.process_time() - start) / 3
