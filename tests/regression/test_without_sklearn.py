"""The estimators where scikit-learn is not installed: they work, and their errors have scikit-learn's words."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from nbgrad.regression.estimators import LogisticRegression
from nbgrad.regression.scikit import without_sklearn

ROOT = Path(__file__).parent.parent.parent
BLOCKED = "import sys; sys.modules['sklearn'] = None\n"


def run(code):
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)}, cwd=os.sep)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()


def test_importing_nbgrad_does_not_import_scikit_learn():
    assert run("import sys, nbgrad, nbgrad.regression; print('sklearn' in sys.modules)") == ["False"]


def test_everything_works_without_it():
    code = """
import pickle
import numpy as np
from nbgrad import LinearRegression, LogisticRegression, SoftmaxRegression
from nbgrad.regression import ConvergenceWarning
import pytest

X = np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 1.0], [3.0, 3.0], [4.0, 2.0], [5.0, 5.0]])
for model, y in ((LinearRegression(l2=0.1), X @ [1, 2]), (LogisticRegression(C=2.0), list("aaabbb")), (SoftmaxRegression(), [0, 0, 1, 1, 2, 2])):
    assert model.fit(X, y) is model
    again = pickle.loads(pickle.dumps(model))
    assert (again.predict(X) == model.predict(X)).all() and 0.6 < model.score(X, y) <= 1
    assert model.n_features_in_ == 2
    print(repr(model))
model = LogisticRegression()
assert sorted(model.get_params()) == [
    "C", "class_weight", "dual", "fit_intercept", "intercept_scaling", "l1_ratio", "max_iter", "n_jobs", "penalty", "random_state",
    "solver", "tol", "verbose", "warm_start", "x_scale",
]
assert model.set_params(C=3.0).C == 3.0
with pytest.raises(ValueError, match="Invalid parameter 'D' for estimator LogisticRegression"):
    model.set_params(D=1)
with pytest.warns(ConvergenceWarning, match="separated"):
    LogisticRegression(C=np.inf).fit(X, [0, 0, 0, 1, 1, 1])
assert issubclass(ConvergenceWarning, UserWarning) and ConvergenceWarning.__module__.startswith("nbgrad")
"""
    assert run(BLOCKED + code) == ["LinearRegression(l2=0.1)", "LogisticRegression(C=2.0)", "SoftmaxRegression()"]


X, Y = np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 1.0]]), np.array([0, 1, 1])
NAN, INF = np.where(X == 2, np.nan, X), np.where(X == 2, np.inf, X)
FIT = {
    "nan": (NAN, Y),
    "infinity": (INF, Y),
    "float32 infinity": (INF.astype(np.float32), Y),
    "complex": (X * 1j, Y),
    "lengths": (X, Y[:2]),
    "no rows": (X[:0], Y[:0]),
    "no features": (X[:, :0], Y),
    "one dimension": (X[0], Y),
    "y is None": (X, None),
    "y has two columns": (X, np.stack([Y, Y], axis=1)),
    "y has nan": (X, np.array([0, 1, np.nan])),
    "y is complex": (X, Y * 1j),
    "y is continuous": (X, np.array([0.1, 1.5, 2.0])),
    "y is sparse": (X, sparse.csr_matrix(Y[:, None])),
    "one class": (X, np.zeros(3, int)),
    "column": (X, Y[:, None]),
}


def first_line(action):
    """The type's name, and the first line of the error or warning, cut where versions of scikit-learn differ."""
    with pytest.raises((Exception, Warning)) as caught:
        action()
    return type(caught.value).__name__, str(caught.value).splitlines()[0][:110]


@pytest.fixture
def stand_ins(monkeypatch):
    """The estimators as they are without scikit-learn, but for their base classes."""

    def use():
        from nbgrad.regression import estimators
        from nbgrad.regression.scikit import base, classifier

        for module in (base, classifier, estimators):
            for name in ("validate_data", "check_is_fitted", "check_classification_targets"):
                if hasattr(module, name):
                    monkeypatch.setattr(module, name, getattr(without_sklearn, name))

    return use


@pytest.mark.parametrize("case", FIT, ids=str)
def test_errors_of_fit_have_scikit_learns_words(case, stand_ins):
    linear_model = pytest.importorskip("sklearn.linear_model")
    theirs = first_line(lambda: linear_model.LogisticRegression().fit(*FIT[case]))
    assert first_line(lambda: LogisticRegression().fit(*FIT[case])) == theirs
    stand_ins()
    name, text = first_line(lambda: LogisticRegression().fit(*FIT[case]))
    assert (name, text.replace("array=[0. 1.].", "array=")[:60]) == (theirs[0], theirs[1][:60])


PREDICT = {"features": X[:, :1], "nan": NAN, "one dimension": X[0], "no rows": X[:0], "complex": X * 1j}


@pytest.mark.parametrize("case", PREDICT, ids=str)
def test_errors_of_predict_have_scikit_learns_words(case, stand_ins):
    linear_model = pytest.importorskip("sklearn.linear_model")
    theirs = first_line(lambda: linear_model.LogisticRegression().fit(X, Y).predict(PREDICT[case]))
    stand_ins()
    model = LogisticRegression().fit(X, Y)
    name, text = first_line(lambda: model.predict(PREDICT[case]))
    assert (name, text[:60]) == (theirs[0], theirs[1][:60])


WEIGHTS = {
    "negative": [-1.0, 1, 1],
    "nan": [np.nan, 1, 1],
    "infinity": [np.inf, 1, 1],
    "length": [1.0, 1],
    "two dimensions": [[1.0, 1, 1]],
    "zero": [0.0, 0, 0],
}


@pytest.mark.parametrize("case", WEIGHTS, ids=str)
def test_errors_of_weights_have_scikit_learns_words(case):
    validation = pytest.importorskip("sklearn.utils.validation")
    theirs = first_line(lambda: validation._check_sample_weight(WEIGHTS[case], X, ensure_non_negative=True, allow_all_zero_weights=False))
    name, text = first_line(lambda: LogisticRegression().fit(X, Y, sample_weight=WEIGHTS[case]))
    assert (name, text) == (theirs[0], theirs[1])


def test_not_fitted(stand_ins):
    pytest.importorskip("sklearn")
    theirs = first_line(lambda: LogisticRegression().predict(X))
    stand_ins()
    assert first_line(lambda: LogisticRegression().predict(X)) == theirs
    assert issubclass(without_sklearn.NotFittedError, ValueError)


def test_a_sum_that_overflows_is_no_infinity():
    X = np.full((4, 1), 1e308)
    assert without_sklearn.validate_data(LogisticRegression(), X) is X


def test_feature_names(stand_ins):
    pandas = pytest.importorskip("pandas")
    stand_ins()
    frame = pandas.DataFrame(X, columns=["a", "b"])
    model = LogisticRegression().fit(frame, Y)
    assert list(model.feature_names_in_) == ["a", "b"]
    with pytest.raises(ValueError, match="The feature names should match those that were passed during fit"):
        model.predict(frame[["b", "a"]])
    with pytest.warns(UserWarning, match="X does not have valid feature names, but LogisticRegression was fitted with"):
        model.predict(X)
    assert not hasattr(model.fit(X, Y), "feature_names_in_")
    with pytest.warns(UserWarning, match="X has feature names, but LogisticRegression was fitted without feature names"):
        model.predict(frame)
