"""Defects that nbgrad.testing has found in PyTorch's and JAX's gradients: theirs beside mpmath's, one input a row.

The right value is the slope of the function itself in mpmath's arithmetic, by a central difference of 200 digits: no
derivative is written by hand. Only what mathematics decides is a row: at a kink every library may choose. A row that
does not reproduce with the installed version says so; a library that is not installed keeps its rows out.

``--save`` keeps the result; `python -m bench readme` writes the table in results/full.md from it.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import importlib.util
import json
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bench.tables import Table, markdown

__all__ = ["CASES", "FILE", "Case", "add_arguments", "look", "run", "table"]

FILE = Path(__file__).parents[1] / "results" / "defects.json"
TITLES = {"torch": "PyTorch", "jax": "JAX"}
DIGITS = 200


def _short(argument: Any) -> str:
    if isinstance(argument, list):
        return f"[{', '.join(map(_short, argument))}]"
    return f"{argument:g}".replace("e+", "e")


@dataclass(frozen=True)
class Case:
    """``function``: its dotted name; ``exact``: the sum of its results for mpmath's numbers (numbers, or arrays of
    objects); the derivative is that in element ``place`` of the first of the ``arguments``.
    """

    function: str
    dtype: str
    arguments: tuple[Any, ...]
    exact: Callable[..., Any]
    place: int = 0
    keywords: dict[str, Any] = field(default_factory=dict)

    @property
    def framework(self) -> str:
        return self.function.partition(".")[0]

    @property
    def shown(self) -> str:
        arguments = map(_short, self.arguments)
        return f"{self.function}({', '.join([*arguments, *(f'{k}={v!r}' for k, v in self.keywords.items())])})"


def _mp() -> Any:
    import mpmath

    return mpmath.mp


def _log_ndtr(x: Any) -> Any:
    return _mp().log(_mp().erfc(-x / _mp().sqrt(2)) / 2)


def _gelu_tanh(x: Any) -> Any:
    mp = _mp()
    return x / (1 + mp.exp(-2 * mp.sqrt(2 / mp.pi) * (x + mp.mpf("0.044715") * x**3)))


def _cross_entropy(p: Any, t: Any) -> Any:
    return -(t * _mp().log(p) + (1 - t) * _mp().log(1 - p))


def _bessels(x: Any) -> Any:
    return sum(_mp().besselj(order, x) for order in range(3))


def _soft_margin(x: Any, t: Any) -> Any:
    return _mp().log(1 + _mp().exp(-t * x))


def _cosine(x: Any, y: Any) -> Any:
    """As it is documented: no norm counts as less than 1e-8."""
    mp = _mp()
    norms = [max(mp.sqrt(sum(v * v for v in a)), mp.mpf("1e-8")) for a in (x, y)]
    return sum(a * b for a, b in zip(x, y, strict=True)) / norms[0] / norms[1]


CASES = (
    Case("jax.scipy.special.spence", "float64", (1.5,), lambda x: _mp().polylog(2, 1 - x).real),
    Case("jax.scipy.special.spence", "float64", (1e-30,), lambda x: _mp().polylog(2, 1 - x).real),
    Case("jax.scipy.special.digamma", "float64", (-22.18,), lambda x: _mp().digamma(x)),
    Case("jax.scipy.special.i0", "float64", (0.0,), lambda x: _mp().besseli(0, x)),
    Case("jax.scipy.special.i0e", "float64", (1e16,), lambda x: _mp().besseli(0, x) * _mp().exp(-x)),
    Case("jax.scipy.special.log_ndtr", "float64", (-1e8,), _log_ndtr),
    Case("jax.numpy.sinc", "float64", (1e-10,), lambda x: _mp().sincpi(x)),
    Case("jax.numpy.hypot", "float32", (1e25, 1e25), lambda x, y: _mp().hypot(x, y)),
    Case("jax.numpy.hypot", "float32", (3e-23, 4e-23), lambda x, y: _mp().hypot(x, y)),
    Case("jax.numpy.logaddexp", "float32", (1e10, 1e10), lambda x, y: _mp().log(_mp().exp(x - y) + 1) + y),
    Case("jax.numpy.arctan2", "float32", (3e-23, 4e-23), lambda y, x: _mp().atan2(y, x)),
    Case("jax.numpy.power", "float64", (0.0, 0.0), lambda x, y: x**y),
    Case("jax.numpy.vander", "float64", ([0.0, 2.0],), lambda x: sum(v + 1 for v in x)),
    Case("jax.scipy.special.bessel_jn", "float64", (0.01,), _bessels, keywords={"v": 2}),
    Case("jax.nn.gelu", "float32", (1e25,), _gelu_tanh),
    Case("torch.nn.functional.hardsigmoid", "float64", (1.0,), lambda x: x / 6 + _mp().mpf(1) / 2),
    Case("torch.nn.functional.binary_cross_entropy", "float64", (1e-14, 0.0), _cross_entropy),
    Case("torch.nn.functional.cosine_similarity", "float64", ([1e-9, 2e-9], [1.0, 3.0]), _cosine, keywords={"dim": 0}),
    Case("torch.nn.functional.soft_margin_loss", "float32", (-100.0, 1.0), _soft_margin),
    Case("torch.linalg.det", "float64", ([[1.0, 2.0], [2.0, 4.0]],), lambda a: a[0, 0] * a[1, 1] - a[0, 1] * a[1, 0]),
    Case("torch.special.log_ndtr", "float64", (-1e8,), _log_ndtr),
    Case("torch.special.i0e", "float32", (1e8,), lambda x: _mp().besseli(0, x) * _mp().exp(-x)),
    Case("torch.special.erfcx", "float64", (1e8,), lambda x: _mp().exp(x * x) * _mp().erfc(x)),
    Case("torch.atan2", "float32", (3e-23, 4e-23), lambda y, x: _mp().atan2(y, x)),
)  # fmt: skip


def _function(case: Case) -> Callable[..., Any]:
    module, _, name = case.function.rpartition(".")
    function = getattr(importlib.import_module(module), name)
    return lambda *a: function(*a, **case.keywords)


def _theirs(case: Case, f: Callable[..., Any], arrays: Sequence[Any]) -> float:
    if case.framework == "torch":
        import torch

        tensors = [torch.from_numpy(np.array(a)) for a in arrays]
        f(tensors[0].requires_grad_(), *tensors[1:]).sum().backward()
        return float(tensors[0].grad.ravel()[case.place])
    if case.framework == "jax":
        import jax

        with jax.enable_x64(True):
            return float(jax.grad(lambda *a: f(*a).sum())(*map(jax.numpy.asarray, arrays)).ravel()[case.place])
    raise ValueError(f"function: expected one of {' or '.join(TITLES)}, got {case.function!r}")


def _right(case: Case, arrays: Sequence[Any]) -> float:
    """The slope of ``exact`` in mpmath's arithmetic."""
    mp = _mp()
    with mp.workdps(DIGITS):
        numbers = [np.frompyfunc(lambda v: mp.mpf(float(v)), 1, 1)(np.atleast_1d(a)) for a in arrays]
        x = numbers[0].ravel()[case.place]
        step = mp.ldexp(abs(x) or mp.mpf(1), -200)

        def at(moved: Any) -> Any:
            first = numbers[0].copy()
            first.flat[case.place] = moved
            given = [first, *numbers[1:]]
            return case.exact(*(v if a.ndim else v[0] for v, a in zip(given, arrays, strict=True)))

        return float((at(x + step) - at(x - step)) / (2 * step))


def _verdict(case: Case, f: Callable[..., Any], arrays: Sequence[Any]) -> str:
    from nbgrad.testing import GradientError, check_autograd

    one = np.ones((), arrays[0].dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            report = check_autograd(lambda *a: f(*a).sum(), *arrays, framework=case.framework, wrt=0, grad_output=one)
        except GradientError as error:
            return error.verdict
    return "undecided" if report.undecided else "passed"


def look(case: Case) -> dict[str, Any]:
    """A row: what the library says, what is right, what nbgrad.testing says."""
    arrays = [np.array(a, case.dtype) for a in case.arguments]
    f = _function(case)
    theirs, right = _theirs(case, f, arrays), _right(case, arrays)
    with np.errstate(invalid="ignore"):
        wrong = not abs(theirs - right) <= float(np.finfo(case.dtype).eps) ** 0.5 * abs(right)
    return {
        "function": case.shown, "dtype": case.dtype, "theirs": repr(theirs), "right": repr(right), "reproduces": wrong,
        "verdict": _verdict(case, f, arrays),
    }  # fmt: skip


def _pair(theirs: float, right: float) -> tuple[str, str]:
    """With the digits that tell them apart."""
    for digits in range(3, 17):
        shown = f"{theirs:.{digits}g}", f"{right:.{digits}g}"
        if len({f"{v:.{digits - 1}g}" for v in (theirs, right)}) > 1:
            break
    return shown


def table(result: dict[str, Any]) -> Table:
    rows = []
    for row in result["rows"]:
        theirs, right = _pair(float(row["theirs"]), float(row["right"]))
        found = row["verdict"] if row["reproduces"] else "does not reproduce"
        rows.append([f"`{row['function']}`", row["dtype"], theirs, right, found])
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    header = [f"derivative in the first number: {versions}", "dtype", "theirs", "right", "nbgrad.testing"]
    return Table("wrong gradients", header, rows)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", default="", help="functions whose name has this in it")
    parser.add_argument(
        "--save", nargs="?", const=str(FILE), metavar="FILE.json", help="without a name: bench/results/defects.json"
    )


def run(arguments: argparse.Namespace) -> None:
    there = [name for name in TITLES if importlib.util.find_spec(name)]
    for name in TITLES:
        if name not in there:
            print(f"not looked at: {TITLES[name]}: it is not installed")
    rows = [look(case) for case in CASES if case.framework in there and arguments.only in case.function]
    result = {"versions": {TITLES[name]: importlib.metadata.version(name) for name in there}, "rows": rows}
    print(markdown(table(result)))
    if arguments.save:
        Path(arguments.save).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
