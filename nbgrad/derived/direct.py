"""The shortest way of a call to the loop: a function written for its arguments' types, which checks nothing twice.

It takes NumPy's contiguous arrays of one shape and precision, beside Python's numbers, and answers None to all else:
then `nbgrad.derived.evaluate` has the call, and the errors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nbgrad.arrays import FLOAT32, FLOAT64
from nbgrad.cpu.derived.loops import partials
from nbgrad.cpu.elementwise import BLOCK
from nbgrad.derived.evaluate import Derived, number
from nbgrad.place import CPU

__all__ = ["EXAMPLES", "Direct", "direct", "grad_form", "row"]

#: The types of arguments that may go this way, each by a value.
EXAMPLES: dict[type, Any] = {np.ndarray: np.empty(0), float: 0.0, int: 0}


class Direct(dict[Any, Callable[..., Any]]):
    """The functions of a formula's calls, by what is called and the arguments' types; ``make`` writes one."""

    def __init__(self, make: Callable[..., Callable[..., Any]]) -> None:
        self.make = make

    def __missing__(self, key: Any) -> Callable[..., Any]:
        simple = all(EXAMPLES.get(k) is not None for k in key if isinstance(k, type) and k is not type(None))
        try:
            found = self.make(*key) if simple else _nothing
        except (TypeError, ValueError):  # the general way says what is wrong
            found = _nothing
        if len(self) > 256:  # many types: nothing is lost but time
            self.clear()
        self[key] = found
        return found


def _nothing(*args: Any, outs: Any = None) -> None:
    return None


def _apart(outs: list[Any], arrays: tuple[Any, ...], dtype: Any, shape: tuple[int, ...]) -> bool:
    """Whether a loop can write to these arrays (or None), which share no memory with each other and the inputs."""
    given = [out for out in outs if out is not None]
    for k, out in enumerate(given):
        if type(out) is not np.ndarray or out.dtype is not dtype or out.shape != shape or not out.flags.carray:
            return False
        if any(np.may_share_memory(out, other) for other in (*arrays, *given[:k])):
            return False
    return True


def row(count: int, start: int = 0) -> str:
    """A tuple of results, as a form."""
    return f"({''.join(f'{{{k}}}, ' for k in range(start, start + count))})"


def grad_form(count: int) -> str:
    """(value, (derivatives))"""
    return f"({{0}}, {row(count, 1)})"


def direct(
    derived: Derived, types: tuple[type, ...], targets: Sequence[str | None], form: str, mean: bool = False
) -> Callable[..., Any]:
    """The function of a program's arguments of these types. ``targets``: of each result the argument whose gradient it
    is, None: a number for each element, "": a sum. ``form``: what is returned, of the results {0}, {1}, ... ``mean``:
    the last argument, one by the number of elements, is not the caller's, and a sum is times it.
    """
    if set(types) == {float} and len(types) == len(derived.arguments) and not any(derived.integers):
        single = len(targets) == 1
        named = ", ".join(f"a{k}" for k in range(len(types)))
        returned = form.format(*(["found"] if single else [f"found[{k}]" for k in range(len(targets))]))
        numbers_only: dict[str, Any] = {"of_numbers": derived.number}
        head = f"def call({named}, outs=None):\n    if outs is not None: return None\n"
        exec(f"{head}    found = of_numbers({named})\n    return {returned}\n", numbers_only)
        return numbers_only["call"]  # type: ignore[no-any-return]
    names = derived.arguments[: len(types)]
    kinds = dict(zip(names, types, strict=True))
    arrays = [f"a{k}" for k, t in enumerate(types) if t is np.ndarray]
    if not arrays or any((t is int) < whole for t, whole in zip(types, derived.integers, strict=False)):
        return _nothing
    if len(derived.arguments) != len(types) + mean:
        return _nothing
    summed = [k for k, t in enumerate(targets) if t == "" or (t is not None and kinds[t] is not np.ndarray)]
    kept = [k for k in range(len(targets)) if k not in summed]
    order = [k for k, t in enumerate(types) if t is np.ndarray]
    numbers = [k for k in range(len(derived.arguments)) if k not in order]
    formula = derived.formula(CPU, order, numbers, kept, summed)

    def given(k: int) -> str:
        if k >= len(types):
            return "scale"
        return f"float(a{k})" if types[k] is int and not derived.integers[k] else f"a{k}"

    results = [f"o{k}" for k in range(len(targets))]
    for at, k in enumerate(summed):
        results[k] = f"number(found[{at}]{' * scale' if mean and targets[k] == '' else ''}, dtype)"
    outs = [f"o{k}" for k in kept]
    memory = ", ".join([*arrays, *outs])
    parameters = "".join(f", {given(k)}" for k in numbers)
    first, others = arrays[0], arrays[1:]
    checks = [f"not {a}.flags.carray" for a in arrays]
    checks += [f"{a}.dtype is not dtype or {a}.shape != shape" for a in others]
    lines = [
        f"dtype, shape, size = {first}.dtype, {first}.shape, {first}.size",
        f"if (dtype is not FLOAT32 and dtype is not FLOAT64) or not shape or not size or {' or '.join(checks)}:",
        "    return None",
        "if outs is not None:",
        "    if len(shape) != 1 or not apart(outs, (" + "".join(a + ", " for a in arrays) + "), dtype, shape):",
        "        return None",
        f"    {', '.join(f'o{k}' for k in range(len(targets)))}, = outs",
        *(f"    if o{k} is not None: return None" for k in summed),
        *(f"    if {o} is None: {o} = empty(size, dtype)" for o in outs),
        *(["else:", *(f"    {o} = empty(size, dtype)" for o in outs)] if outs else []),
        "if len(shape) != 1:",
        *(f"    {a} = {a}.reshape(-1)" for a in arrays),
        *(["scale = 1.0 / size"] if mean else []),
        "if size <= BLOCK:",
        f"    found = loop.serial({memory}{', none' if summed else ''}{parameters})",
        "else:",
        f"    found = loop(size, {memory}{f', partials(size, {len(summed)})' if summed else ''}{parameters})",
        *(["if len(shape) != 1:", *(f"    {o} = {o}.reshape(shape)" for o in outs)] if outs else []),
        f"return {form.format(*results)}",
    ]
    scope = {
        "FLOAT32": FLOAT32, "FLOAT64": FLOAT64, "BLOCK": BLOCK, "empty": np.empty, "loop": formula.loop,
        "number": number, "partials": partials, "none": partials(0, 0), "apart": _apart,
    }  # fmt: skip
    head = f"def call({', '.join(f'a{k}' for k in range(len(types)))}, outs=None):"
    exec("\n".join([head, *("    " + line for line in lines)]), scope)
    return scope["call"]  # type: ignore[no-any-return]
