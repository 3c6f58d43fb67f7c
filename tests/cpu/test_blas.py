"""BLAS with one thread, and as many as before afterwards, whoever leaves first."""

import threading

import pytest
import scipy.linalg  # noqa: F401 (its BLAS is one of those that are counted)

from nbgrad.cpu import blas
from nbgrad.cpu.blas import one_blas_thread


def counts():
    return [part["num_threads"] for part in pytest.importorskip("threadpoolctl").threadpool_info() if part["user_api"] == "blas"]


def test_one_thread_within_and_those_of_before_behind():
    before = counts()
    entered, leave = threading.Event(), threading.Event()

    def other():
        with one_blas_thread():
            entered.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    with one_blas_thread(), one_blas_thread():
        assert set(counts()) == {1}
        thread.start()
        assert entered.wait(10)
    assert set(counts()) == {1}
    leave.set()
    thread.join()
    assert counts() == before
    with pytest.raises(ZeroDivisionError), one_blas_thread():
        1 / 0  # noqa: B018
    assert counts() == before


def test_without_threadpoolctl(monkeypatch):
    monkeypatch.setattr(blas, "_controller", lambda: None)
    before = counts()
    with one_blas_thread():
        assert counts() == before
