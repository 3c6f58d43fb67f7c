"""Right functions of strangers pass: a few examples of each of ``python -m bench false-alarms``'s foreign ones."""

import hypothesis
import pytest

pytest.importorskip("sklearn")
from foreign import FOREIGN  # noqa: E402

# A gradient that lost a few digits to rounding is told, and passes.
pytestmark = pytest.mark.filterwarnings("ignore::nbgrad.testing.GradientWarning")

generate = hypothesis.settings(
    max_examples=2, deadline=None, database=None, derandomize=True, phases=[hypothesis.Phase.generate],
    suppress_health_check=list(hypothesis.HealthCheck),
)  # fmt: skip


# To JAX every function is new that is not jitted: a second each. The bench runs them all.
JAX = ("sin of x squared", "logaddexp", "scan", "jit")
NAMES = [name for name in FOREIGN if "jax: " not in name or any(f"jax: {few}," in name for few in JAX)]


@pytest.mark.parametrize("name", NAMES)
def test_passes(name):
    test = FOREIGN[name](settings=generate)
    test()
    assert test.report.elements > 0


def test_there_are_enough():
    assert len(FOREIGN) >= 150
    assert sum("float32" in name for name in FOREIGN) >= len(FOREIGN) / 4
