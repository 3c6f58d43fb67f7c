"""`gradient_test`: a property of a gradient that hypothesis tries to refute."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from nbgrad.testing.examples.search import search
from nbgrad.testing.examples.specs import Spec, drawing
from nbgrad.testing.forward_mode import check_jvp, jvp_case
from nbgrad.testing.frameworks.adapters import autograd_case, check_autograd
from nbgrad.testing.frameworks.tree import flatten, names
from nbgrad.testing.gradient import Case, check_gradient, functions, gradient_case
from nbgrad.testing.objectives import check_hessp, check_objective, hessp_case, objective_case
from nbgrad.testing.report import GradientReport, name_of

__all__ = ["gradient_test"]

#: check: (its functions, what makes a `Case` of them and of arguments)
CASES: dict[Callable[..., Any], tuple[tuple[str, ...], Callable[..., Case]]] = {
    check_gradient: (("forward", "backward"), gradient_case),
    check_autograd: (("f",), autograd_case),
    check_objective: (("f",), objective_case),
    check_hessp: (("gradient", "hessp"), hessp_case),
    check_jvp: (("forward", "jvp"), jvp_case),
}
#: What is drawn, or belongs to the specs.
DRAWN = ("rng", "grad_output", "v", "kinks", "symmetric")


def gradient_test(
    *functions_and_specs: Any, check: Callable[..., Any] = check_gradient, settings: Any = None, **keywords: Any
) -> Callable[..., None]:
    """A test without arguments that draws the arguments of a function from specs and checks its gradient.

    ``gradient_test(forward, backward, *specs)`` makes `check_gradient`; with ``check=check_autograd``,
    ``check_objective``, ``check_hessp`` or ``check_jvp`` it makes that one, whose functions come first, then a spec in
    place of each array: `array`, `labels`, `simplex`, `symmetric`, any hypothesis strategy of arrays and numbers, or
    (for ``check_autograd``) tuples and dicts of such. ``keywords`` are the check's: ``wrt``, ``rtol``, ``reference``,
    ``args``, ``framework``, ``strict``, ...

    Call it, or let pytest collect it, in a module or in a class: ``test_my_kernel = gradient_test(...)``. A failing
    example is made smaller, for a second or two; the `GradientError` has the code that repeats it without hypothesis,
    and the lines of your functions that ran for no example that passed. ``settings``: `hypothesis.settings`, by
    default the loaded profile without a deadline (the first example may compile). One `GradientWarning` tells of all
    examples; after a call the test's attribute ``report`` has the reports of all, added up.

    ImportError without hypothesis; TypeError for arguments of a wrong kind.

    Returns
    -------
    function
        The test, without arguments, with the attribute ``report``.

    Examples
    --------
    >>> from nbgrad.testing import array, check_objective
    >>> test_square = gradient_test(lambda x: x * x, lambda g, x: g * 2 * x, array(3, domain=(-100, 100)))
    >>> test_square()
    >>> test_square.report.confirmed > 0
    True
    >>> gradient_test(lambda x: (x @ x, 2 * x), array(3, domain=(-100, 100)), check=check_objective)()
    """
    drawing()
    import hypothesis

    if check not in CASES:
        known = ", ".join(c.__name__ for c in CASES)
        raise TypeError(f"check: expected one of {known}, got {getattr(check, '__name__', check)!r}")
    leading, make = CASES[check]
    given = [*functions_and_specs, *[None] * len(leading)]
    called = functions(**dict(zip(leading, given, strict=False)))
    specs, back = _specs(functions_and_specs[len(leading) :], nested=check is check_autograd)
    for name in keywords:
        if name in DRAWN or name not in inspect.signature(check).parameters:
            raise TypeError(f"gradient_test: {check.__name__} with specs has no keyword {name!r}")
    if settings is not None and not isinstance(settings, hypothesis.settings):
        raise TypeError(f"settings: expected hypothesis.settings, got {type(settings).__name__}")
    title = f"gradient_test_of_{name_of(called[leading[0]], leading[0])[0].replace('.', '_')}"

    def case(arguments: Sequence[Any]) -> Case:
        return make(*called.values(), *back(arguments), **keywords)

    def test(_: Any = None, /) -> None:  # in a class it is a method; pytest warns of tests that return something
        __tracebackhide__ = True
        found: list[GradientReport] = []
        try:
            search(title, case, specs, found, settings, bool(keywords.get("layouts", True)))
        finally:
            test.report = sum(found, GradientReport())  # type: ignore[attr-defined]

    test.__name__ = test.__qualname__ = title
    test.__doc__ = f"The gradient of {title.removeprefix('gradient_test_of_')}, on examples drawn by hypothesis."
    return test


def _specs(given: Sequence[Any], nested: bool) -> tuple[list[Spec], Callable[[Sequence[Any]], Any]]:
    """(a spec for each array, the way back to the check's arguments)"""
    from hypothesis.strategies import SearchStrategy

    if not given:
        raise TypeError("specs: expected one for each argument, got none")
    leaves, back = flatten(tuple(given)) if nested else (list(given), list)
    labels = names(tuple(given), "specs") if nested else [f"specs[{i}]" for i in range(len(given))]
    found = [Spec(spec) if isinstance(spec, SearchStrategy) else spec for spec in leaves]
    for label, spec in zip(labels, found, strict=True):
        if not isinstance(spec, Spec):
            raise TypeError(
                f"{label}: expected array(), labels(), simplex(), symmetric() or a strategy, got {type(spec).__name__}"
            )
    return found, back
