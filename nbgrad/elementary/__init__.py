"""exp, expm1, log, log1p, erf, erfc for float32 and float64: branch-free, so that LLVM turns a loop over them into
vector instructions.

``math.exp`` in a compiled loop is a call of the C library for each element, about ten times slower. All six are
public: call them in any ``@njit`` function, on numbers. Called from plain Python they are NumPy's and SciPy's functions
(arrays too). Integers are computed in float64. Results keep the argument's type; nan gives nan; overflow gives
inf; subnormal results and arguments are exact to the same bound.

How: the argument is brought into a small interval around 0, a polynomial is evaluated there, and the pieces are
added from the smallest to the largest, keeping the rounding error of the last large sum (Dekker's fast two-sum).
Sources: W. J. Cody & W. Waite, Software Manual for the Elementary Functions (1980); P.-T. P. Tang, ACM TOMS
15 (1989) 144 and 16 (1990) 378; T. J. Dekker, Numer. Math. 18 (1971) 224.

The rooms: `exponential`, `logarithm`, `normal`, `hyperbolic`, `division`; beside the public functions they hold what
only the formulas need.
"""

from nbgrad.elementary.exponential import exp, expm1
from nbgrad.elementary.logarithm import log, log1p
from nbgrad.elementary.normal import erf, erfc

__all__ = ["erf", "erfc", "exp", "expm1", "log", "log1p"]
