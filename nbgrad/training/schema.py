"""What may stand in the files of a training beside the arrays, and how that is checked.

A schema is a `Field`, a dict of schemas by key, or a list of the one schema that all its elements have. `model.json`'s
is in `nbgrad.training.models`, a checkpoint's in `nbgrad.training.settings`. A file that is not as its schema says is
a ValueError that names the file and the key.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from nbgrad.datasets.files import reason

__all__ = ["Field", "check_argument", "check_file", "choice", "integer", "number", "parse"]


class Field(NamedTuple):
    """A value: its types (exactly: True is an int), their name, whether it is valid, what is."""

    kinds: tuple[type, ...]
    kind: str
    valid: Callable[[Any], bool]
    expected: str


def choice(*names: str) -> Field:
    """One of these strings."""
    return Field((str,), "a string", lambda v: v in names, "one of " + ", ".join(names))


def integer(low: int, high: int | None = None) -> Field:
    """An integer, no bool, within these bounds."""
    if high is None:
        return Field((int,), "an integer", lambda v: v >= low, f"at least {low}")
    return Field((int,), "an integer", lambda v: low <= v <= high, f"{low}..{high}")


def number(low: float = 0.0, high: float = math.inf) -> Field:
    """A finite number within these bounds."""
    expected = f"a finite number of at least {low:g}" if high == math.inf else f"a number in {low:g}..{high:g}"
    return Field((int, float), "a number", lambda v: low <= v <= high and v < math.inf, expected)


def check_argument(name: str, value: Any, field: Field) -> None:
    """TypeError or ValueError, which names the argument, unless the value is one for the field."""
    if type(value) not in field.kinds and field.kind != "a string":
        raise TypeError(f"{name}: expected {field.kind}, got {type(value).__name__}")
    if not isinstance(value, field.kinds) or not field.valid(value):
        raise ValueError(f"{name}: expected {field.expected}, got {value!r:.50}")


def check_file(path: str | os.PathLike[str], value: Any, schema: Any, key: str = "") -> None:
    """ValueError, which names file and key, unless a value read from the file is as the schema says."""
    if isinstance(schema, Field):
        if type(value) not in schema.kinds or not schema.valid(value):
            raise ValueError(f"{path}: {key}: expected {schema.expected}, got {_shown(value)}")
    elif isinstance(schema, list):
        if type(value) is not list:
            raise ValueError(f"{path}: {key}: expected a list, got {_shown(value)}")
        for i, item in enumerate(value):
            check_file(path, item, schema[0], f"{key}[{i}]")
    else:
        where = f"{path}: {key}" if key else f"{path}"
        if type(value) is not dict:
            raise ValueError(f"{where}: expected an object, got {type(value).__name__}")
        for name in (*schema, *value):
            inner = f"{key}.{name}" if key else name
            if name not in value:
                raise ValueError(f"{path}: {inner}: expected {_expected(schema[name])}, got none")
            if name not in schema:
                raise ValueError(f"{path}: {inner[:100]}: not expected")
            check_file(path, value[name], schema[name], inner)


def _expected(schema: Any) -> str:
    return schema.expected if isinstance(schema, Field) else "a list" if isinstance(schema, list) else "an object"


def _shown(value: Any) -> str:
    """A value of any size, shortened: of a container the kind alone, whose text could be as long as the file."""
    return repr(str(value)[:50]) if not isinstance(value, Mapping | list) else f"{type(value).__name__}"


def parse(path: str | os.PathLike[str], text: bytes) -> Any:
    """The JSON in a text of a stranger's; ValueError where it is none, or makes more objects than its size is good for
    (2 bytes of text can be 56 of memory).
    """
    if 100 * (text.count(b"[") + text.count(b"{")) + 10 * text.count(b",") > len(text) + 10_000:
        raise ValueError(f"{path}: expected a description of a training, got JSON of other proportions")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON ({reason(error)})") from None
