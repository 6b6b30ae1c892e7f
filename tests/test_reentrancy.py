"""Signal handlers and finalizers that call what they interrupt: these calls are right, and so are the others."""

from __future__ import annotations

import functools
import gc
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc as gx
from graphc import nn

BACKENDS = ("llvm", "reference")


@contextmanager
def interrupted(handler: Callable[[], None], every: float = 2e-4) -> Iterator[None]:
    """Inside, the handler runs again and again, between any two steps of Python's."""

    def handle(*_: Any) -> None:
        handler()
        if not over:
            signal.setitimer(signal.ITIMER_REAL, every)

    over: list[None] = []
    before = signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, every)
    try:
        yield
    finally:
        over.append(None)
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def until(seconds: float) -> Iterator[int]:
    number, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        yield number
        number += 1


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("size", [3, 1 << 15])
@pytest.mark.parametrize("kind", ["array", "tensor", "fortran"])
def test_a_handler_calls_the_function_it_interrupts(backend: str, size: int, kind: str) -> None:
    f = gx.compile(lambda x, y: (x - y, x + y), backend=backend)
    ones = np.ones((size, 2), np.float32)
    ways: dict[str, Callable[[float], Any]] = {
        "array": lambda n: ones * np.float32(n),
        "tensor": lambda n: gx.asarray(ones * np.float32(n)),
        "fortran": lambda n: np.asfortranarray(ones * np.float32(n)),
    }
    f(ones, ones)
    wrong: list[Any] = []
    calls = [0]

    def check(a: float, b: float) -> None:
        less, more = f(ways[kind](a), ways[kind](b))
        if not ((less.numpy() == a - b).all() and (more.numpy() == a + b).all()):
            wrong.append((a, b, less, more))

    def handler() -> None:
        calls[0] += 1
        check(1000, calls[0] % 100)

    with interrupted(handler):
        for n in until(0.4):
            check(n % 100, 5)
    assert not wrong and calls[0] > 3


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_handler_changes_what_prepared_work_was_made_from(backend: str) -> None:
    """The product uses the packed weight, the sum the weight itself: both of one time."""
    w = gx.Variable(np.zeros((32, 32), np.float32))

    @gx.compile(backend=backend)
    def f(x: Any) -> Any:
        return x @ gx.exp2(w), w.value[0, 0]

    x = np.eye(32, dtype=np.float32)
    f(x)
    values = [np.full((32, 32), float(v), np.float32) for v in range(4)]
    calls = [0]

    def handler() -> None:
        calls[0] += 1
        w.assign(values[calls[0] % 4])

    with interrupted(handler):
        for _ in until(0.5):
            product, value = f(x)
            assert product[0, 0].item() == 2.0 ** value.item()
    assert calls[0] > 3


def test_a_finalizer_calls_the_function_it_interrupts() -> None:
    f = gx.compile(lambda x: x * 2)
    a, b = np.full(5, 1, np.float32), np.full(5, 7, np.float32)
    f(a)
    found: list[float] = []

    class Dying:
        def __init__(self) -> None:
            self.me = self  # so that the garbage collector finds it, at any allocation

        def __del__(self) -> None:
            found.append(float(f(b).numpy()[0]))

    for _ in range(300):
        for _ in range(20):
            Dying()
        assert f(a).numpy()[0] == 2
    assert set(found) == {14.0}


class Saver:
    def __init__(self, call: Callable[[], None]) -> None:
        self.call = call

    def handle(self, *_: Any) -> None:
        self.call()

    __call__ = handle


def as_handler(call: Callable[[], None]) -> dict[str, Any]:
    import functools

    return {
        "function": lambda *_: call(),
        "method": Saver(call).handle,
        "object": Saver(call),
        "partial": functools.partial(lambda c, *_: c(), call),
    }


@pytest.mark.parametrize("kind", ["function", "method", "object", "partial"])
def test_a_handler_in_a_trace_is_no_part_of_it(kind: str) -> None:
    """It steps, assigns and reads as it would between calls, and none of that joins the interrupted function."""
    count, other = gx.Variable(np.float32(0)), gx.Variable(np.float32(0))

    @gx.compile
    def step() -> None:
        count.assign(count + 1)

    seen: list[Any] = []

    def handle() -> None:
        step()
        other.assign(9.0)
        seen.append((count.numpy().item(), other.item()))

    before = signal.signal(signal.SIGALRM, as_handler(handle)[kind])
    try:

        @gx.compile
        def traced(x: Any) -> Any:
            y = x * 2
            signal.raise_signal(signal.SIGALRM)
            return y + 1

        assert traced(np.float32(1)).item() == 3
        assert seen == [(1, 9)] and traced.specializations[0].variables == ()
        assert traced(np.float32(2)).item() == 5 and count.item() == 1
    finally:
        signal.signal(signal.SIGALRM, before)


def test_a_finalizer_in_a_trace_is_no_part_of_it() -> None:
    count = gx.Variable(np.float32(0))
    step = gx.compile(lambda: count.assign(count + 1))

    class Dying:
        def __del__(self) -> None:
            step()

    class Followed:
        pass

    @gx.compile
    def traced(x: Any) -> Any:
        Dying()
        followed = Followed()
        weakref.finalize(followed, step)
        del followed
        return x * 2

    assert traced(np.float32(1)).item() == 2 and traced(np.float32(1)).item() == 2
    assert count.item() == 2 and traced.specializations[0].variables == ()


def _helper(x: Any) -> Any:
    """What the traced function and those that interrupt it both call."""
    return gx.sum(nn.softmax(x) * 2)


class _Node:
    me: Any


def _raise_signal(handler: Callable[..., None]) -> None:
    before = signal.signal(signal.SIGALRM, handler)  # in the trace, even
    try:
        signal.raise_signal(signal.SIGALRM)
    finally:
        signal.signal(signal.SIGALRM, before)


def _dies(name: str, call: Callable[[], None]) -> None:
    def close(self: Any) -> None:
        call()

    close.__name__ = name
    type("Dying", (), {"__del__": close})()


def _dies_referred_to(make: Callable[[Any], Any]) -> None:
    node = _Node()
    kept = make(node)
    del node
    del kept


def _collected(call: Callable[[], None]) -> None:
    def watch(phase: str, info: dict[str, int]) -> None:
        call()

    gc.callbacks.append(watch)
    try:
        gc.collect()
    finally:
        gc.callbacks.remove(watch)


def _dies_in_a_cycle(call: Callable[[], None]) -> None:
    node = _Node()
    node.me = node
    kept = weakref.ref(node, lambda _: call())
    del node
    gc.collect()
    assert kept() is None


def _dies_when_a_call_returns(call: Callable[[], None]) -> None:
    kept = []

    def inner() -> None:
        node = _Node()
        kept.append(weakref.ref(node, lambda _: call()))

    inner()


INTERRUPTIONS: dict[str, Callable[[Callable[[], None]], None]] = {
    "handler: function": lambda call: _raise_signal(as_handler(call)["function"]),
    "handler: method": lambda call: _raise_signal(as_handler(call)["method"]),
    "handler: object": lambda call: _raise_signal(as_handler(call)["object"]),
    "handler: partial": lambda call: _raise_signal(as_handler(call)["partial"]),
    "finalizer": lambda call: _dies("__del__", call),
    "finalizer of another name": lambda call: _dies("close", call),
    "weakref.finalize": lambda call: _dies_referred_to(lambda node: weakref.finalize(node, call)),
    "weakref.ref": lambda call: _dies_referred_to(lambda node: weakref.ref(node, lambda _: call())),
    "weakref.proxy": lambda call: _dies_referred_to(lambda node: weakref.proxy(node, lambda _: call())),
    "method of weakref.ref": lambda call: _dies_referred_to(lambda node: weakref.ref(node, Saver(call).handle)),
    "partial of weakref.ref": lambda call: _dies_referred_to(
        lambda node: weakref.ref(node, functools.partial(lambda c, _: c(), call))
    ),
    "weak reference, when a call returns": _dies_when_a_call_returns,
    "weak reference in a cycle": _dies_in_a_cycle,
    "gc.callbacks": _collected,
}  # fmt: skip


@pytest.mark.parametrize("name", INTERRUPTIONS)
@pytest.mark.parametrize("depth", ["function", "module"])
def test_what_interrupts_a_trace_computes_at_once(name: str, depth: str) -> None:
    """Its operations, also in functions that the traced one calls as well, are no nodes, and what it sets is noted."""
    found: list[Any] = []
    x = gx.asarray(np.arange(4, dtype=np.float32))
    model: Any = nn.Linear(4, 4, generator=gx.random.Generator(0))
    model.flag = 0
    interruptions = [INTERRUPTIONS[name]]

    def call() -> None:
        found.append((_helper(x), x[1] + 1, model(x), gx.concat([x, x])))
        model.flag += 1

    class Interrupted(nn.Module):
        def forward(self, y: Any) -> Any:
            y = _helper(y) + _helper(y * 2)
            for interrupt in interruptions:
                interrupt(call)
            return y * 3 + _helper(y[None])

    plain = Interrupted()
    function = plain if depth == "module" else plain.forward
    graph = str(gx.trace(lambda y: function(y), np.ones(3, np.float32)))
    assert found and model.flag == len(found)
    for summed, item, row, both in found:
        assert not (summed.is_symbolic or item.is_symbolic or row.is_symbolic or both.is_symbolic)
        assert (summed.item(), item.item(), both.shape) == (2, 2, (8,))
    interruptions.clear()
    assert graph == str(gx.trace(lambda y: function(y), np.ones(3, np.float32)))


def test_what_a_traced_function_drops_dies_while_it_is_traced() -> None:
    """Who looks at its variables does not keep what they held."""
    alive: list[Any] = []

    def traced(x: Any) -> Any:
        node = _Node()
        kept = weakref.ref(node)
        x = gx.exp(x)
        del node
        alive.append(kept())
        return x + 1

    gx.trace(traced, np.ones(3, np.float32))
    assert alive == [None]


def test_a_handler_that_compiles_while_it_interrupts_a_compilation() -> None:
    wrong: list[Any] = []
    calls = [0]

    def handler() -> None:
        calls[0] += 1
        n = calls[0]
        if gx.compile(lambda x: x * float(n))(np.float32(2)).item() != 2 * n:
            wrong.append(n)

    with gx.using(threads=2), interrupted(handler, 0.02):
        for n in until(1.0):
            f = gx.compile(lambda x, n=n: (nn.softmax(x + float(n)), gx.exp(x) * float(n)))
            x = np.zeros((3, 4 + n % 7), np.float32)
            assert (f(x)[1].numpy() == n).all()
    assert not wrong and calls[0] > 3


# An interrupt that comes in the callback of a weak reference is Python's to ignore, with this warning.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("backend", BACKENDS)
def test_an_interrupt_leaves_no_trace_behind(backend: str) -> None:
    """Whatever step of tracing it comes at, the thread is outside of the trace afterwards."""

    def interrupt() -> None:
        raise KeyboardInterrupt

    x = np.ones(3, np.float32)
    for n in range(100):
        f = gx.compile(lambda x: gx.exp(x) + x * 2, backend=backend)
        try:
            with interrupted(interrupt, 1e-4 * (1 + n % 20)):
                for _ in until(0.05):
                    gx.trace(lambda x: gx.exp(x) + x * 2, x)
        except KeyboardInterrupt:
            pass
        assert not (gx.asarray([1.0]) * 2).is_symbolic
        if n % 25 == 0:
            assert f(x).shape == (3,)


FORK = """
import os, threading, time, numpy as np, graphc as gx
x = np.ones((4, 4), np.float32)
done = []
def compile_on():
    n = 0
    while not done:
        n += 1
        f = gx.compile(lambda x: gx.exp(x * float(n)) @ x + gx.sum(x, axis=0))
        f(x), f.report(x), f.source(x, stage="asm")
threads = [threading.Thread(target=compile_on) for _ in range(2)]
for t in threads: t.start()
children = []
for n in range(12):
    time.sleep(0.03)
    child = os.fork()
    if child == 0:
        import faulthandler; faulthandler.dump_traceback_later(20, exit=True)
        g = gx.compile(lambda x: x @ x + float(n))
        ok = g(x)[0, 0].item() == 4 + n and "asm" and g.report(x) and g.source(x, stage="asm")
        os._exit(0 if ok else 1)
    children.append(child)
done.append(1)
codes = [os.waitpid(c, 0)[1] for c in children]
for t in threads: t.join()
assert not any(codes), codes
"""


def test_a_child_forked_while_others_compile() -> None:
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORK], check=True, timeout=120, cwd=Path(__file__).parents[1],
        env={**__import__("os").environ, "GRAPHC_CACHE": "0"},
    )  # fmt: skip


def test_a_finalizer_calls_what_dies_with_it() -> None:
    """Finalizers of a cycle run in any order: the function, its code and its outputs outlive all of them."""
    found: list[float] = []
    x = np.full(1 << 15, 7, np.float32)  # outputs come from the pool

    def make(n: int) -> None:
        f = gx.compile(lambda x: x * 2 + float(n), backend="llvm")
        kept = f(x)

        class Dying:
            def __del__(self) -> None:
                found.append(float(f(x).numpy()[0]) - n + float(kept.numpy()[-1]) - n)

        f.me = f
        f.dying = Dying()

    for n in range(10):
        make(n)
        gc.collect()
    assert found == [28.0] * 10
