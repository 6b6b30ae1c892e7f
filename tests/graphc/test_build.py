"""Sizes that `build` is given: whole numbers, and no program whose sizes and addresses overflow 64 bits."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc as gx
from graphc import ShapeError, nn

FUNCTIONS: dict[str, tuple[Any, gx.Spec]] = {
    "elementwise": (gx.exp, gx.spec((None,))),
    "bytes": (lambda x: x + x, gx.spec((None,), "int8")),
    "a layer": (nn.Linear(3, 5), gx.spec((None, 3))),
    "a sum": (gx.sum, gx.spec((None,))),
    "means": (lambda x: gx.mean(x, axis=0), gx.spec((None, 3))),
    "squared": (lambda x: x[:, None] * x, gx.spec((None,))),
    "widened": (lambda x: gx.broadcast_to(x, (1 << 20, *x.shape)), gx.spec((None,))),
    "joined": (lambda x: gx.concat([x, x]), gx.spec((None,))),
    "flat": (lambda x: gx.reshape(x, -1), gx.spec((None, 3))),
    "random": (lambda x: nn.dropout(x, 0.5), gx.spec((None,))),
    "temporary": (lambda x: nn.softmax(x @ gx.ones((3, 1 << 20))), gx.spec((None, 3))),
}

# Of these some number of bytes or elements of the functions above, taken modulo 2⁶⁴, is small.
WRAPPING = [
    1537228672809129302, 3074457345618258603, 6148914691236517206, 922337203685477581, 2**42, 2**44 + 1, 2**45, 2**60,
    2**61, 2**62, 2**62 // 3 + 1, 2**63 - 1, 2**63, 2**64, 2**64 + 1, 10**30,
]  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_sizes_that_overflow_are_refused(name: str, tmp_path: Path) -> None:
    function, spec = FUNCTIONS[name]
    compiled = gx.compile(function, inputs=[spec], backend="llvm")
    for size in WRAPPING:
        made = size * math.prod(n for n in spec.shape if isinstance(n, int)) * spec.dtype.itemsize
        if made <= 2**46:  # the input fits; what is made of it may
            try:
                compiled.build(tmp_path / "file", kind="package", batch=size)
            except ShapeError:
                assert not (tmp_path / "file").exists()
            (tmp_path / "file").unlink(missing_ok=True)
        else:
            with pytest.raises(
                ShapeError, match=r"at most 2⁶² bytes|terabytes|less than 2\*\*32 numbers"
            ) as error:
                compiled.build(tmp_path / "file", kind="package", batch=size)
            assert error.value.where is not None and error.value.where.file == __file__


@pytest.mark.parametrize("size", [-1, True, False, 2.0, "3", [1], np.float32(2), np.int64(-4)])
def test_sizes_that_are_none(size: Any, tmp_path: Path) -> None:
    batched = gx.compile(gx.exp, inputs=[gx.spec((None,))])
    named = gx.compile(gx.exp, inputs=[gx.spec(("time",))])
    for build in (
        lambda: batched.build(tmp_path / "file", kind="package", batch=[size]),
        lambda: named.build(tmp_path / "file", kind="package", sizes={"time": size}),
    ):
        with pytest.raises(ShapeError, match="a size is a whole number ≥ 0") as error:
            build()
        assert error.value.where is not None and error.value.where.file == __file__
    assert not (tmp_path / "file").exists()


def test_sizes_by_name() -> None:
    with pytest.raises(ShapeError, match="by name"):
        gx.compile(gx.exp, inputs=[gx.spec(("time",))]).build("file", kind="package", sizes=3)


def test_numpys_numbers_and_zero_are_sizes(tmp_path: Path) -> None:
    for size in (np.int64(2), np.uint8(2), 0):
        gx.compile(gx.exp, inputs=[gx.spec((None,))]).build(tmp_path / "file", kind="package", batch=size)
        assert gx.load(tmp_path / "file")(np.ones(int(size), np.float32)).shape == (int(size),)
