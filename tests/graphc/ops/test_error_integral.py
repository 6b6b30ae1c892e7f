"""The error function of arrays against the C library's."""

import math

import numpy as np
import pytest

from graphc.ops.error_integral import erf, erfc

X = np.concatenate(
    [
        np.linspace(-12, 12, 20001, dtype=np.float32),
        np.geomspace(1e-40, 3e38, 2000, dtype=np.float32),
        np.array([0.5, np.nextafter(0.5, 0), -0.0, 0, np.inf, -np.inf, np.nan], np.float32),
    ]
).astype(np.float64)


@pytest.mark.parametrize("function, exact", [(erf, math.erf), (erfc, math.erfc)])
def test_right_to_a_part_in_a_million_millions(function: object, exact: object) -> None:
    with np.errstate(all="ignore"):
        got = function(X, np.dtype(np.float32))  # type: ignore[operator]
        expected = np.array([exact(x) for x in X])  # type: ignore[operator]
    np.testing.assert_allclose(got, expected, rtol=2e-12, atol=1e-300)
    assert (np.signbit(got) == np.signbit(expected))[:-1].all()
    assert (function(X, np.dtype(np.float64))[:-1] == expected[:-1]).all()  # type: ignore[operator]
