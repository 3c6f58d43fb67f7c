"""The optimisers: `SGD`, `Adam`, `AdamW`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from nbgrad.autograd.tensor import Tensor
from nbgrad.formulas.updates import UPDATES
from nbgrad.optim.hyperparameters import Flag, Number
from nbgrad.optim.optimizer import Optimizer

__all__ = ["SGD", "Adam", "AdamW"]


class SGD(Optimizer):
    """Stochastic gradient descent: with d = gradient + weight_decay·p, p ← p − lr·d.

    With momentum μ, from b = 0: b ← μ·b + d, p ← p − lr·b; with `nesterov` p ← p − lr·(d + μ·b). There is no
    dampening.

    Source: I. Sutskever et al., On the importance of initialization and momentum in deep learning, ICML 2013.

    >>> import nbgrad
    >>> w = nbgrad.tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = SGD([w], lr=0.5)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([0., 0.], requires_grad=True)
    """

    hyperparameters = ("lr", "momentum", "weight_decay", "nesterov")
    arrays = UPDATES["sgd_momentum"].memory
    lr, momentum, weight_decay, nesterov = Number(), Number(), Number(), Flag()

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

    def _rule(self, step: int) -> tuple[str, tuple[float, ...]]:
        if not self.momentum:
            return "sgd", (self.lr, self.weight_decay)
        return "sgd_nesterov" if self.nesterov else "sgd_momentum", (self.lr, self.weight_decay, self.momentum)


class Adam(Optimizer):
    """Adaptive moments: with d = gradient + weight_decay·p and step t, m ← β₁m + (1 − β₁)d, s ← β₂s + (1 −
    β₂)d², p ← p − lr/(1 − β₁ᵗ) · m / (√s/√(1 − β₂ᵗ) + eps).

    Source: D. Kingma, J. Ba, Adam: a method for stochastic optimization, ICLR 2015.

    >>> import nbgrad
    >>> w = nbgrad.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = Adam([w], lr=0.5)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> print(w.detach().numpy().round(4))
    [ 0.5 -1.5]
    """

    hyperparameters = ("lr", "beta1", "beta2", "eps", "weight_decay")
    arrays = UPDATES["adam"].memory
    lr, beta1, beta2, eps, weight_decay = Number(), Number(1), Number(1), Number(), Number()

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

    def _rule(self, step: int) -> tuple[str, tuple[float, ...]]:
        return "adam", self._numbers(step, self.weight_decay)

    def _numbers(self, step: int, decay: float) -> tuple[float, ...]:
        rate = self.lr / (1 - self.beta1**step)
        root = (1 - self.beta2**step) ** 0.5
        return rate, root, self.eps, decay, 1 - self.beta1, self.beta2, 1 - self.beta2


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

    def _rule(self, step: int) -> tuple[str, tuple[float, ...]]:
        return "adamw", self._numbers(step, self.lr * self.weight_decay)
