"""Variables: snapshots, assignment, and updates that commit together when a call ends."""

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import graphc as gx
from graphc import DTypeError, ShapeError, TraceError


def test_value_is_a_snapshot() -> None:
    v = gx.Variable([1.0, 2.0])
    before = v.value
    v.assign([3.0, 4.0])
    assert before.tolist() == [1, 2] and v.value.tolist() == [3, 4]
    assert v.value is v.value


def test_defaults_and_conversion() -> None:
    assert gx.Variable(1.0).dtype is gx.float32 and gx.Variable(1).dtype is gx.int64
    assert gx.Variable(np.ones(2)).dtype is gx.float64
    assert gx.Variable(1, dtype="float16").dtype is gx.float16
    assert gx.Variable(1.0).trainable and not gx.Variable(1.0, trainable=False).trainable
    source = np.zeros(2)
    v = gx.Variable(source)
    source[0] = 1
    assert v.value.tolist() == [0, 0]


def test_stands_wherever_a_tensor_may() -> None:
    v = gx.Variable([1.0, 2.0])
    assert (v + 1).tolist() == (1 + v).tolist() == (np.float32(1) + v).tolist() == [2, 3]
    assert gx.sum(v).item() == 3 and v[0].item() == 1 and np.asarray(v).tolist() == [1, 2]
    assert gx.stack([v, v]).shape == (2, 2) and (v == v).tolist() == [True, True]
    assert gx.asarray(v).tolist() == [1, 2] and len(v) == 2 and v.numpy().tolist() == [1, 2]


def test_assign_keeps_dtype_and_shape() -> None:
    v = gx.Variable([1.0, 2.0])
    with pytest.raises(DTypeError, match="keeps its dtype"):
        v.assign(np.ones(2))
    with pytest.raises(ShapeError, match="keeps its shape") as error:
        v.assign(1.0)
    assert error.value.where is not None and error.value.where.text == "v.assign(1.0)"

    @gx.compile
    def f(x: gx.Tensor) -> None:
        v.assign(x)

    with pytest.raises(ShapeError, match="keeps its shape"):
        f(np.ones(3, np.float32))
    with pytest.raises(DTypeError, match="keeps its dtype"):
        f(np.ones(2))
    assert v.value.tolist() == [1, 2]


def test_read_after_assign() -> None:
    v = gx.Variable(1.0)

    @gx.compile
    def f(x: gx.Tensor) -> tuple[gx.Tensor | gx.Variable, ...]:
        before = v + 0
        v.assign(v + x)
        middle = v.value
        v.assign(v * 2)
        return before, middle, v + 0, v

    assert [t.item() for t in f(np.float32(2))] == [1, 3, 6, 6]
    assert [t.item() for t in f(np.float32(2))] == [6, 8, 16, 16]
    assert v.item() == 16


def test_updates_commit_together() -> None:
    a, b = gx.Variable([1.0, 2.0]), gx.Variable([3.0, 4.0])

    @gx.compile
    def swap() -> None:
        old = a.value
        a.assign(b)
        b.assign(old)

    assert swap() is None
    assert (a.value.tolist(), b.value.tolist()) == ([3, 4], [1, 2])


def test_snapshots_and_outputs_survive_later_calls() -> None:
    v = gx.Variable([0.0])
    step = gx.compile(lambda: v.assign(v + 1) or v)
    first, snapshot = step(), v.value
    step()
    assert first.item() == snapshot.item() == 1 and v.item() == 2


def test_a_variable_met_twice_is_one() -> None:
    v = gx.Variable([2.0])

    def f(x: gx.Tensor) -> gx.Tensor:
        return x * v + v

    graph = gx.trace(f, np.ones(1, np.float32))
    assert len(graph.variables) == 1 and graph.updates == (None,)
    grad = gx.compile(lambda x: gx.gradients(gx.sum(f(x)), v))
    assert grad(np.full(1, 3, np.float32)).tolist() == [4]


def test_live_in_closures() -> None:
    v = gx.Variable(1.0)
    f = gx.compile(lambda x: x * v)
    assert f(np.float32(2)).item() == 2
    v.assign(5.0)
    assert f(np.float32(2)).item() == 10
    assert len(f.specializations) == 1


def test_not_created_inside_a_trace() -> None:
    with pytest.raises(TraceError, match="while a function is traced") as error:
        gx.trace(lambda x: gx.Variable(0.0) + x, np.ones(1))
    assert error.value.where is not None and "gx.Variable(0.0)" in error.value.where.text


def test_failed_trace_leaves_no_trace_behind() -> None:
    v = gx.Variable(1.0)

    @gx.compile
    def f(x: gx.Tensor) -> gx.Tensor:
        v.assign(v + 1)
        raise KeyError("oops")

    with pytest.raises(KeyError):
        f(np.float32(1))
    assert v.item() == 1 and (v + 1).item() == 2


def test_symbolic_values_do_not_leave_their_trace() -> None:
    kept: list[gx.Tensor] = []
    gx.trace(lambda x: kept.append(x + 1), np.ones(2, np.float32))
    for use in (lambda: kept[0] + 1, lambda: gx.trace(lambda x: x + kept[0], np.ones(2, np.float32))):
        with pytest.raises(TraceError, match="only inside the function whose trace"):
            use()
    with pytest.raises(TraceError):
        gx.Variable(np.zeros(2, np.float32)).assign(kept[0])


def test_gradient_of_an_earlier_value_is_an_error() -> None:
    v = gx.Variable([1.0, 2.0])

    @gx.compile
    def late() -> gx.Tensor:
        loss = gx.sum(v * v)
        v.assign(v + 1)
        return gx.gradients(loss, v)

    with pytest.raises(TraceError, match="had before it was assigned"):
        late()

    @gx.compile
    def of_current() -> gx.Tensor:
        v.assign(v + 1)  # the current value depends on the earlier one: that is no use of it by the loss
        return gx.gradients(gx.sum(v * v), v)

    assert of_current().tolist() == [4, 6]


def test_copy_and_pickle() -> None:
    v = gx.Variable([1.0], trainable=False, name="bias")
    for other in (copy.deepcopy(v), copy.copy(v), pickle.loads(pickle.dumps(v))):
        assert (other.value.tolist(), other.trainable, other.name) == ([1], False, "bias")
        other.assign([2.0])
        assert v.item() == 1


def test_truth_and_numbers() -> None:
    v = gx.Variable(2)
    assert bool(v) and int(v) == 2 and float(v) == 2 and "ab"[gx.Variable(1)] == "b"
    with pytest.raises(TraceError):
        gx.trace(lambda x: x if v else x + 1, np.ones(1))


@pytest.mark.parametrize("new", [1.9, [1.5, 2.0], 2**40])
def test_numbers_that_an_integer_variable_refuses(new: Any) -> None:
    v = gx.Variable(np.zeros(np.shape(new), np.int32))
    with pytest.raises(DTypeError):
        v.assign(new)
    with pytest.raises(DTypeError):
        gx.compile(lambda: v.assign(new))()
