"""Why tests of scikit-learn's do not apply to our estimators: for each file, patterns of tests (as `fnmatch` has them,
but that [ is a bracket) and the reason. `python -m bench foreign-suite` holds that each line is needed.
"""

__all__ = ["REASONS"]

LIBLINEAR = "liblinear penalises the intercept, another objective: no solver of ours has its name"
PRIVATE = "asks for a private name of scikit-learn's"
WORDS = "a warning that iterations did not suffice has the same words for all solvers, the solver's name first"
SINGULAR = "Newton's step takes a singular Hessian: there is nothing to fall back from, and no warning of it"
CALLBACKS = "scikit-learn's callbacks of 1.9 are not taken; verbose prints a line for each iteration"
NOT_DEPRECATED = "penalty and l1_ratio=None stay what they were: they are not deprecated here"

REASONS: dict[str, dict[str, str]] = {
    "tests/test_base.py": {
        "*::test_inplace_data_preprocessing[*-None]": "copy_X=False lets X be overwritten; ours never is",
    },
    "tests/test_logistic.py": {
        "*::test_*[*liblinear*]": LIBLINEAR,
        "*::test_check_solver_option[LogisticRegression]": LIBLINEAR,
        "*::test_consistency_path[*]": LIBLINEAR,
        "*::test_*liblinear*": LIBLINEAR,
        "*::test_logistic_cv[*]": LIBLINEAR,
        "*::test_logistic_regression_class_weights[*]": LIBLINEAR,
        "*::test_logistic_regression_solvers[*]": LIBLINEAR,
        "*::test_logreg_l1[*]": LIBLINEAR,
        "*::test_logistic_cv_multinomial_score[*]": PRIVATE + ", a function that knows no x_scale",
        "*::test_logreg_predict_proba_multinomial[*]": PRIVATE + ", _predict_proba_lr",
        "*::test_max_iter[*-sag*]": WORDS,
        "*::test_max_iter[*-newton-cholesky-*]": WORDS,
        "*::test_large_sparse_matrix[*-sag*]": "sparse matrices with indices of 64 bits are taken",
        "*::test_newton_cholesky_fallback_to_lbfgs": SINGULAR,
        "*::test_penalty_deprecated[LogisticRegression]": NOT_DEPRECATED,
        "*::test_l1_ratio_None_deprecated": NOT_DEPRECATED,
        "*::test_lr_penalty_l1ratio_incompatible[l1-0.0]": "l1_ratio=0.0, the default, says nothing",
        "*::test_logistic_regression_callback_*": CALLBACKS,
    },
    "tests/test_huber.py": {},
    "_glm/tests/test_glm.py": {
        "*::test_glm_wrong_y_range[*]": "the error names the first such target and its place, in words of its own",
        "*::test_warm_start[*]": PRIVATE + ", _get_loss",
        "*::test_linalg_warning_with_newton_solver[*]": SINGULAR,
    },
}
