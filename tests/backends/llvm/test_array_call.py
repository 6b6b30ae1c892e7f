"""The quick call: native code accepts exactly the arrays that it was made for, whatever objects it is given."""

import gc

import numpy as np
import pytest

import graphc as gx
from graphc.backends.backend import ObjectCalls
from graphc.backends.llvm.run.array_call import check_layout
from graphc.types import float32

X = np.arange(6, dtype=np.float32).reshape(2, 3)
N = np.array(5)


def program() -> ObjectCalls:
    f = gx.compile(lambda x, n: (x * 2, n + 1), backend="llvm")
    f(X, N)
    run = f.specializations[0].run
    assert isinstance(run, ObjectCalls)
    return run


def test_layout_of_arrays() -> None:
    check_layout()


def test_runs_on_what_it_expects() -> None:
    run = program()
    for x in (X, X + 1, X[:], np.ascontiguousarray(X.T).reshape(2, 3), np.broadcast_to(X, (1, 2, 3))[0]):
        outputs = run.try_call([x, N])
        assert outputs is not None
        assert outputs[0].tolist() == (2 * x).tolist() and outputs[1].tolist() == 6


class Child(np.ndarray):
    pass


NO_INPUTS = [
    X.T, X[:, ::1][:, :2], X[:1], X.reshape(6), X.reshape(2, 3, 1), X.astype(np.float64), X.view(np.int32),
    np.zeros((2, 6), np.float32)[:, ::2], X.astype(">f4"), X.view(Child), np.asfortranarray(X), np.float32(1),
    np.frombuffer(b"\0" + X.tobytes(), np.uint8)[1:].view(np.float32).reshape(2, 3), X.tolist(), None, 1, "x", object(),
    X[:0], np.zeros((3, 2), np.float32), float32, gx.asarray(X),
]  # fmt: skip


@pytest.mark.parametrize("x", NO_INPUTS, ids=lambda x: f"{type(x).__name__} {getattr(x, 'strides', '')}")
def test_refuses_all_else(x: object) -> None:
    assert program().try_call([x, N]) is None
    assert program().try_call([X, x]) is None


def test_compiled_functions_find_the_slow_way() -> None:
    f = gx.compile(lambda x: x * 2, backend="llvm")
    f(X)
    for x in (
        X,
        np.asfortranarray(X),
        X.astype(">f4"),
        X.view(Child),
        gx.asarray(X),
        np.repeat(X, 2, 1)[:, ::2],
    ):
        assert f(x).tolist() == (2 * X).tolist()
    assert len(f.specializations) == 1


def test_no_inputs_and_no_outputs() -> None:
    v = gx.Variable(np.int64(0))
    count = gx.compile(lambda: v.assign(v + 1), backend="llvm")
    for _ in range(3):
        count()
    assert v.item() == 3
    assert gx.compile(lambda: gx.ones(2), backend="llvm")().tolist() == [1, 1]


def test_bad_indices_raise() -> None:
    f = gx.compile(lambda x, i: gx.take(x, i), backend="llvm")
    assert f(X, N).item() == 5
    for _ in range(2):
        with pytest.raises(IndexError):
            f(X, N + 1)
        assert f(X, N).item() == 5


def test_versions_rise() -> None:
    v = gx.Variable([1.0, 2.0])
    f = gx.compile(lambda x: v.assign(v + x), backend="llvm")
    for total in (1, 2, 3):
        f(np.ones(2, np.float32))
        assert v.value.tolist() == [1 + total, 2 + total]


def test_prepared_work_follows_variables() -> None:
    w = gx.Variable(np.ones((64, 64), np.float32))
    f = gx.compile(lambda x: x @ gx.matrix_transpose(gx.exp(w)), backend="llvm")
    x = np.ones((4, 64), np.float32)
    for value in (0.0, 1.0):
        w.assign(np.full((64, 64), value, np.float32))
        for _ in range(2):
            np.testing.assert_allclose(f(x), np.full((4, 64), 64 * np.exp(value)), rtol=1e-5)


def test_each_call_runs_on_its_own_number_of_threads() -> None:
    f = gx.compile(lambda x: x * 2, backend="llvm")
    with gx.using(threads=1):
        f(X)
    f(X)
    one, all_ = (s.run for s in f.specializations)
    for run in (one, all_, one):
        assert run([X])[0].tolist() == (2 * X).tolist()
        assert run._team.threads == run._threads
    assert one._threads == 1 and all_._threads == gx.thread_count()
    assert f(X).tolist() == (2 * X).tolist()


def test_old_programs_outlive_new_ones() -> None:
    """The code of the quick call stays for as long as any program uses it."""
    functions = []
    for i in range(5):
        f = gx.compile(lambda x, i=i: x + float(i), backend="llvm")
        f(X)
        functions.append(f)
        gc.collect()
    for i, f in enumerate(functions):
        assert f(X).tolist() == (X + i).tolist()
