"""The reference backend as a program: outputs, updates of variables, errors."""

import numpy as np
import pytest

from graphc import ops
from graphc.backends.reference import ReferenceBackend
from graphc.errors import CompileError, GraphcIndexError
from graphc.ir import Graph
from graphc.settings import Settings
from graphc.storage import Storage
from graphc.types import TensorType, bfloat16, float32, int32

VECTOR = TensorType(float32, (2,))


def bind(graph, *storages):
    return ReferenceBackend().build(graph, Settings()).bind(storages)


def storage(*values):
    return Storage(np.array(values, np.float32), VECTOR)


def test_swap_and_old_values():
    """All updates commit together, after every read."""
    a, b = (ops.variable(type=VECTOR, name=n) for n in "ab")
    graph = Graph((), (a, b), (b, ops.add(a, b)), (a,))
    first, second = storage(1, 2), storage(10, 20)
    (old,) = bind(graph, first, second)([])
    assert old.tolist() == [1, 2]
    assert first.array.tolist() == [10, 20] and second.array.tolist() == [11, 22]
    assert first.version and second.version


def test_variable_that_is_only_read_keeps_its_version():
    a = ops.variable(type=VECTOR, name="a")
    kept = storage(1, 2)
    bind(Graph((), (a,), (None,), (ops.negative(a),)), kept)([])
    assert kept.version == 0


def test_outputs_are_fresh_contiguous_and_distinct():
    x = ops.input(type=TensorType(float32, (2, 3)), name="x")
    turned = ops.permute(x, axes=(1, 0))
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    results = bind(Graph((x,), (), (), (x, x, turned, ops.full(1, VECTOR))))([array])
    assert all(r.flags.c_contiguous and r.flags.writeable for r in results)
    assert not any(
        np.shares_memory(a, b) for a in results for b in [array, *(r for r in results if r is not a)]
    )
    assert np.array_equal(results[2], array.T)


def test_a_bad_index_changes_nothing():
    a = ops.variable(type=VECTOR, name="a")
    index = ops.input(type=TensorType(int32, (1,)), name="index")
    graph = Graph((index,), (a,), (ops.negative(a),), (ops.gather(a, index, axes=(0,)),))
    kept = storage(1, 2)
    with pytest.raises(GraphcIndexError):
        bind(graph, kept)([np.array([2], np.int32)])
    assert kept.array.tolist() == [1, 2] and kept.version == 0


def test_each_result_is_rounded_to_16_bits():
    x = ops.input(type=TensorType(bfloat16, ()), name="x")
    one = ops.full(1, x.tensor_type)
    y = ops.subtract(ops.add(x, one), one)
    (result,) = bind(Graph((x,), (), (), (y,)))([np.array(0.001, bfloat16.numpy)])
    assert result.dtype == bfloat16.numpy and float(result) == 0


def test_takes_graphs_only():
    with pytest.raises(CompileError):
        ReferenceBackend().build(None, Settings())  # type: ignore[arg-type]
