"""`Module`, the base class of layers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Self

import numpy as np

from nbgrad.autograd.devices import move
from nbgrad.autograd.tape import no_grad
from nbgrad.autograd.tensor import Tensor, forget_gradients

__all__ = ["Module"]


class Module:
    """Base class: a subclass sets tensors and Modules as attributes in `__init__` and defines `forward`.

    >>> import nbgrad
    >>> class Scale(Module):
    ...     def __init__(self):
    ...         self.factor = nbgrad.tensor(2.0, requires_grad=True)
    ...     def forward(self, x):
    ...         return self.factor * x
    >>> Scale()(nbgrad.tensor([1.0, 2.0]))
    tensor([2., 4.], grad_fn=<MulBackward>)
    """

    #: whether layers such as Dropout are to behave as in training; see `train` and `eval`
    training = True

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The layer's function; to be overridden."""
        raise NotImplementedError(f"{type(self).__name__} needs a method forward")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.forward(*args, **kwargs)

    def _members(self) -> Iterator[tuple[str, Any]]:
        return ((name, value) for name, value in vars(self).items() if not name.startswith("_"))

    def _modules(self) -> Iterator[Module]:
        """This module and those below it."""
        yield self
        for _, value in self._members():
            if isinstance(value, Module):
                yield from value._modules()

    def _state(self, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
        for name, value in self._members():
            if isinstance(value, Module):
                yield from value._state(f"{prefix}{name}.")
            elif isinstance(value, Tensor) and value.is_leaf:
                yield prefix + name, value

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """The tensors that require a gradient, with their names; one that is shared comes once."""
        seen = set()
        for name, value in self._state():
            if value.requires_grad and value not in seen:
                seen.add(value)
                yield name, value

    def parameters(self) -> Iterator[Tensor]:
        """The tensors that require a gradient: what an optimiser takes.

        >>> from nbgrad.nn import Linear
        >>> [p.shape for p in Linear(3, 2).parameters()]
        [(2, 3), (2,)]
        """
        return (value for _, value in self.named_parameters())

    def state_dict(self) -> dict[str, Tensor]:
        """Copies of all the module's tensors by name.

        >>> from nbgrad.nn import Linear
        >>> sorted(Linear(3, 2).state_dict())
        ['bias', 'weight']
        """
        return {name: Tensor(value._own().copy()) for name, value in self._state()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> Self:
        """Copy tensors or arrays into the module's tensors. Returns the module.

        ValueError, with nothing changed, unless the names and shapes are exactly the module's; TypeError for
        other dtypes than numbers that cast safely within their kind.

        >>> from nbgrad.nn import Linear
        >>> net = Linear(3, 2)
        >>> _ = Linear(3, 2).load_state_dict(net.state_dict())
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"state_dict: expected a dict of tensors, got {type(state_dict).__name__}")
        own = dict(self._state())
        missing, unexpected = sorted(own.keys() - state_dict.keys()), sorted(state_dict.keys() - own.keys())
        if missing or unexpected:
            raise ValueError(
                f"state_dict: expected the names {sorted(own)}; missing {missing}, not expected {unexpected}"
            )
        arrays = {
            name: value.cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)
            for name, value in state_dict.items()
        }
        for name, array in arrays.items():
            if array.shape != own[name].shape:
                raise ValueError(f"state_dict: {name}: expected shape {own[name].shape}, got {array.shape}")
            if not np.can_cast(array.dtype, own[name].dtype, "same_kind"):
                raise TypeError(f"state_dict: {name}: expected {own[name].dtype}, got {array.dtype}")
        with no_grad():
            for name, array in arrays.items():
                own[name][...] = move(array, own[name].device)
        return self

    def train(self, mode: bool = True) -> Self:
        """Set `training` here and in all modules below. Returns the module."""
        for module in self._modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """`train(False)`: for predictions."""
        return self.train(False)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters; without `set_to_none` they stay, all 0."""
        forget_gradients((value for _, value in self._state()), set_to_none)

    def to(self, device: str) -> Self:
        """Move all tensors, and the gradients they have, to "cpu", "cuda" or "cuda:1". Returns the module.

        The tensors stay the same objects: an optimiser made before still has them, and moves what it remembers of them
        (momentum) at its next step.
        """
        moved = [(value, move(value._own(), device)) for _, value in self._state()]  # all or, on an error, none
        for value, data in moved:
            value._data, value._viewed = data, False
            if value.grad is not None:
                value.grad = value.grad.to(device=device)
        return self

    def cuda(self) -> Self:
        """`to("cuda")`"""
        return self.to("cuda")

    def cpu(self) -> Self:
        """`to("cpu")`"""
        return self.to("cpu")

    def __repr__(self) -> str:
        left_out = Tensor | np.random.Generator
        shown = [f"{k}={v!r}" for k, v in self._members() if k != "training" and not isinstance(v, left_out)]
        return f"{type(self).__name__}({', '.join(shown)})"
