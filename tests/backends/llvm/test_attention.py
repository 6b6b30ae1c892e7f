"""Attention kernels in native code mean what the interpreter says, for every form, mask, size and dtype."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from graphc.backends.llvm.attention.plan import Plan, plan_attention
from graphc.backends.llvm.target import Target, describe, host_target
from graphc.errors import UnsupportedError
from graphc.index import Index
from graphc.kernel import Kernel, Slot
from graphc.types import DType, bfloat16, bool_, float16, float32
from tests.attention_kernels import CASES, FORMS, Attention, memory
from tests.backends.llvm.attention_forms import MORE_FORMS, below_maxima, weighted_keys, weighted_queries
from tests.backends.llvm.native import compile_kernel
from tests.kernel_interpreter import run_kernel

FEW = {"one query", "one key"}
ODD = Attention(batch=1, heads=2, queries=83, keys=149, depth=19, width=70, causal=True, bias=True)


def check(kernel: Kernel, case: Attention, tolerance: float = 2e-5) -> None:
    """Native code, in both orders of units, against the interpreter."""
    made = memory(case, kernel, np.random.default_rng(0))
    compare(kernel, [made[s.name] for s in kernel.slots], tolerance)


def compare(kernel: Kernel, arrays: list[np.ndarray], tolerance: float, target: Target | None = None) -> None:
    expected = [a.copy() for a in arrays]
    run_kernel(kernel, expected)
    compiled = compile_kernel(kernel, target)
    results = []
    for reverse in (False, True):
        actual = [a.copy() for a in arrays]
        assert compiled(actual, reverse) == 0
        results.append(actual)
    for slot, first, second, wanted in zip(kernel.slots, *results, expected, strict=True):
        where = f"{slot.name} of\n{kernel}\n{compiled.native.plans}"
        np.testing.assert_array_equal(first.view(np.uint8), second.view(np.uint8), err_msg=where)
        scale = float(np.nan_to_num(np.abs(wanted.astype(np.float64)), posinf=0, neginf=0).max(initial=1.0))
        np.testing.assert_allclose(
            first.astype(np.float64), wanted.astype(np.float64), tolerance, tolerance * scale, err_msg=where
        )


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("case", [c for c in CASES if c not in FEW])
def test_forms_and_cases(case: str, form: str) -> None:
    check(FORMS[form](CASES[case]), CASES[case])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", [float32, float16, bfloat16], ids=str)
def test_dtypes_and_tails(dtype: DType, form: str) -> None:
    case = replace(ODD, dtype=dtype)
    check(FORMS[form](case), case, 2e-5 if dtype is float32 else 2e-2)


MORE_CASES = {
    "groups": Attention(heads=6, group=3, queries=37, keys=53, causal=True),
    "several blocks": Attention(batch=1, heads=4, group=2, queries=130, keys=217, depth=33, width=80),
    "window": Attention(batch=1, queries=200, keys=200, causal=True, window=40, safe=True, bias=True),
    "few": Attention(queries=5, keys=3, depth=2, width=2),
}


@pytest.mark.parametrize("form", MORE_FORMS)
@pytest.mark.parametrize("case", MORE_CASES)
def test_more_forms(case: str, form: str) -> None:
    kernel, rng = MORE_FORMS[form](MORE_CASES[case]), np.random.default_rng(0)

    def content(slot: Slot) -> np.ndarray:
        if slot.dtype is bool_:
            return rng.random(slot.size) < 0.7
        return rng.integers(0, 16, slot.size) if slot.dtype.is_integer else rng.standard_normal(slot.size)

    compare(kernel, [content(s).astype(s.dtype.numpy) for s in kernel.slots], 2e-5)


@pytest.mark.parametrize("group", [1, 2])
@pytest.mark.parametrize("queries", [70, 200])
def test_rows_masked_throughout_weight_all_alike(queries: int, group: int) -> None:
    """Where the maximum is -inf, masked scores count: none of them is skipped then."""
    case = Attention(heads=2, group=group, queries=queries, keys=90, causal=True)
    kernel = below_maxima(case)
    rng = np.random.default_rng(0)
    made = {s.name: rng.standard_normal(s.size).astype(np.float32) for s in kernel.slots}
    run_kernel(kernel, [made[s.name] for s in kernel.slots])
    masked = np.isneginf(made["m"].reshape(2, 2, queries))
    assert masked[:, :, :110].all() == (queries == 200) and not masked[:, :, 110:].any()
    compare(kernel, [made[s.name] for s in kernel.slots], 2e-5)
    for kernel in (weighted_keys(case), weighted_queries(case)):
        arrays = [rng.standard_normal(s.size).astype(np.float32) for s in kernel.slots]
        arrays = [made.get(s.name, a) if s.name in "qkm" else a for s, a in zip(kernel.slots, arrays, strict=True)]
        assert conditions_of(kernel)
        compare(kernel, arrays, 2e-5)


def conditions_of(kernel: Kernel) -> tuple[Index, ...]:
    plan = plan_attention(kernel, host_target())
    assert isinstance(plan, Plan)
    return plan.conditions


NARROW = {
    "avx2": ("haswell", "+avx,+avx2,+fma,+f16c,+sse4.2"),
    "sse": ("x86-64", ""),
}


@pytest.mark.skipif(not host_target().is_x86, reason="runs code for x86")
@pytest.mark.parametrize("machine", NARROW)
@pytest.mark.parametrize("form", FORMS)
def test_other_machines(form: str, machine: str) -> None:
    kernel = FORMS[form](ODD)
    made = memory(ODD, kernel, np.random.default_rng(0))
    target = describe("x86_64-unknown-linux-gnu", *NARROW[machine])
    compare(kernel, [made[s.name] for s in kernel.slots], 2e-5, target)


def test_growing_maxima_and_rows_of_nothing() -> None:
    """Maxima that grow from block to block by far, from the lowest scores on, and rows where all that is -inf."""
    case = Attention(batch=1, heads=1, queries=70, keys=600, depth=2, width=3, bias=True)
    for safe in (False, True):
        kernel = FORMS["forward"](replace(case, safe=safe))
        made = memory(case, kernel, np.random.default_rng(0))
        bias = made["bias"].reshape(70, 600)
        bias += np.linspace(-3000, 3000, 600, dtype=np.float32)
        bias[3] = -np.inf
        bias[4, :500] = -np.inf
        bias[5] = np.finfo(np.float32).min
        bias[6, 17] = np.inf
        compare(kernel, [made[s.name] for s in kernel.slots], 1e-4)


@pytest.mark.parametrize("case", sorted(FEW))
def test_scores_of_one_row_are_refused(case: str) -> None:
    reason = plan_attention(FORMS["forward"](CASES[case]), host_target())
    assert isinstance(reason, str)
    with pytest.raises(UnsupportedError, match=reason):
        compile_kernel(FORMS["forward"](CASES[case]))


def test_masked_blocks_are_skipped() -> None:
    """A unit walks as far as its mask reaches, and those that walk farthest come first."""
    case = Attention(queries=512, keys=512, causal=True)
    plans = {form: plan_attention(make(case), host_target()) for form, make in FORMS.items()}
    for form, plan in plans.items():
        assert isinstance(plan, Plan)
        lengths = [plan.live(n * plan.width) for n in range(plan.blocks)]
        assert sorted(lengths) == [plan.width * (n + 1) for n in range(plan.blocks)]
        assert plan.descends == (form != "key gradients")


def test_a_window_bounds_the_walk() -> None:
    plan = plan_attention(FORMS["forward"](Attention(queries=512, keys=512, causal=True, window=30)), host_target())
    assert isinstance(plan, Plan)
    assert max(plan.live(n * plan.width) for n in range(plan.blocks)) <= plan.width + 30


def test_products_too_wide_are_refused() -> None:
    reason = plan_attention(FORMS["forward"](Attention(queries=64, keys=64, depth=4000)), host_target())
    assert reason == "products so wide that they leave the caches"
