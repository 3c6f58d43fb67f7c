"""Every operator recorded and replayed: what eager code gives, for other values and in other states."""

import operator

import numpy as np
import pytest

import nbgrad
from nbgrad import functional as F
from nbgrad import nn, optim
from nbgrad.autograd.combine import cat, maximum, minimum, stack, where
from nbgrad.autograd.tensor import Tensor, tensor
from nbgrad.formulas.table import OPS

LABELS = np.array([0, 3, 1, 1, 2])


def inner(x):
    y = x.clone()
    y[1] += 2 * x[0]
    y[:, 1] = 0
    return y


CASES = {
    "neg": operator.neg,
    "pos": operator.pos,
    "abs": abs,
    "exp": lambda x: x.exp(),
    "log": lambda x: (x * x + 1).log(),
    "sqrt": lambda x: (x * x + 1).sqrt(),
    "numbers": lambda x: 10 - (3 * x + 1) / 2 - x * 0.5 - (x - 1),
    "over": lambda x: 3 / (x * x + 1),
    "powers": lambda x: x**2 + x**3 + (x * x + 1) ** 0.5 + (x * x + 1) ** -1 + x**1 + x**0,
    "power of 2": lambda x: 2**x,
    "tensor to a tensor": lambda x: (x * x + 1) ** (x * 0.1),
    "div": lambda x: x / (x * x + 2),
    "mod": lambda x: x % 0.75 + x // 0.75,
    "clip": lambda x: x.clip(-0.5, 1) + x.clip(min=0) + x.clip(max=0.25),
    "clone": lambda x: x.clone(),
    "cast": lambda x: x.to(np.float64) * 2 + x,
    "used twice": lambda x: x * x + x,
    "broadcast": lambda x: x * x[0] + x[:, 1:2] - x[1, 1] + 2 * x.sum(),
    "chain of rows": lambda x: ((x - x.mean(axis=1, keepdims=True)) * x[0]).exp() / (1 + x * x),
    "matmul": lambda x: x @ x.T,
    "vectors": lambda x: x[0] @ x[1] + (x @ x[2])[0] + (x[:, 0] @ x)[1],
    "batched": lambda x: (x.reshape(5, 2, 2) @ x.reshape(5, 2, 2)) @ tensor([[1.0, 2.0], [0.5, -1.0]]),
    "outer": lambda x: x[:, :1] @ x[:1],
    "sum": lambda x: x.sum() + x.sum(axis=0) + x.sum(axis=1, keepdims=True) + x.T.sum(axis=0)[0],
    "mean": lambda x: x.mean() + x.mean(axis=0) + x.mean(axis=(0, 1), keepdims=True),
    "max": lambda x: x.max() + x.max(axis=1)[0].sum() + x.min(axis=0, keepdims=True).values + x.min(),
    "argmax": lambda x: x.argmax(axis=1).to(np.float32) + x.sum(axis=1) + x.argmax().to(np.float32),
    "reshape": lambda x: x.reshape(4, 5) * 2 + x.flatten().reshape(-1, 5),
    "permute": lambda x: x.reshape(5, 2, 2).permute(2, 0, 1) * 3 + x.T.reshape(2, 5, 2),
    "items": lambda x: x[1:3] * 2 + x[None, 0] + x[-1, ::2].sum() + x[..., 1:2].sum(),
    "picked": lambda x: x[[0, 0, 3]] * 2 + x[np.array([1, 2, 2])] + x[x.argmax(axis=0)[:3]],
    "in place": inner,
    "cat": lambda x: cat([x, x * 2], axis=1),
    "stack": lambda x: stack([x, x * 2, x[::-1]]),
    "maximum": lambda x: maximum(x, x[0]) - minimum(x, 0.5),
    "where": lambda x: where(x > 0, x * 2, 0.0) + where((x < 1) & (x != 0) | ~(x <= 2), x, x * 3),
    "ufuncs": lambda x: np.exp(x) + np.tanh(x) + np.maximum(x, 0) + np.multiply(x, x),
    "detach": lambda x: x * x.detach() + x.detach(),
    "contains nothing": lambda x: x[5:] * 2,
    "softmax": lambda x: F.softmax(x) + F.softmax(x, axis=0) + F.softmax(x.reshape(5, 2, 2), axis=(0, 2)).reshape(5, 4),
    "log_softmax": lambda x: F.log_softmax(x) * x + F.log_softmax(x.T, axis=0).T,
    "logsumexp": lambda x: F.logsumexp(x) * 2 + F.logsumexp(x, axis=0, keepdims=True)[0, 0] + F.logsumexp(x, axis=None),
    "maxout": lambda x: F.maxout(x, 2) + F.maxout(x.T, 5, axis=1).T.sum(),
    "linear": lambda x: F.linear(x, x[:3], x[0, :3]) + F.linear(x.reshape(5, 2, 2), x[:3, :2]).sum(),
    "mse": lambda x: F.mse_loss(x, x[0]) + F.mse_loss(x, np.ones((5, 4), np.float32), reduction="sum"),
    "l1": lambda x: F.l1_loss(x, 0.5 * x, reduction="none"),
    "huber": lambda x: F.huber_loss(x, x.detach() * 0.1, delta=0.5),
    "bce": lambda x: F.binary_cross_entropy_with_logits(x, F.sigmoid(x.detach())),
    "bce, weights": lambda x: F.binary_cross_entropy_with_logits(x, F.sigmoid(x), weight=np.full(4, 0.5), pos_weight=2.0, reduction="sum"),
    "bce, weights of each": lambda x: F.binary_cross_entropy_with_logits(x, F.sigmoid(x), pos_weight=np.arange(1.0, 5.0)),
    "cross_entropy": lambda x: F.cross_entropy(x, LABELS) * 3,
    "cross_entropy, none": lambda x: F.cross_entropy(x, LABELS, reduction="none") * x[:, 0],
    "cross_entropy, weight": lambda x: F.cross_entropy(x, LABELS, weight=np.arange(1.0, 5.0), ignore_index=1, reduction="sum"),
    "cross_entropy, probabilities": lambda x: F.cross_entropy(x, F.softmax(x * 2), label_smoothing=0.1),
    "cross_entropy, images": lambda x: F.cross_entropy(x.reshape(5, 2, 2), np.array([[0, 1], [1, 1], [0, 0], [1, 0], [0, 1]])),
    "nll": lambda x: F.nll_loss(F.log_softmax(x), LABELS),
    "dropout": lambda x: F.dropout(x, 0.4, rng=RNG) * x,
    "activations in a chain": lambda x: F.gelu(x) * x + F.leaky_relu(x, 0.3) / 2 - F.softplus(x, beta=2.0),
    **{name: getattr(F, name) for name in OPS},
}
RNG = np.random.default_rng(0)


def step_of(function, x):
    """A step on one parameter: what it returns in values and gradients."""

    def step():
        x.grad = None
        y = function(x)
        loss = (y * y).sum() if y.dtype.kind == "f" else y.sum()
        loss.backward()
        return y.detach(), loss.detach()

    return step


WIDE = ("powers", "broadcast", "matmul", "sum", "where", "bce", "cross_entropy", "dropout")


@pytest.mark.parametrize(("name", "dtype"), [(n, np.float32) for n in CASES] + [(n, np.float64) for n in WIDE])
def test_a_replay_is_what_eager_code_gives(name, dtype):
    rng = np.random.default_rng(3)
    values = [rng.normal(size=(5, 4)).astype(dtype) for _ in range(3)]
    values[2][1:3] = [0, 30, -30, 0.5]
    results = []
    for wrap in (lambda f: f, nbgrad.compile):
        x = tensor(values[0], requires_grad=True)
        step, out = wrap(step_of(CASES[name], x)), []
        RNG.bit_generator.state = np.random.default_rng(1).bit_generator.state
        for value in values:
            with nbgrad.no_grad():
                x[...] = value
            y, loss = step()
            out.append([y.numpy().copy(), loss.item(), x.grad.numpy().copy()])
        results.append(out)
    assert len(step._recordings) == 1 and sum(map(len, step._recordings.values())) == 1
    eps = 64 * np.finfo(dtype).eps
    for eager, replayed in zip(*results, strict=True):
        for a, b in zip(eager, replayed, strict=True):
            assert getattr(a, "dtype", 0) == getattr(b, "dtype", 0)
            np.testing.assert_allclose(b, a, rtol=eps, atol=eps * np.max(np.abs(a), initial=0))


def training(wrap, optimizer, steps=4, dropout=0.3):
    rng = np.random.default_rng(0)
    net = nn.Sequential(nn.Linear(6, 8, rng=rng), nn.ReLU(), nn.Dropout(dropout, rng=rng), nn.Maxout(8, 4, 2, rng=rng), nn.Tanh(), nn.Linear(4, 3, rng=rng))
    algorithm = optimizer(net.parameters())

    def step(x, labels):
        algorithm.zero_grad()
        loss = F.cross_entropy(net(x), labels)
        loss.backward()
        algorithm.step()
        return loss

    step = wrap(step)
    data = np.random.default_rng(1)
    losses = []
    for k in range(steps):
        algorithm.lr = 0.1 / (k + 1)
        losses.append(step(Tensor(data.normal(size=(10, 6)).astype(np.float32)), data.integers(0, 3, 10)).item())
    return losses, {**net.state_dict(), **{str(k): v for k, v in algorithm.state_dict().items()}}, step, net, algorithm


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda p: optim.SGD(p, 0.1), lambda p: optim.SGD(p, 0.1, momentum=0.9, nesterov=True), lambda p: optim.SGD(p, 0.1, momentum=0.5),
        lambda p: optim.Adam(p, 0.1, weight_decay=0.01), lambda p: optim.AdamW(p, 0.1),
    ],
)  # fmt: skip
def test_training_has_eager_codes_bits(optimizer):
    eager, compiled = (training(wrap, optimizer) for wrap in (lambda f: f, nbgrad.compile))
    assert eager[0] == compiled[0]
    for name, value in eager[1].items():
        np.testing.assert_array_equal(np.asarray(value), np.asarray(compiled[1][name]), err_msg=name)
    assert sum(map(len, compiled[2]._recordings.values())) == 1
