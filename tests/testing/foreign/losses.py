"""Losses as they are written by hand, and their gradients as textbooks have them."""

from __future__ import annotations

import math

import numpy as np
from scipy import special

from .entry import BOTH, Table, fixed, integers, normal, spread, uniform

TABLE = Table()
function = TABLE.function


def softmax_of(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def onehot(labels, classes, dtype):
    return np.eye(classes, dtype=dtype)[labels]


# ---- classification


@function(uniform((2, 4), -3, 3), dtypes=BOTH)
class softmax_backward_of_the_textbook:
    def forward(x):
        return softmax_of(x)

    def backward(g, x):
        y = softmax_of(x)
        return y * (g - np.sum(g * y, axis=-1, keepdims=True))


@function(normal(4, 3))
class softmax_by_its_jacobian:
    def forward(x):
        e = np.exp(x)
        return e / np.sum(e)

    def backward(g, x):
        y = softmax_by_its_jacobian.forward(x)
        return (np.diag(y) - np.outer(y, y)) @ g


@function(normal((3, 4)), integers(3, 4), dtypes=BOTH)
class cross_entropy_p_minus_onehot:
    def forward(z, labels):
        return -np.log(softmax_of(z)[np.arange(3), labels]).mean()

    def backward(g, z, labels):
        return g * (softmax_of(z) - onehot(labels, 4, z.dtype)) / z.dtype.type(3), None


@function(normal((3, 4)), integers(3, 4))
class cross_entropy_float_with_label_smoothing:
    def forward(z, labels):
        target = 0.9 * onehot(labels, 4, float) + 0.025
        return float(-(target * special.log_softmax(np.asarray(z, float), axis=1)).sum())

    def backward(g, z, labels):
        return g * (special.softmax(z, axis=1) - (0.9 * onehot(labels, 4, float) + 0.025)), None


@function(normal(4, 2), dtypes=BOTH)
class logistic_loss:
    signs = np.array([1, -1, 1, -1])

    def forward(f):
        return np.log1p(np.exp(-logistic_loss.signs.astype(f.dtype) * f)).sum()

    def backward(g, f):
        s = logistic_loss.signs.astype(f.dtype)
        return g * -s / (1 + np.exp(s * f))


@function(spread(3, -30, 30))
class logistic_loss_by_logaddexp:
    def forward(f):
        return np.logaddexp(0, -f)

    def backward(g, f):
        return -g * special.expit(-f)


@function(normal(4, 2), uniform(4, 0, 1), dtypes=BOTH)
class binary_cross_entropy_with_logits:
    def forward(z, t):
        return np.mean(np.maximum(z, 0) - z * t + np.log1p(np.exp(-np.abs(z))))

    def backward(g, z, t):
        return g * (special.expit(z) - t) / z.dtype.type(4), -g * z / z.dtype.type(4)


@function(uniform(4, 0.05, 0.95))
class binary_cross_entropy_of_probabilities:
    def forward(p):
        return -(np.log(p[:2]).sum() + np.log(1 - p[2:]).sum())

    def backward(g, p):
        return g * np.concatenate([-1 / p[:2], 1 / (1 - p[2:])])


@function(normal(4, 2))
class focal_loss:
    def forward(z):
        p = 1 / (1 + np.exp(-np.asarray(z, np.float64)))
        return float(-((1 - p) ** 2 * np.log(p)).sum())

    def backward(g, z):
        p = 1 / (1 + np.exp(-z))
        return g * p * (1 - p) * (2 * (1 - p) * np.log(p) - (1 - p) ** 2 / p)


@function(normal(5, 2), dtypes=BOTH)
class hinge:
    def forward(f):
        return np.maximum(0, 1 - f).sum()

    def backward(g, f):
        return np.where(f < 1, -g, 0).astype(f.dtype)


@function(spread(4, -3, 3))
class squared_hinge:
    def forward(f):
        return np.sum(np.clip(1 - f, 0, None) ** 2)

    def backward(g, f):
        return -2 * g * np.clip(1 - f, 0, None)


@function(normal((3, 4)), integers(3, 4))
class multiclass_hinge:
    def forward(z, labels):
        margins = z - z[np.arange(3), labels][:, None] + 1
        margins[np.arange(3), labels] = 0
        return np.maximum(margins, 0).sum()

    def backward(g, z, labels):
        margins = z - z[np.arange(3), labels][:, None] + 1
        over = (margins > 0).astype(float)
        over[np.arange(3), labels] = 0
        over[np.arange(3), labels] = -over.sum(axis=1)
        return g * over, None


@function(uniform((2, 5), 0.1, 0.9), fixed([[1, 0, 1, 1, 0], [0, 0, 1, 0, 0]]), wrt=0)
class dice_loss:
    def forward(p, t):
        return 1 - 2 * np.sum(p * t) / (np.sum(p) + np.sum(t))

    def backward(g, p, t):
        total = p.sum() + t.sum()
        return -2 * g * (t * total - np.sum(p * t)) / total**2, None


# ---- regression


@function(normal(5, 2), dtypes=BOTH)
class huber:
    def forward(r):
        a = np.abs(r)
        return np.where(a <= 1, r * r / 2, a - r.dtype.type(0.5)).mean()

    def backward(g, r):
        return g * np.clip(r, -1, 1) / r.dtype.type(r.size)


@function(uniform(4, -8, 8))
class log_cosh:
    def forward(r):
        return np.log(np.cosh(r)).sum()

    def backward(g, r):
        return g * np.tanh(r)


@function(normal(5), dtypes=BOTH)
class quantile_loss:
    def forward(r):
        return np.where(r >= 0, r.dtype.type(0.875) * r, r.dtype.type(-0.125) * r).sum()

    def backward(g, r):
        return g * np.where(r >= 0, 0.875, -0.125).astype(r.dtype)


@function(normal(4), dtypes=BOTH)
class poisson_deviance:
    counts = np.array([0, 2, 1, 5])

    def forward(f):
        return (np.exp(f) - poisson_deviance.counts.astype(f.dtype) * f).sum()

    def backward(g, f):
        return g * (np.exp(f) - poisson_deviance.counts.astype(f.dtype))


@function(normal(3), uniform((), 0.3, 5))
class negative_binomial:
    counts = np.array([0.0, 3, 7])

    def forward(f, r):
        y, mu = negative_binomial.counts, np.exp(f)
        return -float(np.sum(special.gammaln(y + r) - special.gammaln(r) + r * np.log(r / (r + mu)) + y * np.log(mu / (r + mu))))

    def backward(g, f, r):
        y, mu = negative_binomial.counts, np.exp(f)
        df = g * r * (mu - y) / (r + mu)
        dr = -g * np.sum(special.psi(y + r) - special.psi(r) + np.log(r / (r + mu)) + (mu - y) / (r + mu))
        return df, np.array(dr)


@function(normal(4), normal(4), dtypes=BOTH)
class gaussian_likelihood_in_mean_and_log_variance:
    def forward(m, s):
        return 0.5 * np.sum(s + m**2 * np.exp(-s))

    def backward(g, m, s):
        return g * m * np.exp(-s), g * (1 - m**2 * np.exp(-s)) / 2


@function(normal(4))
class von_mises_concentration:
    """log I₀(κ) by the scaled Bessel function, κ = exp(f)."""

    def forward(f):
        k = np.exp(f)
        return np.log(special.i0e(k)) + k

    def backward(g, f):
        k = np.exp(f)
        return g * k * special.i1e(k) / special.i0e(k)


@function(normal(3), normal(3))
class gaussian_kl_divergence:
    def forward(m, s):
        return -0.5 * sum(1 + float(b) - float(a) ** 2 - math.exp(b) for a, b in zip(m, s, strict=True))

    def backward(g, m, s):
        return g * m, g * (np.exp(s) - 1) / 2


@function(normal((2, 3)), normal((2, 3)), dtypes=BOTH)
class kl_of_two_softmaxes:
    def forward(a, b):
        return np.sum(softmax_of(a) * (special.log_softmax(a, axis=1) - special.log_softmax(b, axis=1)))

    def backward(g, a, b):
        p, q = softmax_of(a), softmax_of(b)
        ratio = special.log_softmax(a, axis=1) - special.log_softmax(b, axis=1)
        return g * p * (ratio - (p * ratio).sum(axis=1, keepdims=True)), g * (q - p)


@function(normal(4), normal(4), dtypes=BOTH)
class cosine_similarity:
    def forward(x, y):
        return x @ y / (np.linalg.norm(x) * np.linalg.norm(y))

    def backward(g, x, y):
        a, b = np.linalg.norm(x), np.linalg.norm(y)
        c = x @ y / (a * b)
        return g * (y / (a * b) - c * x / a**2), g * (x / (a * b) - c * y / b**2)


@function(normal(3), normal(3), normal(3))
class triplet_loss:
    def forward(a, p, n):
        return max(0.0, float(np.sum((a - p) ** 2) - np.sum((a - n) ** 2) + 1))

    def backward(g, a, p, n):
        on = g * (np.sum((a - p) ** 2) - np.sum((a - n) ** 2) + 1 > 0)
        return 2 * on * (n - p), 2 * on * (p - a), 2 * on * (a - n)


@function(normal(5))
class cox_partial_likelihood:
    def forward(f):
        return sum(special.logsumexp(f[i:]) - f[i] for i in range(len(f)))

    def backward(g, f):
        grad = -np.ones(len(f))
        for i in range(len(f)):
            grad[i:] += special.softmax(f[i:])
        return g * grad


@function(normal((4, 2)))
class forward_algorithm_of_a_hidden_Markov_model:
    transition = np.log(np.array([[0.75, 0.25], [0.375, 0.625]]))

    def forward(emissions):
        a = emissions[0] - math.log(2)
        for e in emissions[1:]:
            a = special.logsumexp(a[:, None] + forward_algorithm_of_a_hidden_Markov_model.transition, axis=0) + e
        return special.logsumexp(a)

    def backward(g, emissions):
        t = forward_algorithm_of_a_hidden_Markov_model.transition
        ahead = [emissions[0] - math.log(2)]
        for e in emissions[1:]:
            ahead.append(special.logsumexp(ahead[-1][:, None] + t, axis=0) + e)
        behind = [np.zeros(2)]
        for e in emissions[:0:-1]:
            behind.insert(0, special.logsumexp(t + e + behind[0], axis=1))
        return g * special.softmax(np.array(ahead) + np.array(behind), axis=1)
