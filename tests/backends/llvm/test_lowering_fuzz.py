"""Random kernels mean the same as native code as they do in the interpreter."""

from __future__ import annotations

import numpy as np
import pytest

from graphc.backends.kernels import long_sums, spread
from graphc.backends.llvm import stages
from graphc.backends.llvm.nests import plan
from graphc.backends.llvm.nests.values import Values
from graphc.backends.llvm.target import host_target
from graphc.dataclass import replace
from graphc.kernel import Accumulate, Const, Kernel, Store
from tests.backends.llvm.native import Compiled, compile_kernel
from tests.backends.llvm.random_kernels import RandomKernel
from tests.kernel_interpreter import run_kernel

ROUNDING = {"float16": 4e-3, "bfloat16": 3e-2, "float32": 2e-5, "float64": 1e-12}


def check(kernel: Kernel, arrays: list[np.ndarray], compiled: Compiled) -> None:
    expected = [a.copy() for a in arrays]
    inside = run_kernel(kernel, expected)
    for reverse in (False, True):
        results = [a.copy() for a in arrays]
        status = compiled(results, reverse)
        assert (status == 0) == inside
        for number, (result, wanted) in enumerate(zip(results, expected, strict=True)):
            tolerance = ROUNDING.get(result.dtype.name, 0)
            finite = np.abs(wanted.astype(np.float64))[np.isfinite(wanted.astype(np.float64))]
            largest = finite.max(initial=1.0)  # sums cancel
            np.testing.assert_allclose(
                result.astype(np.float64), wanted.astype(np.float64), tolerance, tolerance * largest,
                err_msg=f"slot {number} of\n{kernel}\n{compiled.native.plans}",
            )  # fmt: skip


@pytest.mark.parametrize("block", range(12))
@pytest.mark.parametrize("updates", [False, True], ids=["fresh", "in place"])
@pytest.mark.parametrize("eager", [False, True], ids=["usual", "eager"])
def test_random_kernels(block: int, eager: bool, updates: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    target = host_target()
    if eager:  # everything is worth cutting, and everything is wide
        monkeypatch.setattr(plan, "SERIAL_NS", 1.0)
        monkeypatch.setattr(plan, "GRAIN_NS", 10.0)
        monkeypatch.setattr(plan, "WIDE_ROWS", 2)
        monkeypatch.setattr(plan, "WIDE_LINE", 16)
        monkeypatch.setattr(stages, "PART_NS", 30.0)
        monkeypatch.setattr(spread, "MOST_TERMS", 7)
        monkeypatch.setattr(spread, "PART_TERMS", 3)
        monkeypatch.setattr(long_sums, "MOST", 4)
        monkeypatch.setattr(long_sums, "BLOCK", 3)
        monkeypatch.setattr(stages, "SEGMENTS_NS", 1.0)
        target = replace(target, vector_registers=2)
    for seed in range(block * 10, block * 10 + 10):
        random = RandomKernel(seed, updates)
        check(random.kernel, random.arrays(), compile_kernel(random.kernel, target))


def test_many_random_kernels_update_in_place() -> None:
    kernels = [RandomKernel(seed, updates=True).kernel for seed in range(120)]
    assert sum(bool(k.loaded & k.written) for k in kernels) > 40


@pytest.mark.parametrize("fault", ["neutral elements are zeros", "components change places"])
def test_planted_faults_of_what_is_accumulated_are_found(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    value_of = Values.accumulated

    def wrong(values: Values, store: Store) -> Accumulate:
        value = value_of(values, store)
        if fault == "neutral elements are zeros":
            return replace(value, init=tuple(Const(0, c.dtype) for c in value.init))
        return replace(value, inputs=value.inputs[::-1]) if len(set(map(str, value.init))) == 2 else value

    monkeypatch.setattr(Values, "accumulated", wrong)
    with pytest.raises((AssertionError, RuntimeError)):
        for seed in range(120):
            random = RandomKernel(seed)
            check(random.kernel, random.arrays(), compile_kernel(random.kernel))
