"""Optimisers with PyTorch's update rules: `SGD` and `Adam`.

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

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numba import prange

from nbgrad.autograd.devices import move, on_cpu, zeros
from nbgrad.autograd.tape import note_mutation
from nbgrad.autograd.tensor import Tensor
from nbgrad.formulas import updates
from nbgrad.jit import Loop

__all__ = ["SGD", "Adam", "Optimizer"]


# One compiled pass over each parameter: NumPy's fifteen passes for Adam take twice as long (269 000 weights,
# one thread).


def _sgd(p, g, lr, weight_decay):
    for i in prange(p.size):
        p[i] = updates.sgd(p[i], g[i], lr, weight_decay)


def _sgd_momentum(p, g, buffer, lr, weight_decay, momentum, nesterov):
    for i in prange(p.size):
        p[i], buffer[i] = updates.sgd_momentum(p[i], g[i], buffer[i], lr, weight_decay, momentum, nesterov)


def _adam(p, g, mean, square, rate, root, eps, weight_decay, rest1, beta2, rest2):
    for i in prange(p.size):
        p[i], mean[i], square[i] = updates.adam(
            p[i], g[i], mean[i], square[i], rate, root, eps, weight_decay, rest1, beta2, rest2
        )


# Serial up to 4 million weights. An update follows matrix products whose BLAS threads are still spinning: see
# `nbgrad.jit.serial_loops`.
_LOOPS = {f.__name__[1:]: Loop(f, threshold=1 << 22) for f in (_sgd, _sgd_momentum, _adam)}


def _run(name: str, arrays: tuple[Any, ...], numbers: Iterable[Any]) -> None:
    """Update flat arrays, the parameter and its gradient first, in place; numbers take the parameter's precision."""
    p, g, *memory = arrays
    converted = tuple(n if isinstance(n, bool) else p.dtype.type(n) for n in numbers)
    if on_cpu(p):
        arrays = (p, np.ascontiguousarray(g).reshape(-1), *(m.reshape(-1) for m in memory))
        _LOOPS[name](p.size, *arrays, *converted)
        return
    from nbgrad.backends import cuda_updates

    cuda_updates.run(name, (p, g.reshape(-1), *(m.reshape(-1) for m in memory)), converted)


class Optimizer:
    """What the optimisers share. Hyperparameters are attributes and may be changed between steps."""

    #: names of the hyperparameters, and of the arrays kept per parameter
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

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters."""
        for param in self.params:
            param.grad = None

    def step(self) -> None:
        """Update every parameter that has a gradient, in place."""
        for param, state in zip(self.params, self.state, strict=True):
            if param.grad is None:
                continue
            p = param._own()
            if not p.flags.c_contiguous or (on_cpu(p) and not p.flags.writeable):
                raise ValueError("params: expected writeable arrays in C order to update in place")
            if not state:
                state["step"] = 0
                state.update((name, zeros(p.shape, p)) for name in self.arrays)
            for name in self.arrays:
                if not on_cpu(p) or not on_cpu(state[name]):  # else the parameter was not moved
                    moved = move(state[name], param.device)
                    state[name] = np.array(moved) if on_cpu(moved) else moved  # not a NumPy scalar, which cannot change
            state["step"] += 1
            self._update(p.reshape(-1), param.grad._data, state)
            note_mutation(p)

    def _update(self, p: np.ndarray, g: np.ndarray, state: dict[str, Any]) -> None:
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        """Hyperparameters and memory in one flat dict: numbers, and copies of arrays named "0.exp_avg" and so
        on.
        """
        out: dict[str, Any] = {name: getattr(self, name) for name in self.hyperparameters}
        for i, state in enumerate(self.state):
            out |= {
                f"{i}.{name}": value if name == "step" else move(value, "cpu").copy()
                for name, value in state.items()
            }
        return out

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` returned, bitwise; numbers may be arrays of dimension 0, as from an
        npz file.

        ValueError, with nothing changed, where names or shapes are not those of this optimiser and its
        parameters.
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"state_dict: expected a dict, got {type(state_dict).__name__}")
        rest = dict(state_dict)
        try:
            values = {
                name: type(getattr(self, name))(np.asarray(rest.pop(name)).item())
                for name in self.hyperparameters
            }
        except KeyError as error:
            raise ValueError(f"state_dict: {error.args[0]} is missing") from None
        states: list[dict[str, Any]] = [{} for _ in self.params]
        for i, (param, state) in enumerate(zip(self.params, states, strict=True)):
            names = [name for name in ("step", *self.arrays) if f"{i}.{name}" in rest]
            if names and len(names) != 1 + len(self.arrays):
                raise ValueError(
                    f"state_dict: expected all of {('step', *self.arrays)} for parameter {i}, got {names}"
                )
            for name in names:
                array = np.array(rest.pop(f"{i}.{name}"))
                shape = () if name == "step" else param.shape
                if array.shape != shape:
                    raise ValueError(f"state_dict: {i}.{name}: expected shape {shape}, got {array.shape}")
                state[name] = int(array) if name == "step" else move(array.astype(param.dtype), param.device)
        if rest:
            raise ValueError(f"state_dict: {sorted(rest)[0]} is not expected")
        self.state = states
        for name, value in values.items():
            setattr(self, name, value)


def _number(name: str, value: Any, high: float = np.inf) -> float:
    """The hyperparameter as a float; TypeError for what is no number, ValueError unless 0 <= number < high."""
    if np.ndim(value) or not hasattr(value, "__float__"):
        raise TypeError(f"{name}: expected a number, got {type(value).__name__}")
    if not 0 <= value < high:
        raise ValueError(f"{name}: expected a number in [0, {high}), got {value}")
    return float(value)


class SGD(Optimizer):
    """Stochastic gradient descent: with d = gradient + weight_decay·p, p ← p − lr·d.

    With momentum μ, from b = 0: b ← μ·b + d, p ← p − lr·b; with `nesterov` p ← p − lr·(d + μ·b). There is no
    dampening.

    Source: I. Sutskever et al., On the importance of initialization and momentum in deep learning, ICML 2013.
    """

    hyperparameters = ("lr", "momentum", "weight_decay", "nesterov")

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 1e-3,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        super().__init__(params)
        self.lr, self.momentum = _number("lr", lr), _number("momentum", momentum)
        self.weight_decay, self.nesterov = _number("weight_decay", weight_decay), bool(nesterov)
        if nesterov and not momentum:
            raise ValueError("nesterov: expected False where momentum is 0, got True")
        self.arrays = ("momentum_buffer",) if momentum else ()

    def _update(self, p: np.ndarray, g: np.ndarray, state: dict[str, Any]) -> None:
        if not self.arrays:
            _run("sgd", (p, g), (self.lr, self.weight_decay))
            return
        numbers = self.lr, self.weight_decay, self.momentum, self.nesterov
        _run("sgd_momentum", (p, g, state["momentum_buffer"]), numbers)


class Adam(Optimizer):
    """Adaptive moments: with d = gradient + weight_decay·p and step t, m ← β₁m + (1 − β₁)d, s ← β₂s + (1 −
    β₂)d², p ← p − lr/(1 − β₁ᵗ) · m / (√s/√(1 − β₂ᵗ) + eps).

    Source: D. Kingma, J. Ba, Adam: a method for stochastic optimization, ICLR 2015.
    """

    hyperparameters = ("lr", "beta1", "beta2", "eps", "weight_decay")
    arrays = ("exp_avg", "exp_avg_sq")

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params)
        if not hasattr(betas, "__len__") or len(betas) != 2:
            raise TypeError(f"betas: expected two numbers, got {betas!r}")
        self.beta1, self.beta2 = (_number(f"beta{i}", beta, 1) for i, beta in enumerate(betas, 1))
        self.lr, self.eps = _number("lr", lr), _number("eps", eps)
        self.weight_decay = _number("weight_decay", weight_decay)

    def _update(self, p: np.ndarray, g: np.ndarray, state: dict[str, Any]) -> None:
        rate = self.lr / (1 - self.beta1 ** state["step"])
        root = (1 - self.beta2 ** state["step"]) ** 0.5
        numbers = rate, root, self.eps, self.weight_decay, 1 - self.beta1, self.beta2, 1 - self.beta2
        _run("adam", (p, g, state["exp_avg"], state["exp_avg_sq"]), numbers)
