"""Modules that hold Modules: `Sequential`, `ModuleList`, `ModuleDict`."""

from __future__ import annotations

from collections.abc import ItemsView, Iterable, Iterator, KeysView, Mapping, ValuesView
from typing import Any, Self

from nbgrad.module import Module

__all__ = ["ModuleDict", "ModuleList", "Sequential"]


def _lines(name: str, parts: Iterable[tuple[Any, Module]]) -> str:
    lines = [line for key, part in parts for line in f"({key}): {part!r}".split("\n")]
    return "\n".join([f"{name}(", *("  " + line for line in lines), ")"]) if lines else f"{name}()"


class _Numbered(Module):
    """Modules in a row; in names they are numbered. What a list can do they can."""

    def __init__(self, name: str, modules: Iterable[Module]) -> None:
        self._items: list[Module] = []
        self._items = self._checked(name, modules)

    def _checked(self, name: str, modules: Any) -> list[Any]:
        if not isinstance(modules, Iterable):
            raise TypeError(f"{name}: expected an iterable of Modules, got {type(modules).__name__}")
        modules = list(modules)
        for module in modules:
            if not isinstance(module, Module):
                raise TypeError(f"{name}: expected Modules, got {type(module).__name__}")
            if module is self:
                raise ValueError(f"{name}: expected other Modules than the {type(self).__name__} itself")
        return modules

    def _members(self) -> Iterator[tuple[str, Any]]:
        yield from ((str(i), module) for i, module in enumerate(self._items))
        yield from super()._members()

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Module]:
        return iter(self._items)

    def __getitem__(self, index: Any) -> Any:
        return self._like(self._items[index]) if isinstance(index, slice) else self._items[index]

    def _like(self, modules: list[Module]) -> Any:
        """Another one of these modules."""
        raise NotImplementedError

    def __setitem__(self, index: Any, module: Any) -> None:
        several = isinstance(index, slice)
        modules = self._checked("module", module if several else [module])
        self._items[index] = modules if several else modules[0]

    def __delitem__(self, index: Any) -> None:
        del self._items[index]

    def append(self, module: Module) -> Self:
        """Put a Module behind the others. Returns the whole."""
        return self.extend([module])

    def extend(self, modules: Iterable[Module]) -> Self:
        """Put Modules behind the others. Returns the whole."""
        self._items += self._checked("modules", modules)
        return self

    def insert(self, index: int, module: Module) -> None:
        """Put a Module before the one of this number."""
        self._items.insert(index, *self._checked("module", [module]))

    def pop(self, index: int = -1) -> Module:
        """Take out the Module of this number, by default the last, and return it."""
        return self._items.pop(index)

    def __iadd__(self, modules: Iterable[Module]) -> Self:
        return self.extend(modules)

    def __add__(self, modules: Iterable[Module]) -> Any:
        return self._like(self._items + self._checked("modules", modules))

    def __repr__(self) -> str:
        return _lines(type(self).__name__, enumerate(self._items))


class Sequential(_Numbered):
    """Layers one after the other; in names they are numbered. Layers can be added and exchanged as in a list.

    >>> from nbgrad import nn, tensor
    >>> nn.Sequential(nn.ReLU(), nn.Flatten(0))(tensor([[-1.0], [2.0]]))
    tensor([0., 2.])
    """

    def __init__(self, *layers: Module) -> None:
        super().__init__("layers", layers)

    @property
    def layers(self) -> list[Module]:
        """The layers."""
        return self._items

    def _like(self, modules: list[Module]) -> Sequential:
        return Sequential(*modules)

    def forward(self, input: Any) -> Any:
        for layer in self._items:
            input = layer(input)
        return input


class ModuleList(_Numbered):
    """A list of Modules that belong to the Module which has it as an attribute, as those in a plain list do not.

    It has no `forward`: go through it in that of the Module.

    >>> import nbgrad
    >>> from nbgrad.nn import Linear, Module
    >>> class Net(Module):
    ...     def __init__(self):
    ...         self.steps = ModuleList(Linear(3, 3) for _ in range(2))
    ...     def forward(self, x):
    ...         for step in self.steps:
    ...             x = x + step(x).tanh()
    ...         return x
    >>> [name for name, _ in Net().named_parameters()]
    ['steps.0.weight', 'steps.0.bias', 'steps.1.weight', 'steps.1.bias']
    """

    def __init__(self, modules: Iterable[Module] | None = None) -> None:
        super().__init__("modules", () if modules is None else modules)

    def _like(self, modules: list[Module]) -> ModuleList:
        return ModuleList(modules)


class ModuleDict(Module):
    """A dict of Modules by name, in the order in which they came, that belong to the Module which has it as an
    attribute, as those in a plain dict do not.

    It has no `forward`. Names are strings without a dot.

    >>> from nbgrad.nn import Linear, ReLU
    >>> heads = ModuleDict({"digit": Linear(8, 10), "writer": Linear(8, 3)})
    >>> heads["relu"] = ReLU()
    >>> list(heads), [name for name, _ in heads.named_parameters()]
    (['digit', 'writer', 'relu'], ['digit.weight', 'digit.bias', 'writer.weight', 'writer.bias'])
    """

    def __init__(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]] | None = None) -> None:
        self._items: dict[str, Module] = {}
        self.update({} if modules is None else modules)

    def _members(self) -> Iterator[tuple[str, Any]]:
        yield from self._items.items()
        yield from super()._members()

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __contains__(self, name: object) -> bool:
        return name in self._items

    def __getitem__(self, name: str) -> Module:
        return self._items[name]

    def __setitem__(self, name: str, module: Module) -> None:
        self.update({name: module})

    def __delitem__(self, name: str) -> None:
        del self._items[name]

    def pop(self, name: str) -> Module:
        """Take out the Module of this name and return it."""
        return self._items.pop(name)

    def clear(self) -> None:
        """Take out all Modules."""
        self._items.clear()

    def keys(self) -> KeysView[str]:
        """The names."""
        return self._items.keys()

    def values(self) -> ValuesView[Module]:
        """The Modules."""
        return self._items.values()

    def items(self) -> ItemsView[str, Module]:
        """Pairs of name and Module."""
        return self._items.items()

    def update(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]]) -> None:
        """Add Modules, or put them in the place of those of their names: a mapping, a ModuleDict, or pairs."""
        pairs = modules.items() if isinstance(modules, Mapping | ModuleDict) else modules
        try:
            new: dict[Any, Any] = dict(pairs)
        except (TypeError, ValueError):
            got = type(modules).__name__
            raise TypeError(f"modules: expected a mapping or pairs of name and Module, got {got}") from None
        for name, module in new.items():
            if not isinstance(name, str):
                raise TypeError(f"modules: expected names that are strings, got {type(name).__name__}")
            if not name or "." in name:
                raise ValueError(f"modules: expected names without a dot, got {name!r}")
            if not isinstance(module, Module):
                raise TypeError(f"modules: {name}: expected a Module, got {type(module).__name__}")
            if module is self:
                raise ValueError(f"modules: {name}: expected another Module than the ModuleDict itself")
        self._items.update(new)

    def __repr__(self) -> str:
        return _lines(type(self).__name__, self._items.items())
