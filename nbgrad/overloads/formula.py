"""A user's formula and its derivatives inside a user's ``@njit`` function: on numbers and arrays, in the caller's
thread. `nbgrad.derived` registers each formula here when it is made.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import types

from nbgrad.jit import array_overload, outlined, scalar
from nbgrad.jit.intrinsics import tuple_setitem
from nbgrad.jit.memory import elements
from nbgrad.jit.vector_map import ROOM, plain_map, vector_map
from nbgrad.overloads.arguments import integer, is_number, precision, spread

__all__ = ["Signature", "register"]


@dataclass(frozen=True)
class Signature:
    """A formula's arguments: their names, the numbers that stand for absent ones, which are integers."""

    name: str
    arguments: tuple[str, ...]
    defaults: dict[str, Any]
    integers: frozenset[str]


def register(
    called: Any, signature: Signature, function_of: Callable[[], tuple[Callable[..., Any], bool]], results: int, *,
    tupled: bool = False, extra: tuple[str, ...] = (), total: Callable[[], list[int | None]] | None = None,
    mean: bool = False,
) -> None:  # fmt: skip
    """``called``, a Python object, is for compiled code the function that ``function_of`` makes: of numbers, with as
    many ``results``; beside it stands whether LLVM may vectorise it. ``tupled``: the results come as (first, (the
    others)). ``extra``: arguments before the formula's own. ``total``: results are added up over all elements, but the
    gradients in arrays, of which it says which argument's each is.
    """
    names = (*extra, *signature.arguments)
    made: list[tuple[Callable[..., Any], bool]] = []

    def choose(kinds: tuple[Any, ...]) -> Callable[..., Any]:
        if not made:
            function, vectorized = function_of()
            made.append((scalar(function), vectorized))
        return _apply(*made[0], names, kinds, signature.integers, results, tupled, total() if total else None, mean)

    defaults = {k: v for k, v in signature.defaults.items() if k in names}
    listed = ", ".join(n + (f"={defaults[n]!r}" if n in defaults else "") for n in names)
    namespace: dict[str, Any] = {"choose": choose}
    exec(_TEMPLATE.format(signature=listed, names=", ".join(names)), namespace)
    array_overload(called)(namespace["typed"])


_TEMPLATE = """
def typed({signature}):
    apply = choose(({names},))
    def implementation({signature}):
        return apply({names})
    return implementation
"""


def _apply(
    f: Callable[..., Any], vectorized: bool, names: tuple[str, ...], kinds: tuple[Any, ...], integers: frozenset[str],
    results: int, tupled: bool, total: list[int | None] | None, mean: bool,
) -> Callable[..., Any]:  # fmt: skip
    """The function of these argument types, written out for them."""
    kinds = tuple(getattr(k, "type", k) if isinstance(k, types.Optional) else k for k in kinds)
    for name, kind in zip(names, kinds, strict=True):
        if name in integers and not isinstance(kind, types.Array):
            integer(name, kind)
    T = precision(**{n: k for n, k in zip(names, kinds, strict=True) if n not in integers})
    arrays = [n for n, k in zip(names, kinds, strict=True) if isinstance(k, types.Array) and k.ndim]
    space: dict[str, Any] = {"f": f, "T": T, "np": np, "elements": elements, "spread": spread, "is_number": is_number}

    def convert(name: str, value: str) -> str:
        kind = kinds[names.index(name)]
        if isinstance(kind, types.Array) and not kind.ndim:
            value = f"{value}[()]"
        return f"int({value})" if name in integers else f"T({value})"

    listed, out = ", ".join(names), [f"r{k}" for k in range(results)]

    def returned(values: list[str]) -> str:
        if tupled:
            return f"{values[0]}, ({''.join(v + ', ' for v in values[1:])})"
        return values[0] if results == 1 else ", ".join(values)

    if not arrays:
        call = f"f({', '.join(convert(n, n) for n in names)})"
        lines = [f"{', '.join(out)} = {call}" if results > 1 else f"r0 = {call}", f"return {returned(out)}"]
        return scalar(_made(listed, lines, space))
    arrays.sort(key=lambda n: -kinds[names.index(n)].ndim)
    lines = [f"shape = {arrays[0]}.shape"]
    for name in arrays[1:]:
        space[f"joined_{name}"] = _joined(name)
        lines.append(f"shape = joined_{name}(shape, {name}.shape)")
    # What is added up: numbers' gradients and the value. An array that was broadcast would need sums along axes.
    summed = [False] * results
    if total is not None:
        for k, owner in enumerate(total):
            summed[k] = owner is None or names[owner] not in arrays
        for k, owner in enumerate(total):
            if owner is not None and not summed[k]:
                text = f"{names[owner]}: expected the shape of all arguments together, or a number"
                space[f"text{k}"] = text
                lines += [f"if {names[owner]}.shape != shape:", f"    raise ValueError(text{k})"]
    for k in range(results):
        lines += [f"s{k} = 0.0"] if summed[k] else [f"y{k} = np.empty(shape, T)", f"e{k} = elements(y{k})"]
    for name in arrays:
        lines.append(f"x_{name} = spread({name}, shape)")
    kept, sums = ([k for k in range(results) if summed[k] == which] for which in (False, True))
    lines += ["count = 1", "for n in shape:", "    count *= n"]
    if mean:
        lines.append("scale = 1.0 / count if count else np.nan")
    given = ", ".join(convert(n, f"x_{n}[i]" if n in arrays else n) for n in names)
    if all(kinds[names.index(n)].dtype == getattr(types, T.__name__) and n not in integers for n in arrays):
        # the loop of nbgrad's own kernels, whose numbers are all of one type
        numbers = [n for n in names if n not in arrays]
        order = ", ".join([*arrays, *numbers, *(["scale"] if mean else [])])
        found = [out[k] + (" * scale" if mean and k in kept else "") for k in (*kept, *sums)]
        inner = [f"{', '.join(out)} = f({', '.join(names)})", f"return {', '.join(found)}"]
        space["g"], space["mapped"] = scalar(_made(order, inner, {"f": f})), vector_map if vectorized else plain_map
        passed = _tuple([*(convert(n, n) for n in numbers), *(["T(scale)"] if mean else [])])
        inputs, outs = _tuple([f"x_{n}" for n in arrays]), _tuple([f"e{k}" for k in kept])
        lines += [
            "at = 0",
            "while at < count:",
            f"    size = min({ROOM}, count - at)",
            f"    found = mapped(g, {inputs}, at, size, {outs}, at, {passed})",
            *(f"    s{k} += found[{i}]" for i, k in enumerate(sums)),
            "    at += size",
        ]
    else:
        lines += ["for i in range(count):", f"    {', '.join(out)} = f({given})"]
        lines += [f"    s{k} += np.float64(r{k})" for k in sums]
        lines += [f"    e{k}[i] = r{k}{' * T(scale)' if mean else ''}" for k in kept]
    lines += [f"s{k} = s{k} * scale" for k in sums if mean]
    lines.append(f"return {returned([f'T(s{k})' if summed[k] else f'y{k}' for k in range(results)])}")
    return outlined(_made(listed, lines, space))


def _tuple(names: list[str]) -> str:
    return f"({''.join(name + ', ' for name in names)})"


def _made(arguments: str, lines: list[str], space: dict[str, Any]) -> Callable[..., Any]:
    exec("\n".join([f"def apply({arguments}):", *("    " + line for line in lines)]), space)
    return space["apply"]  # type: ignore[no-any-return]


def _joined(name: str) -> Callable[..., Any]:
    text = f"{name}: expected a shape that broadcasts with the other arguments'"

    @outlined
    def joined(long, short):
        shape = long
        for k in range(len(short)):
            at = len(long) - len(short) + k
            if shape[at] == 1:
                shape = tuple_setitem(shape, at, short[k])
            elif short[k] != 1 and short[k] != shape[at]:
                raise ValueError(text)
        return shape

    return joined
