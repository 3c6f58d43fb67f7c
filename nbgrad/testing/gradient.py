"""`check_gradient`: one backward function at one point."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np

from nbgrad.jit.arithmetic import arithmetic
from nbgrad.testing.argument import LARGE, ULPS, check_argument
from nbgrad.testing.compare import References
from nbgrad.testing.hints import of_nothing
from nbgrad.testing.inputs import as_arguments, default_wrt, mirrored, of_numbers, of_whole
from nbgrad.testing.options import generator_of, grad_output_of, kinks_of, tolerance_of
from nbgrad.testing.oracle.conditioning import Sensitivity
from nbgrad.testing.oracle.exact import Exact
from nbgrad.testing.oracle.precision import Precision, evaluated, wider
from nbgrad.testing.oracle.screen import Screen
from nbgrad.testing.problem import Problem
from nbgrad.testing.properties import check_layout, check_linear, check_out, check_repeatable
from nbgrad.testing.report import VERDICTS, Call, GradientError, GradientReport, number, warn

__all__ = ["ULPS", "Case", "check", "check_gradient", "functions", "gradient_case"]


def check_gradient(
    forward: Callable[..., Any],
    backward: Callable[..., Any],
    *args: Any,
    wrt: int | Sequence[int] | None = None,
    kinks: Any = (),
    rtol: float | None = None,
    grad_output: Any = None,
    rng: Any = None,
    reference: Callable[..., Any] | None = None,
    terms: Callable[..., Any] | None = None,
    strict: bool = False,
    layouts: bool = True,
    symmetric: int | Sequence[int] = (),
) -> GradientReport:
    """Hold ``backward(grad_output, *args)``, the gradient Σ_o grad_output_o · ∂forward_o/∂args, against the values of
    ``forward(*args)``; `GradientError` if it is wrong.

    ``args``: NumPy arrays or numbers; ``backward`` returns an array, or a tuple with one for each argument (None for
    those without gradient). ``wrt``: the arguments to check (numbers from 0), by default all floats that have a
    gradient. ``kinks``: inputs where the derivative jumps, for all arguments, or a dict {argument: inputs}. ``rtol``:
    the relative error that is granted (by default `ULPS` eps, of the argument's dtype). ``grad_output``: by default
    drawn from ``rng`` (a `numpy.random.Generator` or a seed), as are the sampled elements. ``reference``: the same
    function as ``forward`` for arrays of objects, mpmath's numbers, which sees what differences of floats cannot.
    ``terms``: a function with backward's arguments and form of result, the sizes of the terms that backward adds up
    where they are larger than the gradient: rtol times these is granted too. (The gradient y(g − Σ gy) of a softmax
    cancels where a class is sure.) ``layouts``: False for functions that take C-contiguous arrays only, which is then
    no fault. ``symmetric``: the arguments that are symmetric matrices; they stay so when they are moved, and what
    counts is the gradient's symmetric part.

    A relative error beyond √eps of the argument's dtype is wrong. One between the tolerance and √eps is wrong, too,
    unless it behaves as rounding does and changes with the last bits of the inputs: then the gradient is imprecise,
    which the report counts and a `GradientWarning` tells; a `GradientError` where ``strict`` is True.

    A tolerance is derived, never an absolute constant: the differences' error bar, and rtol times (the terms of the
    gradient's sum + what relative errors of the inputs do to it). An element that no precision can decide is no
    error; the report counts it, and where that is all of them a `GradientWarning` (``strict``: an error) says so and
    why. TypeError and ValueError for arguments of a wrong kind.

    Returns
    -------
    GradientReport

    Examples
    --------
    >>> def square(x):
    ...     return x * x
    >>> check_gradient(square, lambda g, x: g * 2 * x, np.array([1.0, -3.0, 0.0]))
    GradientReport: 3 elements, 3 confirmed, 0 at kinks, 0 undecided; worst ... ulps; differences in ...
    >>> check_gradient(square, lambda g, x: g * x, np.array([1.0, -3.0, 0.0]), grad_output=np.ones(3))
    Traceback (most recent call last):
        ...
    nbgrad.testing.report.GradientError: wrong: the gradient of args[0] at (1,)...
    """
    return gradient_case(
        forward, backward, *args, wrt=wrt, kinks=kinks, rtol=rtol, grad_output=grad_output, rng=rng,
        reference=reference, terms=terms, layouts=layouts, symmetric=symmetric, strict=strict,
    ).check()  # fmt: skip


@dataclass
class Case:
    """What a check makes of its arguments: a forward and a backward function of ``arrays``, how the caller said it,
    and the keywords of `check`. `gradient_test` makes many.
    """

    forward: Callable[..., Any]
    backward: Callable[..., Any]
    arrays: Sequence[Any]
    call: Call
    options: Mapping[str, Any] = field(default_factory=dict)

    def check(self, **options: Any) -> GradientReport:
        if how := arithmetic():
            raise RuntimeError(
                f"arithmetic: expected the default, which the error bars are made for, but in this thread {how} (as by "
                "torch.set_flush_denormal(True), or by a library compiled with -ffast-math)"
            )
        with np.errstate(all="ignore"):
            return check(self.forward, self.backward, self.arrays, self.call, **{**self.options, **options})


def functions(**given: Any) -> dict[str, Callable[..., Any]]:
    """The functions as they were given, by name; TypeError for what is none."""
    for name, function in given.items():
        if not callable(function):
            raise TypeError(f"{name}: expected a function, got {type(function).__name__}")
    return given


def gradient_case(
    forward: Callable[..., Any], backward: Callable[..., Any], *args: Any, layouts: bool = True, **options: Any
) -> Case:
    """What `check_gradient` checks."""
    given = functions(forward=forward, backward=backward)
    call = Call("check_gradient", given, [], {"layouts": layouts and None})
    return Case(forward, backward, args, call, {"layouts": layouts, **options})


def check(
    forward: Callable[..., Any], backward: Callable[..., Any], args: Sequence[Any], call: Call, *, wrt: Any = None,
    kinks: Any = (), rtol: Any = None, grad_output: Any = None, rng: Any = None, reference: Any = None,
    terms: Any = None, domains: Mapping[int, tuple[float, float]] | None = None, layouts: bool = True,
    symmetric: Any = (), strict: bool = False, tell: Callable[[str], None] = warn, coarse: float = 0.0,
    alone: bool = True,
) -> GradientReport:  # fmt: skip
    """`check_gradient` for all its relatives: ``call`` says how the reproducer calls it, ``tell`` is called with what
    is no error unless ``strict``, once. ``alone``: a check that has confirmed nothing tells that, too.
    """
    for name, function in (("reference", reference), ("terms", terms)):
        if function is not None and not callable(function):
            raise TypeError(f"{name}: expected a function, got {type(function).__name__}")
    arrays = as_arguments(args)
    for key, value in {"reference": reference, "terms": terms, "wrt": wrt, "kinks": kinks}.items():
        call.keywords.setdefault(key, value)  # a relative may have given them otherwise
    numbers = {
        i: None if isinstance(a, np.generic) else arrays[i].dtype
        for i, a in enumerate(args)
        if not isinstance(a, np.ndarray)
    }
    if numbers:
        forward, backward = of_numbers(forward, numbers), of_numbers(backward, numbers, True)
        reference, terms = reference and of_numbers(reference, numbers), terms and of_numbers(terms, numbers, True)
    jumps = kinks_of(kinks, arrays)
    tolerance = tolerance_of(rtol)
    seed, generator = generator_of(rng)
    call.arguments[:] = [args[i] if i in numbers else a for i, a in enumerate(arrays)]
    call.keywords.update(rtol=rtol, rng=seed, strict=strict or None)
    places = of_whole(symmetric, arrays)
    if places:
        call.keywords.setdefault("symmetric", places)
        forward, backward = mirrored(forward, places), mirrored(backward, places, True)
        reference, terms = reference and mirrored(reference, places), terms and mirrored(terms, places, True)
    problem = Problem(forward, backward, arrays, default_wrt(arrays, wrt), call, terms)
    problem.coarse = coarse

    problem.value_here = value = np.array(problem.value(arrays))
    problem.unchanged(call.names[0])
    problem.grad_output = g = grad_output_of(grad_output, value, generator)
    call.keywords["grad_output"] = g
    # What is kept from a call for the next one shows itself if other arguments come between.
    other = [a * a.dtype.type(0.875) if a.dtype.kind == "f" else a for a in problem.pristine]
    evaluated(forward, other)
    evaluated(backward, [g.copy(), *other])
    kept = g.copy()
    grads = {i: v.copy() for i, v in problem.gradients(g, arrays).items()}
    problem.unchanged(call.names[1], g, kept)
    check_repeatable(problem, grads)

    precisions = wider(forward, problem.pristine, value)
    large = max((v.size for v in grads.values()), default=0) >= LARGE
    if large:  # the fast precision first
        fast = Precision("float64", forward, problem.pristine, value, value.dtype)
        precisions = [fast] * (value.dtype == np.float64 != precisions[0].dtype) + precisions
    exact = Exact(forward, reference, problem.pristine, value)
    references = References(precisions, g, generator)
    sensitivity = problem.sensitivity()
    report = GradientReport()
    complete = True
    imprecise: list[GradientError] = []
    limits = {i: (domains or {}).get(i, (-np.inf, np.inf)) for i in grads}
    room = {i: _room(problem, grads[i], s, tolerance) for i, s in sensitivity.items()}

    def one(i: int, chosen: Any = None) -> tuple[GradientReport, bool]:
        known = i, grads[i], jumps.get(i, ()), limits[i], tolerance, sensitivity[i], imprecise
        return check_argument(problem, references, exact, *known, chosen)

    def screened(precision: Precision) -> Screen:
        screen = Screen(precision, g, grads, room, limits, generator)
        for rows, off in screen.doubtful() if screen.tied or not complete else ():
            for i in dict.fromkeys(rows[:, 0].tolist()):
                one(i, rows[rows[:, 0] == i, 1])
            if len(rows) > 1 and off > problem.eps(value.dtype) ** 0.5:
                _fail_tied(problem, rows, off)
        return screen

    for i in grads:
        part, all_elements = one(i)
        report, complete = report + part, complete and all_elements
    if large and len(precisions) > 1:
        screened(precisions[0])
    screen = screened(precisions[-1])
    check_linear(problem, grads, room)
    if layouts:
        check_layout(problem, grads, room, 2 * ULPS * problem.eps(value.dtype) * _terms(problem, grads))
    check_out(problem, grads)
    if not complete and not screen.sure:
        _check_nearby(problem, generator, tolerance, limits)
    check_repeatable(problem, grads)
    if imprecise:
        if strict:
            raise imprecise[0]
        tell(imprecise[0].args[0])
    elif alone and report.nothing:
        said = f"{VERDICTS['unconfirmed']}; {report.elements} undecided{of_nothing(problem)}"
        error = problem.error("unconfirmed", said)
        if strict:
            raise error
        tell(error.args[0])
    return report


def _terms(problem: Problem, grads: Mapping[int, Any]) -> float:
    """What forward's sums may be made of: their values, or by the gradients what they add up."""
    value, g = problem.value_here, np.abs(problem.grad_output)
    with np.errstate(all="ignore"):
        parts = [np.abs(problem.pristine[i].astype(np.float64) * grads[i]) for i in grads]
        added = sum(float(p.sum(where=np.isfinite(p))) for p in parts) / float(g.min(initial=np.inf, where=g > 0))
    return float(np.abs(value).max(initial=0, where=np.isfinite(value))) + (added if np.isfinite(added) else 0)


def _fail_tied(problem: Problem, rows: Any, off: float) -> NoReturn:
    """Each of them may be a one-sided derivative, but not all at once."""
    places = [(i, tuple(int(v) for v in np.unravel_index(p, problem.pristine[i].shape))) for i, p in rows.tolist()]
    named = [f"{problem.call.label(i)} at {index}" for i, index in places[:4]]
    where = ", ".join(named) + (", ..." if places[4:] else "")
    i, index = places[0]
    problem.fail(
        "kink",
        f"{len(places)} elements are equal, {number(problem.pristine[i][index])}: {where}. Their gradients add up to "
        f"another number than the derivative of forward when they move together: {off:.3g} of its size apart",
        argument=i, index=index,
    )  # fmt: skip


def _room(problem: Problem, gradient: Any, sensitivity: Sensitivity, tolerance: float | None) -> Any:
    rtol = ULPS * problem.eps(gradient.dtype) if tolerance is None else tolerance
    every = sensitivity.terms + sensitivity.change + sensitivity.given
    return np.nan_to_num(rtol * every, nan=0.0, posinf=0.0)


def _check_nearby(
    problem: Problem, rng: Any, tolerance: float | None, domains: Mapping[int, tuple[float, float]]
) -> None:
    """At a point nearby without ties and kinks, where each of many might take another side: the sums along directions
    alone.
    """
    moved = []
    for i, a in enumerate(problem.pristine):
        if a.dtype.kind == "f":
            with np.errstate(all="ignore"):
                away = np.where(
                    a == 0, rng.uniform(2.0**-6, 2.0**-5, a.shape), a * rng.uniform(1 - 2.0**-5, 1 - 2.0**-8, a.shape)
                )
            low, high = domains.get(i, (-np.inf, np.inf))
            a = np.where((away > low) & (away < high), away, a).astype(a.dtype)
        moved.append(a)
    value = evaluated(problem.forward, moved)
    if value is None or value.shape != problem.value_here.shape or not np.isfinite(value).all():
        return
    there = Problem(problem.forward, problem.backward, moved, problem.wrt, problem.call, problem.terms)
    there.value_here, there.grad_output, there.coarse = value, problem.grad_output, problem.coarse
    grads = {i: v.copy() for i, v in there.gradients(problem.grad_output.copy(), moved).items()}
    room = {i: _room(there, grads[i], s, tolerance) for i, s in there.sensitivity().items()}
    precision = wider(problem.forward, moved, value)[-1]
    for rows, off in Screen(precision, problem.grad_output, grads, room, domains, rng).doubtful():
        if off > problem.eps(value.dtype) ** 0.5:
            i, place = rows[0].tolist()
            index = tuple(int(v) for v in np.unravel_index(place, moved[i].shape))
            problem.fail(
                "wrong",
                "the gradients are not the adjoint of the derivative at a point nearby, where no elements are equal: "
                f"the gradient of {problem.call.label(i)} at {index} is {off:.3g} of its size apart from "
                f"differences in {precision.name}",
                argument=i, index=index, value=grads[i].flat[place],
            )  # fmt: skip
