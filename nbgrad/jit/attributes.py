"""Attributes of Python objects that compiled code calls: ``formula.value_and_grad`` in a user's ``@njit`` function.

Numba has them for modules and for instances that it knows, not for a function object (numba#4795 asks for more). Where
its registries are not as expected, ``value_and_grad = formula.value_and_grad`` outside of the function still serves.
"""

from __future__ import annotations

from typing import Any

from numba import types

try:
    from numba.core.imputils import builtin_registry
    from numba.core.typing.templates import AttributeTemplate, infer_getattr
except ImportError:
    builtin_registry = AttributeTemplate = None

__all__ = ["with_attributes"]

_objects: dict[int, tuple[Any, frozenset[str]]] = {}


def with_attributes(owner: Any, names: tuple[str, ...]) -> None:
    """Compiled code may read these attributes of an object for which an overload is registered; each is one, too."""
    _objects[id(owner)] = owner, frozenset(names)


if AttributeTemplate is not None:

    @infer_getattr
    class _Attributes(AttributeTemplate):
        key = types.Function

        def generic_resolve(self, function: Any, name: str) -> Any:
            owner = getattr(function, "typing_key", None)
            found = _objects.get(id(owner))
            if found is None or found[0] is not owner or name not in found[1]:
                return None
            return self.context.resolve_value_type(getattr(owner, name))

    @builtin_registry.lower_getattr_generic(types.Function)
    def _lower(context: Any, builder: Any, function: Any, value: Any, name: str) -> Any:
        return context.get_dummy_value()
