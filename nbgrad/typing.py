"""Types of arguments and results, for signatures and type checkers: ``sigmoid`` of float32 arrays gives float32 arrays,
of a string it is an error before the program runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from typing_extensions import TypeVar  # comes with every type checker; Python's own knows defaults from 3.13 on

    #: The precision of a result: that of the arrays, float64 where there are only numbers, integers or bools.
    F = TypeVar("F", bound=np.floating[Any], default=np.float64)
else:
    from typing import TypeVar

    F = TypeVar("F", bound=np.floating)

__all__ = ["Axis", "DeviceArray", "F", "Floats", "Foreign", "Labels", "Out"]


class DeviceArray(Protocol):
    """An array in a GPU's memory, of any library: CuPy's, PyTorch's, Numba's. Its results are CuPy's arrays."""

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]: ...


class Foreign(Protocol):
    """A table's column or a labelled array: pandas', xarray's. (``__array__`` would be NumPy's arrays, too.)"""

    def to_numpy(self) -> Any: ...


#: Integers and bools, which are computed in float64.
_Whole = NDArray[np.integer[Any]] | NDArray[np.bool_]
#: What a kernel takes where it computes with floats.
Floats = NDArray[F] | float | Sequence[float] | Sequence[Sequence[float]] | _Whole | DeviceArray | Foreign
#: Along which axes: one, several, all.
Axis = int | tuple[int, ...] | None
#: Numbers of classes.
Labels = NDArray[np.integer[Any]] | int | Sequence[int] | DeviceArray | Foreign
#: Where a result goes.
Out = NDArray[F] | DeviceArray | None
