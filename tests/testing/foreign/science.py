"""SciPy's functions: splines with their `derivative`, scipy.special, densities, filters and transforms."""

from __future__ import annotations

import numpy as np
import scipy.fft
import scipy.integrate
import scipy.ndimage
import scipy.signal
import scipy.spatial
import scipy.special as sp
import scipy.stats
from scipy import interpolate

from .entry import BOTH, F32, F64, Table, normal, spread, uniform

TABLE = Table()
function = TABLE.function

# ---- splines

NODES = np.array([0.0, 0.7, 1.5, 2, 3.1, 4])
HEIGHTS = np.array([1.0, -0.5, 0.25, 2, 1.5, 0])


def spline(name, made, dtypes=(F64,)):
    """``made``: an interpolating function with a method ``derivative``."""
    pair = type(name, (), {})
    pair.forward = lambda x: made(x).astype(x.dtype)
    slope = made.derivative()
    pair.backward = lambda g, x: (g * slope(x)).astype(x.dtype)
    function(uniform(3, 0.05, 3.95), dtypes=dtypes)(pair)


spline("CubicSpline", interpolate.CubicSpline(NODES, HEIGHTS), BOTH)
spline("CubicSpline natural", interpolate.CubicSpline(NODES, HEIGHTS, bc_type="natural"))
spline("PchipInterpolator", interpolate.PchipInterpolator(NODES, HEIGHTS), BOTH)
spline("Akima1DInterpolator", interpolate.Akima1DInterpolator(NODES, HEIGHTS))
spline("make_interp_spline", interpolate.make_interp_spline(NODES, HEIGHTS, k=5))
spline("UnivariateSpline", interpolate.UnivariateSpline(NODES, HEIGHTS, s=0.1))
spline("Hermite", interpolate.CubicHermiteSpline(NODES, HEIGHTS, np.cos(NODES)))


@function(normal(6))
class CubicSpline_in_its_values:
    def forward(y):
        return interpolate.CubicSpline(NODES, y)([0.25, 1, 2.75])

    def backward(g, y):
        return interpolate.CubicSpline(NODES, np.eye(6))([0.25, 1, 2.75]).T @ g


@function(uniform(3, 0.1, 3.9))
class splev:
    tck = interpolate.splrep(NODES, HEIGHTS)

    def forward(x):
        return interpolate.splev(x, splev.tck)

    def backward(g, x):
        return g * interpolate.splev(x, splev.tck, der=1)


@function(uniform(3, 0.1, 3.9), uniform(3, 0.1, 3.9))
class RectBivariateSpline:
    f = interpolate.RectBivariateSpline(NODES, NODES, np.sin(NODES[:, None]) * np.cos(NODES))

    def forward(x, y):
        return RectBivariateSpline.f.ev(x, y)

    def backward(g, x, y):
        f = RectBivariateSpline.f
        return g * f.ev(x, y, dx=1), g * f.ev(x, y, dy=1)


# ---- scipy.special, a row a function: name, its derivative, the domain


def elementwise(name, f, slope, low, high, dtypes=(F64,), spec=spread):
    pair = type(name, (), {})
    pair.forward = f
    pair.backward = lambda g, x: (g * slope(x)).astype(x.dtype)
    function(spec(3, low, high), dtypes=dtypes)(pair)


ROOT_PI = np.sqrt(np.pi)
for row in (
    ("expit", sp.expit, lambda x: sp.expit(x) * sp.expit(-x), -80, 80, BOTH),
    ("log_expit", sp.log_expit, lambda x: sp.expit(-x), -80, 80, BOTH),
    ("logit", sp.logit, lambda x: 1 / (x * (1 - x)), 0.01, 0.99, BOTH, uniform),
    ("gammaln", sp.gammaln, sp.digamma, 0.1, 50, (F64,), uniform),
    ("gamma", sp.gamma, lambda x: sp.gamma(x) * sp.digamma(x), 1.6, 20, BOTH, uniform),
    ("digamma", sp.digamma, lambda x: sp.polygamma(1, x), 0.1, 50, (F64,), uniform),
    ("erf", sp.erf, lambda x: 2 / ROOT_PI * np.exp(-x * x), -5, 5, BOTH),
    ("erfc", sp.erfc, lambda x: -2 / ROOT_PI * np.exp(-x * x), -5, 5),
    ("erfcx", sp.erfcx, lambda x: 2 * x * sp.erfcx(x) - 2 / ROOT_PI, -3, 20, (F64,), uniform),
    ("erfinv", sp.erfinv, lambda y: ROOT_PI / 2 * np.exp(sp.erfinv(y) ** 2), -0.99, 0.99, (F64,), uniform),
    ("dawsn", sp.dawsn, lambda x: 1 - 2 * x * sp.dawsn(x), -3, 3, (F64,), uniform),
    ("ndtr", sp.ndtr, lambda x: np.exp(-x * x / 2) / np.sqrt(2 * np.pi), -8, 8, BOTH),
    ("log_ndtr", sp.log_ndtr, lambda x: np.exp(-x * x / 2 - sp.log_ndtr(x)) / np.sqrt(2 * np.pi), -8, 5, (F64,), uniform),
    ("ndtri", sp.ndtri, lambda p: np.sqrt(2 * np.pi) * np.exp(sp.ndtri(p) ** 2 / 2), 0.01, 0.99, (F64,), uniform),
    ("entr", sp.entr, lambda x: -np.log(x) - 1, 0.5, 5, BOTH, uniform),
    ("entr from 0 on", sp.entr, lambda x: -np.log(x) - 1, 0, 0.25, BOTH),
    ("one and xlogy from 0 on", lambda x: 1 + sp.xlogy(x, x), lambda x: np.log(x) + 1, 0, 0.25),
    ("spence from 0 on", sp.spence, lambda x: np.log(x) / (1 - x), 0, 0.75, BOTH),
    # Nearer to the pole SciPy's digamma is wrong: by 40 % at −1 + 2⁻⁵³.
    ("gammaln between poles", sp.gammaln, sp.digamma, -0.875, 0),
    ("i0", sp.i0, sp.i1, -20, 20, (F64,), uniform),
    ("i0e", sp.i0e, lambda x: sp.i1e(x) - sp.i0e(x), 0.1, 20, (F64,), uniform),
    ("k0", sp.k0, lambda x: -sp.k1(x), 0.1, 20, (F64,), uniform),
    ("j0", sp.j0, lambda x: -sp.j1(x), 0.1, 20, BOTH, uniform),
    ("jv", lambda x: sp.jv(2.5, x), lambda x: sp.jvp(2.5, x), 0.5, 20, (F64,), uniform),
    ("yn", lambda x: sp.yn(1, x), lambda x: sp.yvp(1, x), 0.5, 15, (F64,), uniform),
    ("airy", lambda x: sp.airy(x)[0], lambda x: sp.airy(x)[1], -5, 5, (F64,), uniform),
    ("exp1", sp.exp1, lambda x: -np.exp(-x) / x, 0.05, 20, BOTH, uniform),
    ("expi", sp.expi, lambda x: np.exp(x) / x, 0.1, 20, (F64,), uniform),
    ("sine integral", lambda x: sp.sici(x)[0], lambda x: np.sin(x) / x, 0.1, 20, (F64,), uniform),
    ("spence", sp.spence, lambda x: np.log(x) / (1 - x), 1.1, 20, (F64,), uniform),
    ("lambertw", lambda x: sp.lambertw(x).real, lambda x: 1 / (x + np.exp(sp.lambertw(x).real)), 0.05, 20, (F64,), uniform),
    ("gammainc", lambda x: sp.gammainc(2.5, x), lambda x: x**1.5 * np.exp(-x) / sp.gamma(2.5), 0.1, 10, (F64,), uniform),
    ("betainc", lambda x: sp.betainc(2, 3, x), lambda x: x * (1 - x) ** 2 / sp.beta(2, 3), 0.05, 0.95, (F64,), uniform),
    ("ellipk", sp.ellipk, lambda m: (sp.ellipe(m) / (1 - m) - sp.ellipk(m)) / (2 * m), 0.1, 0.9, (F64,), uniform),
    ("exprel", sp.exprel, lambda x: (np.exp(x) * (x - 1) + 1) / x**2, 0.5, 5, (F64,), uniform),
    ("pseudo huber", lambda r: sp.pseudo_huber(1.5, r), lambda r: r / np.sqrt(1 + (r / 1.5) ** 2), -50, 50),
    ("huber", lambda r: sp.huber(1.0, r), lambda r: np.clip(r, -1, 1), -5, 5, BOTH, uniform),
    ("legendre", lambda x: sp.eval_legendre(4, x), np.poly1d([35 / 2, 0, -15 / 2, 0]), -0.5, 1, (F64,), uniform),
    ("cosm1", sp.cosm1, lambda x: -np.sin(x), -3, 3),
    ("boxcox", lambda x: sp.boxcox(x, 0.5), lambda x: x**-0.5, 0.1, 20, BOTH, uniform),
):  # fmt: skip
    elementwise(*row)


@function(uniform(3, 0.2, 5), uniform(3, 0.2, 5), dtypes=BOTH)
class xlogy:
    def forward(x, y):
        return sp.xlogy(x, y)

    def backward(g, x, y):
        return g * np.log(y), g * x / y


@function(uniform(3, 0.2, 5), uniform(3, 0.2, 5))
class betaln:
    def forward(a, b):
        return sp.betaln(a, b)

    def backward(g, a, b):
        both = sp.psi(a + b)
        return g * (sp.psi(a) - both), g * (sp.psi(b) - both)


@function(uniform(3, 0.1, 1), uniform(3, 0.1, 1))
class kl_div:
    def forward(p, q):
        return sp.kl_div(p, q)

    def backward(g, p, q):
        return g * np.log(p / q), g * (1 - p / q)


@function(uniform(3, 0.1, 1), uniform(3, 0.1, 1), dtypes=BOTH)
class sum_of_rel_entr:
    def forward(p, q):
        return np.sum(sp.rel_entr(p, q))

    def backward(g, p, q):
        return g * (np.log(p / q) + 1), -g * p / q


@function(normal((2, 3), 3), dtypes=BOTH)
class logsumexp:
    def forward(x):
        return sp.logsumexp(x, axis=1)

    def backward(g, x):
        return g[:, None] * sp.softmax(x, axis=1)


@function(uniform((2, 3), -3, 3), dtypes=BOTH)
class softmax:
    def forward(x):
        return sp.softmax(x, axis=-1)

    def backward(g, x):
        y = sp.softmax(x, axis=-1)
        return y * (g - (g * y).sum(axis=-1, keepdims=True))


@function(normal((2, 3), 2), dtypes=BOTH)
class log_softmax:
    def forward(x):
        return sp.log_softmax(x, axis=-1)

    def backward(g, x):
        return g - sp.softmax(x, axis=-1) * g.sum(axis=-1, keepdims=True)


# ---- densities: their sums are log-likelihoods, one number

DATA = np.array([0.5, -1.25, 2.0, 0.1, -0.75])


@function(normal(()), uniform((), 0.5, 3))
class normal_log_likelihood:
    def forward(mean, scale):
        return scipy.stats.norm.logpdf(DATA, mean, scale).sum()

    def backward(g, mean, scale):
        z = (DATA - mean) / scale
        return np.array(g * z.sum() / scale), np.array(g * (z**2 - 1).sum() / scale)


@function(uniform((), 1, 20))
class student_t_in_its_freedom:
    def forward(v):
        return float(scipy.stats.t.logpdf(DATA, v).sum())

    def backward(g, v):
        t = DATA**2
        parts = sp.psi((v + 1) / 2) - sp.psi(v / 2) - 1 / v - np.log1p(t / v) + (v + 1) * t / (v * (v + t))
        return np.array(g * 0.5 * parts.sum())


@function(uniform((), 0.5, 5), uniform((), 0.5, 5))
class gamma_log_likelihood:
    def forward(a, b):
        return scipy.stats.gamma.logpdf([0.5, 1.5, 3], a, scale=1 / b).sum()

    def backward(g, a, b):
        x = np.array([0.5, 1.5, 3])
        return np.array(g * np.sum(np.log(b * x) - sp.psi(a))), np.array(g * np.sum(a / b - x))


@function(normal(3))
class multivariate_normal:
    covariance = np.array([[2.0, 0.5, 0], [0.5, 1, 0.25], [0, 0.25, 1]])

    def forward(x):
        return scipy.stats.multivariate_normal.logpdf(x, np.zeros(3), multivariate_normal.covariance)

    def backward(g, x):
        return -g * np.linalg.solve(multivariate_normal.covariance, x)


# ---- filters, transforms, distances, integrals


@function(normal(6))
class lfilter:
    def forward(x):
        return scipy.signal.lfilter([0.5, 0.25], [1, -0.5], x)

    def backward(g, x):
        return scipy.signal.lfilter([0.5, 0.25], [1, -0.5], g[::-1])[::-1]


@function(normal(5), normal(3))
class fftconvolve:
    def forward(x, w):
        return scipy.signal.fftconvolve(x, w)

    def backward(g, x, w):
        return np.correlate(g, w, "valid"), np.correlate(g, x, "valid")


@function(normal(6), dtypes=BOTH)
class orthonormal_dct:
    def forward(x):
        return scipy.fft.dct(x, norm="ortho")

    def backward(g, x):
        return scipy.fft.idct(g, norm="ortho")


@function(normal(8))
class gaussian_filter:
    def forward(x):
        return scipy.ndimage.gaussian_filter1d(x, 1.0, mode="constant")

    def backward(g, x):
        return scipy.ndimage.gaussian_filter1d(g, 1.0, mode="constant")


@function(normal((3, 2)), normal((2, 2)))
class cdist:
    def forward(x, y):
        return scipy.spatial.distance.cdist(x, y)

    def backward(g, x, y):
        difference = x[:, None] - y
        slopes = (g / scipy.spatial.distance.cdist(x, y))[..., None] * difference
        return slopes.sum(axis=1), -slopes.sum(axis=0)


@function(uniform((), 0.3, 3))
class quad_over_its_end:
    def forward(t):
        return scipy.integrate.quad(lambda s: np.exp(-s * s) * np.cos(s), 0, float(t), epsabs=0, epsrel=1e-12)[0]

    def backward(g, t):
        return g * np.exp(-t * t) * np.cos(t)


@function(normal(3), dtypes=(F32,))
class special_functions_of_float32:
    def forward(x):
        return sp.expit(x) + sp.erf(x) * np.float32(0.5)

    def backward(g, x):
        e = sp.expit(x)
        return (g * (e * (1 - e) + np.exp(-x * x) / np.float32(ROOT_PI))).astype(np.float32)
