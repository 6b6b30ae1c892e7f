"""What the array API standard asks for beside the functions: devices, versions, `__array_namespace_info__`, copies."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc as gx
from graphc import DTypeError, OptionError, ShapeError, TraceError

X = np.array([[3, 1, 3], [0, 1, 0]], np.int32)


def test_namespace_info() -> None:
    info = gx.__array_namespace_info__()
    assert info.default_device() in info.devices()
    assert info.capabilities() == {
        "boolean indexing": True,
        "data-dependent shapes": True,
        "max dimensions": 64,
    }
    assert info.default_dtypes(device="cpu") == {
        "real floating": gx.float32,
        "integral": gx.int64,
        "indexing": gx.int64,
    }
    assert list(info.dtypes(kind=("bool", "real floating"))) == ["bool", "float32", "float64"]
    assert info.dtypes(kind="complex floating") == {} and len(info.dtypes()) == 11
    with pytest.raises(OptionError, match="CPU's memory"):
        info.dtypes(device="cuda")


def test_namespace_and_versions() -> None:
    x = gx.asarray(X)
    for version in (None, "2021.12", gx.__array_api_version__):
        assert x.__array_namespace__(api_version=version) is gx
        assert gx.Variable(x).__array_namespace__(api_version=version) is gx
    with pytest.raises(ValueError, match=r"2021\.12"):
        x.__array_namespace__(api_version="2020.01")


CREATION: list[Any] = [
    lambda **kw: gx.arange(3, **kw), lambda **kw: gx.asarray(X, **kw), lambda **kw: gx.empty(3, **kw),
    lambda **kw: gx.empty_like(X, **kw), lambda **kw: gx.eye(3, **kw), lambda **kw: gx.full(3, 1.0, **kw),
    lambda **kw: gx.full_like(X, 1, **kw), lambda **kw: gx.linspace(0, 1, 3, **kw), lambda **kw: gx.ones(3, **kw),
    lambda **kw: gx.ones_like(X, **kw), lambda **kw: gx.zeros(3, **kw), lambda **kw: gx.zeros_like(X, **kw),
]  # fmt: skip


@pytest.mark.parametrize("make", CREATION)
def test_devices_and_default_dtypes(make: Any) -> None:
    made = make(device="cpu", dtype=None)
    assert made.device == "cpu" and made.to_device("cpu") is made
    assert made.dtype == make().dtype == make(device=made.device).dtype
    gx.trace(lambda: make(device="cpu") + 1)
    with pytest.raises(ValueError, match="CPU's memory or on a GPU") as error:
        make(device="cuda")
    assert error.value.where.file == __file__  # type: ignore[attr-defined]


def test_moving_to_devices() -> None:
    v = gx.Variable(1.0)
    assert v.device == "cpu" and v.to_device("cpu").item() == 1 and gx.astype(X, "int8", device="cpu").shape == (2, 3)
    gx.trace(lambda x: gx.ones_like(x, device=x.device), X)
    for wrong in (lambda: v.to_device("cuda"), lambda: v.to_device("cpu", stream=1), lambda: gx.ones(2, device="meta")):
        with pytest.raises(OptionError):
            wrong()


def test_copies() -> None:
    x = gx.asarray(X)
    for copy in (None, True, False):
        assert gx.asarray(x, copy=copy).tolist() == X.tolist()
    assert gx.asarray(x, dtype=gx.float32, copy=True).dtype is gx.float32
    with pytest.raises(ValueError, match="copies"):
        gx.asarray(x, dtype="int8", copy=False)


def test_repeat_by_an_array() -> None:
    counts = np.array([0, 2, 1])
    expected = np.repeat(X, counts, axis=1)
    for same in (counts, counts.tolist(), gx.asarray(counts), gx.Variable(counts), counts.astype(np.uint8)):
        np.testing.assert_array_equal(gx.repeat(X, same, axis=1).numpy(), expected)
    np.testing.assert_array_equal(gx.compile(lambda x: gx.repeat(x, counts, axis=-1))(X).numpy(), expected)
    np.testing.assert_array_equal(gx.repeat(X, [1, 0, 2, 3, 0, 1]).numpy(), np.repeat(X, [1, 0, 2, 3, 0, 1]))
    np.testing.assert_array_equal(gx.repeat(X, np.array([2]), axis=0).numpy(), np.repeat(X, 2, axis=0))
    wrongs: list[Any] = [[1, 2], [-1, 0, 1], [1.5, 1, 1], [[1, 2, 3]]]
    for wrong in wrongs:
        with pytest.raises(ShapeError, match="repeat takes"):
            gx.repeat(X, wrong, axis=1)
    with pytest.raises(ShapeError, match="not known while tracing"):
        gx.trace(lambda x, n: gx.repeat(x, n, axis=1), X, counts)


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("n", [0, 1, 2, 7])
def test_diff_with_ends(axis: int, n: int) -> None:
    end = X[:1] if axis == 0 else X[:, :2]
    for prepend, append in ((end, None), (None, end), (end, end), (5, None), (None, 7), (5, end), (gx.asarray(5), 7)):
        given = {k: np.asarray(v) for k, v in (("prepend", prepend), ("append", append)) if v is not None}
        if n:
            np.testing.assert_array_equal(
                gx.diff(X, axis=axis, n=n, prepend=prepend, append=append).numpy(),
                np.diff(X, axis=axis, n=n, **given),
            )
    assert gx.diff(X, prepend=0).dtype is gx.int32 and gx.diff(X, append=0.5).dtype is gx.float32
    with pytest.raises(ShapeError):
        gx.diff(X, prepend=np.zeros((3, 1), np.int32))


def test_shapes_that_broadcast() -> None:
    assert gx.broadcast_shapes((2, 1), (3,), ()) == (2, 3) and gx.broadcast_shapes() == ()
    with pytest.raises(ShapeError):
        gx.broadcast_shapes((2,), (3,))
    with pytest.raises(ShapeError):
        gx.broadcast_shapes((-1,), (3,))


def test_can_cast_is_no_error() -> None:
    assert not gx.can_cast(gx.uint64, gx.int64) and not gx.can_cast(gx.int8, gx.uint64)
    assert gx.can_cast(gx.int64, gx.float32) and not gx.can_cast(gx.float32, gx.int64)


def test_sets() -> None:
    x = gx.asarray(X)
    values, indices, inverse, counts = gx.unique_all(x)
    expected = np.unique(X, return_index=True, return_inverse=True, return_counts=True)
    for got, want in zip((values, indices, inverse, counts), expected, strict=True):
        np.testing.assert_array_equal(got.numpy(), want)
    assert gx.unique_counts(x).counts.tolist() == counts.tolist() and gx.unique_values(X).tolist() == [0, 1, 3]
    assert gx.unique_inverse(x).inverse_indices.shape == X.shape
    assert gx.unique_values([np.nan, 1.0, np.nan]).shape == (3,)
    assert gx.unique_values(gx.asarray([2, 1, 2], dtype="bfloat16")).tolist() == [1, 2]
    assert [p.tolist() for p in gx.nonzero(x)] == [p.tolist() for p in np.nonzero(X)]
    for function in (gx.nonzero, gx.unique_all, gx.unique_counts, gx.unique_inverse, gx.unique_values):
        with pytest.raises(TraceError, match=rf"gx\.{function.__name__} gives"):
            gx.trace(function, X)
    with pytest.raises(ShapeError):
        gx.nonzero(3)


def test_isin() -> None:
    among = np.array([[1], [7]], np.int64)
    for function in (gx.isin, gx.compile(gx.isin)):
        np.testing.assert_array_equal(function(X, among).numpy(), np.isin(X, among))
        np.testing.assert_array_equal(function(X, among, invert=True).numpy(), np.isin(X, among, invert=True))
        assert function(X, 3).numpy().sum() == 2 and function(np.float32(np.nan), [np.nan]).item() is False
        assert not function(X, np.zeros((0,), np.int32)).numpy().any()


def test_nothing_is_made_of_none() -> None:
    none: Any = None
    with pytest.raises(DTypeError):
        gx.astype(X, none)


V = np.array([[1.5, -2.0, 0.0], [3.0, 4.0, -1.0]], np.float32)


@pytest.mark.parametrize("ord", [2, 1, 0, np.inf, -np.inf, 3, -1, 0.5])
@pytest.mark.parametrize(("axis", "keepdims"), [(-1, False), (0, True)])
def test_vector_norms(ord: float, axis: int, keepdims: bool) -> None:
    with np.errstate(divide="ignore"):
        expected = np.linalg.norm(V, ord, axis=axis, keepdims=keepdims)
    for x in (V, V.astype(np.float16)):
        found = gx.linalg.vector_norm(x, axis=axis, keepdims=keepdims, ord=ord)
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-3 if x is not V else 1e-6)
        assert found.numpy().dtype == x.dtype


@pytest.mark.parametrize("ord", ["fro", 1, -1, np.inf, -np.inf])
def test_matrix_norms(ord: Any) -> None:
    x = np.stack([V, 2 * V])
    for keepdims in (False, True):
        found = gx.linalg.matrix_norm(x, keepdims=keepdims, ord=ord)
        np.testing.assert_allclose(found.numpy(), np.linalg.norm(x, ord, axis=(-2, -1), keepdims=keepdims), rtol=1e-6)
    for wrong in (2, -2, "nuc", "fre"):
        with pytest.raises(OptionError, match="singular values"):
            gx.linalg.matrix_norm(x, ord=wrong)
    with pytest.raises(ShapeError):
        gx.linalg.matrix_norm(V[0])


def test_cross_products_and_matrix_powers() -> None:
    w = np.array([2.0, -1.0, 5.0], np.float32)
    for function in (gx.linalg.cross, gx.compile(gx.linalg.cross)):
        np.testing.assert_allclose(function(V, w).numpy(), np.cross(V, w), rtol=1e-6)
    np.testing.assert_allclose(gx.linalg.cross(V.T, V.T[::-1], axis=0).numpy(), np.cross(V, V[:, ::-1]).T, rtol=1e-6)
    with pytest.raises(ShapeError, match="three elements"):
        gx.linalg.cross(V, w[:2])
    m = np.array([[[2, 1], [0, 3]], [[1, 1], [1, 0]]], np.int32)
    for n in (0, 1, 2, 3, 10):
        np.testing.assert_array_equal(gx.linalg.matrix_power(m, n).numpy(), np.linalg.matrix_power(m, n))
    with pytest.raises(ShapeError, match="no inverse"):
        gx.linalg.matrix_power(m, -1)
    with pytest.raises(ShapeError, match="square"):
        gx.linalg.matrix_power(V, 2)
    assert gx.linalg.trace(m, dtype="int32").dtype is gx.int32 and gx.linalg.trace(m).dtype is gx.int64


@pytest.mark.parametrize("k", [-(2**70), -4, -3, -2, 0, 1, 2, 3, 4, 2**63])
def test_diagonals_far_outside(k: int) -> None:
    near = max(-9, min(k, 9))
    np.testing.assert_array_equal(gx.eye(2, 3, k=k).numpy(), np.eye(2, 3, k=near, dtype=np.float32))
    np.testing.assert_array_equal(gx.tril(V, k=k).numpy(), np.tril(V, k=near))
    np.testing.assert_array_equal(gx.triu(V, k=k).numpy(), np.triu(V, k=near))


def test_what_the_docs_leave_out() -> None:
    text = (Path(__file__).parents[2] / "docs" / "array_api.md").read_text()
    table = text.partition("## What is left out")[2].partition("In a trace")[0]
    cells = [row.split("|")[1] for row in table.splitlines() if row.startswith("|")]
    left_out = [name for cell in cells for name in re.findall(r"`([a-z_0-9.]+)`", cell)]
    assert len(left_out) >= 15
    for name in left_out:
        module, _, last = name.rpartition(".")
        assert not hasattr(gx.linalg if module else gx, last), name
    assert f"version {gx.__array_api_version__}" in text
