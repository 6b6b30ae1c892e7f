"""NumPy's functions on tensors: ufuncs give Tensors, others arrays, and symbolic tensors name graphc's function."""

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import graphc as gx
from graphc import DTypeError, TraceError
from graphc.frontend import interop
from graphc.types import DTYPES

T: Any = gx.asarray(np.array([[0.5, 1.0, 2.0], [3.0, 4.0, 5.0]], np.float32))
A: Any = T.numpy() * 2
V: Any = gx.Variable(T)
I: Any = gx.asarray(np.array([[1, 2, 3], [4, 5, 6]], np.int32))


def _inputs(ufunc: np.ufunc, x: Any) -> tuple[Any, ...]:
    return (x,) if ufunc.nin == 1 else (x.T, x) if ufunc is np.matmul else (x, x)


@pytest.mark.parametrize("ufunc", [*interop._OPERATORS, *interop._FUNCTIONS], ids=lambda u: u.__name__)
def test_ufuncs_that_graphc_has(ufunc: np.ufunc) -> None:
    x = I if "bit" in ufunc.__name__ or "shift" in ufunc.__name__ or ufunc is np.invert else T
    with np.errstate(all="ignore"):
        expected = ufunc(*_inputs(ufunc, x.numpy()))
    for found in (ufunc(*_inputs(ufunc, x)), ufunc(*_inputs(ufunc, gx.Variable(x)))):
        assert isinstance(found, gx.Tensor) and found.numpy().dtype == expected.dtype
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5)


@pytest.mark.parametrize("ufunc", interop._FUNCTIONS, ids=lambda u: u.__name__)
def test_symbolic_tensors_name_the_function(ufunc: np.ufunc) -> None:
    with pytest.raises(TraceError, match=rf"use gx\.{interop._FUNCTIONS[ufunc]}\b") as error:
        gx.trace(lambda x: ufunc(*_inputs(ufunc, x)), T)
    assert error.value.where is not None and error.value.where.file == __file__


@pytest.mark.parametrize("ufunc", interop._OPERATORS, ids=lambda u: u.__name__)
def test_operators_with_arrays_work_in_traces(ufunc: np.ufunc) -> None:
    x = I if "bit" in ufunc.__name__ or "shift" in ufunc.__name__ else T
    array = x.numpy().T if ufunc is np.matmul else x.numpy()
    found = gx.compile(lambda t: ufunc(array, t))(x)
    np.testing.assert_allclose(found.numpy(), ufunc(array, x.numpy()), rtol=1e-6)


def test_dtypes_are_those_of_graphc() -> None:
    found: Any = np.exp(I)
    assert found.dtype is gx.float32 and (np.ones(3, np.int64) * T).dtype is gx.float32
    narrow: Any = gx.asarray([1.0], dtype="bfloat16")
    assert np.exp(narrow).dtype is gx.bfloat16
    assert np.add(T, 1).dtype is gx.float32 and np.add(I, 1).dtype is gx.int32


def test_other_ufuncs_methods_and_options_are_numpys() -> None:
    fraction, exponent = np.frexp(T)
    assert isinstance(fraction, gx.Tensor) and exponent.dtype is gx.int32
    assert np.logical_and(T, I).dtype is gx.bool and np.hypot(T, T, dtype=np.float64).dtype is gx.float64
    assert np.add.reduce(T, axis=1).tolist() == [3.5, 12.0] and np.multiply.outer(T, T).ndim == 4
    quotient, remainder = divmod(A, T)
    assert (quotient.numpy() == 2).all() and (remainder.numpy() == 0).all()
    assert np.add.reduce(T, axis=1, where=I > 3).tolist() == [0, 12]


def test_arrays_in_place() -> None:
    array = A.copy()
    same = array
    array += T
    array *= gx.Variable(2.0)
    assert array is same and (array == 2 * (A + T.numpy())).all()
    np.add.at(array, ([0], [0]), gx.asarray([1.0]))
    assert array[0, 0] == 2 * (A[0, 0] + 0.5) + 1
    whole = np.arange(3)
    with pytest.raises(TypeError, match="same_kind"):
        whole += gx.asarray([0.5, 0.5, 0.5])
    with pytest.raises(TraceError, match=r"a = a \+ tensor"):
        gx.trace(lambda t: array.__iadd__(t), T)


@pytest.mark.parametrize(
    "write",
    [
        lambda: np.add(A, A, out=T),
        lambda: np.add.at(T, [0], 1),
        lambda: np.exp(A, out=V),
        lambda: np.mean(A, axis=0, out=T),
    ],
)
def test_nothing_writes_to_tensors(write: Any) -> None:
    with pytest.raises(TraceError, match="immutable"):
        write()


FUNCTIONS: list[tuple[str, Any]] = [
    ("concat", lambda x: np.concatenate([x, x])),
    ("stack", lambda x: np.stack((x, x), axis=1)),
    ("mean", lambda x: np.mean(x)),
    ("sum", lambda x: np.sum(x, axis=0)),
    ("max", lambda x: np.max(x)),
    ("matmul", lambda x: np.dot(x, x.T)),
    ("where", lambda x: np.where(x > 1, x, 0)),
    ("permute_dims", lambda x: np.transpose(x)),
    ("linalg.vector_norm", lambda x: np.linalg.norm(x)),
    ("linalg.trace", lambda x: np.trace(x)),
    ("einsum", lambda x: np.einsum("ij->i", x)),
    ("clip", lambda x: np.clip(x, 1, 2)),
    ("full_like", lambda x: np.full_like(x, 2)),
    ("functions of graphc", lambda x: np.median(x)),
    ("functions of graphc", lambda x: np.frexp(x)[0]),
    ("functions of graphc", lambda x: np.add.reduce(x)),
]


@pytest.mark.parametrize(("ours", "call"), FUNCTIONS, ids=[name for name, _ in FUNCTIONS])
def test_functions_give_arrays(ours: str, call: Any) -> None:
    found = call(T)
    assert isinstance(found, np.ndarray | np.generic | gx.Tensor)
    np.testing.assert_allclose(np.asarray(found), call(T.numpy()))
    with pytest.raises(TraceError, match=ours) as error:
        gx.trace(call, T)
    assert error.value.where is not None and error.value.where.file == __file__


def test_what_types_know() -> None:
    gx.trace(lambda x: gx.ones(np.shape(x)) * (np.ndim(x) + np.size(x)), T)
    assert (np.shape(T), np.ndim(T), np.size(gx.Variable(T))) == ((2, 3), 2, 6)


def test_foreign_values_come_out_as_they_are() -> None:
    masked = np.ma.array(np.ones(3), mask=[True, False, False])
    assert (masked * gx.ones(3)).mask.tolist() == [True, False, False]
    assert isinstance([1.0, 2.0] * gx.ones(2), gx.Tensor) and isinstance(np.float64(2) * T, gx.Tensor)
    with pytest.raises(DTypeError):
        np.add(T, 1j)


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=str)
def test_dtypes_equal_what_names_them(dtype: gx.DType) -> None:
    names: list[Any] = [dtype.name, dtype.numpy, dtype.numpy.type]
    for name in names:
        assert dtype == name and name == dtype
        assert [d for d in DTYPES.values() if d == name] == [dtype]
    assert hash(dtype) == hash(dtype.name)
    assert np.zeros(2, dtype).dtype == dtype.numpy and np.dtype(dtype) == dtype.numpy
    assert np.ones(2).astype(dtype).dtype == dtype
    for other in (pickle.loads(pickle.dumps(dtype)), copy.deepcopy(dtype), copy.copy(dtype)):
        assert other is dtype


def test_dtypes_differ_from_all_else() -> None:
    pythons: list[tuple[gx.DType, Any]] = [(gx.float32, float), (gx.int64, int), (gx.bool, bool)]
    assert all(ours == pythons_ for ours, pythons_ in pythons) and gx.float64 != pythons[0][1]
    for other in (None, "float", "f4", 32, object, str, np.floating, np.dtype(">f4"), np.complex64, gx.float64):
        assert gx.float32 != other
    with pytest.raises(DTypeError, match="no such dtype"):
        gx.spec((2,), None)  # type: ignore[arg-type]


def test_dtypes_are_static_arguments() -> None:
    seen: list[Any] = []

    @gx.compile
    def convert(x: Any, dtype: Any) -> gx.Tensor:
        seen.append(dtype)
        return gx.astype(x, dtype)

    names: list[Any] = [gx.float32, "float32", np.float32, np.dtype("float32"), float]
    for name in (*names, *names):
        assert convert(np.ones(3), name).dtype is gx.float32
    assert [type(s) for s in seen] == [type(n) for n in names]  # equal, but not the same to who looks closely
    for kind in (np.float32, np.ndarray, gx.Tensor):
        with pytest.raises(DTypeError, match="expected an array"):
            gx.asarray(kind)
