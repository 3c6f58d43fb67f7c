"""The exercises of the lessons, and `check`, which says whether a solution is right, and if not, where and why.

The judge is `nbgrad.testing`: differences of the function itself, with error bars. Some mistakes are so common that an
exercise knows them: their words are added where an answer is wrong in exactly that way.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import nbgrad
from nbgrad.testing import GradientError, GradientWarning, check_autograd, check_gradient, check_objective

__all__ = ["EXERCISES", "check"]


@dataclass(frozen=True)
class Exercise:
    """``forward``: the function whose gradient is asked; None where the solution brings its own. ``arguments``: where
    it is asked; ``grad_output``: the gradient that comes from behind, ones by default, so that slopes are shown as
    they are. ``mistakes``: {words: a solution that makes it}.
    """

    forward: Callable[..., Any] | None
    arguments: tuple[Any, ...]
    mistakes: dict[str, Callable[..., Any]] = field(default_factory=dict)
    judge: Callable[..., Any] = check_gradient
    grad_output: Any = 1.0

    def confirmed(self, solution: Callable[..., Any]) -> int:
        """How many slopes are right; `GradientError` if one is wrong."""
        functions = [f for f in (self.forward, solution) if f is not None]
        options: list[dict[str, Any]] = [{"rng": 0}]
        if self.judge is not check_objective:  # first with a grad_output that is easy to read, then with a drawn one
            value = np.asarray(self.forward(*self.arguments) if self.forward else 0.0)
            options.insert(0, {"grad_output": np.broadcast_to(self.grad_output, value.shape).astype(value.dtype)})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", GradientWarning)
            return [self.judge(*functions, *self.arguments, **o) for o in options][0].confirmed

    def error(self, solution: Callable[..., Any]) -> GradientError | None:
        try:
            self.confirmed(solution)
        except GradientError as error:
            return error
        return None


def check(name: str, solution: Callable[..., Any]) -> None:
    """Print "right", or where and why the solution is wrong."""
    exercise = EXERCISES[name]
    error = exercise.error(solution)
    if error is None:
        print(f"right: {exercise.confirmed(solution)} slopes confirmed")
        return
    said = words(error, exercise)
    why = (reason for reason, wrong in exercise.mistakes.items() if words(exercise.error(wrong), exercise) == said)
    print(": ".join([said, *why]))


def words(error: GradientError | None, exercise: Exercise) -> str:
    """A `GradientError` in one line."""
    if error is None or error.value is None or error.index is None:
        return str(error).splitlines()[0]
    names = list(inspect.signature(exercise.forward).parameters) if exercise.forward else ["x"]
    name, place = names[error.argument or 0], ", ".join(map(str, error.index))
    point = np.asarray(error.arguments[error.argument or 0])
    where = f"{name}[{place}] = " if place and point.ndim > 1 else f"{name} = " if len(names) > 1 else ""
    return f"at {where}{point[error.index]:.4g} yours is {error.value + 0.0:.2g}, right is {float(error.reference):.2g}"


# The functions of the exercises, and the usual mistakes.


def add(a: Any, b: Any) -> Any:
    return a + b


def product(x: Any, w: Any) -> Any:
    return x @ w


def two_ways(a: Any, w: Any) -> Any:
    return w * a + w * w


class Norm(nbgrad.Function):
    """Without what comes from behind."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(x)
        return (x * x).sum() ** 0.5

    @staticmethod
    def backward(ctx: Any, grad_output: Any) -> Any:
        (x,) = ctx.saved_tensors
        return x / (x * x).sum() ** 0.5


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def tanh(x: Any) -> Any:
    return np.tanh(x)


def bce(z: Any) -> Any:
    """The cross-entropy of the logit z where the label is 1."""
    return np.log1p(np.exp(-z))


def softmax(x: Any) -> Any:
    e = np.exp(x - x.max())
    return e / e.sum()


def elu(x: Any) -> Any:
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))


def hardtanh(x: Any) -> Any:
    return np.clip(x, -1, 1)


def mean_cross_entropy(z: Any, labels: Any) -> Any:
    """Of logits (N, C) and labels (N,)."""
    shifted = z - z.max(axis=1, keepdims=True)
    return np.mean(np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(z)), labels])


X = np.array([[1.0, 0.5], [1.0, -1.5], [1.0, 2.0], [1.0, 0.0]])
Y = np.array([1.0, 0.0, 1.0, 0.0])


def logistic_loss_and_sum(w: Any) -> Any:
    z = X @ w
    return np.mean(np.logaddexp(0, z) - Y * z), X.T @ (sigmoid(z) - Y)


def cross_entropy_without_mean(grad_output: Any, z: Any, labels: Any) -> Any:
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return grad_output * (e / e.sum(axis=1, keepdims=True) - np.eye(z.shape[1])[labels])


def float32(*values: float) -> Any:
    return np.array(values, np.float32)


EXERCISES = {
    "add": Exercise(
        add, (np.ones((3, 4)), np.arange(4.0)),
        {"b was used in each of the 3 rows; add up what comes back from them": lambda g, a, b: (g, g)},
    ),
    "product": Exercise(
        product, (np.arange(6.0).reshape(2, 3), np.ones((3, 4))),
        {"the gradient of w has w's shape, so xᵀ stands first": lambda g, x, w: (g @ w.T, g.T @ x)},
    ),
    "two_ways": Exercise(
        two_ways, (2.0, 3.0),
        {"w reaches the result on three ways; one is missing": lambda g, a, w: (g * w, g * (a + w))},
    ),
    "norm": Exercise(
        None, (nbgrad.tensor(np.array([3.0, 4.0]), requires_grad=True),),
        {"grad_output is missing: what comes from behind is a factor": Norm.apply}, check_autograd,
    ),
    "logistic": Exercise(
        None, (np.array([0.1, -0.2]),),
        {"the loss is a mean over 4 rows, and so is its gradient": logistic_loss_and_sum}, check_objective,
    ),
    "bce": Exercise(
        bce, (float32(-2, 0, 3, 20),),
        {"1 − y has no digits left there; simplify before you compute": lambda g, z: g * -(1 - sigmoid(z))},
    ),
    "softmax": Exercise(
        softmax, (np.array([0.0, 1.0, 2.0]),),
        {"each y depends on every x, not only on its own": lambda g, x: g * softmax(x) * (1 - softmax(x))},
        grad_output=np.array([0.0, 0.0, 1.0]),
    ),
    "elu": Exercise(
        elu, (float32(2, -0.5, -20),),
        {"elu(x) + 1 has no digits left there; use the input": lambda g, x: g * np.where(x > 0, 1, elu(x) + 1)},
    ),
    "hardtanh": Exercise(
        hardtanh, (float32(-3, -0.5, 0.5, 2),),
        {"what is cut off does not move with x": lambda g, x: g * np.ones_like(x)},
    ),
    "mean_cross_entropy": Exercise(
        mean_cross_entropy, (np.array([[2.0, 0.5, -1.0], [0.0, 1.0, 0.0]]), np.array([0, 2])),
        {"the loss is a mean over 2 rows": cross_entropy_without_mean},
    ),
    "sigmoid": Exercise(
        sigmoid, (float32(-3, 0, 1, 22.18),),
        {"y·(1 − y) has no digits left there; use the input": lambda g, x: g * sigmoid(x) * (1 - sigmoid(x))},
    ),
    "tanh": Exercise(
        tanh, (float32(-14.56, 0, 1),),
        {"1 − y² has no digits left there; use the input": lambda g, x: g * (1 - np.tanh(x) ** 2)},
    ),
}  # fmt: skip
