"""What targets a regression model may have: each function of one number says whether it is such a target."""

from __future__ import annotations

from nbgrad.jit import scalar


@scalar
def is_finite(t):
    return t - t == type(t)(0)


@scalar
def is_count(t):
    """As a mean it need not be whole."""
    return (t >= type(t)(0)) & is_finite(t)


@scalar
def is_positive(t):
    return (t > type(t)(0)) & is_finite(t)


@scalar
def is_binary(t):
    T = type(t)
    return (t == T(0)) | (t == T(1))
