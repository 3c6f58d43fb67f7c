"""Whether operations are recorded: `no_grad` and `enable_grad`, as context managers and as decorators."""

from __future__ import annotations

import functools
import inspect
import threading
import types
from collections.abc import Callable
from typing import Any

__all__ = ["enable_grad", "is_grad_enabled", "mode", "no_grad"]


class _Mode(threading.local):
    # What is asked is `enabled`; it follows from `active`, the contexts entered and not yet left. One that
    # kept the mode from before its entry, to put it back, would put back a wrong one where the same object is
    # entered twice, or where a generator leaves its contexts in another order than the caller.
    enabled = True
    recorder: Any = None  # what records this thread's operations (`nbgrad.compile`); `inner`: compiled loops alone
    inner: Any = None
    active: tuple[no_grad, ...] = ()


mode = _Mode()


def is_grad_enabled() -> bool:
    """Whether operations of this thread are recorded.

    Returns
    -------
    bool

    Examples
    --------
    >>> is_grad_enabled()
    True
    """
    return mode.enabled


class no_grad:  # noqa: N801 (PyTorch's name)
    """Records nothing within: a context manager, and a decorator, with or without parentheses. Per thread.

    One object may be entered any number of times. A decorated generator or coroutine runs within each time it
    is resumed; what its caller does in between is recorded as before. TypeError for a class and for an
    asynchronous generator function, whose parts run at other times.

    >>> import nbgrad
    >>> w = nbgrad.tensor(3.0, requires_grad=True)
    >>> with no_grad():
    ...     y = 2 * w
    >>> y.requires_grad
    False
    >>> @no_grad
    ... def double(x):
    ...     return 2 * x
    >>> double(w).requires_grad
    False
    """

    _enabled = False

    def __new__(cls, function: Any = None) -> Any:
        self = super().__new__(cls)
        return self if function is None else self(function)

    # No call between the two assignments: an interrupt (Ctrl-C) comes before both or after both.
    def __enter__(self) -> None:
        mode.active = (*mode.active, self)
        mode.enabled = self._enabled

    def __exit__(self, *exc: object) -> None:
        active = mode.active
        if active and active[-1] is self:
            active = active[:-1]
        elif self in active:  # a generator's, left out of turn
            at = len(active) - 1 - active[::-1].index(self)
            active = active[:at] + active[at + 1 :]
        mode.active = active
        mode.enabled = active[-1]._enabled if active else True

    def __call__(self, function: Any) -> Any:
        """The function, running within a context of its own at each call."""
        context, name = type(self), type(self).__name__
        if isinstance(function, classmethod | staticmethod):
            return type(function)(self(function.__func__))
        if isinstance(function, type) or not callable(function):
            got = f"the class {function.__name__}" if isinstance(function, type) else type(function).__name__
            raise TypeError(f"{name}: expected a function to decorate, got {got}")
        if _is(inspect.isasyncgenfunction, function):
            raise TypeError(f"{name}: expected a function to decorate, got an asynchronous generator function")
        decorated: Any
        if _is(inspect.isgeneratorfunction, function):

            def decorated(*args: Any, **kwargs: Any) -> Any:
                return (yield from _step_by_step(context, function(*args, **kwargs)))

        elif _is(inspect.iscoroutinefunction, function):

            async def decorated(*args: Any, **kwargs: Any) -> Any:
                return await _step_by_step(context, function(*args, **kwargs))

        else:

            def decorated(*args: Any, **kwargs: Any) -> Any:
                with context():
                    return function(*args, **kwargs)

        return functools.wraps(function)(decorated)


class enable_grad(no_grad):  # noqa: N801 (PyTorch's name)
    """Records again, within a `no_grad`; used as that.

    >>> with no_grad(), enable_grad():
    ...     is_grad_enabled()
    True
    """

    _enabled = True


def _is(kind: Callable[[Any], bool], function: Any) -> bool:
    """Whether a function, or the class of a callable object, is of this kind."""
    while isinstance(function, functools.partial):
        function = function.func
    return kind(function) or kind(getattr(type(function), "__call__", None))  # noqa: B004


@types.coroutine  # so that it can be awaited, too
def _step_by_step(context: type[no_grad], generator: Any) -> Any:
    """A generator or coroutine with each of its steps within a context."""
    step = functools.partial(generator.send, None)
    while True:
        try:
            with context():
                value = step()
        except StopIteration as stop:
            return stop.value
        try:
            step = functools.partial(generator.send, (yield value))
        except GeneratorExit:
            with context():
                generator.close()
            raise
        except BaseException as error:
            step = functools.partial(generator.throw, error)
