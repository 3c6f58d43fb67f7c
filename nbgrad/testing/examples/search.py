"""Hypothesis' search for an example that refutes a gradient: how it is bounded, and what a failing one tells."""

from __future__ import annotations

import linecache
import sys
import sysconfig
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nbgrad.testing.examples.specs import Spec, drawing
from nbgrad.testing.gradient import Case
from nbgrad.testing.report import GradientError, GradientReport, warn

__all__ = ["search"]

#: For how long a failing example is made smaller, and lines that explain it are looked for, in seconds.
SHRINKING, EXPLAINING = 1.5, 1.0
#: How many examples that passed are kept to be compared with the failing one, and how many lines are shown.
KEPT, SHOWN = 40, 5


def search(
    title: str, case: Callable[[Sequence[Any]], Case], specs: Sequence[Spec], reports: list[GradientReport],
    settings: Any, layouts: bool,
) -> None:  # fmt: skip
    """Draw arguments from ``specs`` and check ``case`` of them; raise the smallest example's error. The reports of
    those that pass are added to ``reports``.
    """
    __tracebackhide__ = True  # pytest shows the error, not our frames
    strategies = drawing()
    import hypothesis
    from hypothesis import strategies as st

    symmetric = tuple(i for i, spec in enumerate(specs) if spec.symmetric)
    options = {
        "kinks": {i: spec.kinks for i, spec in enumerate(specs) if spec.kinks},
        "domains": {i: spec.domain for i, spec in enumerate(specs)},
        **({"symmetric": symmetric} if symmetric else {}),
    }
    #: By their bits, so that hypothesis sees the same again whatever the function does and however late it is.
    told: list[str] = []
    passed: set[int] = set()
    last: deque[tuple[Case, Any]] = deque(maxlen=KEPT)
    failed: dict[int, tuple[Case, Any, GradientError]] = {}
    first = [0.0]

    def run(data: Any) -> None:
        arguments = [data.draw(spec.strategy, label=f"args[{i}]") for i, spec in enumerate(specs)]
        if not layouts:
            arguments = [np.array(a, order="C") if isinstance(a, np.ndarray) else a for a in arguments]
        seed = data.draw(st.integers(0, 2**20), label="rng")
        made = case(arguments)
        g = made.options.get("grad_output")
        if g is None:
            value = _value(made)
            if value is not None:
                g = data.draw(strategies.grad_outputs(value.shape, value.dtype), label="grad_output")
        every = map(np.asarray, (*arguments, g, seed))
        key = hash((*((a.dtype.str, a.shape, a.strides, a.tobytes()) for a in every),))
        if key in passed:
            return
        if key not in failed:
            if failed and time.monotonic() > first[0] + SHRINKING:
                hypothesis.reject()
            try:
                reports.append(made.check(**options, grad_output=g, rng=seed, tell=told.append, alone=False))
                passed.add(key)
                last.append((made, g))
                return
            except GradientError as error:
                first[0] = first[0] or time.monotonic()
                failed[key] = made, g, error
        raise failed[key][-1].with_traceback(None)

    run.__name__ = run.__qualname__ = title
    changes: dict[str, Any] = {"report_multiple_bugs": False}
    if settings is None:
        settings = hypothesis.settings.default
        changes["deadline"] = None
    # Its own explanation would name our lines, which run between the caller's.
    changes["phases"] = [p for p in settings.phases if p is not hypothesis.Phase.explain]
    try:
        hypothesis.settings(settings, **changes)(hypothesis.given(st.data())(run))()
        smallest: GradientError | None = None
    except GradientError as error:
        smallest = error
    except hypothesis.errors.Flaky:
        if not failed:
            raise
        smallest = list(failed.values())[-1][-1]
    if smallest is None:
        if sum(reports, GradientReport()).nothing:  # the last example tells why, as a check of its own
            made, g = last[-1]
            made.check(**options, grad_output=g, rng=made.call.keywords["rng"])
        elif told:
            warn(told[0] + (f"\n(and {len(told) - 1} more examples)" if told[1:] else ""))
        return
    if hasattr(smallest, "__notes__"):
        del smallest.__notes__  # what hypothesis tells is in the reproducer
    which = next((made, g) for made, g, error in failed.values() if error is smallest)
    lines = _explanation(which, last)
    if lines:
        smallest.add_note("No example that passed ran these lines:\n" + "\n".join(lines))
    raise smallest.with_traceback(None)


def _value(case: Case) -> Any:
    """forward's result, whose shape grad_output needs; what raises or is no array of floats is reported by `check`."""
    try:
        with np.errstate(all="ignore"):
            value = np.asarray(case.forward(*(a.copy() if isinstance(a, np.ndarray) else a for a in case.arrays)))
    except Exception:
        return None
    return value if value.dtype.kind == "f" else None


def _explanation(failing: tuple[Case, Any], passing: Iterable[tuple[Case, Any]]) -> list[str]:
    """The caller's lines that the failing example runs and none of the others, as text."""
    if not passing or sys.gettrace() is not None:  # a debugger, or the measurement of coverage
        return []
    lines = _lines(*failing)
    end = time.monotonic() + EXPLAINING
    for example in passing:
        if not lines or time.monotonic() > end:
            break
        lines -= _lines(*example)
    else:
        shown = sorted(lines)[:SHOWN]
        more = [f"  and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
        return [f"  {file}:{n}  {linecache.getline(file, n).strip()}" for file, n in shown] + more
    return []


def _lines(case: Case, grad_output: Any) -> set[tuple[str, int]]:
    """The caller's lines that forward and backward run."""
    seen: set[tuple[str, int]] = set()

    def trace(frame: Any, event: str, _: Any) -> Any:
        if not _is_callers(frame.f_code.co_filename):
            return None
        if event == "line":
            seen.add((frame.f_code.co_filename, frame.f_lineno))
        return trace

    for function, leading in ((case.forward, ()), (case.backward, (grad_output,))):
        copies = [a.copy() if isinstance(a, np.ndarray) else a for a in (*leading, *case.arrays)]
        sys.settrace(trace)
        try:
            with np.errstate(all="ignore"):
                function(*copies)
        except Exception:  # which is what the error tells
            pass
        finally:
            sys.settrace(None)
    return seen


def _foreign() -> Iterator[str]:
    yield str(Path(__file__).parents[1])
    for name in ("stdlib", "platstdlib", "purelib", "platlib"):
        yield sysconfig.get_path(name)


_FOREIGN = tuple(_foreign())


def _is_callers(file: str) -> bool:
    return not file.startswith(("<", *_FOREIGN))
