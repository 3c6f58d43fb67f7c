"""`gradient_test`: a property of a backward function that hypothesis tries to refute."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nbgrad.testing.check import check
from nbgrad.testing.report import Call, GradientError, GradientReport, name_of, warn
from nbgrad.testing.specs import Spec, drawing

__all__ = ["gradient_test"]


def gradient_test(
    forward: Callable[..., Any], backward: Callable[..., Any], *specs: Any, settings: Any = None, wrt: Any = None,
    rtol: float | None = None, reference: Callable[..., Any] | None = None, terms: Callable[..., Any] | None = None,
    strict: bool = False,
) -> Callable[[], None]:  # fmt: skip
    """A test without arguments that draws the arguments of ``forward`` from ``specs`` and makes `check_gradient`.

    Call it, or let pytest collect it: ``test_my_kernel = gradient_test(...)``. A failing example is shrunk to a
    minimal one; the `GradientError` has the code that repeats it without hypothesis. ``specs``: `array`, `labels`,
    `simplex`, or any hypothesis strategy of arrays and numbers. ``settings``: `hypothesis.settings`, by default the
    loaded profile without a deadline (the first example may compile). ``wrt``, ``rtol``, ``reference``, ``terms``
    and ``strict`` are `check_gradient`'s; one `GradientWarning` tells of all examples. After a call its attribute
    ``report`` has the reports of all examples, added up.

    ImportError without hypothesis; TypeError for arguments of a wrong kind.

    >>> from nbgrad.testing import array
    >>> test_square = gradient_test(lambda x: x * x, lambda g, x: g * 2 * x, array(3, domain=(-100, 100)))
    >>> test_square()
    >>> test_square.report.confirmed > 0
    True
    """
    strategies = drawing()
    import hypothesis
    from hypothesis import strategies as st

    for name, function in (("forward", forward), ("backward", backward)):
        if not callable(function):
            raise TypeError(f"{name}: expected a function, got {type(function).__name__}")
    if not specs:
        raise TypeError("specs: expected one for each argument of forward, got none")
    found = []
    for i, spec in enumerate(specs):
        if isinstance(spec, st.SearchStrategy):
            spec = Spec(spec)
        if not isinstance(spec, Spec):
            raise TypeError(
                f"specs[{i}]: expected array(), labels(), simplex() or a strategy, got {type(spec).__name__}"
            )
        found.append(spec)
    if settings is not None and not isinstance(settings, hypothesis.settings):
        raise TypeError(f"settings: expected hypothesis.settings, got {type(settings).__name__}")
    kinks = {i: spec.kinks for i, spec in enumerate(found) if spec.kinks}
    domains = {i: spec.domain for i, spec in enumerate(found)}
    total: list[GradientReport] = []
    failed: list[GradientError] = []
    told: list[str] = []
    title = name_of(forward, "forward")[0].replace(".", "_")

    def run(data: Any) -> None:
        arguments = [data.draw(spec.strategy, label=f"args[{i}]") for i, spec in enumerate(found)]
        seed = data.draw(st.integers(0, 2**20), label="rng")
        value = _value(forward, arguments)
        g = None if value is None else data.draw(strategies.grad_outputs(value.shape, value.dtype), label="grad_output")
        call = Call("check_gradient", {"forward": forward, "backward": backward}, [])
        try:
            total.append(
                check(
                    forward, backward, arguments, call, wrt=wrt, kinks=kinks, rtol=rtol, grad_output=g, rng=seed,
                    reference=reference, terms=terms, domains=domains, strict=strict, tell=told.append,
                )
            )  # fmt: skip
        except GradientError as error:
            failed.append(error)
            raise

    run.__name__ = run.__qualname__ = f"gradient_test_of_{title}"
    changes: dict[str, Any] = {"report_multiple_bugs": False}
    if settings is None:
        changes["deadline"] = None

    def test() -> None:  # pytest warns of tests that return something
        total.clear()
        failed.clear()
        told.clear()
        chosen = hypothesis.settings(settings or hypothesis.settings.default, **changes)
        try:
            chosen(hypothesis.given(st.data())(run))()
        except hypothesis.errors.Flaky:  # a function that is not repeatable: the error that was seen says so
            if failed:
                raise failed[-1] from None
            raise
        finally:
            test.report = sum(total, GradientReport())  # type: ignore[attr-defined]
        if told:
            warn(told[0] + (f"\n(and {len(told) - 1} more examples)" if told[1:] else ""))

    test.__name__ = test.__qualname__ = run.__name__
    test.__doc__ = f"The gradient of {title}, on examples drawn by hypothesis."
    return test


def _value(forward: Callable[..., Any], arguments: Any) -> Any:
    """forward's result, whose shape grad_output needs; what raises or is no array of floats is reported by `check`."""
    try:
        with np.errstate(all="ignore"):
            value = np.asarray(forward(*(a.copy() if isinstance(a, np.ndarray) else a for a in arguments)))
    except Exception:
        return None
    return value if value.dtype.kind == "f" else None
