"""Functions that make arrays: dtypes that are asked for, exact ends, and sizes that are none."""

from collections.abc import Callable

import numpy as np
import pytest

import graphc as gx
from graphc import DTypeError, GraphcError, ShapeError


def test_arange_in_the_dtype_asked_for() -> None:
    steps = gx.arange(0, 3, 0.5, dtype="int64")
    assert steps.dtype is gx.int64 and steps.tolist() == [0, 0, 1, 1, 2, 2]
    assert gx.arange(5, 0, -1, dtype="uint8").tolist() == [5, 4, 3, 2, 1]
    assert gx.arange(2**64 - 2, 2**64, dtype="uint64").tolist() == [2**64 - 2, 2**64 - 1]
    with pytest.raises(DTypeError, match="must fit"):
        gx.arange(300, dtype="uint8")


@pytest.mark.parametrize(
    ("start", "stop", "step"),
    [
        (0, 2**62, 2**62 - 1),
        (-(2**63), 2**63 - 1, 2**62 + 3),
        (0, 2**60 + 1, 2**60),
        (2**60 + 1, 0, -(2**60)),
        (0, 3 * (2**53 + 1) + 1, 2**53 + 1),
        (0.0, 2.0**60, 2**59),
        (5, 5, 2**62),
    ],
)
def test_arange_counts_large_steps_exactly(start: int, stop: int, step: int) -> None:
    wanted = list(range(int(start), int(stop), int(step)))
    assert gx.arange(start, stop, step, dtype="int64").tolist() == wanted


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_linspace_ends_with_stop(dtype: str) -> None:
    for start, stop, num in ((0.1, 0.7, 3), (0, 1, 100_000), (3, -0.3, 7)):
        for call in (gx.linspace, gx.compile(lambda a, b, n, dtype: gx.linspace(a, b, n, dtype=dtype))):
            found = call(start, stop, num, dtype=dtype).numpy().astype(np.float64)
            assert found[-1] == gx.asarray(stop, dtype=dtype).item()
            assert found.min() == min(found[0], found[-1]) and found.max() == max(found[0], found[-1])
    assert gx.linspace(3, 5, 1).tolist() == [3] and gx.linspace(0, 1, 0).shape == (0,)


@pytest.mark.parametrize(
    "call",
    [
        lambda: gx.linspace(0, 1, -1),
        lambda: gx.zeros(3.0),  # type: ignore[arg-type]
        lambda: gx.zeros(True),
        lambda: gx.zeros((gx.asarray(2),)),  # type: ignore[arg-type]
        lambda: gx.arange(0, float("inf")),
        lambda: gx.arange(10**400),
        lambda: gx.arange(0.0, 1e308, 1e-10),
        lambda: gx.eye(-3),
        lambda: gx.ones(2, dtype="f99"),
    ],
)
def test_errors_name_the_users_line(call: Callable[[], object]) -> None:
    with pytest.raises(GraphcError) as error:
        call()
    assert isinstance(error.value, ShapeError | DTypeError)
    assert error.value.where is not None and error.value.where.file == __file__
