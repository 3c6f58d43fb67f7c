"""`Tensor`: an array with a gradient. Here: making one, and its place in the graph.

Its operators, each rule with its method, are in `nbgrad.autograd.operators`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Self

import numpy as np

from nbgrad.autograd.base import TensorBase
from nbgrad.autograd.devices import device_name, move, on_cpu, overlap
from nbgrad.autograd.inputs import as_array, as_dtype
from nbgrad.autograd.modes import mode, no_grad
from nbgrad.autograd.operators.apply import result
from nbgrad.autograd.operators.conversions import Conversions
from nbgrad.autograd.operators.functions import Functions
from nbgrad.autograd.operators.matmul import MatrixProducts
from nbgrad.autograd.operators.reductions import Reductions
from nbgrad.autograd.operators.shaping import Shaping
from nbgrad.autograd.sharing import share
from nbgrad.autograd.tape import Leaf, Node, accumulate, propagate

__all__ = ["Tensor", "tensor"]


class Tensor(Conversions, Shaping, Reductions, Functions, MatrixProducts):
    """An n-dimensional array of float32, float64, integers or bools that can be differentiated through.

    `Tensor(array)` shares the memory of a NumPy array (of a byte-swapped one it takes a copy), or of an array on a GPU:
    CuPy's, PyTorch's, Numba's, or whatever has `__cuda_array_interface__` or DLPack; then it is on "cuda".
    `tensor(data)` always copies, and of Python floats makes float32. `requires_grad=True`, for floats only, makes it a
    leaf of graphs: whatever is computed from it is recorded, and `backward()` of the result puts the gradient into
    its `.grad`.

    The names are PyTorch's, but an axis is called `axis` (`dim` works too). A change in place is recorded, and refused
    where another tensor on the memory, but for those it is a view of, would lose its history. Backward passes
    are not recorded: there are no second derivatives.

    >>> w = Tensor(np.array([1.0, 2.0]), requires_grad=True)
    >>> loss = (3 * w**2).sum()
    >>> loss
    tensor(15., dtype=float64, grad_fn=<SumBackward>)
    >>> loss.backward()
    >>> w.grad
    tensor([ 6., 12.], dtype=float64)
    """

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = False) -> None:
        self._data, self._node, self._view_of = as_array(data, copy=False), None, None
        share(self)
        if requires_grad:
            self.requires_grad = True

    # ---- what it is

    @property
    def shape(self) -> tuple[int, ...]:
        """The lengths of the axes."""
        return self._data.shape

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self._data.ndim

    @property
    def dtype(self) -> np.dtype[Any]:
        """The NumPy dtype of the elements."""
        return self._data.dtype

    @property
    def device(self) -> str:
        """Where the elements are: "cpu", "cuda:0" and so on."""
        return device_name(self._data)

    def numel(self) -> int:
        """The number of elements."""
        return self._data.size

    def __len__(self) -> int:
        if not self._data.ndim:
            raise TypeError("len() of a 0-d tensor")
        return self._data.shape[0]

    def __iter__(self) -> Iterator[Self]:
        if not self._data.ndim:
            raise TypeError("iteration over a 0-d tensor")
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        text = np.array2string(np.asarray(move(self._data, "cpu")), separator=", ", prefix="tensor(")
        if self.dtype not in (np.float32, np.int64, np.bool_):
            text += f", dtype={self.dtype}"
        if not on_cpu(self._data):
            text += f", device='{self.device}'"
        if self.grad_fn is not None:
            text += f", grad_fn={self.grad_fn}"
        elif self.requires_grad:
            text += ", requires_grad=True"
        return f"tensor({text})"

    # ---- the graph

    @property
    def requires_grad(self) -> bool:
        """Whether operations on it are recorded. Can be set on leaves of a float dtype."""
        return self._node is not None

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if value and self._node is None:
            if self._data.dtype.kind != "f":
                raise TypeError(f"requires_grad: expected a float32 or float64 tensor, got {self.dtype}")
            self._node = self._set_aside or Leaf(self)
        elif not value and self._node is not None:
            if not self.is_leaf:
                raise RuntimeError("requires_grad: only a leaf can be taken out of the graph; use detach()")
            self._aside, self._node = self._node, None

    @property
    def _set_aside(self) -> Node | None:
        """The node of a leaf that for the time being requires no gradient. Graphs made before still lead to it: the
        gradients on their way arrive where it is the tensor's again.
        """
        return getattr(self, "_aside", None)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Set `requires_grad`; returns the tensor itself.

        >>> tensor([1.0, 2.0]).requires_grad_()
        tensor([1., 2.], requires_grad=True)
        """
        self.requires_grad = requires_grad
        return self

    @property
    def is_leaf(self) -> bool:
        """True for a tensor that no recorded operation has made."""
        return self._node is None or type(self._node) is Leaf

    @property
    def grad_fn(self) -> Node | None:
        """The node of the operation that made it: `name()`, `next_functions`, `backward`. None for a leaf."""
        return None if self.is_leaf else self._node._as_next()[0]  # type: ignore[union-attr]

    @property
    def grad(self) -> Tensor | None:
        """The gradient that backward passes have added up, a Tensor; None before the first. Of a non-leaf,
        see `retain_grad`.
        """
        node = self._node or self._set_aside
        if mode.recorder is not None and type(node) is Leaf:
            mode.recorder.touch(node, True)
        return node._grad if node is not None and (node._order is None or node._retain) else None

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        node = self._node or self._set_aside
        if value is not None:
            if not isinstance(value, Tensor):
                raise TypeError(f"grad: expected a Tensor or None, got {type(value).__name__}")
            if node is None:
                raise RuntimeError("grad: the tensor does not require a gradient")
            if value.requires_grad:
                raise RuntimeError("grad: expected a tensor that requires no gradient; use its detach()")
            if value is not node._grad and overlap(value._data, self._data):
                raise RuntimeError("grad: expected memory of its own, as passes add to it; use a clone()")
            if value.device != self.device:
                raise ValueError(f"grad: expected one on {self.device} as the tensor is, got one on {value.device}")
            if value.shape != self.shape or value.dtype != self.dtype:
                raise ValueError(f"grad: expected {self.dtype} {self.shape}, got {value.dtype} {value.shape}")
        if node is not None:
            if mode.recorder is not None:
                mode.recorder.touch(node, False)
            node._grad = value

    def retain_grad(self) -> None:
        """Keep the gradient of this intermediate tensor too: backward passes add it to `.grad`.

        >>> w = tensor(3.0, requires_grad=True)
        >>> b = w * 2
        >>> b.retain_grad()
        >>> (b * b).backward()
        >>> b.grad
        tensor(12.)
        """
        node = self._node
        if node is None:
            raise RuntimeError("retain_grad: the tensor does not require a gradient")
        if node._order is not None and not node._retain:
            node._retain, node._grad = True, None

    def backward(self, gradient: Any = None, retain_graph: bool = False) -> None:
        """Add the gradient of this tensor to the `.grad` of every leaf that it was computed from.

        `gradient` is the gradient with respect to this tensor, of its shape; it may be left out where there
        is one element. The graph is freed, and a second pass is an error, unless `retain_graph`. Where
        an error is raised no `.grad` has changed.
        """
        node = self._node
        if node is None:
            raise RuntimeError("backward: the tensor does not require a gradient and has no grad_fn")
        for n, g in propagate(node, self._seed(gradient), retain_graph=retain_graph).items():
            accumulate(n, g, wrap)

    def _seed(self, gradient: Any) -> Any:
        data = self._data
        if gradient is None:
            if data.size != 1:
                raise RuntimeError(
                    f"gradient: expected one, as the tensor has shape {self.shape} and is not a single number"
                )
            return data.dtype.type(1) if not data.ndim and on_cpu(data) else np.ones_like(data)
        seed = gradient._data if isinstance(gradient, Tensor) else as_array(gradient, copy=False, name="gradient")
        if on_cpu(seed) != on_cpu(data):
            if seed.ndim:
                raise TypeError(
                    f"gradient: expected one on {self.device} as the tensor is, got one on {device_name(seed)}"
                )
            seed = move(seed, self.device)
        if seed.shape != data.shape:
            raise ValueError(f"gradient: expected shape {data.shape}, got {seed.shape}")
        return seed.astype(data.dtype, copy=False)

    def detach(self) -> Tensor:
        """The same memory outside the graph.

        >>> tensor([1.0], requires_grad=True).detach()
        tensor([1.])
        """
        return result(Tensor, None, self._hand_out(), False)

    def __reduce__(self) -> tuple[Any, ...]:  # pickle, copy, deepcopy
        if not self.is_leaf:
            raise RuntimeError("only a leaf tensor can be pickled or deep-copied; use detach()")
        return _rebuild, (type(self), self._hand_out(), self.requires_grad, self.grad), self._of_subclass()

    def _of_subclass(self) -> tuple[dict[str, Any] | None, dict[str, Any]]:
        """The attributes that subclasses add, in `__dict__` and in slots."""
        state: Any = self.__getstate__()
        attributes, slots = state if isinstance(state, tuple) else (state, {})
        return attributes, {name: value for name, value in slots.items() if name not in TensorBase.__slots__}


def _rebuild(cls: type[Tensor], data: np.ndarray, requires_grad: bool, grad: Tensor | None) -> Tensor:
    out = result(cls, None, data, False)  # not cls(...): a subclass may take other arguments
    share(out)
    out.requires_grad = requires_grad or grad is not None
    out.grad, out.requires_grad = grad, requires_grad
    return out


def wrap(data: Any) -> Tensor:
    """A tensor around the result of a computation, unchecked."""
    return result(Tensor, None, data, False)


def forget_gradients(tensors: Iterable[Tensor], set_to_none: bool) -> None:
    """Take the tensors' gradients away, or set all their elements to 0."""
    for one in tensors:
        if set_to_none:
            one.grad = None
        elif one.grad is not None:
            with no_grad():
                one.grad.zero_()


def tensor(data: Any, dtype: Any = None, *, requires_grad: bool = False, device: Any = None) -> Tensor:
    """A new leaf tensor with a copy of `data`: numbers, nested lists of numbers, an array (on a GPU, too) or a tensor.

    Of Python floats it makes float32, as PyTorch does, of Python integers int64; NumPy's values keep their
    dtype. `dtype` overrides that. `device`: "cpu" or "cuda"; None leaves the
    data where they are. `requires_grad` is for float32 and float64 only. TypeError for other
    dtypes, masked arrays, objects; ValueError for ragged lists; OverflowError for integers that the dtype, or else
    int64 and uint64, do not hold; RuntimeError for a tensor that requires a gradient, within a list too: of those
    `clone` and `stack` are in the graph, and `detach` is outside.

    Returns
    -------
    Tensor
        A leaf of the graph.

    Examples
    --------
    >>> tensor([[1.0, 2.0], [3.0, 4.0]])
    tensor([[1., 2.],
            [3., 4.]])
    >>> tensor(np.zeros(2)).dtype
    dtype('float64')
    """
    array = as_array(data, copy=True, dtype=None if dtype is None else as_dtype(dtype))
    if device is not None:
        array = move(array, device)
    out = wrap(array)
    out.requires_grad = requires_grad
    return out
