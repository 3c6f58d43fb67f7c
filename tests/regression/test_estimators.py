"""The estimators: against scikit-learn's on its own data, in its tools, and what is theirs alone."""

import inspect
import pickle
import re
import warnings

import numpy as np
import pytest
from scipy import sparse

import nbgrad
from nbgrad import LinearRegression, LogisticRegression, SoftmaxRegression
from nbgrad.regression import ConvergenceWarning
from nbgrad.regression.linear import linear_regression
from nbgrad.regression.minimize import SOLVERS
from nbgrad.regression.scikit import classifier

sklearn = pytest.importorskip("sklearn")
from sklearn import datasets, linear_model  # noqa: E402
from sklearn.base import clone  # noqa: E402
from sklearn.exceptions import NotFittedError  # noqa: E402
from sklearn.model_selection import GridSearchCV, cross_val_score  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler, scale  # noqa: E402


def data(name):
    X, y = getattr(datasets, "load_" + name)(return_X_y=True)
    return scale(X), y


def of(y):
    return LogisticRegression if len(np.unique(y)) == 2 else SoftmaxRegression


@pytest.mark.parametrize("name", ["iris", "breast_cancer", "wine", "digits"])
@pytest.mark.parametrize("parameters", [{}, {"C": 0.01, "fit_intercept": False}, {"class_weight": "balanced"}], ids=str)
@pytest.mark.parametrize("solver", ["auto", "lbfgs", "newton-cg", "scaled-lbfgs"])
def test_the_coefficients_are_scikit_learns(name, parameters, solver):
    X, y = data(name)
    weight = np.random.default_rng(0).integers(0, 4, len(y))
    if (name, solver) == ("digits", "lbfgs"):  # with C=1 both stop by the value, up to 6e-5 from the minimum
        parameters = parameters | {"C": 0.01}
    parameters = parameters | {"solver": solver, "tol": 1e-8 if solver == "lbfgs" else 1e-10, "max_iter": 1000}
    with warnings.catch_warnings():
        if solver == "lbfgs":  # the value's rounding ends its search at 1e-8 or so, and ours says so
            warnings.simplefilter("ignore", ConvergenceWarning)
        ours = of(y)(**parameters).fit(X, y, weight)
    if solver in ("auto", "scaled-lbfgs"):  # scikit-learn has none
        parameters = parameters | {"solver": "newton-cg", "tol": 1e-10}
    theirs = linear_model.LogisticRegression(**parameters).fit(X, y, weight)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-5)
    np.testing.assert_allclose(ours.intercept_, theirs.intercept_, atol=1e-5)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-6)
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
    assert ours.score(X, y) == theirs.score(X, y)


@pytest.mark.parametrize("name", ["iris", "breast_cancer", "wine"])
@pytest.mark.parametrize("scaled", [True, False])
def test_the_warnings_are_scikit_learns(name, scaled):
    X, y = data(name) if scaled else getattr(datasets, "load_" + name)(return_X_y=True)
    counts = []
    for model in (of(y)(solver="lbfgs"), linear_model.LogisticRegression()):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model.fit(X, y)
        counts.append(([w.category for w in caught], model.n_iter_.tolist()))
    assert counts[0] == counts[1] and (counts[0][0] == []) == scaled


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("l2", [0.0, 0.1])
def test_linear_regression_on_diabetes(fit_intercept, l2):
    X, y = datasets.load_diabetes(return_X_y=True)
    ours = LinearRegression(fit_intercept=fit_intercept, l2=l2).fit(X, y)
    theirs = linear_model.Ridge(alpha=l2 * len(y), fit_intercept=fit_intercept, solver="svd").fit(X, y)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=1e-8)
    np.testing.assert_allclose(ours.intercept_, theirs.intercept_, rtol=1e-8)
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-8)
    assert ours.score(X, y) == pytest.approx(theirs.score(X, y))


def test_softmax_of_two_classes_is_logistic_with_twice_C():
    X, y = data("breast_cancer")
    two = SoftmaxRegression(tol=1e-9).fit(X, y)
    one = LogisticRegression(C=2.0, tol=1e-9).fit(X, y)
    assert two.coef_.shape == (2, X.shape[1]) and two.decision_function(X).shape == y.shape
    np.testing.assert_allclose(two.coef_[1] - two.coef_[0], one.coef_[0], atol=1e-5)
    np.testing.assert_allclose(two.decision_function(X), one.decision_function(X), atol=1e-4)
    np.testing.assert_allclose(two.predict_proba(X), one.predict_proba(X), atol=1e-5)


def test_pipeline_grid_search_and_cross_validation():
    X, y = datasets.load_wine(return_X_y=True)
    model = make_pipeline(StandardScaler(), SoftmaxRegression())
    grid = GridSearchCV(model, {"softmaxregression__C": [0.01, 1.0]}, cv=3).fit(X, y)
    reference = GridSearchCV(make_pipeline(StandardScaler(), linear_model.LogisticRegression()), {"logisticregression__C": [0.01, 1.0]}, cv=3).fit(X, y)
    np.testing.assert_allclose(grid.cv_results_["mean_test_score"], reference.cv_results_["mean_test_score"])
    assert cross_val_score(model, X, y, cv=3).min() > 0.9


def test_pandas():
    pandas = pytest.importorskip("pandas")
    X, y = datasets.load_iris(return_X_y=True, as_frame=True)
    names = y.map({0: "setosa", 1: "versicolor", 2: "virginica"})
    model = SoftmaxRegression(max_iter=1000).fit(X, names)
    assert list(model.feature_names_in_) == list(X.columns) and model.predict(X)[0] == "setosa"
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(X[X.columns[::-1]])
    with pytest.raises(ValueError, match="Input X contains NaN"):
        model.predict(pandas.concat([X.iloc[:1] * np.nan, X]))


@pytest.mark.parametrize("model", [LinearRegression(l2=0.5), LogisticRegression(C=2.0), SoftmaxRegression(tol=1e-3)])
def test_clone_pickle_and_parameters(model):
    X, y = data("breast_cancer")
    fitted = clone(model).fit(X, y)
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict(X), fitted.predict(X))
    assert repr(again) == repr(model) and clone(fitted).get_params() == model.get_params()
    assert not hasattr(clone(fitted), "coef_")


@pytest.mark.parametrize("estimator", [LinearRegression, LogisticRegression, SoftmaxRegression])
def test_pixels_csr_and_float32_fit_as_float64(estimator):
    digits = nbgrad.datasets.load_digits()
    X, y = digits.train_images.reshape(-1, 64)[:500], digits.train_labels[:500] % 2
    assert X.dtype == np.uint8
    parameters = {"x_scale": 1 / 16} | ({} if estimator is LinearRegression else {"tol": 1e-8, "max_iter": 1000, "C": 0.1})
    wanted = estimator(**parameters).fit(X.astype(np.float64), y)
    for form, atol in ((X, 1e-10), (sparse.csr_matrix(X), 1e-6), (np.asfortranarray(X), 1e-6), (X.astype(np.float32), 2e-3)):
        with warnings.catch_warnings():  # float32's rounding ends the search before tol
            warnings.simplefilter("ignore", ConvergenceWarning)
            got = estimator(**parameters).fit(form, y)
        np.testing.assert_allclose(got.coef_, wanted.coef_, atol=atol)
        np.testing.assert_allclose(got.predict(form[:100]), wanted.predict(X[:100]), atol=atol)
        assert got.coef_.dtype == (np.float32 if form.dtype == np.float32 else np.float64)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("estimator", [LinearRegression, LogisticRegression, SoftmaxRegression])
def test_a_memory_map_is_never_copied(estimator, dtype, tmp_path, monkeypatch):
    """The solvers get the mapped bytes themselves."""
    X = np.memmap(tmp_path / "X", dtype=dtype, mode="w+", shape=(400, 7))
    X[:] = np.random.default_rng(0).integers(0, 200, X.shape)
    y = (X[:, 0] > 100).astype(np.int64)
    seen = []
    for module, name in ((classifier, "Problem"), (linear_regression, "least_squares")):
        original = getattr(module, name)

        def kept(*arguments, original=original, **more):
            seen.append(arguments[1] if isinstance(arguments[0], str) else arguments[0])
            return original(*arguments, **more)

        monkeypatch.setattr(module, name, kept)
    model = estimator(x_scale=0.01).fit(X, y)
    assert len(seen) == 1 and np.shares_memory(seen[0], X) and seen[0].dtype == dtype
    assert model.score(X, y) > 0.5


def test_tails_of_probabilities_keep_their_digits():
    model = LogisticRegression().fit([[0.0], [1.0]], [0, 1])
    model.coef_[:], model.intercept_[:] = 1.0, 0.0
    np.testing.assert_allclose(model.predict_proba([[50.0]]), [[np.exp(-50), 1]], rtol=1e-14)
    np.testing.assert_allclose(model.predict_log_proba([[1000.0], [-1000.0]]), [[-1000, 0], [0, -1000]])
    three = SoftmaxRegression().fit([[0.0], [1.0], [2.0]], [0, 1, 2])
    three.coef_[:], three.intercept_[:] = [[0.0], [1.0], [2.0]], 0.0
    np.testing.assert_allclose(three.predict_log_proba([[1000.0]]), [[-2000, -1000, 0]])


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("estimator", [LogisticRegression, SoftmaxRegression])
@pytest.mark.parametrize("scale", [1.0, 1e6])
def test_perfect_separation_without_a_penalty_warns(estimator, solver, scale):
    X = np.array([[-2.0], [-1.0], [1.0], [3.0]]) * scale
    with pytest.warns(ConvergenceWarning, match="separated") as caught:
        model = estimator(C=np.inf, solver=solver).fit(X, [0, 0, 1, 1])
    assert np.isfinite(model.coef_).all() and model.score(X, [0, 0, 1, 1]) == 1
    assert caught[-1].filename == __file__


def test_no_penalty_without_separation_is_no_reason_to_warn():
    X, y = data("breast_cancer")
    LogisticRegression(C=np.inf, tol=1e-3).fit(X[:, :3], y)


def test_warm_start_goes_on():
    X, y = data("wine")
    model = SoftmaxRegression(warm_start=True, max_iter=3, tol=1e-6)
    with pytest.warns(ConvergenceWarning, match=r"fit\(|failed to converge after 3") as caught:
        model.fit(X, y)
    assert caught[0].filename == __file__
    before = model.coef_
    model.set_params(max_iter=1000).fit(X, y)
    cold = SoftmaxRegression(tol=1e-6, max_iter=1000).fit(X, y)
    assert not np.array_equal(before, model.coef_)
    np.testing.assert_allclose(model.coef_, cold.coef_, atol=1e-3)
    assert model.fit(X, y).n_iter_[0] == 0
    with pytest.raises(ValueError, match="Initialization coef is of shape"):
        model.fit(X[:, :5], y)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix, lambda X: X.astype(np.float32)])
def test_logistic_regression_takes_more_than_two_classes_as_scikit_learns(solver, form):
    X, y = data("wine")
    names = np.array(["c", "a", "b"])[y]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        ours = LogisticRegression(solver=solver, tol=1e-7, C=0.1).fit(form(X), names)
    theirs = linear_model.LogisticRegression(tol=1e-9, max_iter=1000, C=0.1).fit(X, names)
    assert ours.coef_.shape == (3, X.shape[1]) and ours.intercept_.shape == (3,)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-4)
    np.testing.assert_allclose(ours.predict_proba(form(X)), theirs.predict_proba(X), atol=1e-4)
    np.testing.assert_allclose(ours.predict_log_proba(form(X)), theirs.predict_log_proba(X), atol=1e-3)
    np.testing.assert_allclose(ours.decision_function(form(X)), theirs.decision_function(X), atol=1e-3)
    np.testing.assert_array_equal(ours.predict(form(X)), theirs.predict(X))


def test_the_signature_is_scikit_learns():
    ours, theirs = (inspect.signature(c).parameters for c in (LogisticRegression, linear_model.LogisticRegression))
    assert [*ours] == [*theirs, "x_scale"]
    other = {n: (ours[n].default, theirs[n].default) for n in theirs if ours[n].default != theirs[n].default}
    assert other == {"solver": ("auto", "lbfgs")}
    assert inspect.signature(SoftmaxRegression).parameters == ours


@pytest.mark.parametrize(
    ("parameters", "category", "message"),
    [
        ({"dual": True}, ValueError, "Solver auto supports only dual=False, got dual=True"),
        ({"penalty": "elasticnet", "l1_ratio": None}, ValueError, "l1_ratio must be specified when penalty is elasticnet."),
        ({"penalty": "l1", "solver": "lbfgs"}, ValueError, "Solver lbfgs supports only 'l2' or None penalties, got l1 penalty."),
        ({"l1_ratio": 0.5, "solver": "newton-cg"}, ValueError, "Solver newton-cg supports only 'l2' or None penalties, got elasticnet penalty."),
        ({"n_jobs": 2}, FutureWarning, "'n_jobs' has no effect"),
        ({"penalty": None, "C": 2.0}, UserWarning, "Setting penalty=None will ignore the C and l1_ratio parameters"),
        ({"penalty": "l1", "l1_ratio": 0.5}, UserWarning, "only used when penalty is 'elasticnet'. Got (penalty=l1)"),
        ({"solver": "saga", "max_iter": 1}, UserWarning, "saga failed to converge after 1 iteration(s)"),
        ({"penalty": "l2", "l1_ratio": 0.5}, UserWarning, "Inconsistent values: penalty=l2 with l1_ratio=0.5"),
    ],
    ids=str,
)  # fmt: skip
def test_parameters_that_exclude_each_other(parameters, category, message):
    X, y = data("breast_cancer")
    with (pytest.warns if issubclass(category, Warning) else pytest.raises)(category, match=re.escape(message)):
        LogisticRegression(**parameters).fit(X[:, :2], y)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("kind", [LogisticRegression, SoftmaxRegression])
def test_coefficients_may_be_sparse(kind, classes):
    X, y = data("iris")
    X, y = X[y < classes], y[y < classes]
    model = kind(l1_ratio=0.9, C=0.1, warm_start=True).fit(X, y)
    want, coef = model.predict_proba(X), model.coef_.copy()
    assert model.sparsify() is model and sparse.issparse(model.coef_) and model.coef_.nnz < coef.size
    np.testing.assert_array_equal(model.predict_proba(X), want)
    np.testing.assert_allclose(model.predict_proba(sparse.csr_array(X)), want)
    np.testing.assert_array_equal(model.densify().coef_, coef)
    assert model.sparsify().fit(X, y).n_iter_[0] <= 2
    with pytest.raises(NotFittedError):
        kind().sparsify()


@pytest.mark.parametrize(
    ("parameter", "value", "expected"),
    [
        ("C", 0, "a float in the range (0.0, inf]"),
        ("C", "1", "a float in the range (0.0, inf]"),
        ("tol", -1.0, "a float in the range [0.0, inf)"),
        ("max_iter", 1.5, "an int in the range [0, inf)"),
        ("solver", "liblinear", "a str among {'auto', 'lbfgs', 'newton-cg', 'newton-cholesky', 'sag', 'saga', 'scaled-lbfgs'}"),
        ("l1_ratio", 1.5, "a float in the range [0.0, 1.0] or None"),
        ("penalty", "l3", "a str among {'elasticnet', 'l1', 'l2'} or None"),
        ("dual", 0, "an instance of 'bool'"),
        ("intercept_scaling", 0.0, "a float in the range (0.0, inf)"),
        ("n_jobs", "2", "None or an instance of 'int'"),
        ("fit_intercept", 1, "an instance of 'bool'"),
        ("class_weight", "even", "an instance of 'dict', a str among {'balanced'} or None"),
        ("x_scale", np.nan, "a finite float"),
        ("verbose", -1, "an int in the range [0, inf) or an instance of 'bool'"),
    ],
)
def test_parameters_are_checked_in_fit(parameter, value, expected):
    with pytest.raises(ValueError) as error:
        LogisticRegression(**{parameter: value}).fit([[0.0], [1.0]], [0, 1])
    assert str(error.value) == f"The {parameter!r} parameter of LogisticRegression must be {expected}. Got {value!r} instead."


@pytest.mark.parametrize("class_weight", [{0: 2.0, 1: 0.5}, "balanced"])
def test_class_weights_multiply_sample_weights(class_weight):
    X, y = data("breast_cancer")
    weight = np.arange(len(y)) % 3
    by_class = {0: 2.0, 1: 0.5}
    if class_weight == "balanced":
        by_class = dict(enumerate(weight.sum() / (2 * np.bincount(y, weights=weight))))
    a = LogisticRegression(class_weight=class_weight).fit(X, y, weight)
    b = LogisticRegression().fit(X, y, weight * np.vectorize(by_class.get)(y))
    np.testing.assert_allclose(a.coef_, b.coef_, rtol=1e-10)
    with pytest.raises(ValueError, match=r"The classes, \[0\], are not in class_weight"):
        LogisticRegression(class_weight={1: 1.0, 7: 1.0}).fit(X, y)
    with pytest.raises(ValueError, match="class_weight: expected a weight above 0 for a class that has samples"):
        LogisticRegression(class_weight={0: 0.0, 1: 0.0}).fit(X, y)


def test_scores_of_an_unseen_label_and_of_labels_of_another_type():
    model = LogisticRegression().fit([[0.0], [1.0]], [0, 1])
    assert model.score([[0.0], [1.0]], [0, 7]) == 0.5  # wrong, as for scikit-learn
    with pytest.raises((ValueError, TypeError)):
        model.score([[0.0], [1.0]], ["0", "1"])


def test_the_names_are_there():
    assert "C_path" in dir(nbgrad.regression) and nbgrad.regression.C_path.__name__ == "C_path"
    for module in (nbgrad, nbgrad.regression):
        for name in ("LinearRegression", "LogisticRegression", "SoftmaxRegression"):
            assert name in dir(module) and name in module.__all__
            assert getattr(module, name).__name__ == name
    with pytest.raises(AttributeError, match="module 'nbgrad' has no attribute 'Regression'"):
        nbgrad.Regression  # noqa: B018
    with pytest.raises(AttributeError, match="module 'nbgrad.regression' has no attribute 'Regression'"):
        nbgrad.regression.Regression  # noqa: B018
