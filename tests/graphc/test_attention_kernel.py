"""Kernels with several products, each over axes of its own: what they mean, and that they are well formed."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from graphc.dataclass import replace
from graphc.errors import CompileError
from graphc.kernel import Dot, Kernel, KernelKind, Reduce
from graphc.types import bfloat16, float16
from graphc.verify_kernel import verify_kernel
from tests.attention_kernels import CASES, FORMS, Attention, forward, memory, reference
from tests.kernel_interpreter import run_kernel


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_oracle_computes_the_formula(case: Attention, form: str) -> None:
    _check(case, form, 2e-5)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(float16, 4e-3), (bfloat16, 3e-2)], ids=str)
def test_16_bit_operands_are_summed_in_float32(form: str, dtype, tolerance: float) -> None:
    _check(dataclasses.replace(CASES["all masks"], dtype=dtype), form, tolerance)


def _check(case: Attention, form: str, tolerance: float) -> None:
    kernel = FORMS[form](case)
    assert kernel.kind is KernelKind.ATTENTION
    verify_kernel(kernel)
    arrays = memory(case, kernel, np.random.default_rng(1))
    wanted = reference(case, form, {s.name: arrays[s.name] for n, s in enumerate(kernel.slots) if n in kernel.loaded})
    assert run_kernel(kernel, [arrays[s.name] for s in kernel.slots])
    for name, value in wanted.items():
        found = arrays[name].astype(np.float64)
        np.testing.assert_allclose(found, value.reshape(-1), rtol=tolerance, atol=tolerance, err_msg=name)


def test_groups_of_axes_follow_from_what_is_reduced() -> None:
    kernel = forward(Attention(heads=4, group=2, causal=True))
    names = [[a.name for a in group] for group in (kernel.parallel, kernel.row, kernel.contracted)]
    assert names == [["b", "x", "y", "i", "c"], ["j"], ["d"]]
    first, second = (v for v in kernel.values if isinstance(v, Dot))
    assert [a.name for a in (*first.axes, *second.axes)] == ["d", "j"]


def test_the_text_says_what_each_runs_over() -> None:
    text = str(forward(Attention(causal=True)))
    assert text.startswith("kernel attention parallel(b:2, x:2, i:16, c:8) row(j:16) contracted(d:8)")
    assert text.count(" over d") == 1 and text.count(" over j") == 3


@pytest.mark.parametrize(
    ("fault", "rule"),
    [
        (lambda k: replace(k, parallel=(*k.parallel, *k.row), row=()), "groups of axes"),
        (lambda k: replace(k, parallel=k.parallel[:-1]), "not declared"),
        (lambda k: replace(k, values=k.values[::-1]), "before what it needs"),
        (lambda k: replace(k, stores=(replace(k.stores[-1], index=k.stores[0].index),)), "varies over c too"),
        (lambda k: replace(k, slots=(replace(k.slots[0], size=3), *k.slots[1:])), "leaves its slot"),
    ],
)
def test_faults_are_found(fault, rule: str) -> None:
    with pytest.raises(CompileError, match=rule):
        verify_kernel(fault(forward(Attention(causal=True))))


def test_what_has_one_product_has_one_contraction() -> None:
    kernel = forward(Attention())
    inner = next(n for n, v in enumerate(kernel.values) if isinstance(v, Dot))
    alone = Kernel(kernel.slots, (), (), kernel.contracted, kernel.values[: inner + 1], ())
    assert alone.kind is KernelKind.CONTRACTION
    assert any(isinstance(v, Reduce) for v in kernel.values)
