"""Why tests of scikit-learn's do not apply to our estimators: for each file, patterns of tests (as `fnmatch` has them,
but that [ is a bracket) and the reason. `python -m bench foreign-suite` holds that each line is needed.
"""

__all__ = ["REASONS"]

REASONS: dict[str, dict[str, str]] = {
    "tests/test_base.py": {
        "*::test_inplace_data_preprocessing[*-None]": "copy_X=False lets X be overwritten; ours never is",
    },
    "tests/test_logistic.py": {},
    "tests/test_huber.py": {},
    "_glm/tests/test_glm.py": {},
}
