"""Every planted fault is found, and every right version passes: the table of ``python -m bench faults``."""

import hypothesis
import pytest
from faults import FAULTS

from nbgrad.testing import GradientError, gradient_test

generate = hypothesis.settings(max_examples=40, deadline=None, database=None, derandomize=True, phases=[hypothesis.Phase.generate])
faults = pytest.mark.parametrize("fault", FAULTS, ids=[f.name for f in FAULTS])


@faults
def test_is_found(fault):
    with pytest.raises(GradientError) as caught:
        gradient_test(fault.forward, fault.wrong, *fault.specs, settings=generate, strict=True, **fault.keywords)()
    assert caught.value.verdict in fault.verdicts, caught.value


@faults
def test_right_version_passes(fault):
    few = hypothesis.settings(generate, max_examples=8)
    test = gradient_test(fault.forward, fault.right, *fault.specs, settings=few, strict=True, **fault.keywords)
    test()
    report = test.report
    assert report.confirmed + report.kinks > report.elements / 2


def test_there_are_enough():
    assert len(FAULTS) >= 30 and len({f.name for f in FAULTS}) == len(FAULTS)
