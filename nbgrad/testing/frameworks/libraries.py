"""Automatic differentiation as a forward and a backward function of arrays: PyTorch's, JAX's, HIPS autograd's and
nbgrad's. No framework is imported but the one asked for.

Each takes ``f``, a function of tensors that returns a list of them (several stand for a tuple or a dict), the
arguments ``wrt`` to differentiate by, and ``narrow``: those that are bfloat16, which NumPy does not have. Their arrays
are float32; where an array comes in a wider precision, so does the tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nbgrad.testing.frameworks.tree import joined, split
from nbgrad.testing.problem import Misfit

__all__ = ["FRAMEWORKS"]

Functions = tuple[Callable[..., Any], Callable[..., Any]]


def _floats(found: list[Any], kept: list[Any]) -> list[Any]:
    """What was kept of the results; an error where that is nothing."""
    if not kept:
        kinds = ", ".join(type(t).__name__ for t in found) or "nothing"
        raise Misfit("dtype", f"returned {kinds}, expected tensors of floats")
    return kept


def _all(grads: dict[int, Any], arrays: Sequence[Any]) -> tuple[Any, ...]:
    """A gradient for each argument; None for those that were not asked for."""
    return tuple(grads.get(i) for i in range(len(arrays)))


def _torch(f: Callable[..., Any], wrt: Sequence[int], narrow: Sequence[int]) -> Functions:
    import torch

    def results(arrays: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        """(leaves, floats that f returns); recorded also for the values, since f may differentiate inside, and by other
        arguments than wrt. A loss may refuse that for its target: then wrt alone is recorded.
        """
        try:
            return of_recorded(arrays, range(len(arrays)))
        except RuntimeError:
            return of_recorded(arrays, wrt)

    def of_recorded(arrays: Sequence[Any], recorded: Sequence[int]) -> tuple[list[Any], list[Any]]:
        leaves = [torch.from_numpy(np.array(a, a.dtype.newbyteorder("="))) for a in arrays]
        leaves = [t.bfloat16() if i in narrow and t.dtype == torch.float32 else t for i, t in enumerate(leaves)]
        for i in recorded:
            leaves[i].requires_grad_(leaves[i].is_floating_point())
        with torch.enable_grad():
            found = f(*leaves)
        return leaves, _floats(found, [t for t in found if isinstance(t, torch.Tensor) and t.is_floating_point()])

    def array(t: Any) -> Any:
        t = t.detach().to_dense() if t.layout != torch.strided else t.detach()
        return (t.float() if t.dtype == torch.bfloat16 else t).numpy(force=True)

    def forward(*arrays: Any) -> Any:
        return joined([array(t) for t in results(arrays)[1]])

    def backward(grad_output: Any, *arrays: Any) -> tuple[Any, ...]:
        leaves, found = results(arrays)
        parts = split(np.array(grad_output), [t.shape for t in found])
        pairs = [(t, torch.from_numpy(g).to(t.dtype)) for t, g in zip(found, parts, strict=True) if t.requires_grad]
        grads: Any = [None] * len(wrt)
        if pairs:
            outputs, seeds = zip(*pairs, strict=True)
            grads = torch.autograd.grad(outputs, [leaves[i] for i in wrt], seeds, allow_unused=True)
        return _all(
            {i: np.zeros_like(arrays[i]) if g is None else array(g) for i, g in zip(wrt, grads, strict=True)}, arrays
        )

    return forward, backward


def _jax(f: Callable[..., Any], wrt: Sequence[int], narrow: Sequence[int]) -> Functions:
    import jax

    def double(arrays: Sequence[Any]) -> Any:
        """float64 is there only if JAX is told so."""
        for a in arrays:
            if a.dtype.kind == "f" and a.dtype.itemsize > 8:
                raise TypeError("JAX has no long double")
        return jax.enable_x64(any(a.dtype == np.float64 for a in arrays))

    def tensor(i: int, a: Any) -> Any:
        return jax.numpy.asarray(a, jax.numpy.bfloat16 if i in narrow and a.dtype == np.float32 else a.dtype)

    def array(t: Any) -> Any:
        return np.asarray(t.astype(np.float32) if t.dtype == jax.numpy.bfloat16 else t)

    def values(*tensors: Any) -> list[Any]:
        found = f(*tensors)
        made = [jax.numpy.asarray(t) for t in found]
        return _floats(found, [t for t in made if jax.numpy.issubdtype(t.dtype, jax.numpy.floating)])

    def gradients(grad_output: Any, *tensors: Any) -> Any:
        def of_some(*some: Any) -> Any:
            every = list(tensors)
            for i, v in zip(wrt, some, strict=True):
                every[i] = v
            return values(*every)

        found, pullback = jax.vjp(of_some, *(tensors[i] for i in wrt))
        parts = split(grad_output, [t.shape for t in found])
        return pullback([g.astype(t.dtype) for g, t in zip(parts, found, strict=True)])

    # Compiled once for each dtype, instead of traced at each of a thousand calls.
    compiled = {function: jax.jit(function) for function in (values, gradients)}

    def call(function: Callable[..., Any], *arguments: Any) -> Any:
        if function in compiled:
            try:
                return compiled[function](*arguments)
            except Exception:  # it asks for values while it is traced, or fails
                result = function(*arguments)
                del compiled[function]
                return result
        return function(*arguments)

    def forward(*arrays: Any) -> Any:
        with double(arrays):
            return joined([array(t) for t in call(values, *(tensor(i, a) for i, a in enumerate(arrays)))])

    def backward(grad_output: Any, *arrays: Any) -> tuple[Any, ...]:
        with double(arrays):
            tensors = [tensor(i, a) for i, a in enumerate(arrays)]
            grads = call(gradients, jax.numpy.asarray(grad_output), *tensors)
            return _all({i: array(g) for i, g in zip(wrt, grads, strict=True)}, arrays)

    return forward, backward


def _autograd(f: Callable[..., Any], wrt: Sequence[int], narrow: Sequence[int]) -> Functions:
    from autograd import make_vjp  # type: ignore[attr-defined]
    from autograd import numpy as recorded  # type: ignore[attr-defined]

    def forward(*arrays: Any) -> Any:
        found = f(*arrays)
        return found[0] if len(found) == 1 else recorded.concatenate([recorded.ravel(t) for t in found])

    def backward(grad_output: Any, *arrays: Any) -> tuple[Any, ...]:
        return _all({i: np.asarray(make_vjp(forward, argnum=i)(*arrays)[0](grad_output)) for i in wrt}, arrays)

    return forward, backward


def _nbgrad(f: Callable[..., Any], wrt: Sequence[int], narrow: Sequence[int]) -> Functions:
    from nbgrad.autograd.combine import cat
    from nbgrad.autograd.tape import no_grad
    from nbgrad.autograd.tensor import Tensor

    def values(*tensors: Any) -> Any:
        every = f(*tensors)
        found = _floats(every, [t for t in every if isinstance(t, Tensor) and t.dtype.kind == "f"])
        return found[0] if len(found) == 1 else cat([t.reshape(-1) for t in found])

    def forward(*arrays: Any) -> Any:
        with no_grad():
            return values(*map(Tensor, arrays)).numpy()

    def backward(grad_output: Any, *arrays: Any) -> tuple[Any, ...]:
        leaves = [Tensor(a, requires_grad=i in wrt) for i, a in enumerate(arrays)]
        result = values(*leaves)
        if result.requires_grad:
            result.backward(Tensor(grad_output))
        grads = {i: leaves[i].grad for i in wrt}
        return _all({i: np.zeros_like(arrays[i]) if g is None else g.numpy() for i, g in grads.items()}, arrays)

    return forward, backward


FRAMEWORKS: dict[str, Callable[..., Functions]] = {
    "torch": _torch,
    "jax": _jax,
    "nbgrad": _nbgrad,
    "autograd": _autograd,
}
