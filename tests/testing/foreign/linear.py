"""Linear algebra of NumPy and SciPy: products, norms, solutions, determinants, factors, functions of matrices."""

from __future__ import annotations

import numpy as np
import scipy.linalg
import scipy.sparse

from .entry import BOTH, Table, normal, uniform

TABLE = Table()
function = TABLE.function


def regular(a):
    """A matrix far from singular ones."""
    return a + 4 * np.eye(len(a), dtype=a.dtype)


@function(normal((2, 3)), normal((3, 2)), dtypes=BOTH)
class matmul:
    def forward(a, b):
        return a @ b

    def backward(g, a, b):
        return g @ b.T, a.T @ g


@function(normal((2, 3)), normal((3, 2)), normal(2))
class affine_layer_in_float64:
    def forward(x, w, b):
        return np.asarray(x, np.float64) @ np.asarray(w, np.float64) + b

    def backward(g, x, w, b):
        return g @ w.T, x.T @ g, g.sum(axis=0)


@function(normal(3), normal((3, 4)), normal(4), dtypes=BOTH)
class einsum_bilinear:
    def forward(x, a, y):
        return np.einsum("i,ij,j->", x, a, y)

    def backward(g, x, a, y):
        return g * (a @ y), g * np.outer(x, y), g * (x @ a)


@function(normal((2, 2, 3)), normal((2, 3, 2)))
class einsum_batch:
    def forward(a, b):
        return np.einsum("bij,bjk->bik", a, b, optimize=True)

    def backward(g, a, b):
        return np.einsum("bik,bjk->bij", g, b), np.einsum("bij,bik->bjk", a, g)


@function(normal(3), normal(2))
class outer_and_kron:
    def forward(x, y):
        return np.kron(x, y) + np.outer(x, y).ravel()

    def backward(g, x, y):
        g = 2 * g.reshape(3, 2)
        return g @ y, x @ g


@function(normal((3, 3)))
class trace_of_cube:
    def forward(a):
        return np.trace(a @ a @ a)

    def backward(g, a):
        return 3 * g * (a @ a).T


@function(normal(3))
class quadratic_form_float:
    matrix = np.array([[2.0, 1, 0], [0, 3, -1], [1, 0, 1]])

    def forward(x):
        return float(x @ quadratic_form_float.matrix @ x)

    def backward(g, x):
        return g * (quadratic_form_float.matrix + quadratic_form_float.matrix.T) @ x


@function(normal(4), dtypes=BOTH)
class norm:
    def forward(x):
        return np.linalg.norm(x)

    def backward(g, x):
        return g * x / np.linalg.norm(x)


@function(normal((2, 3)))
class norm_of_rows:
    def forward(x):
        return np.linalg.norm(x, axis=1)

    def backward(g, x):
        return g[:, None] * x / np.linalg.norm(x, axis=1, keepdims=True)


@function(normal((2, 3)))
class frobenius_norm:
    def forward(x):
        return np.linalg.norm(x, "fro")

    def backward(g, x):
        return g * x / np.linalg.norm(x, "fro")


@function(normal(4))
class norm_of_order_3:
    def forward(x):
        return np.linalg.norm(x, 3)

    def backward(g, x):
        return g * np.sign(x) * (np.abs(x) / np.linalg.norm(x, 3)) ** 2


@function(normal((3, 3)))
class nuclear_norm:
    def forward(a):
        return np.linalg.svd(regular(a), compute_uv=False).sum()

    def backward(g, a):
        u, _, vt = np.linalg.svd(regular(a))
        return g * u @ vt


@function(normal((3, 3)), dtypes=BOTH)
class determinant:
    def forward(a):
        return np.linalg.det(regular(a))

    def backward(g, a):
        return g * np.linalg.det(regular(a)) * np.linalg.inv(regular(a)).T


@function(normal((3, 3)))
class slogdet:
    def forward(a):
        return np.linalg.slogdet(regular(a))[1]

    def backward(g, a):
        return g * np.linalg.inv(regular(a)).T


@function(normal((3, 3)), dtypes=BOTH)
class inverse:
    def forward(a):
        return np.linalg.inv(regular(a))

    def backward(g, a):
        y = np.linalg.inv(regular(a)).T
        return -y @ g @ y


@function(normal((3, 3)), normal(3))
class solve:
    def forward(a, b):
        return np.linalg.solve(regular(a), b)

    def backward(g, a, b):
        db = np.linalg.solve(regular(a).T, g)
        return -np.outer(db, np.linalg.solve(regular(a), b)), db


@function(normal((4, 2)), normal(4))
class least_squares_residual:
    """The residual's square; the derivative by the envelope theorem."""

    tall = np.vstack([2 * np.eye(2), np.zeros((2, 2))])

    def forward(a, b):
        a = a + least_squares_residual.tall
        x = np.linalg.lstsq(a, b, rcond=None)[0]
        return float(((a @ x - b) ** 2).sum())

    def backward(g, a, b):
        a = a + least_squares_residual.tall
        x = np.linalg.lstsq(a, b, rcond=None)[0]
        r = a @ x - b
        return 2 * g * np.outer(r, x), -2 * g * r


@function(normal((3, 3)))
class eigenvalues_of_the_symmetric_part:
    shift = np.diag([0.0, 8, 16])

    def forward(a):
        return np.linalg.eigvalsh((a + a.T) / 2 + eigenvalues_of_the_symmetric_part.shift)

    def backward(g, a):
        v = np.linalg.eigh((a + a.T) / 2 + eigenvalues_of_the_symmetric_part.shift)[1]
        return v @ np.diag(g) @ v.T


@function(normal((3, 3)))
class log_of_cholesky_diagonal:
    """log det(A Aᵀ + I)/2."""

    def forward(a):
        return np.log(np.diag(np.linalg.cholesky(a @ a.T + np.eye(3)))).sum()

    def backward(g, a):
        return g * np.linalg.solve(a @ a.T + np.eye(3), a)


# ---- SciPy's


@function(normal((3, 3)), normal(3), dtypes=BOTH)
class scipy_solve:
    def forward(a, b):
        return scipy.linalg.solve(regular(a), b)

    def backward(g, a, b):
        db = scipy.linalg.solve(regular(a).T, g)
        return -np.outer(db, scipy.linalg.solve(regular(a), b)), db


@function(normal((3, 3)))
class scipy_det:
    def forward(a):
        return scipy.linalg.det(regular(a))

    def backward(g, a):
        return g * scipy.linalg.det(regular(a)) * scipy.linalg.inv(regular(a)).T


@function(normal((3, 3)))
class scipy_inv:
    def forward(a):
        return scipy.linalg.inv(regular(a))

    def backward(g, a):
        y = scipy.linalg.inv(regular(a))
        return -y.T @ g @ y.T


@function(normal((3, 3)))
class scipy_cholesky:
    def forward(a):
        return scipy.linalg.cholesky(a @ a.T + np.eye(3), lower=True)

    def backward(g, a):
        lower = scipy.linalg.cholesky(a @ a.T + np.eye(3), lower=True)
        p = np.tril(lower.T @ np.tril(g))
        p[np.diag_indices(3)] /= 2
        inverse = scipy.linalg.solve_triangular(lower, np.eye(3), lower=True)
        s = inverse.T @ p @ inverse
        return (s + s.T) @ a


@function(normal((3, 3)), normal(3))
class scipy_solve_triangular:
    def forward(a, b):
        return scipy.linalg.solve_triangular(regular(a), b, lower=True)

    def backward(g, a, b):
        x = scipy.linalg.solve_triangular(regular(a), b, lower=True)
        db = scipy.linalg.solve_triangular(regular(a), g, lower=True, trans="T")
        return -np.tril(np.outer(db, x)), db


@function(uniform((3, 3), -1, 1))
class expm:
    def forward(a):
        return scipy.linalg.expm(a)

    def backward(g, a):
        return scipy.linalg.expm_frechet(a.T, g, compute_expm=False)


@function(normal(3))
class gaussian_process_likelihood:
    """−log N(y; 0, K) of a squared exponential kernel in the logarithms of signal, length and noise."""

    x = np.array([0.0, 0.5, 1.25, 2, 3.5])
    y = np.array([0.5, 1, -0.25, -1, 0.75])

    def covariance(theta):
        d = gaussian_process_likelihood.x[:, None] - gaussian_process_likelihood.x
        signal, length, noise = np.exp(np.asarray(theta, float))
        k = signal * np.exp(-0.5 * (d / length) ** 2)
        return k, k * (d / length) ** 2, noise * np.eye(5)

    def forward(theta):
        k, _, noise = gaussian_process_likelihood.covariance(theta)
        factor = scipy.linalg.cho_factor(k + noise, lower=True)
        y = gaussian_process_likelihood.y
        return 0.5 * y @ scipy.linalg.cho_solve(factor, y) + np.log(np.diag(factor[0])).sum()

    def backward(g, theta):
        parts = gaussian_process_likelihood.covariance(theta)
        inverse = np.linalg.inv(parts[0] + parts[2])
        alpha = inverse @ gaussian_process_likelihood.y
        return g * np.array([0.5 * np.sum((inverse - np.outer(alpha, alpha)) * p) for p in parts])


@function(normal(4), dtypes=BOTH)
class sparse_product:
    matrix = scipy.sparse.csr_array(np.array([[1.0, 0, 2, 0], [0, 0, 0, -1], [0, 3, 0, 0.5]]))

    def forward(x):
        return (sparse_product.matrix @ x).astype(x.dtype)

    def backward(g, x):
        return (sparse_product.matrix.T @ g).astype(x.dtype)
