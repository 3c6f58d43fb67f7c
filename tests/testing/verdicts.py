"""What a check says of a gradient, in one word."""

import warnings

import pytest

from nbgrad.testing import GradientError, check_gradient


def verdict(*arguments, **keywords):
    """ "right", "imprecise" or the word of the GradientError; strict refuses whatever is not right."""
    try:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            report = check_gradient(*arguments, **keywords)
        assert len(told) <= 1 and bool(told) == (report.imprecise > 0)
        found = "imprecise" if told else "right"
    except GradientError as error:
        found = error.verdict
    if found == "imprecise":
        with pytest.raises(GradientError) as caught:
            check_gradient(*arguments, strict=True, **keywords)
        assert caught.value.verdict == "imprecise"
    elif found == "right":
        check_gradient(*arguments, strict=True, **keywords)
    return found
