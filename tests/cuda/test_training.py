"""Training steps on the device give what the CPU's give, to rounding."""

import numpy as np
import pytest

import nbgrad
from nbgrad import functional, nn, optim


@pytest.mark.parametrize("make", [lambda p: optim.SGD(p, lr=0.1, momentum=0.9), lambda p: optim.Adam(p, lr=0.01)])
def test_steps_as_on_the_cpu(make):
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(5, 4)).astype(np.float32), np.array([0, 1, 2, 0, 1])
    start, weights = nn.Linear(4, 3).state_dict(), []
    for device in ("cpu", "cuda"):
        net = nn.Linear(4, 3).load_state_dict(start).to(device)
        optimizer = make(net.parameters())
        inputs, targets = nbgrad.tensor(x, device=device), nbgrad.tensor(labels, device=device)
        for _ in range(3):
            optimizer.zero_grad()
            functional.cross_entropy(net(inputs), targets).backward()
            optimizer.step()
        weights.append(net.cpu().weight.numpy())
    np.testing.assert_allclose(weights[1], weights[0], rtol=1e-4, atol=1e-6)
