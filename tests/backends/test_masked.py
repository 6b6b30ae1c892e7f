"""What masks leave of scores: the affine conditions that are found, and that nothing is left where they fail."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from graphc.backends.kernels.masked import conditions
from graphc.index import Index
from graphc.kernel import Dot, Kernel, Reduce
from tests.attention_kernels import CASES, FORMS, Attention, Scores, memory
from tests.build_kernels import Build
from tests.kernel_interpreter import _Run

CASE = Attention(batch=1, heads=1, queries=9, keys=9)
Mask = Callable[[Build, Index, Index], int]


def masked(mask: Mask, also: Mask | None = None) -> tuple[Kernel, Index, Index]:
    """Weights of scores that a mask takes to -inf. `also`: where that holds, scores are doubled."""
    s = Scores(CASE)
    b = s.b
    if also is not None:
        doubled = b.apply(lambda s, x: x + x, s.t)
        s.t = b.apply(lambda s, m, x, y: s.select(m, x, y), also(b, s.i, s.j), doubled, s.t)
    s.t = b.apply(lambda s, m, x: s.select(m, x, s.coerce(-math.inf, x.dtype)), mask(b, s.i, s.j), s.t)
    e = s.weights(b.max_or_infinity(s.t, s.over("j")))
    b.store(s.rows("total"), s.row, b.sum(e, s.over("j")))
    return s.kernel(), s.i, s.j


def _both(a: Mask, c: Mask) -> Mask:
    return lambda b, i, j: b.apply(lambda s, x, y: x & y, a(b, i, j), c(b, i, j))


def _either(a: Mask, c: Mask) -> Mask:
    return lambda b, i, j: b.apply(lambda s, x, y: x | y, a(b, i, j), c(b, i, j))


def _not(a: Mask) -> Mask:
    return lambda b, i, j: b.apply(lambda s, x: ~x, a(b, i, j))


def _at_least(n: int) -> Mask:
    """i - j ≥ n"""
    return lambda b, i, j: b.apply(lambda s, x, y: x - y >= n, b.position(i), b.position(j))


def _less(n: int) -> Mask:
    """i - j < n"""
    return lambda b, i, j: b.apply(lambda s, x, y: x < y, b.position(i), b.position(j + n))


MASKS: dict[str, tuple[Mask, Callable[[Index, Index], tuple[Index, ...]]]] = {
    "at least": (_at_least(2), lambda i, j: (i - j - 2,)),
    "less": (_less(3), lambda i, j: (j - i + 2,)),
    "not": (_not(_at_least(2)), lambda i, j: (j - i + 1,)),
    "both": (_both(_at_least(0), _less(4)), lambda i, j: (i - j, j - i + 3)),
    "one implies the other": (_both(_at_least(0), _at_least(2)), lambda i, j: (i - j - 2,)),
    "either": (_either(_at_least(0), _at_least(2)), lambda i, j: (i - j,)),
    "either of two": (_either(_at_least(3), _less(-3)), lambda i, j: ()),
    "equal": (lambda b, i, j: b.apply(lambda s, x, y: s.eq(x, y), b.position(i), b.position(j)),
              lambda i, j: (i - j, j - i)),
}  # fmt: skip


@pytest.mark.parametrize("name", MASKS)
def test_conditions(name: str) -> None:
    mask, wanted = MASKS[name]
    kernel, i, j = masked(mask)
    assert set(conditions(kernel)) == set(wanted(i, j))


@pytest.mark.parametrize("shift", [-3, -1, 0, 1, 3])
def test_comparisons_that_mask_nothing_are_no_conditions(shift: int) -> None:
    for mask in (_at_least(1), _not(_less(1))):
        kernel, i, j = masked(mask, also=_at_least(1 + shift))
        assert set(conditions(kernel)) == {i - j - 1}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", [n for n in CASES if n != "large"])
def test_nothing_is_left_where_a_condition_fails(name: str, form: str) -> None:
    case = CASES[name]
    kernel = FORMS[form](case)
    made = memory(case, kernel, np.random.default_rng(0))
    run = _Run(kernel, [made[s.name] for s in kernel.slots])
    with np.errstate(all="ignore"):
        for value in kernel.values:
            run.values.append(run.value(value))
    # Sums of exp(t - m) where no score of a row is left are NaN unless the kernel is safe: they stay what they are.
    for condition in conditions(kernel):
        fails = run.index(condition) < 0
        for value in kernel.values:
            if isinstance(value, Dot | Reduce) and any(_is_of_scores(kernel, n) for n in value.inputs):
                neutral = value.init[0].value if isinstance(value, Reduce) else 0.0
                scores = next(run.values[n] for n in value.inputs if _is_of_scores(kernel, n))
                scores, where = np.broadcast_arrays(scores, fails)
                left = scores[where].astype(np.float64)
                assert np.all((left == neutral) | np.isnan(left)), condition


def _is_of_scores(kernel: Kernel, number: int) -> bool:
    """Whether it depends on a product."""
    value = kernel.values[number]
    return isinstance(value, Dot) or any(_is_of_scores(kernel, n) for n in getattr(value, "inputs", ()))
