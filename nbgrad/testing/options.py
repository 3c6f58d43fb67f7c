"""What a check may be told beside its functions and arguments, and every error about that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nbgrad.arrays import check_mask

__all__ = ["generator_of", "grad_output_of", "kinks_of", "tolerance_of"]


def kinks_of(kinks: Any, arrays: Sequence[Any]) -> dict[int, tuple[float, ...]]:
    if isinstance(kinks, Mapping):
        for i in kinks:
            if i not in range(len(arrays)):
                raise ValueError(f"kinks: expected arguments in 0..{len(arrays) - 1}, got {i!r}")
        return {int(i): _numbers(k) for i, k in kinks.items()}
    found = _numbers(kinks)
    return {i: found for i in range(len(arrays))}


def _numbers(kinks: Any) -> tuple[float, ...]:
    try:
        found = tuple(float(k) for k in kinks)
    except (TypeError, ValueError):
        raise TypeError(f"kinks: expected numbers, or a dict of them by argument, got {kinks!r}") from None
    if not all(np.isfinite(k) for k in found):
        raise ValueError(f"kinks: expected finite numbers, got {kinks!r}")
    return found


def tolerance_of(rtol: Any) -> float | None:
    if rtol is None:
        return None
    if isinstance(rtol, bool) or not isinstance(rtol, int | float | np.floating):
        raise TypeError(f"rtol: expected a number, got {type(rtol).__name__}")
    if not 0 <= rtol < np.inf:
        raise ValueError(f"rtol: expected a finite number >= 0, got {rtol}")
    return float(rtol)


def generator_of(rng: Any) -> tuple[int, Any]:
    """(seed, generator): a caller's generator gives the seed, so that the reproducer can name it."""
    if rng is None:
        rng = 0
    if isinstance(rng, np.random.Generator):
        rng = int(rng.integers(2**31))
    if isinstance(rng, bool) or not isinstance(rng, int | np.integer) or rng < 0:
        raise TypeError(f"rng: expected a numpy.random.Generator or a seed >= 0, got {rng!r}")
    return int(rng), np.random.default_rng(int(rng))


def grad_output_of(grad_output: Any, value: Any, rng: Any) -> Any:
    if grad_output is None:  # never all ones, and none near 0, which would hide an element
        drawn = rng.choice(np.array([-1.0, 1.0]), value.shape) * rng.uniform(0.5, 2, value.shape)
        return np.asarray(drawn).astype(value.dtype)
    check_mask(grad_output, "grad_output")
    given = np.asarray(grad_output)
    if given.dtype.kind not in "fiub":
        raise TypeError(f"grad_output: expected floats, got {given.dtype}")
    if given.shape != value.shape:
        raise ValueError(f"grad_output: expected the shape of forward's result {value.shape}, got {given.shape}")
    return given.astype(value.dtype)
