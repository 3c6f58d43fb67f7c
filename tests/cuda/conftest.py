"""The tests in this folder run twice: in Numba's simulator (``NUMBA_ENABLE_CUDASIM=1 pytest -m cudasim tests/cuda``), and on a
GPU where there is one (``pytest -m gpu tests/cuda``).
"""

import sys
from pathlib import Path

import devices
import pytest

if devices.SIMULATED:
    # A simulated thread waits for the others by asking again and again. Left at 5 ms the tests take 5 times as long.
    sys.setswitchinterval(1e-4)


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents and not any(map(item.get_closest_marker, ("cuda", "gpu"))):
            item.add_marker("cudasim" if devices.SIMULATED else "gpu")


@pytest.fixture(params=devices.DTYPES)
def dtype(request):
    return request.param
