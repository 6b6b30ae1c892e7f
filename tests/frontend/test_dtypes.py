"""Functions about dtypes."""

import numpy as np
import pytest

import graphc as gx


def test_result_type() -> None:
    assert gx.result_type(gx.ones(2), np.ones(2), 1) is gx.float64
    assert gx.result_type("int8", gx.uint8) is gx.int16
    assert gx.result_type(gx.int32, 2.5) is gx.float32
    assert gx.result_type(1, True) is gx.int64
    assert gx.result_type(gx.Variable(1.0), gx.float16) is gx.float32


def test_can_cast() -> None:
    assert (
        gx.can_cast("int8", "int16") and gx.can_cast(gx.ones(1), gx.float64) and gx.can_cast(gx.bool, "bool")
    )
    assert not gx.can_cast("int16", "int8") and not gx.can_cast("float32", "int64")


def test_isdtype() -> None:
    assert gx.isdtype(gx.int8, "signed integer") and gx.isdtype("uint8", ("real floating", "integral"))
    assert gx.isdtype(gx.float32, gx.float32) and not gx.isdtype(gx.bool, "numeric")
    with pytest.raises(ValueError, match="no such kind of dtypes"):
        gx.isdtype(gx.int8, "whole")


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_finfo(dtype: str) -> None:
    ours, numpys = gx.finfo(dtype), np.finfo(dtype)
    expected = [numpys.eps, numpys.max, numpys.min, numpys.smallest_normal]
    assert ours.bits == numpys.bits
    assert [ours.eps, ours.max, ours.min, ours.smallest_normal] == [float(x) for x in expected]


def test_more_limits() -> None:
    assert gx.finfo("bfloat16").eps == 2**-7 and gx.finfo(gx.ones(1)).dtype is gx.float32
    assert (gx.iinfo("uint8").max, gx.iinfo(gx.int64).min, gx.iinfo("int8").bits) == (255, -(2**63), 8)
    for function, dtype in ((gx.finfo, "int8"), (gx.iinfo, "float32"), (gx.iinfo, "bool")):
        with pytest.raises(ValueError, match="is for"):
            function(dtype)


def test_constants_and_namespace() -> None:
    assert (gx.pi, gx.e, gx.inf, gx.newaxis) == (np.pi, np.e, np.inf, None) and gx.nan != gx.nan
    assert gx.ones(2).__array_namespace__() is gx and gx.ones(2)[gx.newaxis].shape == (1, 2)
