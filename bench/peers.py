"""The same functions at PyTorch and JAX, found by their names: a new row of `nbgrad.ops` finds its peers by itself
where they are called as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from nbgrad.ops import Elementwise

__all__ = ["jax_function", "torch_calls", "torch_function"]

# where PyTorch's function has another name or is a case of another one
_TORCH = {
    "log_sigmoid": ("logsigmoid", {}),
    "gelu_tanh": ("gelu", {"approximate": "tanh"}),
}
_ATEN = {
    "gelu_tanh": ("gelu", {"approximate": "tanh"}),
    "relu6": ("hardtanh", {"min_val": 0.0, "max_val": 6.0}),
    "selu": ("elu", {"alpha": 1.6732632423543772, "scale": 1.0507009873554805}),
    "celu": ("elu", {}),
}
_ATEN_BACKWARD = {"relu": ("threshold", {"threshold": 0.0})}
# arguments that only PyTorch's inner functions have
_FIXED = {"is_result": False, "self_is_result": False, "scale": 1.0, "input_scale": 1.0}
_JAX = {
    "softsign": "soft_sign",
    "hardtanh": "hard_tanh",
    "hardsigmoid": "hard_sigmoid",
    "hardswish": "hard_silu",
    "gelu_tanh": "gelu",
}


def torch_function(torch: Any, op: Elementwise) -> Callable[[Any], Any]:
    """PyTorch's public function of a tensor, with the table's parameters."""
    name, more = _TORCH.get(op.name, (op.name, {}))
    function = getattr(torch.nn.functional, name)
    return partial(function, **{**op.parameters, **more})


def torch_calls(torch: Any, op: Elementwise, x: Any, g: Any, out: Any) -> dict[str, Callable[[], Any]]:
    """PyTorch's forward and backward call on these tensors, into ``out`` where PyTorch can; the backward function takes
    what PyTorch's own autograd saves.
    """
    function = torch_function(torch, op)
    tensors = {"self": x, "self_or_result": x, "grad_output": g, "out": out, "grad_input": out}
    tensors["output"] = function(x)
    if op.name == "log_sigmoid":
        tensors["buffer"] = torch.ops.aten.log_sigmoid_forward(x)[1]
    name, more = _ATEN.get(op.name, (op.name, {}))
    forward = _overload(torch, name, ("out",), {**tensors, **_FIXED, **op.parameters, **more})
    name, more = _ATEN_BACKWARD.get(op.name, (name, more))
    backward = _overload(
        torch, name + "_backward", ("grad_input", "out", "default"),
        {**tensors, **_FIXED, "threshold": 20.0, **op.parameters, **more},
    )  # fmt: skip
    if backward is None:
        leaf = x.clone().requires_grad_()
        y = function(leaf)
        backward = lambda: torch.autograd.grad(y, leaf, g, retain_graph=True)  # noqa: E731
    return {"forward": forward or (lambda: function(x)), "backward": backward}


def _overload(
    torch: Any, name: str, overloads: tuple[str, ...], values: dict[str, Any]
) -> Callable[[], Any] | None:
    packet = getattr(torch.ops.aten, name, None)
    for overload in overloads:
        if packet is not None and overload in packet.overloads():
            function = getattr(packet, overload)
            arguments = function._schema.arguments
            known = [a for a in arguments if a.name in values]
            positional = [values[a.name] for a in known if not a.kwarg_only]
            return partial(function, *positional, **{a.name: values[a.name] for a in known if a.kwarg_only})
    return None


def jax_function(jax: Any, op: Elementwise) -> Callable[[Any], Any] | None:
    """JAX's function of an array with the table's parameters, compiled; None if there is none."""
    name = _JAX.get(op.name, op.name)
    function = getattr(jax.nn, name, None) or getattr(jax.numpy, name, None)
    if function is None or op.parameters.get("min_val", -1.0) != -1.0:
        return None
    known = {k: v for k, v in op.parameters.items() if k in ("negative_slope", "alpha")}
    known |= {"approximate": name != op.name} if name == "gelu" else {}
    return jax.jit(partial(function, **known))
