"""Streams around a capture, with a stand-in for CuPy's that notes what is asked of it; and what is kept for a graph."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace

import numpy as np
import pytest

from nbgrad.cuda.device import graphs

pytestmark = pytest.mark.cuda


class Stream:
    def __init__(self, said, name):
        self.said, self.ptr = said, name

    def record(self):
        return f"event of {self.ptr}"

    def wait_event(self, event):
        self.said.append(f"{self.ptr} waits for {event}")

    def begin_capture(self):
        self.said.append(f"{self.ptr} captures")

    def end_capture(self):
        self.said.append(f"{self.ptr} ends")
        return SimpleNamespace(launch=lambda: self.said.append("launch"))

    def __enter__(self):
        self.before, self.cuda.current = self.cuda.current, self

    def __exit__(self, *error):
        self.cuda.current = self.before


@pytest.fixture
def cuda(monkeypatch):
    said = []

    @contextmanager
    def using_allocator(allocator):
        said.append("memory of its own")
        yield
        said.append("memory of all")

    cuda = SimpleNamespace(
        said=said, current=None, runtime=SimpleNamespace(getDevice=lambda: 0), using_allocator=using_allocator,
        Device=lambda number: nullcontext(), get_current_stream=lambda: cuda.current, Stream=lambda non_blocking: stream("own"),
        set_pinned_memory_allocator=lambda allocator: setattr(cuda, "pinned", allocator), MemoryPool=lambda: SimpleNamespace(malloc=lambda size: SimpleNamespace(ptr=1000), free_all_blocks=lambda: None, used_bytes=lambda: 0),
    )  # fmt: skip

    def stream(name):
        made = Stream(said, name)
        made.cuda = cuda
        return made

    cuda.stream, cuda.current = stream, stream("first")
    monkeypatch.setattr(
        graphs,
        "module",
        lambda: SimpleNamespace(cuda=cuda, ndarray=np.ndarray, empty=np.empty, get_default_pinned_memory_pool=lambda: SimpleNamespace(malloc=abs)),
    )
    monkeypatch.setattr(graphs.blas, "ready", lambda number: SimpleNamespace(use=lambda stream: said.append(f"cuBLAS in {stream}")))
    return cuda


def test_the_streams_wait_for_each_other(cuda):
    room, memory, run = graphs.Room(0), graphs.Memory(0), SimpleNamespace(capturing=False, graph=None)
    with room.within(memory):
        assert cuda.current.ptr == "own"
        with room.capture(run):
            assert run.capturing
            with pytest.raises(RuntimeError, match="captured takes numbers from the CPU"):
                cuda.pinned(8)
            with ThreadPoolExecutor(1) as other:
                assert other.submit(cuda.pinned, 8).result() == 8
    assert not run.capturing and cuda.current.ptr == "first" and cuda.pinned is abs
    assert cuda.said == [
        "own waits for event of first", "memory of its own", "cuBLAS in own", "own captures", "own ends", "memory of all", "first waits for event of own",
    ]  # fmt: skip
    cuda.said.clear()
    with room.here():
        room.launch(run.graph)
    with cuda.stream("second"):
        for _ in range(2):
            with room.here():
                room.launch(run.graph)
    assert cuda.said == ["launch", "second waits for event of first", "launch", "launch"]


def test_a_capture_that_fails_is_ended(cuda):
    room, run = graphs.Room(0), SimpleNamespace(capturing=False, graph=None)
    for error in (KeyError, KeyboardInterrupt):
        with pytest.raises(error), room.within(graphs.Memory(0)), room.capture(run):
            raise error
        assert cuda.said[-1] == "first waits for event of own"
        assert "own ends" in cuda.said and not run.capturing and run.graph is None and cuda.current.ptr == "first"
        cuda.said.clear()


def test_memory_from_elsewhere_is_kept(cuda):
    memory = graphs.Memory(0)
    own = memory.malloc(8)
    inside, outside = (SimpleNamespace(data=SimpleNamespace(mem=SimpleNamespace(ptr=ptr))) for ptr in (own.ptr, 5))
    memory.keep(inside, 3, np.float32(1), (outside, 2.0))
    assert list(memory.foreign.values()) == [outside.data.mem]


def test_a_pool_lives_as_long_as_its_arrays(cuda):
    memory = graphs.Memory(0)
    pool, freed, used = memory.pool, [], [8]
    pool.free_all_blocks, pool.used_bytes = lambda: freed.append(True), lambda: used[0]
    graphs.Memory(0)
    assert freed == []  # its graph lives
    del memory
    other = graphs.Memory(0)
    assert freed == [True] and pool in [entry[2] for entry in graphs._pools]
    used[0] = 0
    graphs.Memory(0)
    assert pool not in [entry[2] for entry in graphs._pools] and other.pool in [entry[2] for entry in graphs._pools]
