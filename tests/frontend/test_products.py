"""What products are summed in: `dtype=` of matmul, tensordot and einsum."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import graphc as gx
from graphc import ops
from graphc.types import DType, bfloat16, float16, float32, float64, int8, int32, int64, uint8

FORMS: dict[str, Callable[..., gx.Tensor]] = {
    "matmul": gx.matmul,
    "tensordot": lambda a, b, dtype: gx.tensordot(a, b, axes=1, dtype=dtype),
    "einsum": lambda a, b, dtype: gx.einsum("ij,jk->ik", a, b, dtype=dtype),
}
PAIRS: list[tuple[DType, DType, DType]] = [
    (int8, int8, int32), (uint8, int8, int32), (int8, uint8, int32), (bfloat16, bfloat16, float32),
    (float16, float16, float32),
]  # fmt: skip


def _numbers(dtype: DType, shape: tuple[int, ...]) -> np.ndarray:
    random = np.random.default_rng(len(shape))
    numbers = random.integers(-100, 100, shape) if dtype.is_integer else random.standard_normal(shape)
    return numbers.astype(dtype.numpy)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtypes", PAIRS, ids=lambda d: "-".join(map(str, d)))
def test_narrow_numbers_are_summed_in_the_dtype_asked_for(form: str, dtypes: tuple[DType, DType, DType]) -> None:
    """At once and compiled as NumPy sums them, and by one op that takes them as they are."""
    left, right, result = dtypes
    a, b = _numbers(left, (5, 70)), _numbers(right, (70, 9))
    function = gx.compile(lambda a, b: FORMS[form](a, b, dtype=result))
    expected = np.matmul(a.astype(np.float64), b.astype(np.float64))
    for got in (FORMS[form](a, b, dtype=result), function(a, b)):
        assert got.dtype == result
        np.testing.assert_allclose(got.numpy(), expected, rtol=1e-5, atol=1e-5)
    assert [n.op for n in function.graph(a, b).nodes if n.inputs] == [ops.dot_general]


def test_other_dtypes_are_converted_first() -> None:
    a, b = _numbers(int32, (3, 4)), _numbers(int8, (4, 2))
    assert gx.matmul(a, b, dtype="float64").dtype == float64
    np.testing.assert_array_equal(gx.matmul(a, b, dtype=int64).numpy(), np.matmul(a, b, dtype=np.int64))
    row, matrices = _numbers(int8, (4,)), _numbers(uint8, (2, 4, 3))
    found = gx.matmul(row, matrices, dtype=int32)
    np.testing.assert_array_equal(found.numpy(), np.matmul(row, matrices, dtype=np.int32))


def test_numbers_that_were_widened_are_multiplied_as_they_were() -> None:
    a, b = _numbers(bfloat16, (5, 7)), _numbers(bfloat16, (7, 9))
    graph = gx.compile(lambda a, b: gx.astype(a, "float32") @ gx.astype(b, "float32")).graph(a, b)
    (product,) = (n for n in graph.nodes if n.op is ops.dot_general)
    assert product.dtype is float32 and [i.dtype for i in product.inputs] == [bfloat16, bfloat16]


@pytest.mark.parametrize("dtype", [bfloat16, float16])
def test_gradients_are_summed_wide_and_rounded_once(dtype: DType) -> None:
    x, w = _numbers(dtype, (300, 7)), _numbers(dtype, (7, 3))
    gradient = gx.grad(lambda w: gx.sum(gx.matmul(x, w, dtype="float32") ** 2))(w)
    wide, factor = x.astype(np.float64), w.astype(np.float64)
    expected = 2 * wide.T @ (wide @ factor)
    assert gradient.dtype == dtype
    np.testing.assert_allclose(gradient.numpy().astype(np.float64), expected, rtol=4e-3 if dtype is bfloat16 else 5e-4)


def test_einsum_sums_integers_in_their_own_dtype() -> None:
    a = _numbers(int8, (4, 5))
    assert gx.einsum("ij,kl->kl", a, a).dtype == int8
    np.testing.assert_array_equal(gx.einsum("ij->i", a).numpy(), np.einsum("ij->i", a))


def test_a_result_that_products_are_not_summed_to_is_refused() -> None:
    def node(dtype: DType) -> gx.ir.Node:
        return ops.input(type=gx.types.TensorType(dtype, (2, 2)), name="x")

    refused = ((int8, uint8, int8), (float32, float32, float64), (int8, int8, float32), (int8, int32, int32))
    for left, right, result in refused:
        with pytest.raises(gx.DTypeError, match="if asked"):
            ops.dot_general(node(left), node(right), contract=((1,), (0,)), batch=((), ()), result=result)
