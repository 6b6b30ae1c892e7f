"""What a call promises where processes fork, are interrupted and end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc as gx
from graphc.hook import call_lock

native = pytest.mark.parametrize("backend", ["llvm"], indirect=True)  # what only machine code can get wrong


def run_python(code: str) -> None:
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, timeout=120, cwd=Path(__file__).parents[2])


@native
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_calls_and_so_does_the_parent():
    run_python("""
import os, numpy as np, graphc as gx
v = gx.Variable(np.zeros(1 << 20, np.float32))
@gx.compile
def f(x):
    v.assign(v + x)
    return gx.sum(v)
one = np.float32(1)
assert f(one).item() == 1 << 20
children = []
for n in range(3):
    child = os.fork()
    if child == 0:
        g = gx.compile(lambda x: gx.sum(x * 3))           # compiles, and starts a team, in the child
        right = f(one).item() == 2 << 20 and g(np.ones(1 << 20, np.float32)).item() == 3 << 20
        right = right and f(one).item() == 3 << 20
        os._exit(0 if right else 1)
    children.append(child)
assert f(one).item() == 2 << 20
assert all(os.waitpid(c, 0)[1] == 0 for c in children)
assert f(one).item() == 3 << 20
""")


@native
def test_ctrl_c_between_calls():
    """Also right after a call: nobody else may find the lock taken, nor an old value of what it has changed."""
    v = gx.Variable(np.zeros(1 << 12, np.float32))

    @gx.compile
    def step() -> None:
        v.assign(v + 1)

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    step()
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        for _ in range(150):
            with pytest.raises(KeyboardInterrupt):
                signal.setitimer(signal.ITIMER_REAL, 0.001)
                while True:
                    step()
                    v.value  # noqa: B018
            assert not call_lock._is_owned()  # type: ignore[attr-defined]
            assert (v.numpy() == v.storage.array).all()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    now = v.numpy()[0]
    step()
    assert v.numpy()[0] == now + 1


@native
def test_ctrl_c_while_a_call_runs():
    """The call ends; then the interrupt comes, and what the call has changed is seen."""
    v = gx.Variable(np.zeros(1 << 22, np.float32))

    @gx.compile
    def step() -> None:
        w = v.value
        for _ in range(24):
            w = gx.sin(w + 1)
        v.assign(v + w)

    step()
    old = v.numpy()[0]
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            signal.setitimer(signal.ITIMER_REAL, 0.003)
            step()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert v.numpy()[0] == v.storage.array[0] != old


def long_step() -> tuple[list[gx.Variable], Any]:
    """About half a second of products, then updates in place."""
    w = [gx.Variable(np.random.default_rng(i).standard_normal((1024, 1024)).astype(np.float32) / 32) for i in range(4)]

    @gx.compile
    def step(x: Any) -> Any:
        for _ in range(6):
            for each in w:
                x = gx.tanh(x @ each)
        for each in w:
            each.assign(each * 0.5 + x)
        return gx.sum(x)

    return w, step


def interrupted_after(seconds: float, call: Callable[[], Any]) -> float:
    """Call it, press Ctrl-C after so many seconds, and give the seconds until the call was left."""
    times = []

    def press() -> None:
        times.append(time.perf_counter())
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(seconds, press)
    timer.start()
    try:
        call()
    finally:
        timer.join()
        times.append(time.perf_counter())
    return times[1] - times[0]


@native
@pytest.mark.parametrize("threads", [1, 0])
def test_ctrl_c_ends_a_long_call_with_all_variables_as_before(threads):
    with gx.using(threads=threads):
        w, step = long_step()
        x = np.eye(1024, dtype=np.float32)
        start = time.perf_counter()
        step(x)
        whole = time.perf_counter() - start
        old = [v.numpy().copy() for v in w]
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            for part in (0.2, 0.5):
                with pytest.raises(KeyboardInterrupt):
                    interrupted_after(part * whole, lambda: step(x))
                now = [v.numpy() for v in w]
                assert all((a == b).all() for a, b in zip(now, old, strict=True)) or part > 0.2, "cut off, or late"
                same = [(a == b).all() for a, b in zip(now, old, strict=True)]
                assert all(same) or not any(same), "all of them, or none"
                old = [v.copy() for v in now]
        finally:
            signal.signal(signal.SIGINT, before)
        step(x)
        assert not any((v.numpy() == o).all() for v, o in zip(w, old, strict=True))


@native
def test_ctrl_c_ends_a_loop_of_small_steps():
    count = gx.compile(lambda n: gx.while_loop(lambda i: i < n, lambda i: i + 1, 0))
    count(np.int64(3))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            interrupted_after(0.1, lambda: count(np.int64(10**12)))
    finally:
        signal.signal(signal.SIGINT, before)
    assert count(np.int64(7)).item() == 7


@native
def test_a_handler_of_ctrl_c_that_wants_to_go_on():
    """It sets a flag, say; then the call begins once more, and its result is that of one call."""
    w, step = long_step()
    copies = [v.numpy().copy() for v in w]
    x = np.eye(1024, dtype=np.float32)
    wanted = step(x).item()
    for v, c in zip(w, copies, strict=True):
        v.assign(c)
    flags: list[int] = []
    before = signal.signal(signal.SIGINT, lambda *_: flags.append(1))
    results: list[float] = []
    try:
        interrupted_after(0.1, lambda: results.append(step(x).item()))
    finally:
        signal.signal(signal.SIGINT, before)
    assert flags == [1] and results == [wanted]
