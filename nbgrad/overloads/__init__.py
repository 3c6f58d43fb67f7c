"""What runs when a user's ``@njit`` functions call the kernels: the same formulas, in the caller's thread.

Below `nbgrad.kernels`, which registers them: Numba asks for an overload by the public function, and finds it only if it
was registered before the user's function is compiled.
"""

from nbgrad.overloads import elementwise, labels, losses, maxout, rows  # noqa: F401  they fill the table
from nbgrad.overloads.register import IMPLEMENTATIONS

__all__ = ["IMPLEMENTATIONS"]
