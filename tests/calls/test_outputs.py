"""What a call promises of its outputs: they are the caller's."""

from __future__ import annotations

import numpy as np
import pytest

import graphc as gx
from graphc.backends.llvm.run.instance import address

X = np.arange(4, dtype=np.float32)
native = pytest.mark.parametrize("backend", ["llvm"], indirect=True)  # what only machine code can get wrong


@pytest.mark.parametrize("size", [3, 1 << 16, 1 << 20])
def test_outputs_are_the_callers(size):
    f = gx.compile(lambda x, n: (x + n, x * n))
    x = np.ones(size, np.float32)
    kept = [f(x, np.float32(n)) for n in range(6)]
    views = [f(x, np.float32(n))[0].numpy()[size // 2 :][::2] for n in range(6)]
    for n, (a, b) in enumerate(kept):
        assert (a.numpy() == 1 + n).all() and (b.numpy() == n).all()
        assert (views[n] == 1 + n).all()


@native
def test_memory_comes_back_when_the_last_view_dies():
    f = gx.compile(lambda x: x + 1)
    x = np.zeros(1 << 18, np.float32)
    first = f(x).numpy()
    place = address(first)
    view = first[100:200]
    del first
    second = f(x).numpy()
    assert address(second) != place, "a view still shows it"
    assert (view == 1).all()
    del view
    assert address(f(x).numpy()) == place


def test_an_output_that_is_an_input_is_a_copy():
    v = gx.Variable(np.zeros(4, np.float32))
    f = gx.compile(lambda x: (x, v.value, x))
    x = X.copy()
    a, value, b = f(x)
    x[:] = 9
    v.assign(X + 1)
    assert a.tolist() == b.tolist() == X.tolist() and value.tolist() == [0, 0, 0, 0]
