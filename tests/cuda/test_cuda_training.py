"""Parameters that move between the CPU and CUDA while they are trained."""

import numpy as np
import pytest

import nbgrad
from nbgrad import functional, nn, optim

OPTIMIZERS = {
    "sgd": lambda p: optim.SGD(p, lr=0.1, weight_decay=0.1),
    "momentum": lambda p: optim.SGD(p, lr=0.1, momentum=0.9),
    "nesterov": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "adam": lambda p: optim.Adam(p, lr=0.01, weight_decay=0.1),
    "adamw": lambda p: optim.AdamW(p, lr=0.01, weight_decay=0.1),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_steps_go_on_where_a_module_is_moved_to(name):
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(5, 4)).astype(np.float32), np.array([0, 1, 2, 0, 1])
    start, weights = nn.Linear(4, 3).state_dict(), []
    for moved in (False, True):
        net = nn.Linear(4, 3).load_state_dict(start)
        optimizer = OPTIMIZERS[name](net.parameters())
        for step in range(3):
            if moved and step == 1:
                net.cuda()
            on = net.weight.device
            inputs, targets = nbgrad.tensor(x, device=on), nbgrad.tensor(labels, device=on)
            optimizer.zero_grad()
            functional.cross_entropy(net(inputs), targets).backward()
            optimizer.step()
        weights.append(net.cpu().weight.numpy())
    np.testing.assert_allclose(weights[1], weights[0], rtol=1e-5, atol=1e-6)


def test_what_is_remembered_of_a_number_comes_back_with_it():
    seen = []
    for back in (False, True):
        p = nbgrad.tensor(2.0, device="cuda" if back else "cpu", requires_grad=True)
        optimizer = optim.Adam([p])
        for step in range(3):
            if step == 1:
                p._data = p.detach().cpu()._own()
            optimizer.zero_grad()
            (p * p).backward()
            optimizer.step()
        seen.append([float(optimizer.state[0][name]) for name in optimizer.arrays] + [p.item()])
    np.testing.assert_allclose(seen[1], seen[0], rtol=1e-6)
