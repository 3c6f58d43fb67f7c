"""Bad input gets the same error on both devices, word for word."""

import numpy as np
import pytest
from devices import put

from nbgrad import kernels

ROWS, VECTOR, LABELS = np.ones((2, 3)), np.ones(3), np.array([0, 1])
HALF, COMPLEX = np.ones((2, 3), np.float16), np.ones((2, 3), complex)
SINGLE, HUGE = np.ones((2, 3), np.float32), np.array([0, 2**64 - 100], np.uint64)

CASES = [
    ("sigmoid", (HALF,), {}),
    ("sigmoid", (COMPLEX,), {}),
    ("sigmoid", (ROWS,), {"out": np.ones((3, 2))}),
    ("sigmoid", (ROWS,), {"out": SINGLE}),
    ("leaky_relu", (ROWS,), {"negative_slope": "a"}),
    ("leaky_relu", (ROWS,), {"negative_slope": True}),
    ("elu", (SINGLE,), {"alpha": 1e39}),
    ("elu_backward", (np.ones(2), ROWS), {}),
    ("elu_backward", (HALF, ROWS), {}),
    ("elu_backward", (np.float16(1), ROWS), {}),
    ("elu_backward", (ROWS, ROWS), {"out": VECTOR}),
    *((name, (HALF,), {}) for name in ("softmax", "log_softmax", "logsumexp")),
    *((name, (ROWS,), {"axis": axis}) for name in ("softmax", "logsumexp") for axis in (2, -3, 1.0, "0", True, (0, 0))),
    ("softmax", (np.array(1.0),), {}),
    ("softmax", (ROWS,), {"out": VECTOR}),
    ("logsumexp", (ROWS,), {"keepdims": 1}),
    ("logsumexp", (ROWS,), {"out": ROWS}),
    *((name, (np.ones(4), ROWS), {}) for name in ("softmax_backward", "log_softmax_backward", "logsumexp_backward")),
    ("logsumexp_backward", (np.ones(2), ROWS), {"axis": 0}),
    ("softmax_backward", (COMPLEX, ROWS), {}),
    ("maxout", (ROWS, 2), {}),
    ("maxout", (ROWS, 0), {}),
    ("maxout", (ROWS, 1.5), {}),
    ("maxout", (ROWS, 3), {"axis": 5}),
    ("maxout", (ROWS, 3), {"index_out": np.ones((2, 1))}),
    ("maxout", (ROWS, 3), {"out": ROWS}),
    ("maxout_backward", (ROWS, ROWS, 2), {}),
    ("maxout_backward", (ROWS, np.ones((3, 2), int), 2), {}),
    ("maxout_backward", (ROWS, np.array([[0, 1, 2], [0, 0, 0]]), 2), {}),
    ("maxout_backward", (ROWS, np.array([[0, 1, 1], [0, -1, 0]]), 2), {}),
    *((name, (ROWS, np.ones(2)), {}) for name in ("mse_loss", "l1_loss", "binary_cross_entropy_with_logits")),
    *((name, (ROWS, HALF), {}) for name in ("mse_loss", "l1_loss", "binary_cross_entropy_with_logits")),
    ("mse_loss", (ROWS, ROWS), {"reduction": "max"}),
    ("mse_loss", (ROWS, ROWS), {"out": ROWS}),
    ("mse_loss", (ROWS, ROWS), {"out": VECTOR, "reduction": "none"}),
    ("mse_loss_value_and_grad", (ROWS, ROWS), {"grad_out": SINGLE}),
    ("huber_loss", (ROWS, ROWS), {"delta": 0.0}),
    ("huber_loss", (ROWS, ROWS), {"delta": None}),
    ("binary_cross_entropy_with_logits", (ROWS, ROWS), {"weight": np.ones(2)}),
    ("binary_cross_entropy_with_logits", (ROWS, ROWS), {"pos_weight": np.ones(2)}),
    ("binary_cross_entropy_with_logits", (ROWS, ROWS), {"pos_weight": HALF}),
    *(
        case
        for name in ("cross_entropy", "nll_loss", "cross_entropy_value_and_grad", "nll_loss_value_and_grad")
        for case in (
            (name, (np.array(1.0), LABELS), {}),
            (name, (np.ones((2, 0)), LABELS), {}),
            (name, (HALF, LABELS), {}),
            (name, (ROWS, np.array([0.0, 1.0])), {}),
            (name, (ROWS, np.array([True, False])), {}),
            (name, (ROWS, np.array([0, 1, 1])), {}),
            (name, (ROWS, LABELS), {"weight": np.ones(2)}),
            (name, (ROWS, LABELS), {"weight": np.ones(3, complex)}),
            (name, (ROWS, LABELS), {"ignore_index": 0.5}),
            (name, (ROWS, LABELS), {"ignore_index": 2**63}),
            (name, (ROWS, LABELS), {"reduction": None}),
            (name, (ROWS, LABELS), {"out": np.ones(2)}),
            (name, (ROWS, HUGE), {}),
            (name, (ROWS, np.array([0, 3])), {}),
            (name, (ROWS, np.array([-1, 1])), {"ignore_index": 5}),
        )
    ),
    ("cross_entropy", (ROWS, HALF), {}),
    ("cross_entropy", (ROWS, COMPLEX), {}),
    ("cross_entropy", (ROWS, LABELS), {"label_smoothing": 1.5}),
    ("cross_entropy", (ROWS, LABELS), {"label_smoothing": "a"}),
    ("cross_entropy", (ROWS, np.array([0, 3])), {"label_smoothing": 0.5}),
    ("cross_entropy", (ROWS, HUGE), {"label_smoothing": 0.5}),
    ("nll_loss", (ROWS, ROWS), {}),
]


def error(name, arguments, options):
    with pytest.raises((TypeError, ValueError)) as caught:
        getattr(kernels, name)(*arguments, **options)
    return type(caught.value), str(caught.value)


@pytest.mark.parametrize(("name", "arguments", "options"), CASES)
def test_same_errors(monkeypatch, name, arguments, options):
    monkeypatch.setenv("CUDA_LAUNCH_BLOCKING", "1")
    there = [put(a) if isinstance(a, np.ndarray) else a for a in arguments]
    there_too = {key: put(a) if isinstance(a, np.ndarray) else a for key, a in options.items()}
    assert error(name, there, there_too) == error(name, arguments, options)
