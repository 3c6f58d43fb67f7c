"""`Module`, the base class of layers."""

from __future__ import annotations

import functools
import threading
from abc import ABCMeta
from collections import deque
from collections.abc import Iterator, Mapping
from types import FunctionType
from typing import Any, Self

import numpy as np

from nbgrad.arrays import as_array
from nbgrad.autograd.devices import move
from nbgrad.autograd.inputs import cast
from nbgrad.autograd.tape import mode, no_grad
from nbgrad.autograd.tensor import Tensor, forget_gradients

__all__ = ["Module"]


class _Running(threading.local):
    modules: tuple[Module, ...] = ()  # those whose `forward` this thread is within


_running = _Running()


def _noted(forward: Any) -> Any:
    """`forward`, which says by `_running` that it runs, whoever calls it."""

    @functools.wraps(forward)
    def noted(self: Module, *args: Any, **kwargs: Any) -> Any:
        before = _running.modules
        if mode.recorder is not None:
            mode.recorder.modules[id(self)] = self, self.training
        try:
            _running.modules = (*before, self)
            return forward(self, *args, **kwargs)
        finally:
            _running.modules = before

    return noted


class _Complete(ABCMeta):  # an ABCMeta, so that a Module may be an abstract base class, too
    """Says when a Module's constructor, whatever classes it goes through, has ended."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        module = super().__call__(*args, **kwargs)
        if isinstance(module, Module):
            vars(module)["_complete"] = True
            module._check_containers()
        return module


class Module(metaclass=_Complete):
    """Base class: a subclass sets tensors and Modules as attributes in `__init__` and defines `forward`.

    Its state is what the constructor gives it: leaf tensors, and Modules with theirs. Later that is the Modules and the
    leaf tensors that require a gradient, unless `forward` sets those: what it keeps under a new name is for its own
    use, as is all that has a name with `_` in front. A plain list, tuple or dict with Modules or parameters in it is a
    TypeError: `nn.ModuleList` and `nn.ModuleDict` hold them.

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

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if isinstance(vars(cls).get("forward"), FunctionType):
            cls.forward = _noted(cls.forward)  # type: ignore[method-assign]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.forward(*args, **kwargs)

    #: the names of attributes that are no state; a new set with each change, for a copy shares it
    _kept: frozenset[str] = frozenset()

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_") and not self._is_state(name):
            within = any(module is self for module in _running.modules)
            if isinstance(value, Tensor):
                late = "_complete" in vars(self)
                state = value.is_leaf and (value.requires_grad and not _running.modules if late else not within)
            else:
                state = not within
            vars(self)["_kept"] = self._kept - {name} if state else self._kept | {name}
            if not isinstance(value, Tensor | Module):
                self._check_container(name, value)
        super().__setattr__(name, value)

    def _is_state(self, name: str) -> bool:
        return name not in self._kept and isinstance(vars(self).get(name), Tensor | Module)

    def _check_containers(self) -> None:
        for name, value in self._members():
            if not isinstance(value, Tensor | Module):
                self._check_container(name, value)

    def _check_container(self, name: str, value: Any) -> None:
        """TypeError for a plain container with Modules or parameters in it that are not the module's otherwise."""
        hidden = [part for part in _parts(value) if isinstance(part, Module) or name not in self._kept]
        if not hidden:
            return
        own = {id(module) for module in self._modules()} | {id(tensor) for _, tensor in self._state()}
        for part in hidden:
            if id(part) not in own:
                what, instead = (
                    (f"a {type(part).__name__}", "Modules in an nn.ModuleList or nn.ModuleDict")
                    if isinstance(part, Module)
                    else ("a parameter", "attributes, of Modules in an nn.ModuleList or nn.ModuleDict if many")
                )
                raise TypeError(
                    f"{name}: expected {instead}, got a {type(value).__name__} that holds {what}, which would not be "
                    "found (a name with _ in front is for what is not to be found)"
                )

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
            elif isinstance(value, Tensor) and name not in self._kept:
                yield prefix + name, value

    def _checked_state(self) -> Iterator[tuple[str, Tensor]]:
        """The same, after a look into the lists and dicts, which may have been filled meanwhile."""
        for module in self._modules():
            module._check_containers()
        return self._state()

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """The tensors that require a gradient, with their names; one that is shared comes once."""
        seen = set()
        for name, value in self._checked_state():
            if value.requires_grad and value.is_leaf and value not in seen:
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
        return {name: Tensor(value._own().copy()) for name, value in self._checked_state()}

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
        own = dict(self._checked_state())
        missing, unexpected = sorted(own.keys() - state_dict.keys()), sorted(state_dict.keys() - own.keys())
        if missing or unexpected:
            raise ValueError(
                f"state_dict: expected the names {sorted(own)}; missing {missing}, not expected {unexpected}"
            )
        arrays = {
            name: value.cpu().numpy() if isinstance(value, Tensor) else as_array(value, f"state_dict: {name}")
            for name, value in state_dict.items()
        }
        for name, array in arrays.items():
            if array.shape != own[name].shape:
                raise ValueError(f"state_dict: {name}: expected shape {own[name].shape}, got {array.shape}")
            if not np.can_cast(array.dtype, own[name].dtype, "same_kind"):
                raise TypeError(f"state_dict: {name}: expected {own[name].dtype}, got {array.dtype}")
            arrays[name] = cast(array, own[name].dtype, f"state_dict: {name}")
        with no_grad():
            for name, array in arrays.items():
                own[name][...] = move(array, own[name].device)
        return self

    def train(self, mode: bool = True) -> Self:
        """Set `training` here and in all modules below. Returns the module."""
        modules = list(self._modules())
        for module in modules:
            module._check_containers()
        for module in modules:
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
        moved = [(value, move(value._own(), device)) for _, value in self._checked_state()]  # all or, on an error, none
        for value, data in moved:
            value._data, value._view_of = data, None
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


def _parts(value: Any) -> Iterator[Module | Tensor]:
    """The Modules and parameters in a plain container, and in those in it."""
    seen: set[int] = set()
    open_ = [value]
    while open_:
        value = open_.pop()
        if isinstance(value, Module) or (isinstance(value, Tensor) and value.is_leaf and value.requires_grad):
            yield value
        elif isinstance(value, list | tuple | dict | set | frozenset | deque) and id(value) not in seen:
            seen.add(id(value))
            open_ += [*value, *value.values()] if isinstance(value, dict) else value
