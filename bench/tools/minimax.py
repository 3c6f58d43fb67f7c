"""The polynomials of nbgrad.elementary, derived again: minimax fits by the Remez exchange, rounded to the
precision.

Prints for each the largest error, weighted as the function needs it, before and after rounding, and the
coefficients.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import mpmath as mp


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--bits", type=int, default=200, help="working precision")


def remez(
    f: Callable[[Any], Any], weight: Callable[[Any], Any], low: Any, high: Any, degree: int
) -> tuple[list[Any], Any]:
    """Coefficients (lowest first) and error of the polynomial that minimises max |weight·(f − p)|."""
    n = degree + 2
    grid = [low + (high - low) * (1 - mp.cos(mp.pi * i / 1200)) / 2 for i in range(1201)]
    values, weights = [f(x) for x in grid], [weight(x) for x in grid]
    nodes = [(low + high) / 2 - (high - low) / 2 * mp.cos(mp.pi * (2 * i + 1) / (2 * n)) for i in range(n)]
    coefficients: list[Any] = []
    errors: list[Any] = []
    for _ in range(12):
        matrix, right = mp.matrix(n, n), mp.matrix(n, 1)
        for i, x in enumerate(nodes):
            for j in range(degree + 1):
                matrix[i, j] = x**j
            matrix[i, degree + 1], right[i] = (-1) ** i / weight(x), f(x)
        solution = mp.lu_solve(matrix, right)
        coefficients = [solution[j] for j in range(degree + 1)]
        errors = [w * (v - mp.polyval(coefficients[::-1], x)) for x, v, w in zip(grid, values, weights, strict=True)]
        extrema: list[int] = []  # the largest error of each run of one sign
        for i, error in enumerate(errors):
            if extrema and (error > 0) == (errors[extrema[-1]] > 0):
                extrema[-1] = i if abs(error) > abs(errors[extrema[-1]]) else extrema[-1]
            else:
                extrema.append(i)
        while len(extrema) > n:
            extrema.pop(0 if abs(errors[extrema[0]]) < abs(errors[extrema[-1]]) else -1)
        if len(extrema) < n:
            break
        nodes = [grid[i] for i in extrema]
    return coefficients, max(map(abs, errors))


def expm1_tail(x: Any) -> Any:
    """(eˣ − 1 − x)/x²"""
    return (mp.expm1(x) - x) / x**2 if abs(x) > mp.mpf(2) ** -60 else mp.mpf(1) / 2 + x / 6


def log_tail(z: Any) -> Any:
    """(artanh(s)/s − 1)/s² for s² = z"""
    s = mp.sqrt(z)
    return (mp.atanh(s) / s - 1) / z if z > mp.mpf(2) ** -60 else mp.mpf(1) / 3 + z / 5


def run(arguments: argparse.Namespace) -> None:
    mp.mp.prec = arguments.bits
    half = mp.log(2) / 2 * mp.mpf("1.0005")
    largest = ((mp.sqrt(2) - 1) / (mp.sqrt(2) + 1)) ** 2 * mp.mpf("1.001")
    # weights: what an error of the tail does to the function, relative to it; kept off 0, where the exchange
    # would break down
    fits = [
        ("expm1_tail", expm1_tail, lambda x: max(abs(x), mp.mpf("0.02")), -half, half, {24: 5, 53: 10}),
        ("log_tail", log_tail, lambda z: max(z, mp.mpf("0.001")), mp.mpf(0), largest, {24: 2, 53: 6}),
    ]
    for name, f, weight, low, high, degrees in fits:
        for bits, degree in degrees.items():
            exact, error = remez(f, weight, low, high, degree)
            with mp.workprec(bits):
                rounded = [+c for c in exact]
            sample = [low + (high - low) * i / 2000 for i in range(2001)]
            after = max(weight(x) * abs(f(x) - mp.polyval(rounded[::-1], x)) for x in sample)
            before, rest = (float(mp.log(e, 2)) for e in (error, after))
            print(f"{name} float{32 if bits == 24 else 64}: error 2^{before:.1f}, rounded 2^{rest:.1f}")
            print("   ", ", ".join(repr(float(c)) for c in rounded))
