"""`check_autograd`: functions of PyTorch's, JAX's, HIPS autograd's and nbgrad's tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nbgrad.testing.frameworks.libraries import FRAMEWORKS
from nbgrad.testing.frameworks.tree import flatten, names
from nbgrad.testing.gradient import Case, functions
from nbgrad.testing.report import Call, GradientReport

__all__ = ["autograd_case", "check_autograd"]


def _framework(leaves: Sequence[Any], given: str | None) -> str:
    if given is not None:
        if given not in FRAMEWORKS:
            raise ValueError(f"framework: expected one of {', '.join(map(repr, FRAMEWORKS))}, got {given!r}")
        return given
    for a in leaves:
        module = type(a).__module__.partition(".")[0]
        name = "jax" if module == "jaxlib" else module
        if name in FRAMEWORKS:
            return name
    raise TypeError(
        "args: expected at least one tensor of PyTorch, JAX or nbgrad, or framework= (one of "
        f"{', '.join(map(repr, FRAMEWORKS))}), got {', '.join(type(a).__name__ for a in leaves) or 'nothing'}"
    )


def _is_narrow(leaf: Any) -> bool:
    return str(getattr(leaf, "dtype", "")).removeprefix("torch.") == "bfloat16"


def _array(leaf: Any) -> Any:
    """A tensor as an array; bfloat16, which NumPy does not have, as float32. Numbers stay."""
    if isinstance(leaf, np.ndarray | np.generic | int | float | bool) and not _is_narrow(leaf):
        return np.asarray(leaf)
    found = leaf.detach() if hasattr(leaf, "detach") else leaf
    if _is_narrow(found):
        found = found.float() if hasattr(found, "float") else found.astype(np.float32)
    return np.asarray(found.numpy() if hasattr(found, "numpy") else found)


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
    symmetric: int | Sequence[int] = (),
    strict: bool = False,
) -> GradientReport:
    """`check_gradient` for a function of tensors: the gradient is what the framework's automatic differentiation
    makes of ``f``.

    ``args``: tensors, arrays or numbers, or tuples, lists and dicts of them; the framework is that of the first
    tensor, or ``framework``: "torch", "jax", "nbgrad" or "autograd". ``f`` returns one tensor, or a tuple, list or dict
    of them, of which those of floats count (``grad_output`` has their elements behind each other); it may
    differentiate inside (``create_graph=True``). ``wrt``, ``kinks`` and ``symmetric`` name arguments as they are
    given, a dict with all of its tensors. Differences are taken in float64 (JAX is told to have it), those of bfloat16
    too. A gradient that the framework does not give counts as 0. JAX's functions are compiled where they can be. The
    other arguments: `check_gradient`.

    Returns
    -------
    GradientReport

    Examples
    --------
    >>> from nbgrad import tensor
    >>> check_autograd(lambda w, x: (w * x).sum(), tensor([1.0, 2.0]), tensor([3.0, 4.0]))
    GradientReport: 4 elements, 4 confirmed, 0 at kinks, 0 undecided; worst ... ulps; differences in float64
    """
    return autograd_case(
        f, *args, framework=framework, wrt=wrt, kinks=kinks, rtol=rtol, grad_output=grad_output, rng=rng,
        reference=reference, symmetric=symmetric, strict=strict,
    ).check()  # fmt: skip


def autograd_case(
    f: Callable[..., Any], *args: Any, framework: str | None = None, wrt: Any = None, kinks: Any = (),
    symmetric: Any = (), reference: Any = None, **options: Any,
) -> Case:  # fmt: skip
    """What `check_autograd` checks: a function of the leaves of its arguments."""
    given = functions(f=f)
    leaves, back = flatten(args)
    name = _framework(leaves, framework)
    arrays = [_array(a) for a in leaves]
    floats = [i for i, a in enumerate(arrays) if a.dtype.kind == "f"]
    narrow = [i for i, a in enumerate(leaves) if _is_narrow(a)]
    of_argument: list[list[int]] = []  # the leaves of each
    for a in args:
        start = sum(map(len, of_argument))
        of_argument.append(list(range(start, start + len(flatten(a)[0]))))

    def spread(places: Any, what: str) -> Any:
        """The leaves of arguments."""
        try:
            numbers = [int(i) for i in ([places] if isinstance(places, int | np.integer) else places)]
        except (TypeError, ValueError):
            raise TypeError(f"{what}: expected an argument's number or several, got {places!r}") from None
        for i in numbers:
            if not 0 <= i < len(args):
                raise ValueError(f"{what}: expected numbers in 0..{len(args) - 1}, got {i}")
        return [leaf for i in numbers for leaf in of_argument[i]]

    if wrt is None:
        chosen = floats
    else:
        chosen = spread(wrt, "wrt")
        if any(isinstance(a, dict | tuple | list) for a in args):
            chosen = [i for i in chosen if i in floats]

    def of_leaves(*tensors: Any) -> list[Any]:
        return flatten(f(*back(tensors)))[0]

    forward, backward = FRAMEWORKS[name](of_leaves, [i for i in chosen if i in floats], narrow)
    keywords = {"framework": name, "wrt": wrt, "kinks": kinks, "symmetric": symmetric}
    call = Call("check_autograd", given, [], keywords, labels=names(args, "args"))
    nested = any(isinstance(a, dict | tuple | list) for a in args)
    if narrow or nested:
        call.imports, written = _NARROW[name] if narrow else ("", "")
        call.arrange = lambda variables: [
            _code(a) for a in back([written.format(v) if i in narrow else v for i, v in enumerate(variables)])
        ]
    if nested and reference is not None:
        reference = _of_leaves(reference, back)
    if isinstance(kinks, dict):
        kinks = {leaf: k for i, k in kinks.items() for leaf in spread(i, "kinks")}
    options |= {"kinks": kinks, "wrt": tuple(chosen), "symmetric": tuple(spread(symmetric, "symmetric"))}
    options |= {"layouts": name == "nbgrad", "reference": reference, "coarse": 2.0**-7 if narrow else 0.0}
    return Case(forward, backward, arrays, call, options)


#: How a reproducer makes bfloat16.
_NARROW = {
    "torch": ("import torch\n", "torch.tensor({}, dtype=torch.bfloat16)"),
    "jax": ("import jax.numpy as jnp\n", "jnp.asarray({}, jnp.bfloat16)"),
}


def _of_leaves(f: Callable[..., Any], back: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *leaves: f(*back(leaves))


def _code(argument: Any) -> str:
    """Python code of a tuple, list or dict of the names of variables."""
    if isinstance(argument, dict):
        return "{" + ", ".join(f"{k!r}: {_code(v)}" for k, v in argument.items()) + "}"
    if isinstance(argument, tuple | list):
        items = ", ".join(map(_code, argument)) + ("," if isinstance(argument, tuple) and len(argument) == 1 else "")
        return f"({items})" if isinstance(argument, tuple) else f"[{items}]"
    return str(argument)
