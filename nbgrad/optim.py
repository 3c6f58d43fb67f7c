"""Optimisers with PyTorch's update rules: `SGD`, `Adam` and `AdamW`.

The arithmetic is in the parameter's own precision, element by element: the result does not depend on the
number of threads.

>>> import nbgrad
>>> w = nbgrad.tensor([1.0, 2.0], requires_grad=True)
>>> optimizer = SGD([w], lr=0.1)
>>> (w * w).sum().backward()
>>> optimizer.step()
>>> w
tensor([0.8, 1.6], requires_grad=True)
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from nbgrad.arrays import as_array
from nbgrad.autograd.devices import device_name, move, on_cpu, zeros
from nbgrad.autograd.tape import note_mutation
from nbgrad.autograd.tensor import Tensor, forget_gradients
from nbgrad.cpu import updates as cpu_updates

__all__ = ["SGD", "Adam", "AdamW", "Optimizer"]


def _run(name: str, arrays: tuple[Any, ...], numbers: Iterable[Any]) -> None:
    """Update flat arrays, the parameter first, in place; numbers take the parameter's precision."""
    p = arrays[0]
    converted = tuple(n if isinstance(n, bool) else p.dtype.type(n) for n in numbers)
    if on_cpu(p):
        cpu_updates.run(name, arrays, converted)
        return
    from nbgrad.cuda import updates as cuda_updates

    cuda_updates.run(name, arrays, converted)


def _straight(array: Any) -> bool:
    """Whether the loops can run over the array itself: in C order, and on the CPU aligned."""
    return array.flags.c_contiguous and (not on_cpu(array) or array.flags.aligned)


class _Number:
    """A hyperparameter as an attribute of its optimiser, which may be set at any time: a number in [0, high)."""

    def __init__(self, high: float = np.inf) -> None:
        self.high = high

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, optimizer: Any, owner: Any = None) -> Any:
        return self if optimizer is None else vars(optimizer)[self.name]

    def __set__(self, optimizer: Any, value: Any) -> None:
        vars(optimizer)[self.name] = self.check(value)

    def check(self, value: Any) -> Any:
        """The value as a float; TypeError for what is no number, ValueError for one outside."""
        kind = getattr(getattr(value, "dtype", None), "kind", "f")
        if not hasattr(value, "__float__") or np.ndim(value) or kind not in "biuf":
            raise TypeError(f"{self.name}: expected a number, got {type(value).__name__}")
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not 0 <= number < self.high:
            raise ValueError(f"{self.name}: expected a number in [0, {self.high}), got {value}")
        return number


class _Flag(_Number):
    """The same for True or False."""

    def check(self, value: Any) -> Any:
        if not isinstance(value, bool) and (getattr(value, "dtype", 0) != np.dtype(bool) or value.ndim):
            raise TypeError(f"{self.name}: expected True or False, got {value!r}")
        return bool(value)


class Optimizer:
    """What the optimisers share. Hyperparameters are attributes and may be changed between steps: the next step
    uses them.
    """

    #: names of the hyperparameters, and of the arrays that may be kept per parameter
    hyperparameters: tuple[str, ...] = ()
    arrays: tuple[str, ...] = ()

    def __init__(self, params: Iterable[Tensor]) -> None:
        if isinstance(params, Tensor) or not isinstance(params, Iterable):
            got = "a Tensor" if isinstance(params, Tensor) else type(params).__name__
            raise TypeError(f"params: expected an iterable of tensors, got {got}")
        self.params = list(params)
        if not self.params:
            raise ValueError("params: expected at least one tensor, got none")
        for param in self.params:
            if not isinstance(param, Tensor):
                raise TypeError(f"params: expected tensors, got {type(param).__name__}")
            if not (param.is_leaf and param.requires_grad):
                raise ValueError("params: expected leaf tensors that require a gradient")
        if len(set(self.params)) < len(self.params):
            raise ValueError("params: expected each tensor once")
        #: per parameter: what the optimiser remembers of it; empty before its first gradient
        self.state: list[dict[str, Any]] = [{} for _ in self.params]

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters; without `set_to_none` they stay, all 0."""
        forget_gradients(self.params, set_to_none)

    def step(self) -> None:
        """Update every parameter that has a gradient, in place. Where an error is raised nothing has changed."""
        if len(self.state) != len(self.params):
            raise ValueError(f"state: expected one for each of {len(self.params)} params, got {len(self.state)}")
        numbers = {name: getattr(self, name) for name in self.hyperparameters}
        self._check(**numbers)
        used = self._used(**numbers)
        ready = [
            (param, state, self._ready(i, param, state, used))
            for i, (param, state) in enumerate(zip(self.params, self.state, strict=True))
            if param.grad is not None
        ]
        for param, state, (p, g, new) in ready:
            self._update(p, g, new)
            if not _straight(param._data):
                param._data[...] = p.reshape(param.shape)
            state.update(new)
            note_mutation(param._data)

    def _ready(self, i: int, param: Tensor, state: dict[str, Any], used: tuple[str, ...]) -> tuple[Any, Any, Any]:
        """What `_update` takes for parameter i: it and its gradient as flat arrays in C order (of a parameter in
        another order a copy), and its state after the step, arrays that are to be updated. ValueError for what
        cannot be updated.
        """
        p, g = param._own(), param.grad._data  # type: ignore[union-attr]
        here = on_cpu(p)
        if here and not p.flags.writeable:
            raise ValueError(f"params: expected writeable arrays to update in place, got a read-only one at {i}")
        new: dict[str, Any] = {"step": state.get("step", 0) + 1}
        for name in used:
            array = state[name] if name in state else zeros(p.shape, p)
            if not here or not on_cpu(array):  # else the parameter was not moved
                array = move(array, param.device)
            new[name] = np.array(array) if here and not array.flags.carray else array
        for name, array in (("grad", g), *new.items()):
            if name == "step" or (array.shape == p.shape and array.dtype == p.dtype and on_cpu(array) == here):
                continue
            got = f"{array.dtype} {array.shape} on {device_name(array)}"
            raise ValueError(
                f"params: expected {name} as the parameter at {i}, {p.dtype} {p.shape} on {param.device}, got {got}"
            )
        p, g = ((a if _straight(a) else a.copy()).reshape(-1) for a in (p, g))
        return p, g, new

    def _check(self, **numbers: Any) -> None:
        """ValueError for hyperparameters that do not go together."""

    def _used(self, **numbers: Any) -> tuple[str, ...]:
        """The names of the arrays that a step with these hyperparameters updates."""
        return self.arrays

    def _update(self, p: np.ndarray, g: np.ndarray, state: dict[str, Any]) -> None:
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        """Hyperparameters and memory in one flat dict: numbers, and copies of arrays named "0.exp_avg" and so
        on.
        """
        out: dict[str, Any] = {name: getattr(self, name) for name in self.hyperparameters}
        used = self._used(**out)
        for i, (param, state) in enumerate(zip(self.params, self.state, strict=True)):
            if state:
                out[f"{i}.step"] = state["step"]
            for name in self.arrays:
                if name in state:
                    out[f"{i}.{name}"] = move(state[name], "cpu").copy()
                elif state and name in used:  # of use from the next step on
                    out[f"{i}.{name}"] = np.zeros(param.shape, param.dtype)
        return out

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` returned, bitwise; numbers may be arrays of dimension 0, as from an
        npz file.

        ValueError or TypeError, with nothing changed, where names, shapes, dtypes or numbers are not those of this
        optimiser and its parameters.
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"state_dict: expected a dict, got {type(state_dict).__name__}")
        rest = dict(state_dict)
        missing = [name for name in self.hyperparameters if name not in rest]
        if missing:
            raise ValueError(f"state_dict: {missing[0]} is missing")
        try:
            values = {name: getattr(type(self), name).check(rest.pop(name)) for name in self.hyperparameters}
            self._check(**values)
        except (TypeError, ValueError) as error:
            raise type(error)(f"state_dict: {error}") from None
        used = self._used(**values)
        states: list[dict[str, Any]] = [{} for _ in self.params]
        for i, (param, state) in enumerate(zip(self.params, states, strict=True)):
            names = [name for name in ("step", *self.arrays) if f"{i}.{name}" in rest]
            if names and not {"step", *used} <= {*names}:
                raise ValueError(f"state_dict: expected all of {('step', *used)} for parameter {i}, got {names}")
            for name in names:
                state[name] = self._loaded(f"state_dict: {i}.{name}", rest.pop(f"{i}.{name}"), param, name == "step")
        if rest:
            raise ValueError(f"state_dict: {sorted(map(str, rest))[0]} is not expected")
        self.state = states
        for name, value in values.items():
            setattr(self, name, value)

    @staticmethod
    def _loaded(where: str, value: Any, param: Tensor, is_step: bool) -> Any:
        array = np.array(as_array(value, where))
        shape = () if is_step else param.shape
        if array.shape != shape:
            raise ValueError(f"{where}: expected shape {shape}, got {array.shape}")
        if is_step:
            if array.dtype.kind not in "iu" or array < 1:
                raise ValueError(f"{where}: expected a number of steps, got {value}")
            return int(array)
        if not np.can_cast(array.dtype, param.dtype, "same_kind"):
            raise TypeError(f"{where}: expected {param.dtype}, got {array.dtype}")
        return move(array.astype(param.dtype, order="C"), param.device)


class SGD(Optimizer):
    """Stochastic gradient descent: with d = gradient + weight_decay·p, p ← p − lr·d.

    With momentum μ, from b = 0: b ← μ·b + d, p ← p − lr·b; with `nesterov` p ← p − lr·(d + μ·b). There is no
    dampening.

    Source: I. Sutskever et al., On the importance of initialization and momentum in deep learning, ICML 2013.
    """

    hyperparameters = ("lr", "momentum", "weight_decay", "nesterov")
    arrays = ("momentum_buffer",)
    lr, momentum, weight_decay, nesterov = _Number(), _Number(), _Number(), _Flag()

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 1e-3,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        super().__init__(params)
        self.lr, self.momentum, self.weight_decay, self.nesterov = lr, momentum, weight_decay, nesterov
        self._check(self.momentum, self.nesterov)

    def _check(self, momentum: Any = 0, nesterov: Any = False, **numbers: Any) -> None:
        if nesterov and not momentum:
            raise ValueError("nesterov: expected False where momentum is 0, got True")

    def _used(self, momentum: Any = 0, **numbers: Any) -> tuple[str, ...]:
        return self.arrays if momentum else ()

    def _update(self, p: np.ndarray, g: np.ndarray, state: dict[str, Any]) -> None:
        if not self.momentum:
            _run("sgd", (p, g), (self.lr, self.weight_decay))
            return
        numbers = self.lr, self.weight_decay, self.momentum, self.nesterov
        _run("sgd_momentum", (p, g, state["momentum_buffer"].reshape(-1)), numbers)


class Adam(Optimizer):
    """Adaptive moments: with d = gradient + weight_decay·p and step t, m ← β₁m + (1 − β₁)d, s ← β₂s + (1 −
    β₂)d², p ← p − lr/(1 − β₁ᵗ) · m / (√s/√(1 − β₂ᵗ) + eps).

    Source: D. Kingma, J. Ba, Adam: a method for stochastic optimization, ICLR 2015.
    """

    hyperparameters = ("lr", "beta1", "beta2", "eps", "weight_decay")
    arrays = ("exp_avg", "exp_avg_sq")
    lr, beta1, beta2, eps, weight_decay = _Number(), _Number(1), _Number(1), _Number(), _Number()

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params)
        self.betas = betas
        self.lr, self.eps, self.weight_decay = lr, eps, weight_decay

    @property
    def betas(self) -> tuple[float, float]:
        """β₁ and β₂, which are `beta1` and `beta2`, too."""
        return self.beta1, self.beta2

    @betas.setter
    def betas(self, betas: Any) -> None:
        if not hasattr(betas, "__len__") or len(betas) != 2:
            raise TypeError(f"betas: expected two numbers, got {betas!r}")
        self.beta1, self.beta2 = (getattr(Adam, f"beta{i}").check(beta) for i, beta in enumerate(betas, 1))

    def _update(self, p: np.ndarray, g: np.ndarray, state: dict[str, Any]) -> None:
        self._step("adam", p, g, state, self.weight_decay)

    def _step(self, name: str, p: Any, g: Any, state: dict[str, Any], decay: float) -> None:
        rate = self.lr / (1 - self.beta1 ** state["step"])
        root = (1 - self.beta2 ** state["step"]) ** 0.5
        numbers = rate, root, self.eps, decay, 1 - self.beta1, self.beta2, 1 - self.beta2
        _run(name, (p, g, state["exp_avg"].reshape(-1), state["exp_avg_sq"].reshape(-1)), numbers)


class AdamW(Adam):
    """Adam with d = gradient, and the weights' decay beside it: p ← p − lr·weight_decay·p − Adam's step.

    Source: I. Loshchilov, F. Hutter, Decoupled weight decay regularization, ICLR 2019.

    >>> import nbgrad
    >>> w = nbgrad.tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = AdamW([w], lr=0.5, weight_decay=0.2)
    >>> w.grad = nbgrad.tensor([0.0, 0.0])
    >>> optimizer.step()
    >>> w
    tensor([0.9, 1.8], requires_grad=True)
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay)

    def _update(self, p: np.ndarray, g: np.ndarray, state: dict[str, Any]) -> None:
        self._step("adamw", p, g, state, self.lr * self.weight_decay)
