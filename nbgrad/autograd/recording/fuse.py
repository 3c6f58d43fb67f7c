"""Chains of elementwise instructions become one loop: a program of `nbgrad.derive`, written and compiled as a user's
formula is. What is read within the chain alone is never stored.
"""

from __future__ import annotations

import functools
from collections import Counter
from typing import Any

import numpy as np

from nbgrad.autograd.recording.recorder import Instruction, Recorder
from nbgrad.cpu.derived.chains import chain
from nbgrad.derive import write
from nbgrad.derive.expressions import expression
from nbgrad.derive.program import BOOL, REAL, Builder, Node, Program
from nbgrad.derive.rules import FUNCTIONS
from nbgrad.jit import Loop

__all__ = ["arrays_in", "fused"]

#: NumPy's functions as expressions of their operands a, b, c.
EXPRESSIONS = {
    "add": "a + b", "subtract": "a - b", "multiply": "a * b", "divide": "a / b", "negative": "-a", "positive": "a",
    "absolute": "abs(a)", "square": "a * a", "reciprocal": "1.0 / a", "sqrt": "sqrt(a)", "exp": "exp(a)",
    "log": "log(a)", "sign": "1.0 if a > 0 else (-1.0 if a < 0 else a)", "where": "b if a else c",
    "maximum": "b if b > a or b != b else a", "minimum": "b if b < a or b != b else a",
}  # fmt: skip
#: Instructions that make the same at each replay.
CONSTANT = ("ones_like", "zeros_like")


def _node(builder: Builder, name: str, operands: list[Any]) -> Node | None:
    """An operation on nodes; None for what is not known."""
    if name in EXPRESSIONS:
        return expression(builder, EXPRESSIONS[name], dict(zip("abc", operands, strict=False)))
    backward = name.startswith("backward ")
    function = FUNCTIONS.get("d_" + name.removeprefix("backward ") if backward else name)
    if function is None or (name in EXPRESSIONS) or len(function.parameters) != len(operands) - backward:
        return None
    if backward:
        return builder.arithmetic("*", operands[0], builder.call(function, tuple(operands[1:])))
    return builder.call(function, tuple(operands))


def _place(array: Any) -> Any:
    return array.ctypes.data, array.shape, array.strides, array.dtype


def _meet(a: Any, b: Any) -> bool:
    return bool(np.may_share_memory(a, b))


class _Group:
    """A chain that grows: the program, what it reads (array, kind), what it has written."""

    def __init__(self, instruction: Instruction) -> None:
        out = instruction.writes[0]
        self.shape, self.dtype = out.shape, out.dtype
        self.split: int | None = None
        self.builder, self.nodes = Builder(), dict[Any, Node]()
        self.loads: list[tuple[Any, str, str]] = []
        self.writes: dict[Any, tuple[Any, Node]] = {}
        self.instructions: list[Instruction] = []

    def kind(self, a: Any) -> tuple[str, int | None] | None:
        """How an operand lies: its letter of `nbgrad.cpu.derived.chains`, and along how many axes rows are counted."""
        shape, n = self.shape, len(self.shape)
        if not a.flags.carray or a.dtype not in (self.dtype, np.bool_):
            return None
        if a.shape == shape:
            return "x", None
        if a.size == 1:
            return None if a.dtype == bool else ("o", None)
        padded = (1,) * (n - a.ndim) + a.shape
        if len(padded) != n:
            return None
        lead = next(k for k in range(n) if padded[k] != 1)
        if padded[lead:] == shape[lead:]:
            return "r", lead
        last = n - next(k for k in range(n) if padded[n - 1 - k] != 1)
        return ("c", last) if padded[:last] == shape[:last] and a.dtype != bool else None

    def add(self, instruction: Instruction) -> bool:
        """Whether the instruction became a part of the chain; nothing has changed where not."""
        assert instruction.formula is not None
        name, operands = instruction.formula
        out = instruction.writes[0]
        if out.shape != self.shape or out.dtype != self.dtype or not out.flags.carray or not out.size:
            return False
        split, fresh = self.split, []
        nodes: list[Any] = []
        for value in operands:
            if not isinstance(value, np.ndarray):
                if not isinstance(value, float | int) and getattr(value, "dtype", None) != self.dtype:
                    return False
                nodes.append(float(value))
                continue
            if (known := self.nodes.get(_place(value))) is not None:
                nodes.append(known)
                continue
            kind = self.kind(value)
            if kind is None or any(_meet(value, w) for w, _ in self.writes.values()):
                return False
            if kind[1] is not None:
                if split not in (None, kind[1]):
                    return False
                split = kind[1]
            fresh.append((value, kind[0]))
            nodes.append((value, kind[0]))
        others = [a for a, *_ in (*self.loads, *fresh)] + [w for w, _ in self.writes.values()]
        if any(_place(a) != _place(out) and _meet(a, out) for a in others):
            return False
        made = []
        for node in nodes:
            if isinstance(node, tuple):
                array, kind_ = node
                if (known := self.nodes.get(_place(array))) is None:
                    label = f"x{len(self.loads)}"
                    known = self.builder.argument(label, BOOL if array.dtype == bool else REAL)
                    self.nodes[_place(array)] = known
                    self.loads.append((array, kind_, label))
                node = known
            made.append(self.builder.constant(node) if isinstance(node, float) else node)
        result = _node(self.builder, name, made)
        assert result is not None
        self.split = split
        self.nodes[_place(out)] = result
        self.writes[_place(out)] = (out, result)
        self.instructions.append(instruction)
        return True

    def closed(self, needed: Any) -> list[Instruction]:
        """The chain as an instruction; ``needed(array)``: whether somebody else will read what was written there."""
        if len(self.instructions) < 2:
            return self.instructions
        stores = [(array, node) for array, node in self.writes.values() if needed(array, self.instructions)]
        if not stores:
            return []
        program = Program("chain", self.builder, [(f"y{k}", node) for k, (_, node) in enumerate(stores)])
        loads = sorted(self.loads, key=lambda load: ("xrco".index(load[1]), load[0].dtype == bool))
        if not loads or loads[0][1] in "co" or loads[0][0].dtype == bool:
            return self.instructions
        kinds, order = "".join(kind for _, kind, _ in loads), [label for *_, label in loads]
        if len({*kinds} - {"x"}) and "r" in kinds and any(a.dtype == bool for a, kind, _ in loads if kind == "x"):
            return self.instructions  # the first of them all must be real, and rows stand behind
        loop = _loop(write.text(program, "chain"), kinds, tuple(order), len(stores), _Box(program))
        size = int(np.prod(self.shape))
        n = size if self.split is None else int(np.prod(self.shape[: self.split]))
        arrays = [a.reshape(-1) for a, *_ in loads] + [a.reshape(-1) for a, _ in stores]
        name = "chain of " + ", ".join(i.name for i in self.instructions)
        return [Instruction(name, loop, [n, size // n, *arrays], [a for a, _ in stores], work=size)]


class _Box:
    """What is no part of a cache's key."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 0


@functools.cache
def _loop(text: str, kinds: str, order: tuple[str, ...], outs: int, program: _Box) -> Loop:
    return chain(write.function(program.value, "chain", list(order)), "chain", kinds, outs)


def _known(instruction: Instruction) -> bool:
    """Whether an instruction may be a part of a chain."""
    if instruction.formula is None or len(instruction.writes) != 1:
        return False
    name, operands = instruction.formula
    out = instruction.writes[0]
    if out.dtype not in (np.float32, np.float64) or any(v is None for v in operands):
        return False
    if name in EXPRESSIONS:
        return name != "where" or (isinstance(operands[0], np.ndarray) and operands[0].dtype == bool)
    backward = name.startswith("backward ")
    function = FUNCTIONS.get("d_" + name.removeprefix("backward ") if backward else name)
    return function is not None and len(function.parameters) == len(operands) - backward


def arrays_in(value: Any) -> list[Any]:
    """The arrays in nested lists."""
    if isinstance(value, np.ndarray):
        return [value]
    return [a for one in value for a in arrays_in(one)] if isinstance(value, tuple | list) else []


def _transposed(recorder: Recorder, instructions: list[Instruction], lasting: set[int]) -> list[Instruction]:
    """A product that is copied transposed, and not used otherwise, is written transposed at once: the gradient of w in
    x @ w.T. (Of 256×784 weights the copy takes 180 µs, the product over one row 40.)
    """
    touched: dict[int, list[int]] = {}
    for number, i in enumerate(instructions):
        for key in {recorder.root(a) for a in arrays_in([i.args, list(i.keywords.values()), i.target, i.writes])}:
            touched.setdefault(key, []).append(number)
    dropped = set()
    for number, i in enumerate(instructions):
        if i.name != "copy" or not isinstance(i.args[-1], np.ndarray):
            continue
        target, source = i.args[0], i.args[-1]
        root = recorder.root(source)
        made = instructions[touched[root][0]]
        out = made.args[-1]
        if (
            made.function in (np.matmul, np.multiply) and touched[root][1:] == [number] and root not in lasting
            and touched[recorder.root(target)][0] == number and recorder.root(target) not in recorder.outside
            and root == id(out) and out.ndim == 2 and out.flags.c_contiguous and out.size and target.flags.c_contiguous
            and _place(source) == _place(out.T) and target.shape == source.shape
        ):  # fmt: skip
            made.args[-1], made.writes, made.formula = target.T, [target.T], None
            dropped.add(number)
    return [i for number, i in enumerate(instructions) if number not in dropped]


def fused(recorder: Recorder, kept: list[Any]) -> list[Instruction]:
    """The recorder's instructions, chains among them as one each."""
    lasting = {recorder.root(a) for a in kept} | recorder.outside
    written = Counter(recorder.root(a) for i in recorder.instructions for a in i.writes)
    instructions = [
        i for i in recorder.instructions if i.name not in CONSTANT or written[recorder.root(i.writes[0])] > 1
    ]
    instructions = _transposed(recorder, instructions, lasting)
    readers: dict[int, set[int]] = {}
    for number, i in enumerate(instructions):
        for a in arrays_in([i.args, list(i.keywords.values())]):
            readers.setdefault(recorder.root(a), set()).add(number)
    numbers = {id(i): number for number, i in enumerate(instructions)}

    def needed(array: Any, group: list[Instruction]) -> bool:
        root, own = recorder.root(array), {numbers[id(i)] for i in group}
        return root in lasting or any(n > max(own) for n in readers.get(root, ()) if n not in own)

    out: list[Instruction] = []
    group: _Group | None = None
    for i in instructions:
        if _known(i):
            if group is not None and group.add(i):
                continue
            if group is not None:
                out += group.closed(needed)
            group = _Group(i)
            if group.add(i):
                continue
            group = None
        elif group is not None:
            out += group.closed(needed)
            group = None
        out.append(i)
    return out + (group.closed(needed) if group is not None else [])
