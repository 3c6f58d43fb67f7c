"""Derivatives of drawn formulas against JAX's, where it is installed.

JAX differentiates the formula's own Python: outside of `jax.jit` it knows the numbers, so that ``if``, ``range`` and
Python's ``max`` go the way that they go here. Where the two disagree, differences in 50 digits say who is wrong: JAX has
no digits in some tails.
"""

from types import SimpleNamespace

import numpy as np
import pytest
from formulas import EXACT, formulas, function, slopes
from hypothesis import assume, given, settings
from test_derivatives import NAMES, PLACES, close, program

from nbgrad.derive import reverse, write

jax = pytest.importorskip("jax", reason="JAX is not installed: drawn formulas are held against differences alone")
jnp, nn = jax.numpy, jax.nn


def of_floats(f):
    """JAX's functions refuse integers, which a formula may hand them."""
    return lambda *args: f(*(float(a) if isinstance(a, int) else a for a in args))


MATH = SimpleNamespace(
    sin=of_floats(jnp.sin), cos=of_floats(jnp.cos), tanh=of_floats(jnp.tanh), atan=of_floats(jnp.arctan),
    asinh=of_floats(jnp.arcsinh), erf=of_floats(jax.scipy.special.erf), log=of_floats(jnp.log),
)  # fmt: skip
KERNELS = SimpleNamespace(
    sigmoid=of_floats(nn.sigmoid), softplus=of_floats(nn.softplus), silu=of_floats(nn.silu), mish=of_floats(nn.mish),
    gelu=of_floats(lambda x: nn.gelu(x, approximate=False)), softsign=of_floats(nn.soft_sign), elu=of_floats(nn.elu),
    log_sigmoid=of_floats(nn.log_sigmoid), mse_loss=lambda x, t: (x - t) ** 2,
    huber_loss=lambda x, t: 0.5 * (x - t) ** 2 if abs(x - t) <= 1 else abs(x - t) - 0.5,
)  # fmt: skip


@settings(max_examples=200)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@given(formulas(), PLACES)
def test_drawn_formulas(text, point):
    n = 3
    try:
        gradient = reverse.gradients(program(function(text)), ("x", "y", "z"))
        with jax.enable_x64():
            formula = function(text, MATH, KERNELS)
            value, theirs = jax.value_and_grad(lambda *args: jnp.float64(formula(*args, n)), (0, 1, 2))(*map(float, point))
    except (TypeError, UnboundLocalError) as error:  # a name that one way leaves without a value, used
        assert isinstance(error, UnboundLocalError) or "without a value" in str(error), text
        assume(False)
    theirs = [float(value), *map(float, theirs)]
    assume(np.isfinite(theirs).all() and max(map(abs, theirs)) < 1e12)
    found = write.function(gradient, "gradient", NAMES)(*point, n)
    if not close(found, theirs, 1e-11):
        exact, _ = slopes(function(text, *EXACT), point, n)
        ours, others = ([abs(f - e) for f, e in zip(v, exact, strict=True)] for v in (found, theirs))
        assert close(found, exact, 1e-11) or max(ours) <= max(others), (text, found, theirs)
