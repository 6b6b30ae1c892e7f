"""What comes in the middle of a call on a device, between any two of its lines, comes before it or after it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import numpy as np
import pytest

import graphc as gx
from graphc.backends.triton import cuda
from graphc.backends.triton.interpret import Interpreter
from graphc.backends.triton.interpreted import InterpretedDevice

WATCHED = tuple(f"triton/{name}.py" for name in ("backend", "control", "interpret", "interpreted")) + ("/storage.py",)


@contextmanager
def at_line(number: int, action: Callable[[], None]) -> Iterator[list[int]]:
    """Inside, the action is carried out once before the line of this number, of those of the watched files that are
    come to. Gives the number of lines so far, in a list."""
    lines = [0]

    def look(frame: FrameType, event: str, argument: Any) -> Any:
        if not frame.f_code.co_filename.endswith(WATCHED):
            return None
        if event == "line":
            lines[0] += 1
            if lines[0] == number:
                sys.settrace(None)
                try:
                    action()
                finally:
                    sys.settrace(look)
        return look

    before = sys.gettrace()
    sys.settrace(look)
    try:
        yield lines
    finally:
        sys.settrace(before)


@pytest.fixture
def device(interpreter: Interpreter, monkeypatch: pytest.MonkeyPatch) -> InterpretedDevice:
    made = InterpretedDevice(interpreter)
    monkeypatch.setattr(cuda, "first_device", lambda: made)
    return made


class Pair:
    """Two Variables that all functions change together: the second is always ten times the first."""

    def __init__(self) -> None:
        self.a, self.b = gx.Variable(np.full(3, 1.0, np.float32)), gx.Variable(np.full(3, 10.0, np.float32))
        self.step = self.on("triton", lambda x: x * 2)
        self.other = self.on("triton", lambda x: x + 100)
        self.host = self.on("llvm", lambda x: x + 100)
        self.read = gx.compile(lambda: (self.a * 1, self.b * 1), backend="triton")

    def on(self, backend: str, change: Callable[[Any], Any]) -> Callable[[], Any]:
        @gx.compile(backend=backend)
        def run() -> Any:
            new = change(self.a)
            self.a.assign(new)
            self.b.assign(new * 10)
            return new

        return run

    def values(self) -> float:
        """What the first holds; AssertionError where the second does not suit it."""
        a, b = self.a.numpy(), self.b.numpy()
        assert (b == 10 * a).all() and (a == a[0]).all(), (a, b)
        return float(a[0])


def assign_both(pair: Pair) -> None:
    new = pair.values() + 100
    pair.a.assign(np.full(3, new, np.float32))
    pair.b.assign(np.full(3, 10 * new, np.float32))


ACTIONS: dict[str, Callable[[Pair], Any]] = {
    "another function on the device": lambda p: p.other(),
    "a function on the host": lambda p: p.host(),
    "assign": assign_both,
}


@pytest.mark.parametrize("name", ACTIONS)
def test_changes_in_between(device: InterpretedDevice, name: str) -> None:
    """(a + 100) · 2 if they come before the call, 2 a + 100 if they come after it."""
    pair = Pair()
    for run in (pair.step, pair.other, pair.host, pair.step):
        run()
    number, lines = 0, [1]
    found = set()
    while number < lines[0]:
        number += 1 + number // 40  # each of the first lines, then ever fewer
        start = pair.values()
        kept = pair.a.value
        with at_line(number, lambda: ACTIONS[name](pair)) as lines:
            given = pair.step().numpy()
        now, kept_now = pair.values(), kept.numpy()
        before, after = 2 * (start + 100), 2 * start + 100
        assert now in (before, after, 2 * start), (name, number, start, now)
        assert (given == given[0]).all() and given[0] in (before, 2 * start)
        assert (kept_now == start).all()
        found.add("before" if now == before else "after")
        assign_small(pair)
    assert "before" in found


def assign_small(pair: Pair) -> None:
    pair.a.assign(np.ones(3, np.float32))
    pair.b.assign(np.full(3, 10, np.float32))
    if pair.values() == 1:
        pair.step()  # so that it is away when the next one begins


def test_reads_in_between(device: InterpretedDevice) -> None:
    """A reader sees both as before or both as after; one that is read from inside of a reader's own run, too."""
    pair = Pair()
    pair.step(), pair.read()
    number, lines, seen = 0, [1], set()
    while number < lines[0]:
        number += 1 + number // 40
        start = pair.values()
        with at_line(number, lambda: seen.add(pair.values() / start)) as lines:  # noqa: B023
            pair.step()
        assert pair.values() == 2 * start
        if start > 1e6:
            assign_small(pair)
        with at_line(number, lambda: pair.other()):
            a, b = pair.read()
            assert (b.numpy() == 10 * a.numpy()).all()
        assign_small(pair)
    assert seen <= {1.0, 2.0} and 1.0 in seen


def test_interrupts(device: InterpretedDevice) -> None:
    """A call that is broken off has changed both or none, and the next one works."""
    pair = Pair()
    pair.step()

    def stop() -> None:
        raise KeyboardInterrupt

    with at_line(0, stop) as lines:
        pair.step()
    number, found = 0, set()
    while number < lines[0]:
        number += 1 + number // 25
        start = pair.values()
        try:
            with at_line(number, stop):
                pair.step()
        except KeyboardInterrupt:
            found.add(pair.values() / start)
        now = pair.values()
        assert now in (start, 2 * start)
        pair.step()
        assert pair.values() == 2 * now
        assign_small(pair)
    assert found == {1.0, 2.0}
