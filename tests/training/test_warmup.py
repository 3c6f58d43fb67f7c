"""`nbgrad warmup`: afterwards a process of its own compiles nothing."""

import numpy as np
import pytest
from processes import COUNT, run

from nbgrad import kernels, regression
from nbgrad.training import warmup

COMMAND = "from nbgrad.cli import main; raise SystemExit(main({!r}))"
USE = """
import numpy as np
from nbgrad import kernels, regression
x = np.ones((5000, 4), np.float32)
kernels.elu(x), kernels.elu(x[:3])
kernels.mse_loss_value_and_grad(x, x), kernels.logsumexp(x), kernels.logsumexp(x[:3])
kernels.cross_entropy_value_and_grad(x, np.zeros(5000, int))
regression.linear_value_and_grad(np.zeros(5), x, np.ones(5000))
print(compiled())
"""


@pytest.mark.parametrize("everything", [False, True])
def test_every_function_has_calls_that_work(everything, monkeypatch):
    monkeypatch.setattr(warmup, "_SIZES", (8,))  # what else takes another loop is seen below
    monkeypatch.setattr(warmup, "_MATRICES", ((3, 4),))
    assert set(kernels.__all__) < set(warmup.names(True))
    for name in warmup.names(everything):
        if name in ("relu", "threshold_backward", "huber_loss", "softmax", "maxout_backward", "nll_loss", "poisson_hessp"):
            warmup._call(name, "float64", everything)
        calls = list(warmup._calls(name, np.dtype(np.float32), everything))
        assert len(calls) >= (1 if name not in regression.__all__ else 3), name


def test_afterwards_nothing_is_compiled(tmp_path):
    names = ["elu", "mse_loss_value_and_grad", "logsumexp", "cross_entropy_value_and_grad", "linear_value_and_grad"]
    told = run(COMMAND.format(["warmup", *names, "--dtypes", "float32"]), tmp_path, NUMBA_OPT="0")
    assert told.startswith("5 functions in ") and told.endswith(str(tmp_path))
    assert run(COUNT + USE, tmp_path, NUMBA_OPT="0") == "0"


def test_an_unknown_name_is_one_error_with_the_nearest_ones(capsys):
    with pytest.raises(ValueError, match=r"^NAME: expected a kernel or a function of nbgrad.regression \(sigmoid or .*\), got 'sigmoi'$"):
        warmup.warmup(["sigmoi"])
