"""Faults planted in gradients: which of them nbgrad.testing finds, and which its peers.

nbgrad.testing gets each fault's specs and finds an example by itself. The peers look at one point: they are given ten
ordinary ones (normal numbers) and the example that nbgrad.testing found, all in float64, which they ask for, with
their default tolerances. A peer that refuses the right version at a point has found nothing there. Peers are run
where they are installed.

Exits with 1 if nbgrad.testing misses a fault or refuses a right version.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.append(str(Path(__file__).parents[2] / "tests" / "testing"))
from faults import FAULTS, Fault  # noqa: E402

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--examples", type=int, default=100, help="of each fault and of each right version")
    parser.add_argument("--only", default="", help="faults whose name has this in it")


Backward = Callable[..., tuple[Any, ...]]


def _gradcheck(forward: Callable[..., Any], backward: Backward, arrays: list[Any]) -> None:
    import torch

    class Op(torch.autograd.Function):
        @staticmethod
        def forward(ctx, *tensors):
            ctx.arrays = [t.detach().numpy() for t in tensors]
            return torch.from_numpy(np.array(forward(*ctx.arrays)))

        @staticmethod
        def backward(ctx, grad_output):
            grads = backward(grad_output.numpy(), *ctx.arrays)
            return tuple(torch.from_numpy(np.array(g)) for g in grads)

    torch.autograd.gradcheck(Op.apply, [torch.from_numpy(a.copy()).requires_grad_() for a in arrays])


def _jax(forward: Callable[..., Any], backward: Backward, arrays: list[Any]) -> None:
    import jax
    from jax.test_util import check_grads

    shape = np.asarray(forward(*arrays)).shape

    @jax.custom_vjp
    def op(*args):
        kind = jax.ShapeDtypeStruct(shape, np.float64)
        return jax.pure_callback(lambda *a: np.asarray(forward(*map(np.array, a))), kind, *args)

    def pull(args, g):
        kinds = tuple(jax.ShapeDtypeStruct(a.shape, np.float64) for a in arrays)

        def call(g, *a):
            return tuple(map(np.asarray, backward(np.array(g), *map(np.array, a))))

        return jax.pure_callback(call, kinds, g, *args)

    op.defvjp(lambda *args: (op(*args), args), pull)
    with jax.enable_x64(True):
        check_grads(op, arrays, order=1, modes=["rev"])


def _autograd(forward: Callable[..., Any], backward: Backward, arrays: list[Any]) -> None:
    from autograd.extend import defvjp, primitive
    from autograd.test_util import check_grads

    op = primitive(lambda *a: forward(*a))

    def pull(i):
        return lambda ans, *a: lambda g: backward(g, *a)[i]

    defvjp(op, *(pull(i) for i in range(len(arrays))))
    for i in range(len(arrays)):
        check_grads(lambda x, i=i: op(*arrays[:i], x, *arrays[i + 1 :]), modes=["rev"], order=1)(arrays[i])


def _scipy(forward: Callable[..., Any], backward: Backward, arrays: list[Any]) -> None:
    """check_grad returns a number; the usual assertion is that it is below 1e-5 or that part of the gradient."""
    from scipy.optimize import check_grad

    ends = np.cumsum([a.size for a in arrays])[:-1]
    g = np.random.default_rng(0).uniform(0.5, 2, np.shape(forward(*arrays)))

    def apart(x):
        return [p.reshape(a.shape).copy() for p, a in zip(np.split(x, ends), arrays, strict=True)]

    def value(x):
        return float(np.sum(g * forward(*apart(x))))

    def gradient(x):
        return np.concatenate([np.ravel(v) for v in backward(g.copy(), *apart(x))])

    x = np.concatenate([a.ravel() for a in arrays])
    error = check_grad(value, gradient, x)
    assert error <= 1e-5 * max(1, float(np.linalg.norm(gradient(x)))), error


PEERS = {
    "torch.autograd.gradcheck": ("torch", _gradcheck),
    "jax.test_util.check_grads": ("jax", _jax),
    "autograd.test_util.check_grads": ("autograd", _autograd),
    "scipy.optimize.check_grad": ("scipy", _scipy),
}


def _installed() -> dict[str, Any]:
    import importlib.util

    return {name: check for name, (package, check) in PEERS.items() if importlib.util.find_spec(package)}


def _points(example: tuple[Any, ...], domains: list[tuple[float, float]]) -> list[list[Any]]:
    """Ten ordinary points of the example's shapes, then the example itself."""
    rng = np.random.default_rng(0)
    points = []
    for _ in range(10):
        point = []
        for a, (low, high) in zip(example, domains, strict=True):
            drawn = np.clip(rng.normal(size=np.shape(a)), max(low, -1e3), min(high, 1e3))
            point.append(drawn if a.dtype.kind == "f" else rng.integers(0, 3, a.shape))
        points.append(point)
    return [*points, [a.astype(np.float64) if a.dtype.kind == "f" else a for a in example]]


def _refuses(check: Callable[..., None], fault: Fault, backward: Callable[..., Any], point: list[Any]) -> bool:
    floats = [i for i, a in enumerate(point) if a.dtype.kind == "f"]

    def every(some: Any) -> list[Any]:
        given = [np.array(a) for a in point]
        for i, a in zip(floats, some, strict=True):
            given[i] = a
        return given

    def of_floats(*some: Any) -> Any:
        return fault.forward(*every(some))

    def gradients(g: Any, *some: Any) -> tuple[Any, ...]:
        found = backward(g, *every(some))
        found = found if isinstance(found, tuple) else (found,)
        return tuple(found[i] for i in floats)

    try:
        with np.errstate(all="ignore"):
            check(of_floats, gradients, [np.array(point[i]) for i in floats])
    except Exception:
        return True
    return False


def run(arguments: argparse.Namespace) -> None:
    import hypothesis

    from nbgrad.testing import GradientError, gradient_test

    settings = hypothesis.settings(
        max_examples=arguments.examples, deadline=None, database=None, phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )  # fmt: skip
    peers = _installed()
    chosen = [f for f in FAULTS if arguments.only in f.name]
    print(f"| fault | nbgrad.testing | {' | '.join(peers)} |\n|---|---|{'---|' * len(peers)}")
    caught, missed, alarms = dict.fromkeys(peers, 0), [], []
    for fault in chosen:
        example, word = None, "MISSED"
        try:
            gradient_test(fault.forward, fault.wrong, *fault.specs, settings=settings, strict=True, **fault.keywords)()
            missed.append(fault.name)
        except GradientError as error:
            word, example = error.verdict, error.arguments
        try:
            gradient_test(fault.forward, fault.right, *fault.specs, settings=settings, strict=True, **fault.keywords)()
        except GradientError as error:
            alarms.append(f"{fault.name}: {error}")
        cells = []
        for name, check in peers.items():
            found = "no"
            domains = [spec.domain for spec in fault.specs]
            for i, point in enumerate(_points(example, domains) if example else []):
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    if not _refuses(check, fault, fault.right, point) and _refuses(check, fault, fault.wrong, point):
                        found = "yes" if i < 10 else "at nbgrad's example"
                        break
            caught[name] += found != "no"
            cells.append(found)
        print(f"| {fault.name} | {word} | {' | '.join(cells)} |", flush=True)
    found = " | ".join(f"{n} of {len(chosen)}" for n in caught.values())
    print(f"| caught | {len(chosen) - len(missed)} of {len(chosen)} | {found} |")
    print(f"\n{arguments.examples} examples of each; missed: {missed or 'none'}; right versions refused: {len(alarms)}")
    for alarm in alarms:
        print(alarm)
    if missed or alarms:
        sys.exit(1)
