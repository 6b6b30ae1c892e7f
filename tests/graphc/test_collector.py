"""The collector looks rarely while graphs are made, and is as the user left it afterwards, whatever happens."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Iterator

import numpy as np
import pytest

import graphc as gx
from graphc.collector import RARE, rare_collections

OTHERS = (7, 5)


@pytest.fixture(autouse=True)
def thresholds() -> Iterator[None]:
    before, enabled = gc.get_threshold(), gc.isenabled()
    gc.set_threshold(900, *OTHERS)
    yield
    gc.set_threshold(*before)
    (gc.enable if enabled else gc.disable)()


def test_looks_are_rare_inside_and_as_before_afterwards() -> None:
    with rare_collections(), rare_collections():
        assert gc.get_threshold() == (RARE, *OTHERS)
    assert gc.get_threshold() == (900, *OTHERS)


@pytest.mark.parametrize("first", [0, RARE, 10 * RARE])
def test_what_looks_as_rarely_stays(first: int) -> None:
    gc.set_threshold(first, *OTHERS)
    with rare_collections():
        assert gc.get_threshold() == (first, *OTHERS)
    assert gc.get_threshold() == (first, *OTHERS)


def test_a_collector_that_is_switched_off_inside_or_outside_stays_off() -> None:
    with rare_collections():
        gc.disable()
    assert not gc.isenabled()
    with rare_collections():
        assert not gc.isenabled()
    assert not gc.isenabled()


def test_thresholds_that_are_set_inside_stay() -> None:
    with rare_collections():
        gc.set_threshold(333, 3, 3)
        with rare_collections():
            pass
    assert gc.get_threshold() == (333, 3, 3)


def test_an_error_puts_it_back() -> None:
    @gx.compile
    def broken(x: gx.Tensor) -> gx.Tensor:
        assert gc.get_threshold() == (RARE, *OTHERS)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        broken(np.zeros(3, np.float32))
    assert gc.get_threshold() == (900, *OTHERS)


def test_the_last_thread_to_leave_puts_it_back() -> None:
    entered, leave = threading.Event(), threading.Event()

    def stay() -> None:
        with rare_collections():
            entered.set()
            leave.wait()

    with rare_collections():
        thread = threading.Thread(target=stay)
        thread.start()
        entered.wait()
    assert gc.get_threshold() == (RARE, *OTHERS)
    leave.set()
    thread.join()
    assert gc.get_threshold() == (900, *OTHERS)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_child_does_not_wait_for_threads_that_it_does_not_have() -> None:
    with rare_collections():
        child = os.fork()
        if child == 0:
            os._exit(gc.get_threshold() != (900, *OTHERS))
        _, status = os.waitpid(child, 0)
    assert status == 0


def test_all_of_a_first_call_is_made_inside() -> None:
    """One look at most, where the objects that it makes would be worth many."""
    looks = []
    note = lambda phase, info: looks.append(info["generation"])  # noqa: E731
    step = gx.compile(lambda x: gx.tanh(x) * gx.sum(x))
    gc.collect()
    gc.callbacks.append(note)
    try:
        step.specialize(np.ones((3, 5), np.float32)).compilation.schedule  # noqa: B018 - made here
    finally:
        gc.callbacks.remove(note)
    assert len(looks) <= 4  # after the trace and after the schedule, and each is told of twice
    assert gc.get_threshold() == (900, *OTHERS)
