"""How wide vectors are, by the processor that Numba compiles for."""

import platform

import numpy as np
import pytest
from numba import config
from processes import COUNT, run

from nbgrad.jit import vectors

AVX2 = "+avx,+avx2,+bmi,+bmi2,+cx16,+f16c,+fma,+lzcnt,+mmx,+movbe,+popcnt,+sse,+sse2,+sse3,+sse4.1,+sse4.2,+ssse3,+xsave"
#: Each processor's environment and its vectors: bytes, number.
PROCESSORS = {
    "avx2": ({"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": AVX2}, (32, 16)),
    "sse": ({"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": ""}, (16, 16)),
}
CODE = """
import numpy as np
from nbgrad import regression
from nbgrad.jit import serial_loops, vectors
rng = np.random.default_rng(0)
with serial_loops():
    X, y, p = rng.normal(size=(21, 37)).astype(np.float32), rng.integers(0, 5, 21), rng.normal(size=(5, 38))
    value, grad = regression.softmax_value_and_grad(p, X, y)
print(vectors.VECTOR_BYTES, vectors.REGISTERS, compiled(), value, *grad.ravel())
"""


def objective():
    """The value in NumPy, by the textbook."""
    rng = np.random.default_rng(0)
    X, y, p = rng.normal(size=(21, 37)).astype(np.float32).astype(float), rng.integers(0, 5, 21), rng.normal(size=(5, 38))
    p[:, :37] = p[:, :37].astype(np.float32)
    scores = X @ p[:, :37].T + p[:, 37]
    top = scores.max(1)
    return (np.log(np.exp(scores - top[:, None]).sum(1)) + top - scores[np.arange(21), y]).mean()


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="the processors are x86's")
def test_processors_share_a_cache_and_mix_nothing(tmp_path):
    """Each compiles its own loops and finds them again, and the sums differ by rounding."""
    found = {}
    for name, (environment, sizes) in PROCESSORS.items():
        for second in (False, True):
            said = run(COUNT + CODE, tmp_path, **environment).split()
            assert tuple(map(int, said[:2])) == sizes, name
            assert (said[2] == "0") == second, f"{name}: {said[2]} functions compiled"
        found[name] = np.array(said[3:], float)
    np.testing.assert_allclose(found["avx2"], found["sse"], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(found["avx2"][0], objective(), rtol=1e-5)


@pytest.mark.parametrize(
    ("features", "sizes"),
    [("+sse2,+avx,+avx512f", (64, 32)), ("+sse2,+avx,-avx512f", (32, 16)), ("+fp-armv8,+neon", (16, 32)), ("", (16, 16)), ("+sse2", (16, 16))],
)
def test_the_first_feature_that_a_processor_has_counts(features, sizes, monkeypatch):
    monkeypatch.setattr(config, "CPU_FEATURES", features)
    assert next(tuple(s) for feature, *s in vectors._WIDTHS if feature in vectors._features()) == sizes
