"""gx.spec: exact dtypes, and sizes that are numbers, names or the batch."""

import numpy as np
import pytest

import graphc as gx
from graphc import DTypeError, ShapeError
from graphc.types import TensorType


def f32(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


def test_dtype_is_exact() -> None:
    f = gx.compile(lambda x: x + 1, inputs=[gx.spec((None, 2))])
    assert f(f32(3, 2)).shape == (3, 2)
    with pytest.raises(DTypeError, match="input x is declared as float32") as error:
        f(np.ones((3, 2)))
    assert error.value.where is not None and error.value.where.text == "f(np.ones((3, 2)))"
    with pytest.raises(DTypeError):
        f(np.ones((3, 2), np.int64))


def test_sizes() -> None:
    specs = [gx.spec((None, "time", 4)), gx.spec((None, "time"), "int64")]
    f = gx.compile(lambda x, n: gx.sum(x, axis=2) + n, inputs=specs)
    assert f(f32(2, 3, 4), np.ones((2, 3), np.int64)).shape == (2, 3)
    for x, n in ((f32(2, 3, 5), (2, 3)), (f32(2, 3, 4), (1, 3)), (f32(2, 3, 4), (2, 4)), (f32(3, 4), (2, 3))):
        with pytest.raises(ShapeError, match="is declared as"):
            f(x, np.ones(n, np.int64))


def test_structures_and_arguments_without_spec() -> None:
    f = gx.compile(lambda p, k, x: p["a"] * k + x, inputs=[{"a": gx.spec((2,))}, None, gx.spec((2,))])
    assert f({"a": f32(2)}, 3, f32(2)).tolist() == [4, 4]
    with pytest.raises(ShapeError, match="structure"):
        f([f32(2)], 3, f32(2))
    with pytest.raises(gx.TraceError, match="declared as an array"):
        f({"a": f32(2)}, 3, "one")
    with pytest.raises(gx.ArgumentError, match="no 'k'"):
        f({"a": f32(2)})


def test_specs_stand_for_examples() -> None:
    graph = gx.trace(lambda x, y: x @ y, gx.spec((3, 4)), gx.spec((4,)))
    assert graph.outputs[0].type == TensorType(gx.float32, (3,))
    f = gx.compile(lambda x: x * 2, inputs=[gx.spec((3,))])
    assert f.graph().inputs[0].type == TensorType(gx.float32, (3,))
    assert f.graph(gx.spec((3,))) is f.graph()


def test_open_sizes_are_listed() -> None:
    f = gx.compile(lambda x: x * 2, inputs=[gx.spec((None, "time", 3))])
    with pytest.raises(ShapeError, match="open: batch, time"):
        f.graph()
    assert gx.spec((None, "time", 3)).resolve(2, {"time": 5}) == TensorType(gx.float32, (2, 5, 3))


def test_no_sizes() -> None:
    for size in (-1, 1.5, True, (2,)):
        with pytest.raises(ShapeError, match="a size in a spec") as error:
            gx.spec((size,))  # type: ignore[arg-type]
        assert error.value.where is not None and error.value.where.file == __file__
    with pytest.raises(ShapeError, match="sequence of sizes"):
        gx.spec(3)  # type: ignore[arg-type]
    assert gx.spec((np.int64(3),)).shape == (3,)  # type: ignore[arg-type]
    with pytest.raises(DTypeError):
        gx.spec((1,), "float31")


def test_python_numbers_and_lists_become_the_arrays_that_are_declared() -> None:
    f = gx.compile(lambda x, n: x * n, inputs=[gx.spec((None, 3)), gx.spec((), "float64")])
    assert f([[1, 2, 3], [4.5, 5, 6]], 2).tolist() == [[2, 4, 6], [9, 10, 12]]
    with pytest.raises(DTypeError, match="input x is declared as int64"):
        gx.compile(lambda x: x, inputs=[gx.spec((2,), "int64")])([1.5, 2])
    with pytest.raises(gx.TraceError, match="declared as an array"):
        gx.compile(lambda x: x, inputs=[gx.spec((2, 2))])([np.ones(2), np.ones(2)])
