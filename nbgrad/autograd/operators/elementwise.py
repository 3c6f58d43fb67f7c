"""`elementwise`: a row of the table of operators. Its formulas are all there is to write: the rule and NumPy's ufunc on
tensors follow from them.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from types import FunctionType
from typing import Any

import numpy as np

from nbgrad.autograd.operators.apply import apply, binary
from nbgrad.autograd.tape import Node

__all__ = ["RULES", "UFUNCS", "elementwise", "itself"]

#: The table: the rules that `elementwise` has made, by their names.
RULES: dict[str, type[Node]] = {}
#: What computes a ufunc of NumPy's on tensors: the rows', and what stands beside operators of other kinds.
UFUNCS: dict[Any, Callable[..., Any]] = {}

# Generated, because a loop over operands and over what to keep would cost 10 % of an operator on numbers.
_METHODS = """
def forward(self, {arguments}):
    {floats}
    {edges}
    z = _value({arguments})
    {save}
    return z

def vjp(self, g):
    {load}
    {edges}
    return {gradients},
"""


def itself(g: Any) -> Any:
    """The gradient of the result, as it is."""
    return g


def elementwise(name: str, value: Callable[..., Any], *partials: Callable[..., Any], ufunc: Any = None) -> type[Node]:
    """The rule of ``value(x)`` or ``value(x, y)``, with ``partial(g, ...)`` for each operand: its gradient, given g,
    the result's. All are plain functions, of numbers as well as of arrays on either device.

    A partial says by its parameters' names what it needs beside g: x, y, the result z, or what ``value`` takes beside
    its operands. Only that is kept, and only for operands that require a gradient. A partial may return g itself,
    and need not know of broadcasting. Where ``value`` is a ufunc of NumPy's, or one is given, that computes the
    operator of tensors; one for floats only takes integers as float64 (of small ones NumPy makes float16).

    >>> import nbgrad
    >>> Cosh = elementwise("Cosh", np.cosh, lambda g, x: g * np.sinh(x))
    >>> np.cosh(nbgrad.tensor(0.0, requires_grad=True))
    tensor(1., grad_fn=<CoshBackward>)
    >>> del RULES["Cosh"], UFUNCS[np.cosh]  # an example, no operator of nbgrad's
    """
    if len(partials) not in (1, 2):
        raise TypeError(f"{name}: expected a partial for each of one or two operands, got {len(partials)} partials")
    two = len(partials) == 2
    operands, edges = ("xy", ("_a", "_b")) if two else ("x", ("_a",))
    constants = [*inspect.signature(value).parameters][len(operands) :] if isinstance(value, FunctionType) else []
    known = [*operands, "z", *constants]
    uses = [[*inspect.signature(partial).parameters] for partial in partials]
    if {*constants} & {"self", "g", "x", "y", "z"}:
        raise TypeError(f"{name}: expected names of their own beside the operands, got {', '.join(constants)}")
    for use in uses:
        if use[:1] != ["g"] or not {*use[1:]} <= {*known}:
            got = ", ".join(use)
            raise TypeError(f"{name}: expected partials of g and any of {', '.join(known)}, got one of {got}")
    floats_only = isinstance(value, np.ufunc) and not any("l" in kinds for kinds in value.types)
    users = {one: [edge for edge, use in zip(edges, uses, strict=True) if one in use] for one in known}
    kept = [one for one in known if users[one]]
    gradients = [
        (f"{edge} and " if two else "") + ("g" if partial is itself else f"_of_{x}({', '.join(use)})")
        for edge, x, partial, use in zip(edges, operands, partials, uses, strict=True)
    ]
    saved = [one if len(users[one]) == len(edges) else f"{users[one][0]} and {one}" for one in kept]
    convert = "x, y = _floats(x, y)" if two else "x = x if x.dtype.kind == 'f' else x.astype('f8')"
    source = _METHODS.format(
        arguments=", ".join([*operands, *constants]),
        floats=convert if floats_only else "",
        edges="_a, _b = self._edges" if two else "",
        save=f"self._saved = {', '.join(saved)}" if kept else "",
        load=f"{', '.join(kept)} = self._saved" if kept else "",
        gradients=", ".join(gradients),
    )
    methods: dict[str, Any] = {"_value": value, "_floats": _floats}
    methods |= {f"_of_{x}": partial for x, partial in zip(operands, partials, strict=True)}
    exec(compile(source, f"<the rule {name}>", "exec"), methods)
    forward = methods["forward"] if kept or floats_only else staticmethod(value)
    body = {"__slots__": (), "forward": forward, "vjp": methods["vjp"], "arguments": (*operands, *constants)}
    rule = type(name, (Node,), body)
    RULES[name] = rule
    ufunc = value if isinstance(value, np.ufunc) else ufunc
    if ufunc is not None:
        UFUNCS[ufunc] = functools.partial(binary, rule) if two else lambda x: apply(rule(), (x,))
    return rule


def _floats(x: Any, y: Any) -> tuple[Any, Any]:
    """Two operands of a function of floats: if both are integers or bools, as float64."""
    if any(type(v) is float or getattr(v, "dtype", np.dtype(int)).kind == "f" for v in (x, y)):
        return x, y
    return tuple(v.astype(np.float64) if hasattr(v, "dtype") else v for v in (x, y))  # type: ignore[return-value]
