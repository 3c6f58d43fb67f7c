"""Sums over axes as instructions: the loops of `nbgrad.cpu.sums`, one for each group of axes."""

from __future__ import annotations

from typing import Any

import numpy as np

from nbgrad.arrays import FLOAT32, FLOAT64, quietly
from nbgrad.cpu.sums.add_up import LARGE, add_up, plan
from nbgrad.cpu.sums.axis import sums

__all__ = ["note_sum"]


def note_sum(recorder: Any, x: Any, axis: Any, keepdims: Any, dtype: Any) -> Any:
    """The sum, made and noted."""
    known = x.dtype in (FLOAT32, FLOAT64) and x.size and x.ndim and x.flags.c_contiguous and x.size < LARGE
    if not known:
        out = np.asarray(quietly(add_up, x, axis, keepdims, dtype))
        recorder.note("sum", add_up, [x, axis, keepdims, dtype], [out], target=out)
        return out
    steps, shape, _ = plan(x.shape, axis, keepdims)
    dtype = x.dtype if dtype is None else dtype
    if not steps:
        out = np.empty(shape, dtype)
        recorder.store(out, x.reshape(shape), "copy")
        return out
    flat = x.reshape(-1)
    for k, (outer, n, inner) in enumerate(steps):
        out = np.empty(outer * inner, dtype if k == len(steps) - 1 else FLOAT64)
        args = [flat, n, inner, 0, outer, 0, inner, out]
        sums().serial(*args)
        recorder.of(out)
        recorder.note("sum", sums(), args, [out])
        flat = out
    return flat.reshape(shape)
