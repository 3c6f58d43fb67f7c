"""Functions of PyTorch's, JAX's, autograd's and nbgrad's tensors, whose gradients are the frameworks' own."""

from __future__ import annotations

import functools
import importlib.util

import numpy as np

from nbgrad import functional as nb

from .entry import BOTH, F64, Table, fixed, integers, normal, uniform

TABLE = Table()


def installed(name):
    spec = importlib.util.find_spec(name)
    return spec is not None and spec.origin is not None  # a folder named so (tests/autograd) has none


if installed("torch"):
    import torch
    from torch.nn import functional as F

    add = functools.partial(TABLE.tensors, "torch")
    add("sin", torch.sin, normal(3), dtypes=BOTH)
    add("gelu", F.gelu, normal(4), dtypes=BOTH)
    add("gelu of tanh", lambda x: F.gelu(x, approximate="tanh"), normal(4))
    add("silu", F.silu, normal(4), dtypes=BOTH)
    add("mish", F.mish, normal(4))
    add("softplus", F.softplus, normal(4), dtypes=BOTH)
    add("elu", F.elu, normal(4))
    add("hardtanh", F.hardtanh, normal(4), dtypes=BOTH)
    add("leaky relu", F.leaky_relu, normal(4))
    add("logsigmoid", F.logsigmoid, normal(4))
    add("softmax", lambda x: F.softmax(x, dim=-1), normal((2, 4)), dtypes=BOTH)
    add("log softmax", lambda x: F.log_softmax(x, -1), normal((2, 4)), dtypes=BOTH)
    add("logsumexp", lambda x: torch.logsumexp(x, 1), normal((2, 4), 3), dtypes=BOTH)
    add("cross entropy", F.cross_entropy, normal((3, 4)), integers(3, 4), dtypes=BOTH)
    add("nll loss", lambda x, y: F.nll_loss(F.log_softmax(x, 1), y), normal((3, 4)), integers(3, 4))
    add("binary cross entropy with logits", F.binary_cross_entropy_with_logits, normal(4), uniform(4, 0.1, 0.9))
    add("smooth l1", F.smooth_l1_loss, normal(4), normal(4))
    add("kl div", lambda x, t: F.kl_div(F.log_softmax(x, 1), t, reduction="sum"), normal((2, 3)), uniform((2, 3), 0.1, 1))
    add("poisson nll", F.poisson_nll_loss, normal(4), uniform(4, 0, 5))
    add("gaussian nll", F.gaussian_nll_loss, normal(4), normal(4), uniform(4, 0.3, 2))
    add("cosine similarity", lambda x, y: F.cosine_similarity(x, y, dim=0), normal(4), normal(4), dtypes=BOTH)
    add("triplet margin", F.triplet_margin_loss, normal((2, 3)), normal((2, 3)), normal((2, 3)))
    add("layer norm", lambda x, w, b: F.layer_norm(x, (5,), w, b), normal((2, 5)), normal(5), normal(5), dtypes=BOTH)
    add("batch norm", lambda x: F.batch_norm(x, None, None, training=True), normal((5, 2)))
    add("group norm", lambda x: F.group_norm(x, 2), normal((2, 4, 3)))
    add("linear", F.linear, normal((2, 3)), normal((4, 3)), normal(4), dtypes=BOTH)
    add("bilinear", F.bilinear, normal((2, 3)), normal((2, 2)), normal((2, 3, 2)))
    add("conv2d", F.conv2d, normal((1, 2, 4, 4)), normal((2, 2, 3, 3)), dtypes=BOTH)
    add("conv transpose1d", F.conv_transpose1d, normal((1, 2, 4)), normal((2, 2, 3)))
    add("max pool2d", lambda x: F.max_pool2d(x, 2), normal((1, 1, 4, 4)))
    add("avg pool1d", lambda x: F.avg_pool1d(x, 2), normal((1, 2, 6)))
    add("interpolate", lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"), normal((1, 1, 3, 3)))
    add("embedding", lambda w, i: F.embedding(i, w), normal((4, 3)), integers(5, 4))
    add("attention", F.scaled_dot_product_attention, normal((1, 3, 4)), normal((1, 3, 4)), normal((1, 3, 4)), dtypes=BOTH)
    add("cdist", torch.cdist, normal((3, 2)), normal((2, 2)))
    add("norm", torch.linalg.norm, normal(4), dtypes=BOTH)
    add("det", lambda a: torch.linalg.det(a + 4 * torch.eye(3, dtype=a.dtype)), normal((3, 3)))
    add("inv", lambda a: torch.linalg.inv(a + 4 * torch.eye(3, dtype=a.dtype)), normal((3, 3)))
    add("solve", lambda a, b: torch.linalg.solve(a + 4 * torch.eye(3, dtype=a.dtype), b), normal((3, 3)), normal(3))
    add("cholesky", lambda a: torch.linalg.cholesky(a @ a.T + torch.eye(3, dtype=a.dtype)), normal((3, 3)))
    add("slogdet", lambda a: torch.slogdet(a @ a.T + torch.eye(3, dtype=a.dtype))[1], normal((3, 3)))
    add("matrix exp", torch.matrix_exp, normal((2, 2)))
    add("einsum", lambda a, b: torch.einsum("bij,bjk->bik", a, b), normal((2, 2, 3)), normal((2, 3, 2)))
    add("cumsum and cumprod", lambda x: x.cumsum(0) + x.cumprod(0), normal(5), dtypes=BOTH)
    add("sort", lambda x: torch.sort(x)[0], normal(5))
    add("topk", lambda x: torch.topk(x, 2)[0], normal(5), dtypes=BOTH)
    add("median", torch.median, normal(5))
    add("prod", torch.prod, normal(4))
    add("std", torch.std, normal(5))
    add("gather", lambda x, i: torch.gather(x, 0, i), normal(4), integers(6, 4))
    add("lgamma", torch.lgamma, uniform(3, 0.3, 10))
    add("erfinv", torch.erfinv, uniform(3, -0.9, 0.9))
    add("i0e", torch.special.i0e, uniform(3, 0.1, 5))
    add("xlogy", torch.xlogy, uniform(3, 0.2, 5), uniform(3, 0.2, 5))
    add("fft", lambda x: torch.fft.rfft(x).abs() ** 2, normal(6))
    add("mse of a number", lambda x: ((x - 1) ** 2).mean(), normal(4), dtypes=BOTH)
    add("numbers by a loop", lambda x: sum(v.sin() * v for v in x), normal(4))

    def lstm_cell(x, h, c, w, b):
        i, f, o, u = (torch.cat([x, h]) @ w + b).chunk(4)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(u)
        return torch.sigmoid(o) * torch.tanh(c)

    add("LSTM cell", lstm_cell, normal(2), normal(2), normal(2), normal((4, 8)), normal(8))

    def pinn_residual(w, v):
        """u″ + u of a network u(t) = v · tanh(w t) at three times: differentiates inside."""
        with torch.enable_grad():
            t = torch.tensor([0.25, 0.5, 1.0], dtype=w.dtype, requires_grad=True)
            u = torch.tanh(t[:, None] * w) @ v
            (du,) = torch.autograd.grad(u.sum(), t, create_graph=True)
            (ddu,) = torch.autograd.grad(du.sum(), t, create_graph=True)
            return ((ddu + u) ** 2).mean()

    add("residual of a differential equation", pinn_residual, normal(4), normal(4))


if installed("jax"):
    import jax
    import jax.numpy as jnp

    add = functools.partial(TABLE.tensors, "jax")
    add("sin of x squared", lambda x: jnp.sin(x**2), normal(3), dtypes=BOTH)
    add("gelu", jax.nn.gelu, normal(4))
    add("swish", jax.nn.swish, normal(4), dtypes=BOTH)
    add("softmax", jax.nn.softmax, normal((2, 4)), dtypes=BOTH)
    add("logsumexp", lambda x: jax.nn.logsumexp(x, axis=-1), normal((2, 4), 3), dtypes=BOTH)
    add("log softmax", jax.nn.log_softmax, normal((2, 4)))
    add("logaddexp", jnp.logaddexp, normal(3), normal(3))
    add("cross entropy", lambda z: -jax.nn.log_softmax(z)[jnp.arange(3), jnp.array([0, 2, 1])].mean(), normal((3, 4)))
    add("layer norm", lambda x: (x - x.mean(-1, keepdims=True)) / jnp.sqrt(x.var(-1, keepdims=True) + 1e-5), normal((2, 5)))
    add("vmap of a dot", lambda a, b: jax.vmap(jnp.dot)(a, b), normal((3, 2)), normal((3, 2)), dtypes=BOTH)
    add("scan", lambda x: jax.lax.scan(lambda h, v: (jnp.tanh(0.5 * h + v), h), 0.0 * x[0], x)[0], normal(5))
    add("jit", jax.jit(lambda x: jnp.where(x > 0, x, jnp.expm1(x))), normal(4))
    add("det", lambda a: jnp.linalg.det(a + 4 * jnp.eye(3)), normal((3, 3)))
    add("solve", lambda a, b: jnp.linalg.solve(a + 4 * jnp.eye(3), b), normal((3, 3)), normal(3))
    add("cholesky", lambda a: jnp.linalg.cholesky(a @ a.T + jnp.eye(3)), normal((3, 3)))
    add("expm", jax.scipy.linalg.expm, normal((2, 2)))
    add("gammaln", jax.scipy.special.gammaln, uniform(3, 0.3, 10))
    add("betainc", lambda x: jax.scipy.special.betainc(2.0, 3.0, x), uniform(3, 0.05, 0.95))
    add("log ndtr", jax.scipy.stats.norm.logcdf, normal(3))
    add("sort", jnp.sort, normal(5))
    add("cumprod", jnp.cumprod, uniform(4, 0.5, 2))
    add("norm", jnp.linalg.norm, normal(4), dtypes=BOTH)
    add("interp", lambda x: jnp.interp(x, jnp.array([0.0, 1, 2, 4]), jnp.array([0.0, 2, 1, 3])), uniform(4, 0.1, 3.9))
    add("convolve", jnp.convolve, normal(5), normal(3))
    add("gradient inside", lambda x: jax.grad(lambda v: jnp.sum(v**3) * v[0])(x), normal(3))
    add("gaussian log-likelihood", lambda m, s: jax.scipy.stats.norm.logpdf(jnp.array([0.5, -1]), m, s).sum(), normal(()), uniform((), 0.5, 2))


if installed("autograd"):
    import autograd.numpy as anp
    from autograd.scipy import special

    add = functools.partial(TABLE.tensors, "autograd")
    add("tanh", anp.tanh, normal(3))
    add("logsumexp", special.logsumexp, normal(4))
    add("norm", lambda x: anp.sqrt(anp.sum(x**2)), normal(4))
    add("einsum", lambda a, b: anp.einsum("ij,jk->ik", a, b), normal((2, 3)), normal((3, 2)))
    add("slogdet", lambda a: anp.linalg.slogdet(anp.dot(a, a.T) + anp.eye(3))[1], normal((3, 3)))
    add("cross entropy", lambda z: anp.mean(special.logsumexp(z, axis=1) - z[:, 1]), normal((3, 4)))
    add("gammaln", special.gammaln, uniform(3, 0.3, 10))


def two_layers(x, w, u):
    return nb.log_softmax(nb.gelu(x @ w) @ u).mean()


add = functools.partial(TABLE.tensors, "nbgrad")
add("two layers", two_layers, normal((3, 2)), normal((2, 4)), normal((4, 3)), dtypes=BOTH)
add("softmax", nb.softmax, normal((2, 4)), dtypes=BOTH)
add("mean of squares", lambda x: ((x - 1.0) ** 2).mean(), normal(4), dtypes=BOTH)
add("picks", lambda x: x[[0, 0, 2]] * x[1], normal(3))
add("cross entropy", lambda z: nb.cross_entropy(z, np.array([1, 0, 3])), normal((3, 4)), dtypes=BOTH)
add("weighted sum", lambda x, w: (x * w).sum() / w.sum(), normal(4), fixed([1, 2, 3, 4.0]), dtypes=(F64,), wrt=0)
