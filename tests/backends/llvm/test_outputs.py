"""Memory for outputs: it comes back, and all that is free is under one limit."""

import numpy as np

import graphc as gx
from graphc.backends.llvm.run.instance import address
from graphc.backends.llvm.run.outputs import OutputPool, output_pool
from graphc.types import TensorType, uint8


def block(size):
    return TensorType(uint8, (size,))


def test_a_block_comes_back():
    pool = OutputPool()
    array = pool.empty(block(1 << 20))
    place = address(array)
    del array
    assert pool.nbytes == 1 << 20
    assert address(pool.empty(block(1 << 20))) == place


def test_all_sizes_together_stay_below_the_limit():
    pool = OutputPool(kept=10 << 20)
    for size in [*range(1 << 20, 4 << 20, 1 << 16), 11 << 20, 3 << 20, 3 << 20]:
        arrays = [pool.empty(block(size)) for _ in range(3)]
        del arrays
        assert pool.nbytes <= 10 << 20
    place = address(pool.empty(block(3 << 20)))
    assert address(pool.empty(block(3 << 20))) == place, "what was freed last is what is kept"


def test_functions_share_the_limit():
    """Each kind of call has a program of its own; freed outputs are everyone's."""
    f = gx.compile(lambda x: x + 1, backend="llvm")
    for n in range(1, 40):
        f(np.zeros((n, 1 << 18), np.float32))
    assert output_pool().nbytes <= 1 << 28
