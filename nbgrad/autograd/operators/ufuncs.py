"""NumPy's ufuncs on tensors: those that are an operator, a method or an activation of the tensor's; of the others an
error.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from nbgrad.autograd.base import TensorBase
from nbgrad.autograd.operators.apply import apply
from nbgrad.autograd.operators.elementwise import UFUNCS
from nbgrad.autograd.rules_kernels import Activation

__all__ = ["ArrayUfunc"]


def _activation(name: str) -> Callable[[Any], Any]:
    return lambda x: apply(Activation(name), (x,))


UFUNCS[np.tanh] = _activation("tanh")
_OF_SCIPY = {"expit": _activation("sigmoid"), "log_expit": _activation("log_sigmoid")}  # in scipy.special


def _find_of_scipy(ufunc: Any) -> Callable[..., Any] | None:
    special = sys.modules.get("scipy.special")
    return next((function for name, function in _OF_SCIPY.items() if getattr(special, name, None) is ufunc), None)


def _array_ufunc(self: Any, ufunc: Any, method: str, *inputs: Any, **keywords: Any) -> Any:
    """What `ufunc(*inputs)` gives, one of `inputs` or of `out` a tensor."""
    compute = UFUNCS.get(ufunc)
    if compute is not None and method == "__call__" and not keywords:  # an operator beside an array
        value = compute(*inputs)
        if value is not NotImplemented:
            return value
    name, compute = f"numpy.{ufunc.__name__}", compute or _find_of_scipy(ufunc)
    if method != "__call__" or compute is None:
        called = name if method == "__call__" else f"{name}.{method}"
        raise TypeError(f"{called}: a Tensor has no such operation; outside the graph use .detach().numpy()")
    (out,) = keywords.pop("out", (None,))
    if keywords:
        raise TypeError(f"{name}: expected no {', '.join(keywords)}= with a Tensor")
    if not any(isinstance(value, TensorBase) for value in inputs):
        raise TypeError(f"{name}: expected a Tensor among the operands, as out is one")
    value = compute(*inputs)
    if value is NotImplemented:
        kinds = " and ".join(type(operand).__name__ for operand in inputs)
        raise TypeError(f"{name}: expected tensors, arrays or numbers, got {kinds}")
    return value if out is None else _into(out, value, name)


def _into(out: Any, value: Any, name: str) -> Any:
    if isinstance(out, TensorBase):
        return out._replace(value)  # type: ignore[attr-defined]
    if value._node is not None:
        raise RuntimeError(
            f"{name}: a result that requires a gradient is not written into an array; write array = array + tensor, "
            "not array += tensor"
        )
    np.copyto(out, value._data, casting="same_kind")
    return out


class ArrayUfunc:
    """`Tensor.__array_ufunc__`: the function that NumPy asks the class for; of an instance None, which is what masked
    arrays and Dask's ask before an operator, and which leaves it to the tensor's `__radd__`.
    """

    def __get__(self, instance: Any, owner: type) -> Any:
        return _array_ufunc if instance is None else None
