"""Eager overhead: chains of one operation on one number, the graph of the README (b = w1·a, c = w2·a, d = w3·b + w4·c,
L = 10 − d), and loss and gradients of the network 784-256-256-10 on batches of 1, 32 and 1024; the last two also by
`nbgrad.compile`.

The limit of a network's step is the operations of its products at the speed of BLAS's large ones.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np

import nbgrad
from bench.limits import products
from bench.record import Record
from bench.session import Call, Case, Job, Key, Session
from nbgrad import functional
from nbgrad.formulas.table import OPS
from nbgrad.jit import serial_loops

LENGTH = 100
LAYERS = (784, 256, 256, 10)
BATCHES = (1, 32, 1024)
#: operations of a tensor and a weight; the table's first operator is measured beside them
ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "multiply": lambda v, w: v * w,
    "add": lambda v, w: v + w,
    "matmul": lambda v, w: v @ w,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--batches", type=int, nargs="*", default=list(BATCHES))


def graph(tensor: Any, compiled: Callable[..., Any] = lambda f: f) -> Callable[[], Any]:
    """Forward and backward of the README's graph with this library's tensors."""
    a, w1, w2, w3, w4 = leaves = [tensor(v, requires_grad=True) for v in (2.0, 3.0, -1.0, 0.5, 4.0)]

    @compiled
    def step() -> None:
        for leaf in leaves:
            leaf.grad = None
        b = w1 * a
        c = w2 * a
        d = w3 * b + w4 * c
        L = 10 - d
        L.backward()

    def call() -> Any:
        step()
        return [float(leaf.grad) for leaf in leaves]

    return call


def chain(tensor: Any, activation: Callable[[Any], Any], name: str, length: int) -> dict[tuple[str, str], Call]:
    """``length`` operations one after the other on a 1×1 tensor: "forward" (recorded), and with "both" backward too."""
    x, w = tensor([[0.5]], requires_grad=True), tensor([[0.99]], requires_grad=True)
    if name in ARITHMETIC:
        f = partial(lambda operation, v: operation(v, w), ARITHMETIC[name])
    else:
        f = activation(OPS[name])

    def forward() -> Any:
        v = x
        for _ in range(length):
            v = f(v)
        return v

    def both() -> Any:
        x.grad = w.grad = None
        forward().sum().backward()
        return x.grad

    return {
        ("forward", "new"): lambda: forward().detach().numpy(),
        ("both", "new"): lambda: both().detach().numpy(),
    }


def _own_activation(op: Any) -> Callable[[Any], Any]:
    f: Callable[[Any], Any] = getattr(functional, op.name)
    return f


def _chain(session: Session, name: str) -> list[Record]:
    found = chain(nbgrad.tensor, _own_activation, name, LENGTH)
    calls = {Key("nbgrad", *key): call for key, call in found.items()}
    for peer in session.peers.values():
        calls |= {Key(peer.title, *key): call for key, call in peer.chain(name, LENGTH).items()}
    case = Case("autograd", name, f"chain of {LENGTH}", "float32", calls, size=LENGTH, tolerance=1e-4)
    return session.measure(case, rounds=21, budget=1.5)


def _graph(session: Session, name: str, compiled: Any) -> list[Record]:
    calls: dict[Key, Call] = {Key("nbgrad", "both", "new"): graph(nbgrad.tensor, compiled)}
    for peer in session.peers.values():
        calls |= {Key(peer.title, *key): call for key, call in peer.graph().items()}
    case = Case("autograd", name, "4 weights", "float32", calls, size=1, tolerance=1e-6)
    return session.measure(case, rounds=31, budget=3.0)


def own_step(weights: list[Any], x: Any, labels: Any, compiled: Callable[..., Any] = lambda f: f) -> Call:
    """Loss and gradients of the network, within `serial_loops`."""
    own = [nbgrad.tensor(w.copy(), requires_grad=True) for w in weights]
    tx = nbgrad.tensor(x)

    @compiled
    def step(h: Any, labels: Any) -> Any:
        for w in own:
            w.grad = None
        for w in own[:-1]:
            h = functional.relu(h @ w.T)
        value = functional.cross_entropy(h @ own[-1].T, labels)
        value.backward()
        return value

    def call() -> Any:
        with serial_loops():
            value = step(tx, labels)
        return [value.item(), *(w.grad.numpy() for w in own)]

    return call


def _mlp(session: Session, batch: int, name: str, compiled: Any) -> list[Record]:
    rng = np.random.default_rng(0)
    shapes = [(o, i) for i, o in zip(LAYERS, LAYERS[1:], strict=False)]
    weights = [rng.uniform(-(i**-0.5), i**-0.5, (o, i)).astype(np.float32) for o, i in shapes]
    x, labels = rng.random((batch, LAYERS[0]), dtype=np.float32), rng.integers(0, LAYERS[-1], batch)
    calls: dict[Key, Call] = {Key("nbgrad", "step", "new"): own_step(weights, x, labels, compiled)}
    for peer in session.peers.values():
        calls |= {Key(peer.title, *key): call for key, call in peer.mlp_step(weights, x, labels).items()}
    entries = [o * i for o, i in shapes]
    # a layer's output, its weights' gradient and its input's, which the first layer does not need
    flops = 2 * batch * (3 * sum(entries) - entries[0])
    case = Case(
        "autograd", name, f"batch {batch}", "float32", calls, (products(),), size=batch,
        work={"step": {"products": flops}}, tolerance=1e-4,
    )  # fmt: skip
    return session.measure(case, rounds=15, budget=2.0)


def jobs(session: Session, arguments: argparse.Namespace) -> Iterable[Job]:
    for name in (*ARITHMETIC, next(iter(OPS))):
        yield Job(f"chain of {name}", partial(_chain, session, name))
    for kind, compiled in (("", lambda f: f), (", compiled", nbgrad.compile)):
        yield Job(f"graph{kind}", partial(_graph, session, f"graph{kind}", compiled))
        for batch in arguments.batches:
            job = partial(_mlp, session, batch, f"MLP 784-256-256-10{kind}", compiled)
            yield Job(f"MLP{kind}, batch {batch}", job)
