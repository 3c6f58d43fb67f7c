"""`Function`: an operation with a derivative of your own, as `torch.autograd.Function`."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np

from nbgrad.arrays import check_mask
from nbgrad.autograd.devices import on_cpu, zeros
from nbgrad.autograd.operators.apply import result
from nbgrad.autograd.sharing import share
from nbgrad.autograd.tape import Node, mode, no_grad, owner
from nbgrad.autograd.tensor import Tensor, wrap

__all__ = ["Context", "Function"]


class Context:
    """The first argument of `forward` and `backward`. Attributes may be set freely, to carry numbers and the
    like across.
    """

    #: a bool per argument of `forward`: whether its gradient is needed
    needs_input_grad: tuple[bool, ...]

    def __init__(self, needs_input_grad: tuple[bool, ...]) -> None:
        self.needs_input_grad = needs_input_grad
        self._saved: tuple[Any, ...] = ()

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keep tensors (inputs, results, others; None too) for `backward`, which is told if they were changed
        in place since.
        """
        for tensor in tensors:
            if tensor is not None and not isinstance(tensor, Tensor):
                raise TypeError(f"save_for_backward: expected tensors, got {type(tensor).__name__}; set ctx attributes")
        self._saved = tuple(None if tensor is None else tensor._data for tensor in tensors)

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        """What was saved, in that order, outside the graph."""
        return tuple(None if data is None else wrap(data) for data in self._saved)


class Function:
    """Subclass it with static methods `forward(ctx, *args)` and `backward(ctx, *grad_outputs)`; call
    `apply(*args)`.

    `forward` gets the arguments as they are, tensors or not, computes without recording, and returns a tensor
    or a tuple of tensors. Tensors within a list, dict or Module are not differentiated by, and a TypeError where they
    require a gradient. `backward` gets a gradient (a tensor) per output, zeros for an output that was not
    used, and returns one per argument of `forward`: a tensor of the argument's very shape, or None. Nothing
    in `backward` is recorded.

    An error says which Function returned what: TypeError for something that is not a tensor, ValueError for a
    wrong number of gradients or a wrong shape.

    >>> import nbgrad
    >>> class Cube(Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         ctx.save_for_backward(x)
    ...         return x**3
    ...
    ...     @staticmethod
    ...     def backward(ctx, grad_output):
    ...         (x,) = ctx.saved_tensors
    ...         return grad_output * 3 * x**2
    >>> x = nbgrad.tensor(2.0, requires_grad=True)
    >>> y = Cube.apply(x)
    >>> y
    tensor(8., grad_fn=<CubeBackward>)
    >>> y.backward()
    >>> x.grad
    tensor(12.)
    """

    @staticmethod
    def forward(ctx: Any, *args: Any) -> Any:
        """Compute the result; to be overridden."""
        raise NotImplementedError("a Function needs a static method forward(ctx, *args)")

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        """Carry the gradients back; to be overridden."""
        raise NotImplementedError("a Function needs a static method backward(ctx, *grad_outputs)")

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """Compute, and record where a tensor among the arguments requires a gradient."""
        for i, arg in enumerate(args):
            check_mask(arg, f"{cls.__name__}: argument {i}")
            if mode.enabled and not isinstance(arg, Tensor) and any(t.requires_grad for t in _within(arg)):
                raise TypeError(
                    f"{cls.__name__}: argument {i}: expected each tensor that requires a gradient as an argument of "
                    f"its own, got one within a {type(arg).__name__}, where it would be outside the graph; use "
                    "apply(*tensors) or detach()"
                )
        if not any(isinstance(arg, Tensor) for arg in args):
            raise TypeError(f"{cls.__name__}: expected a tensor among the arguments")
        node = _FunctionNode(cls, args)
        out, recorded = node.forward(*args), any(node.needs)
        if not isinstance(out, tuple):
            return result(Tensor, node, out, recorded and out.dtype.kind == "f")
        result(Tensor, node, out[0], recorded)
        node._shape = node._dtype = None  # its gradient is a _PerOutput
        return tuple(
            result(Tensor, _Output(node, i), data, recorded and data.dtype.kind == "f") for i, data in enumerate(out)
        )


def _within(value: Any) -> Iterator[Tensor]:
    """The tensors in nested collections, and those of Modules."""
    if isinstance(value, Tensor):
        yield value
    elif callable(parameters := getattr(value, "parameters", None)) and not isinstance(value, type):
        yield from _within(tuple(parameters()))
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _within(item)
    elif isinstance(value, Collection) and not isinstance(value, str | bytes | range) and not hasattr(value, "dtype"):
        for item in value:
            yield from _within(item)


class _PerOutput(dict[int, Any]):
    """The gradients of a Function's outputs, by number: what `propagate` adds up in place of arrays."""

    shape = dtype = None

    def __add__(self, other: _PerOutput) -> _PerOutput:
        return _PerOutput(self | other)

    def copy(self) -> _PerOutput:
        return _PerOutput(self)


class _FunctionNode(Node):
    """The node of a Function. `_saved` has the context and, for the check that they are unmodified, the
    arrays in it.
    """

    __slots__ = ("function", "kinds", "needs", "several")
    _shares = True

    def __init__(self, function: type[Function], args: tuple[Any, ...]) -> None:
        self.function = function
        self.needs = tuple(isinstance(arg, Tensor) and mode.enabled and arg.requires_grad for arg in args)
        self._edges = tuple(arg._node if need else None for arg, need in zip(args, self.needs, strict=True))

    def name(self) -> str:
        return self.function.__name__ + "Backward"

    def forward(self, *args: Any) -> Any:
        name, ctx = self.function.__name__, Context(self.needs)
        with no_grad():
            out = self.function.forward(ctx, *args)
        self.several = isinstance(out, tuple | list)
        outputs = tuple(out) if self.several else (out,)
        for output in outputs:
            if not isinstance(output, Tensor):
                raise TypeError(f"{name}.forward: expected it to return tensors, got {type(output).__name__}")
        if not outputs:
            raise ValueError(f"{name}.forward: expected it to return a tensor, got an empty tuple")
        self._saved = ctx, *ctx._saved
        self.kinds = [(output.shape, output.dtype) for output in outputs]
        # An argument, or a view of it, returned as it is would be one memory with two histories.
        given = {id(owner(arg._data)) for arg in args if isinstance(arg, Tensor) and _can_change(arg)}
        data = []
        for output in outputs:
            shared = _can_change(output) and id(owner(output._data)) in given
            data.append(output._data.copy() if shared else output._data)
            share(output)  # the caller gets another tensor; this one may be kept somewhere
        return tuple(data) if self.several else data[0]

    def vjp(self, gradient: Any) -> tuple[Any, ...]:
        name = self.function.__name__
        if self.several:
            like = next(iter(gradient.values()))
            grads = [
                gradient[i] if i in gradient else zeros(shape, like, dtype)
                for i, (shape, dtype) in enumerate(self.kinds)
            ]
        else:
            grads = [gradient]
        with no_grad():
            out = self.function.backward(self._saved[0], *map(_read_only, grads))
        out = tuple(out) if isinstance(out, tuple | list) else (out,)
        if len(out) != len(self.needs):
            raise ValueError(f"{name}.backward: expected {len(self.needs)} gradients, one per argument, got {len(out)}")
        return tuple(self._checked(i, grad) for i, grad in enumerate(out))

    def _checked(self, i: int, grad: Any) -> Any:
        edge = self._edges[i] if self._edges else None
        if grad is None or edge is None:
            return None
        where = f"{self.function.__name__}.backward: gradient {i}"
        if not isinstance(grad, Tensor):
            raise TypeError(f"{where}: expected a Tensor or None, got {type(grad).__name__}")
        if grad.shape != edge._shape:
            raise ValueError(f"{where}: expected shape {edge._shape}, as the argument has, got {grad.shape}")
        return grad._data

    def _output_shapes(self) -> list[tuple[int, ...]]:
        return [shape for shape, _ in self.kinds]

    def _by_hand(self, arrays: list[Any]) -> Any:
        return self.vjp(_PerOutput(enumerate(arrays)) if self.several else arrays[0])


def _can_change(tensor: Tensor) -> bool:
    return not isinstance(tensor._data, np.generic)


def _read_only(array: Any) -> Tensor:
    """A gradient for `backward`, which must not write into it: other branches of the graph may have the same
    array. On a GPU nothing can be made read-only: there it is a copy.
    """
    if not on_cpu(array):
        array = array.copy()
    elif isinstance(array, np.ndarray):
        array = array.view()
        array.flags.writeable = False
    return wrap(array)


class _Output(Node):
    """One of several outputs of a Function: hands its gradient to the Function's node under its number."""

    __slots__ = ("node", "number")
    _shares = True

    def __init__(self, node: _FunctionNode, number: int) -> None:
        self.node, self.number, self._saved = node, number, None
        self._edges = (node,)

    def name(self) -> str:
        return f"{self.node.name()}[{self.number}]"

    def _as_next(self) -> tuple[Node, int]:
        return self.node, self.number

    def vjp(self, gradient: Any) -> tuple[Any, ...]:
        return (_PerOutput({self.number: gradient}),)
