"""NIST's Statistical Reference Datasets for linear regression (public domain), with their certified coefficients.

https://www.itl.nist.gov/div898/strd/lls/lls.shtml. `test_least_squares.py` solves each set in rational arithmetic and
holds the certified values against that, so a wrong digit in here does not go unnoticed.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Reference:
    """Columns as they were published, in decimals; coefficients, the intercept first where there is one."""

    name: str
    y: list[str]
    X: list[list[str]]  # the features of each row, powers of x written out
    certified: list[float]
    fit_intercept: bool = True

    def arrays(self):
        return np.array(self.X, dtype=np.float64), np.array(self.y, dtype=np.float64)


def _columns(text):
    return [line.split() for line in text.strip().splitlines()]


def _powers(x, degree):
    return [[str(int(v) ** k) for k in range(1, degree + 1)] for v in x]


_NORRIS = _columns("""
0.1 0.2
338.8 337.4
118.1 118.2
888.0 884.6
9.2 10.1
228.1 226.5
668.5 666.3
998.5 996.3
449.1 448.6
778.9 777.0
559.2 558.2
0.3 0.4
0.1 0.6
778.1 775.5
668.8 666.9
339.3 338.0
448.9 447.5
10.8 11.6
557.7 556.0
228.3 228.1
998.0 995.8
888.8 887.6
119.6 120.2
0.3 0.3
0.6 0.3
557.6 556.8
339.3 339.1
888.0 887.2
998.5 999.0
778.9 779.0
10.2 11.1
117.6 118.3
228.9 229.2
668.4 669.1
449.2 448.9
0.2 0.5
""")

_PONTIUS_Y = (
    ".11019 .21956 .32949 .43899 .54803 .65694 .76562 .87487 .98292 1.09146 1.20001 1.30822 1.41599 1.52399 1.63194 "
    "1.73947 1.84646 1.95392 2.06128 2.16844 .11052 .22018 .32939 .43886 .54798 .65739 .76596 .87474 .98300 1.09150 "
    "1.20004 1.30818 1.41613 1.52408 1.63159 1.73965 1.84696 1.95445 2.06177 2.16829"
).split()

_LONGLEY = _columns("""
60323 83.0 234289 2356 1590 107608 1947
61122 88.5 259426 2325 1456 108632 1948
60171 88.2 258054 3682 1616 109773 1949
61187 89.5 284599 3351 1650 110929 1950
63221 96.2 328975 2099 3099 112075 1951
63639 98.1 346999 1932 3594 113270 1952
64989 99.0 365385 1870 3547 115094 1953
63761 100.0 363112 3578 3350 116219 1954
66019 101.2 397469 2904 3048 117388 1955
67857 104.6 419180 2822 2857 118734 1956
68169 108.4 442769 2936 2798 120445 1957
66513 110.8 444546 4681 2637 121950 1958
68655 112.6 482704 3813 2552 123366 1959
69564 114.2 502601 3931 2514 125368 1960
69331 115.7 518173 4806 2572 127852 1961
70551 116.9 554894 4007 2827 130081 1962
""")

# Orthogonal to every polynomial of degree 5 on 0..20: the coefficients stay those of the polynomial.
_DELTA = [759, -2048, 2048, -2048, 2523, -2048, 2048, -2048, 1838, -2048, 2048]
_DELTA += _DELTA[-2::-1]


def _wampler(name, noise, tenths=False):
    if tenths:  # 1 + x/10 + ... + (x/10)^5, in decimals of 5 places
        values = [sum(v**k * 10 ** (5 - k) for k in range(6)) for v in range(21)]
        y = [f"{value // 10**5}.{value % 10**5:05d}" for value in values]
    else:
        y = [str(sum(v**k for k in range(6)) + noise * d) for v, d in zip(range(21), _DELTA, strict=True)]
    certified = [10.0**-k for k in range(6)] if tenths else [1.0] * 6
    return Reference(name, y, _powers(range(21), 5), certified)


REFERENCES = [
    Reference("Norris", [r[0] for r in _NORRIS], [r[1:] for r in _NORRIS], [-0.262323073774029, 1.00211681802045]),
    Reference(
        "Pontius",
        _PONTIUS_Y,
        _powers([150000 * k for k in range(1, 21)] * 2, 2),
        [0.673565789473684e-03, 0.732059160401003e-06, -0.316081871345029e-14],
    ),
    Reference("NoInt1", [str(v) for v in range(130, 141)], [[str(v)] for v in range(60, 71)], [2.07438016528926], False),
    Reference("NoInt2", ["3", "4", "4"], [["4"], ["5"], ["6"]], [0.727272727272727], False),
    Reference(
        "Longley",
        [r[0] for r in _LONGLEY],
        [r[1:] for r in _LONGLEY],
        [-3482258.63459582, 15.0618722713733, -0.358191792925910e-01, -2.02022980381683, -1.03322686717359,
         -0.511041056535807e-01, 1829.15146461355],
    ),
    _wampler("Wampler1", 0),
    _wampler("Wampler2", 0, tenths=True),
    _wampler("Wampler3", 1),
    _wampler("Wampler4", 100),
    _wampler("Wampler5", 10000),
]  # fmt: skip
