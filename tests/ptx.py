"""Runs the PTX of a kernel without a GPU: the arithmetic that NVVM made of a formula, instruction by instruction, in NumPy.

Only what straight arithmetic compiles to: no loops, no calls, no shared memory. ``contract=True`` fuses every sum with the product that
goes into it, as `ptxas` may (``mul`` and ``add`` without ``.rn`` leave it the choice; ``mul.rn`` stays): what a value is on a GPU lies between the two.
"""

import re
from operator import and_, eq, ge, gt, le, lt, ne

import numpy as np
from numba import njit

from nbgrad.jit import intrinsics

FLOAT = {"f32": np.float32, "f64": np.float64}
SIGNED = {"32": np.int32, "64": np.int64}
REGISTER = {"%f": np.float32, "%fd": np.float64, "%r": np.int32, "%rd": np.int64}
COMPARE = {"eq": eq, "ne": ne, "lt": lt, "le": le, "gt": gt, "ge": ge}


@njit
def _fma(a, b, c):
    return intrinsics.fma(a, b, c)


def fma(a, b, c):
    """a·b + c, rounded once."""
    return type(a)(_fma(a, b, c))  # Numba returns float32 as a Python float


class Product:
    """A product that is not rounded yet; `value` is what it is where no sum takes it."""

    def __init__(self, a, b):
        self.a, self.b, self.value = a, b, a * b


def parse(ptx):
    """[(predicate, opcode and its types, operands)], {label: place}"""
    text = ptx[ptx.index("{", ptx.index(".entry")) + 1 :]
    code, labels = [], {}
    for line in re.split(r"[;\n]", text):
        line = line.strip()
        if label := re.fullmatch(r"(\$\w+):", line):
            labels[label[1]] = len(code)
        elif match := re.fullmatch(r"(?:@(!?%p\d+)\s+)?([a-z][\w.]*)\s*(.*)", line):
            code.append((match[1], match[2].split("."), [o.strip() for o in match[3].split(",")]))
    return code, labels


class Program:
    """A kernel ``k(y, x, ...)`` of arrays that computes y[0] from x[0], ...; called with the numbers x, ...."""

    def __init__(self, ptx, contract=False):
        self.code, self.labels = parse(ptx)
        self.contract = contract

    def __call__(self, *inputs):
        with np.errstate(all="ignore"):
            return self._run(inputs)

    def _run(self, inputs):
        registers, place, stored = {}, 0, None

        def read(text, kind=None):
            if text in registers:
                value = registers[text]
                return value.value if isinstance(value, Product) else value
            if text.startswith(("0f", "0d")):
                bits, real = (np.uint32, np.float32) if text[1] == "f" else (np.uint64, np.float64)
                return bits(int(text[2:], 16)).view(real)
            return SIGNED[kind[-2:]](int(text))

        while True:
            predicate, (name, *kind), operands = self.code[place]
            place += 1
            if predicate and bool(registers[predicate.lstrip("!")]) == predicate.startswith("!"):
                continue
            target, sources = operands[0], operands[1:]
            if name == "ret":
                return stored
            if name == "bra":
                place = self.labels[target]
            elif name == "ld" and kind[0] == "param":
                # an array is seven parameters, its address the fifth
                registers[target] = int(re.search(r"param_(\d+)\]", sources[0])[1]) // 7
            elif name == "ld":
                registers[target] = inputs[registers[sources[0].strip("[]")] - 1]
            elif name == "st":
                assert registers[target.strip("[]")] == 0
                stored = read(sources[0])
            elif name == "cvta":
                registers[target] = registers[sources[0]]
            else:
                registers[target] = self._arithmetic(name, kind, target, sources, registers, read)

    def _arithmetic(self, name, kind, target, sources, registers, read):
        last = kind[-1]
        values = [read(s, last) for s in sources]
        if last in FLOAT and name not in ("mov", "setp", "selp", "cvt"):
            assert all(type(v) is FLOAT[last] for v in values)
        if name in ("add", "sub") and last in FLOAT:
            a, b = values
            sign = FLOAT[last](-1 if name == "sub" else 1)
            products = [registers.get(s) if self.contract else None for s in sources]
            if isinstance(products[1], Product):
                return fma(sign * products[1].a, products[1].b, a)
            if isinstance(products[0], Product):
                return fma(products[0].a, products[0].b, sign * b)
            return a + sign * b
        if name == "mul" and last in FLOAT:
            return values[0] * values[1] if kind[0] == "rn" else Product(*values)
        if name == "setp":
            a, b = values
            unordered = bool(np.isnan(a) or np.isnan(b))
            if kind[0] in ("nan", "num"):
                return unordered == (kind[0] == "nan")
            return kind[0].endswith("u") if unordered else COMPARE[kind[0][:2]](a, b)
        if name == "selp":
            return values[0] if registers[sources[2]] else values[1]
        if name == "mov":
            # `mov.b32 %r1, %f1` moves bits
            wanted = REGISTER[target.rstrip("0123456789")]
            return values[0] if type(values[0]) is wanted else values[0].view(wanted)
        return {
            "fma": fma,
            "div": lambda a, b: a / b,
            "rcp": lambda a: type(a)(1) / a,
            "neg": lambda a: -a,
            "abs": abs,
            # of nan and a number the number; -0 lies below 0
            "max": lambda a, b: a + b if a == b == 0 else np.fmax(a, b),
            "min": lambda a, b: -(-a + -b) if a == b == 0 else np.fmin(a, b),
            "copysign": lambda sign, a: np.copysign(a, sign),
            "add": lambda a, b: a + b,
            "sub": lambda a, b: a - b,
            "and": and_,
            "shl": lambda a, b: a << type(a)(b),
            "shr": lambda a, b: a >> type(a)(b),
            "cvt": lambda a: self._convert(a, kind),
        }[name](*values)

    @staticmethod
    def _convert(value, kind):
        to = kind[-2]
        return FLOAT[to](value) if to in FLOAT else value.astype(SIGNED[to[-2:]])
