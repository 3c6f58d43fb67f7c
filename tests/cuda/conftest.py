"""What only CUDA has: PTX, launches, the exchange with other libraries, the order of threads, the driver, errors. What holds on the CPU
too is tested beside it (fixture ``device``). In an ordinary process these tests need a GPU, unless they are marked ``cuda``.
"""

from pathlib import Path

import devices
import pytest


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents and not any(map(item.get_closest_marker, ("cuda", "gpu"))):
            item.add_marker("cudasim" if devices.SIMULATED else "gpu")


@pytest.fixture(params=devices.DTYPES)
def dtype(request):
    return request.param
