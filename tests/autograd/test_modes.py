"""Whether operations are recorded: contexts, nested and left in any order, and decorators of every kind of function."""

import asyncio
import functools
import inspect
import threading

import pytest

from nbgrad.autograd.modes import enable_grad, is_grad_enabled, no_grad


def seen(*_args, **_kwargs):
    return is_grad_enabled()


def test_one_object_entered_many_times():
    context = no_grad()
    for _ in range(2):
        with context:
            with context:
                assert not is_grad_enabled()
                with enable_grad() as nothing, context:
                    assert not is_grad_enabled() and nothing is None
            assert not is_grad_enabled()
        assert is_grad_enabled()
    with enable_grad(), pytest.raises(KeyError), context:
        raise KeyError
    assert is_grad_enabled()


def test_one_object_in_several_threads():
    context, inside, leave, found = no_grad(), threading.Event(), threading.Event(), []

    def other():
        with enable_grad(), context:
            inside.set()
            leave.wait(10)
            found.append(is_grad_enabled())
        found.append(is_grad_enabled())

    thread = threading.Thread(target=other)
    thread.start()
    inside.wait(10)
    with context:
        leave.set()
        thread.join()
        assert not is_grad_enabled()
    assert found == [False, True] and is_grad_enabled()


@pytest.mark.parametrize("same", [True, False])
def test_contexts_left_out_of_turn(same):
    """A generator's `with` around its yields ends when the generator does, whatever the caller is within by then."""
    context = no_grad()

    def generator():
        with context if same else no_grad():
            yield is_grad_enabled()

    running = generator()
    with context:
        assert next(running) is False
    assert list(running) == [] and is_grad_enabled()
    running = generator()
    with enable_grad():
        next(running)
    running.close()
    assert is_grad_enabled()
    with no_grad():
        running = generator()
        next(running)
        with enable_grad():
            running.close()
            assert is_grad_enabled()
        assert not is_grad_enabled()
    assert is_grad_enabled()


class Methods:
    @no_grad
    def plain(self):
        return seen()

    @no_grad
    @staticmethod
    def static():
        return seen()

    @no_grad()
    @classmethod
    def of_class(cls):
        return cls.__name__, seen()

    @staticmethod
    @no_grad
    def static_inside():
        return seen()

    def __call__(self):
        yield seen()


def test_every_kind_of_function():
    for kind, expected in ((no_grad, False), (enable_grad, True)):
        with enable_grad() if kind is no_grad else no_grad():
            for decorate in (kind, kind()):
                assert decorate(seen)() is decorate(lambda *, a: seen())(a=1) is expected
                assert decorate(functools.partial(seen, 1))() is expected
                assert is_grad_enabled() is not expected
            assert kind(seen).__name__ == "seen"
    assert Methods().plain() is Methods.static() is Methods.static_inside() is False
    assert Methods.of_class() == ("Methods", False)

    @no_grad
    def down(n):  # a decorated function may call itself
        return [seen()] + (down(n - 1) if n else [])

    assert down(2) == [False] * 3 and is_grad_enabled()


@pytest.mark.parametrize("decorate", [no_grad, no_grad()])
def test_generators_run_within_at_each_step(decorate):
    log = []

    @decorate
    def generator(start):
        log.append(seen())
        try:
            while True:
                try:
                    start += yield start
                except KeyError:
                    start = 0
                log.append(seen())
                if start > 5:
                    return "done"
        finally:
            log.append(("end", seen()))

    assert inspect.isgeneratorfunction(generator)
    running = generator(1)
    assert log == [] and next(running) == 1 and is_grad_enabled()
    assert running.send(2) == 3 and running.throw(KeyError) == 0 and is_grad_enabled()
    with pytest.raises(StopIteration) as stop:
        running.send(6)
    assert stop.value.value == "done" and is_grad_enabled()
    assert log == [False, False, False, False, ("end", False)]
    log.clear()
    running = generator(1)
    next(running)
    running.close()
    assert log == [False, ("end", False)]
    running = generator(1)
    next(running)
    with pytest.raises(ZeroDivisionError):
        running.throw(ZeroDivisionError)
    assert is_grad_enabled()
    assert list(decorate(Methods())()) == list(decorate(functools.partial(Methods()))()) == [False]


def test_coroutines_run_within_at_each_step():
    @no_grad
    async def one(number):
        found = [seen()]
        await asyncio.sleep(0)
        return [*found, seen(), number]

    async def main():
        both = asyncio.gather(one(1), one(2))
        await asyncio.sleep(0)
        assert is_grad_enabled()  # while they are waiting
        return await both

    assert inspect.iscoroutinefunction(one)
    assert asyncio.run(main()) == [[False, False, 1], [False, False, 2]]


async def stream():
    yield 1


class Class:
    pass


@pytest.mark.parametrize(("thing", "got"), [(Class, "the class Class"), (3, "int"), (True, "bool"), (stream, "an asynchronous generator function")])
def test_what_cannot_be_decorated(thing, got):
    for decorate in (no_grad, no_grad(), enable_grad):
        with pytest.raises(TypeError, match=f"_grad: expected a function to decorate, got {got}"):
            decorate(thing)
    assert is_grad_enabled()
