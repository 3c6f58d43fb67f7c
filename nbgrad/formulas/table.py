"""THE TABLE: every elementwise operator, loss and row function with derivatives, parameters and kinks.

Loops, public kernels, autograd functions, tests, benchmarks and pictures are derived from it. A row stands below its
formulas, in their file; this one collects them.
"""

from __future__ import annotations

from typing import TypeVar

from nbgrad.formulas import classic, losses, piecewise, smooth, softmax
from nbgrad.formulas.row import Elementwise, Loss, RowFunction

__all__ = ["LOSSES", "OPS", "PUBLIC_LOSSES", "ROW_FUNCTIONS", "Elementwise", "Loss", "RowFunction"]

Row = TypeVar("Row", bound=Elementwise | RowFunction)


def _table(*rows: Row) -> dict[str, Row]:
    return {row.name: row for row in rows}


OPS = _table(*classic.ROWS, *smooth.ROWS, *piecewise.ROWS)

LOSSES = _table(*losses.ROWS)
#: by the public functions' names
PUBLIC_LOSSES = {row.kernel: row for row in LOSSES.values() if row.kernel}

ROW_FUNCTIONS = _table(*softmax.ROWS)
