"""THE TABLE: every elementwise operator with its derivative, parameters and kinks.

Loops, public kernels, autograd functions, tests, benchmarks and pictures are derived from it. A row stands below its
formulas, in their file; this one collects them.
"""

from __future__ import annotations

from nbgrad.formulas import classic, losses, piecewise, smooth
from nbgrad.formulas.row import Elementwise

__all__ = ["LOSSES", "OPS", "Elementwise"]


def _table(*rows: Elementwise) -> dict[str, Elementwise]:
    return {row.name: row for row in rows}


OPS = _table(*classic.ROWS, *smooth.ROWS, *piecewise.ROWS)

LOSSES = _table(*losses.ROWS)
