"""`check_jvp`: derivatives along a direction, as forward-mode differentiation makes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nbgrad.testing.gradient import ULPS, Case, functions
from nbgrad.testing.inputs import as_arguments, default_wrt
from nbgrad.testing.problem import Misfit
from nbgrad.testing.report import Call, GradientError, GradientReport

__all__ = ["check_jvp", "jvp_case"]

#: Of how many outputs of a wrong derivative the one that is wrong is looked for.
OUTPUTS = 16


def check_jvp(
    forward: Callable[..., Any],
    jvp: Callable[..., Any],
    *args: Any,
    wrt: int | Sequence[int] | None = None,
    kinks: Any = (),
    rtol: float | None = None,
    rng: Any = None,
    reference: Callable[..., Any] | None = None,
    layouts: bool = True,
    strict: bool = False,
) -> GradientReport:
    """Hold ``jvp(*args, *tangents)``, the derivative Σ_i ∂forward/∂args_i · tangent_i (of forward's shape and dtype),
    against the values of ``forward(*args)``.

    ``tangents``: one for each of the arguments ``wrt`` (by default all of floats), of its shape and dtype. Every
    column of the derivative is checked, by tangents of one 1 and zeros, and then that a drawn tangent gives their sum.
    The other arguments: `check_gradient`.

    Returns
    -------
    GradientReport

    Examples
    --------
    >>> check_jvp(np.multiply, lambda x, y, dx, dy: dx * y + x * dy, np.array([1.0, 2.0]), np.array([3.0, 4.0]))
    GradientReport: 4 elements, 4 confirmed, 0 at kinks, 0 undecided; worst ... ulps; differences in ...
    """
    options = {"kinks": kinks, "rtol": rtol, "rng": rng, "reference": reference, "strict": strict}
    return jvp_case(forward, jvp, *args, wrt=wrt, layouts=layouts, **options).check()


def jvp_case(
    forward: Callable[..., Any], jvp: Callable[..., Any], *args: Any, wrt: Any = None, layouts: bool = True,
    **options: Any,
) -> Case:  # fmt: skip
    """What `check_jvp` checks: the transpose of its columns is a backward function."""
    given = functions(forward=forward, jvp=jvp)
    arrays = as_arguments(args)
    places = default_wrt(arrays, wrt) or tuple(i for i, a in enumerate(arrays) if a.dtype.kind == "f")

    def transposed(grad_output: Any, *arrays: Any) -> tuple[Any, ...]:
        grad_output = np.asarray(grad_output)
        wide = np.result_type(grad_output, np.float64)
        grads: list[Any] = [None] * len(arrays)
        for i in places:
            x = np.asarray(arrays[i])
            grads[i] = np.zeros(x.shape, x.dtype)
            for index in np.ndindex(x.shape):
                column = _along(jvp, arrays, _units(arrays, places, i, index), grad_output)
                grads[i][index] = (grad_output.astype(wide) * column).sum()
        return tuple(grads)

    call = Call(
        "check_jvp", given, [], {"wrt": wrt, "layouts": layouts and None}, ("grad_output",), names=("forward", "jvp")
    )
    options |= {"wrt": places, "layouts": layouts}
    return _Columns(forward, transposed, list(args), call, options, jvp=jvp, places=places)


def _along(jvp: Callable[..., Any], arrays: Sequence[Any], tangents: Sequence[Any], like: Any) -> Any:
    """jvp's result, of forward's shape and dtype."""
    found = np.asarray(jvp(*arrays, *tangents))
    if found.shape != like.shape:
        raise Misfit("shape", f"returned an array of shape {found.shape}, expected forward's {like.shape}")
    if found.dtype != like.dtype:
        raise Misfit("dtype", f"returned {found.dtype}, expected forward's {like.dtype}")
    return found


def _units(arrays: Sequence[Any], places: Sequence[int], i: int, index: tuple[int, ...]) -> list[Any]:
    """Tangents that are 0 but for a 1 at ``index`` of argument ``i``."""
    tangents = [np.zeros(np.shape(arrays[j]), np.asarray(arrays[j]).dtype) for j in places]
    tangents[places.index(i)][index] = 1
    return [t if isinstance(arrays[j], np.ndarray) else t[()] for j, t in zip(places, tangents, strict=True)]


@dataclass
class _Columns(Case):
    jvp: Any = None
    places: tuple[int, ...] = ()

    def check(self, **options: Any) -> GradientReport:
        try:
            report = super().check(**options)
        except GradientError as error:
            if error.verdict in ("wrong", "imprecise", "kink") and error.index is not None:
                self._of_one_output(error, options)
            raise
        self._sum_of_columns(options)
        return report

    def _of_one_output(self, error: GradientError, options: Any) -> None:
        """The same error in the function's own numbers: of the sum over outputs the one that is wrong."""
        arrays = as_arguments(self.arrays)
        shape = np.shape(self.forward(*self.arrays))
        if shape == arrays[error.argument or 0].shape:
            outputs = [error.index or ()]
        else:
            outputs = list(np.ndindex(shape))[:OUTPUTS]
        for output in outputs:
            one = np.zeros(shape)
            one[output] = 1
            self.call.note = f"\n  output     {output}, along a tangent of one 1, at the element above"
            super().check(**{**options, "grad_output": one})
        self.call.note = ""

    def _sum_of_columns(self, options: Any) -> None:
        """A drawn tangent gives the sum of the columns, each times its element."""
        arrays, call = self.arrays, self.call
        value = np.asarray(self.forward(*arrays))
        rng = np.random.default_rng(call.keywords["rng"])
        drawn = [np.asarray(rng.uniform(0.5, 2, np.shape(arrays[i]))) for i in self.places]
        tangents = [t.astype(np.asarray(arrays[i]).dtype) for i, t in zip(self.places, drawn, strict=True)]
        tangents = [
            t if isinstance(arrays[i], np.ndarray) else t[()] for i, t in zip(self.places, tangents, strict=True)
        ]
        details: dict[str, Any] = {"reproducer": call.code(), "arguments": tuple(call.arguments)}
        try:
            with np.errstate(all="ignore"):
                found = _along(self.jvp, arrays, tangents, value)
        except Exception as error:
            message = f"jvp raised {type(error).__name__} for a tangent that is not 0 anywhere: {error}"
            raise GradientError(getattr(error, "verdict", "raised"), message, **details) from error
        expected, size = np.zeros((2, *value.shape), np.result_type(value, np.float64))
        with np.errstate(all="ignore"):
            for i, tangent in zip(self.places, tangents, strict=True):
                for index in np.ndindex(np.shape(arrays[i])):
                    column = self.jvp(*arrays, *_units(arrays, self.places, i, index)) * np.asarray(tangent)[index]
                    expected, size = expected + column, size + np.abs(column)
            info = np.finfo(value.dtype)
            room = 4 * ULPS * float(info.eps) * size + 64 * float(info.tiny)
            outside = np.isfinite(expected) & ~(np.abs(found - expected) <= room)
        if outside.any():
            index = tuple(int(v) for v in np.argwhere(outside)[0])
            raise GradientError(
                "not linear",
                f"jvp gives {found[index]!r} at {index} for the tangents {[np.asarray(t).tolist() for t in tangents]}, "
                f"but the tangents of their elements, one at a time, add up to {expected[index]!r}",
                index=index, value=found[index], reference=expected[index], **details,
            )  # fmt: skip
