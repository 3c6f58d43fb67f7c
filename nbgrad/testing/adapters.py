"""`check_autograd`: functions of PyTorch's, JAX's, HIPS autograd's and nbgrad's tensors. No framework is imported but
the one asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nbgrad.testing.check import check
from nbgrad.testing.report import Call, GradientReport

__all__ = ["check_autograd"]


def _torch(f: Callable[..., Any], wrt: Sequence[int]) -> tuple[Callable[..., Any], Callable[..., Any]]:
    import torch

    def tensors(arrays: Sequence[Any], recorded: bool) -> list[Any]:
        made = [torch.from_numpy(np.array(a)) for a in arrays]
        for i in wrt if recorded else ():
            made[i].requires_grad_()
        return made

    def forward(*arrays: Any) -> Any:
        with torch.no_grad():
            return f(*tensors(arrays, False)).numpy()

    def backward(grad_output: Any, *arrays: Any) -> tuple[Any, ...]:
        leaves = tensors(arrays, True)
        result = f(*leaves)
        found: list[Any] = [None] * len(arrays)
        wanted = [leaves[i] for i in wrt]
        if result.requires_grad:
            grads: Any = torch.autograd.grad(result, wanted, torch.from_numpy(np.array(grad_output)), allow_unused=True)
        else:
            grads = [None] * len(wanted)
        for i, g in zip(wrt, grads, strict=True):
            found[i] = np.zeros_like(arrays[i]) if g is None else g.numpy()
        return tuple(found)

    return forward, backward


def _jax(f: Callable[..., Any], wrt: Sequence[int]) -> tuple[Callable[..., Any], Callable[..., Any]]:
    import jax

    def double(arrays: Sequence[Any]) -> Any:
        """float64 is there only if JAX is told so."""
        for a in arrays:
            if a.dtype.kind == "f" and a.dtype.itemsize > 8:
                raise TypeError("JAX has no long double")
        return jax.enable_x64(any(a.dtype == np.float64 for a in arrays))

    def forward(*arrays: Any) -> Any:
        with double(arrays):
            return np.asarray(f(*(jax.numpy.asarray(a) for a in arrays)))

    def backward(grad_output: Any, *arrays: Any) -> tuple[Any, ...]:
        def of_some(*some: Any) -> Any:
            every = [jax.numpy.asarray(a) for a in arrays]
            for i, v in zip(wrt, some, strict=True):
                every[i] = v
            return f(*every)

        with double(arrays):
            value, pullback = jax.vjp(of_some, *(jax.numpy.asarray(arrays[i]) for i in wrt))
            grads = pullback(jax.numpy.asarray(grad_output, value.dtype))
            found: list[Any] = [None] * len(arrays)
            for i, g in zip(wrt, grads, strict=True):
                found[i] = np.asarray(g)
        return tuple(found)

    return forward, backward


def _autograd(f: Callable[..., Any], wrt: Sequence[int]) -> tuple[Callable[..., Any], Callable[..., Any]]:
    from autograd import make_vjp

    def backward(grad_output: Any, *arrays: Any) -> tuple[Any, ...]:
        found: list[Any] = [None] * len(arrays)
        for i in wrt:
            pullback, _ = make_vjp(f, argnum=i)(*arrays)
            found[i] = np.asarray(pullback(grad_output))
        return tuple(found)

    return f, backward


def _nbgrad(f: Callable[..., Any], wrt: Sequence[int]) -> tuple[Callable[..., Any], Callable[..., Any]]:
    from nbgrad.autograd.tape import no_grad
    from nbgrad.autograd.tensor import Tensor

    def forward(*arrays: Any) -> Any:
        with no_grad():
            return f(*map(Tensor, arrays)).numpy()

    def backward(grad_output: Any, *arrays: Any) -> tuple[Any, ...]:
        leaves = [Tensor(a, requires_grad=i in wrt) for i, a in enumerate(arrays)]
        result = f(*leaves)
        if result.requires_grad:
            result.backward(Tensor(grad_output))
        return tuple(
            (np.zeros_like(a) if leaf.grad is None else leaf.grad.numpy()) if i in wrt else None
            for i, (a, leaf) in enumerate(zip(arrays, leaves, strict=True))
        )

    return forward, backward


_FRAMEWORKS: dict[str, Callable[..., Any]] = {"torch": _torch, "jax": _jax, "nbgrad": _nbgrad, "autograd": _autograd}


def _framework(args: Sequence[Any], given: str | None) -> str:
    if given is not None:
        if given not in _FRAMEWORKS:
            raise ValueError(f"framework: expected one of {', '.join(map(repr, _FRAMEWORKS))}, got {given!r}")
        return given
    for a in args:
        module = type(a).__module__.partition(".")[0]
        name = "jax" if module == "jaxlib" else module
        if name in _FRAMEWORKS:
            return name
    raise TypeError(
        "args: expected at least one tensor of PyTorch, JAX or nbgrad, or framework= (one of "
        f"{', '.join(map(repr, _FRAMEWORKS))}), got {', '.join(type(a).__name__ for a in args) or 'nothing'}"
    )


def _array(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic | int | float | bool):
        return np.asarray(value)
    detached = value.detach() if hasattr(value, "detach") else value
    return np.asarray(detached.numpy() if hasattr(detached, "numpy") else detached)


def check_autograd(
    f: Callable[..., Any],
    *args: Any,
    framework: str | None = None,
    wrt: int | Sequence[int] | None = None,
    kinks: Any = (),
    rtol: float | None = None,
    grad_output: Any = None,
    rng: Any = None,
    reference: Callable[..., Any] | None = None,
    strict: bool = False,
) -> GradientReport:
    """`check_gradient` for a function of tensors: the gradient is what the framework's automatic differentiation
    makes of ``f``.

    ``args``: tensors, arrays or numbers; the framework is that of the first tensor, or ``framework``: "torch", "jax",
    "nbgrad" or "autograd". ``f`` returns one tensor. Differences are taken in float64 (JAX is told to have it). A
    gradient that the framework does not give counts as 0. The other arguments: `check_gradient`.

    >>> from nbgrad import tensor
    >>> check_autograd(lambda w, x: (w * x).sum(), tensor([1.0, 2.0]), tensor([3.0, 4.0]))
    GradientReport: 4 elements, 4 confirmed, 0 at kinks, 0 undecided; worst ... ulps; differences in float64
    """
    if not callable(f):
        raise TypeError(f"f: expected a function, got {type(f).__name__}")
    name = _framework(args, framework)
    arrays = [_array(a) for a in args]
    floats = [i for i, a in enumerate(arrays) if a.dtype.kind == "f"]
    chosen = floats if wrt is None else [wrt] if isinstance(wrt, int) else list(wrt)
    forward, backward = _FRAMEWORKS[name](f, [i for i in chosen if i in floats])
    call = Call("check_autograd", {"f": f}, [], {"framework": name})
    return check(
        forward, backward, arrays, call, wrt=tuple(floats) if wrt is None else wrt, kinks=kinks, rtol=rtol,
        grad_output=grad_output, rng=rng, reference=reference, strict=strict, layouts=name == "nbgrad",
    )  # fmt: skip
