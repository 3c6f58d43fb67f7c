"""Ctrl-C at the moments at which Python drops exceptions."""

import signal
import sys
import threading

import numpy as np
import pytest

import nbgrad
from nbgrad import nn, optim
from nbgrad.training import loop
from nbgrad.training.interrupts import Interrupts

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


class Thing:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)


def test_an_interrupt_that_python_drops_comes_again():
    with Interrupts() as interrupts:
        interrupts.check()
        Thing()  # made and gone
        with pytest.raises(KeyboardInterrupt):
            interrupts.check()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with pytest.raises(KeyboardInterrupt), Interrupts():
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_handler_of_the_callers_stays_and_other_threads_have_none():
    def handler(*_):
        pass

    before = signal.signal(signal.SIGINT, handler)
    try:
        with Interrupts() as interrupts:
            assert signal.getsignal(signal.SIGINT) is handler
            signal.raise_signal(signal.SIGINT)
            interrupts.check()
        assert signal.getsignal(signal.SIGINT) is handler
    finally:
        signal.signal(signal.SIGINT, before)

    def elsewhere():
        with Interrupts() as interrupts:
            interrupts.check()
            done.append(True)

    done = []
    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert done == [True]


@pytest.mark.parametrize("error", [ImportError("initialization failed"), SystemError("no exception set")], ids=str)
def test_an_interrupt_that_a_library_made_another_error_of(error):
    def load():
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt as interrupt:
            raise error from interrupt

    with pytest.raises(KeyboardInterrupt), Interrupts():
        load()
    with pytest.raises(KeyboardInterrupt), Interrupts() as outer, Interrupts() as inner:
        assert inner is outer  # whatever came within either is known to both
        load()
    with pytest.raises(type(error)), Interrupts():
        raise error  # nobody interrupted
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_training_ends_though_the_interrupt_got_lost(tmp_path, monkeypatch):
    batches = []

    class Feed(loop.Feed):
        def __call__(self, batch):
            batches.append(batch)
            if len(batches) == 20:
                Thing()
            assert len(batches) < 25
            return super().__call__(batch)

    monkeypatch.setattr(loop, "Feed", Feed)
    with pytest.raises(KeyboardInterrupt, match="interrupted after epoch .* to continue"):
        loop.train(epochs=100, out=tmp_path)
    assert len(batches) == 20


def test_no_python_runs_when_a_tensor_goes():
    """In a function of Python's Ctrl-C could come, and would be lost: in users' own loops, too."""
    frames = []
    net = nn.Linear(3, 2)
    optimizer = optim.Adam(net.parameters(), lr=0.1)

    def step():
        x = nbgrad.tensor(np.ones((4, 3), np.float32))
        y = net(x)
        view = y.reshape(-1)[1:]
        z = view.detach()
        z[0] = 0.0
        (y * y).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        return x, y, view, z

    step()
    kept = step()
    sys.setprofile(lambda frame, event, _: frames.append(frame.f_code.co_qualname) if event == "call" else None)
    try:
        del kept
    finally:
        sys.setprofile(None)
    assert frames == []
