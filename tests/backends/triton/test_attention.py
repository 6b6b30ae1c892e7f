"""Attention kernels in Triton: what they compute, against their meaning, and what the compiler makes of them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from graphc.backends.triton.attention_roles import roles_of, why_refused
from graphc.backends.triton.compile import compile_source
from graphc.backends.triton.interpret import Interpreter
from graphc.backends.triton.interpreted import InterpretedDevice, run_kernel_interpreted
from graphc.backends.triton.plan import Blocks
from graphc.backends.triton.source import kernel_source
from graphc.errors import UnsupportedError
from graphc.kernel import Dot, Kernel
from graphc.types import bfloat16, float16, float32, float64
from tests.attention_kernels import CASES, FORMS, Attention, Scores, forward, memory
from tests.kernel_interpreter import run_kernel

from .on_device import run_source

SMALL = Blocks(16, 16, 16)
TOLERANCE = {"float32": 3e-5, "float16": 4e-3, "bfloat16": 4e-2}


def compare(
    case: Attention, kernel: Kernel, interpreter: Interpreter, plan: Blocks | None = None
) -> dict[str, np.ndarray]:
    """What the kernel stores is what it means; that, by the slots' names."""
    return agrees(case, kernel, lambda arrays: run_kernel_interpreted(kernel, arrays, interpreter, plan))


def agrees(case: Attention, kernel: Kernel, run: Callable[[list[np.ndarray]], object]) -> dict[str, np.ndarray]:
    arrays = list(memory(case, kernel, np.random.default_rng(0)).values())
    for number in kernel.written:
        arrays[number][:] = 77
    want = [a.copy() for a in arrays]
    run_kernel(kernel, want)
    run(arrays)
    for number in sorted(kernel.written):
        slot, a, b = kernel.slots[number], arrays[number].astype("f8"), want[number].astype("f8")
        np.testing.assert_array_equal(np.isnan(a), np.isnan(b), slot.name)
        np.testing.assert_array_equal(a == -np.inf, b == -np.inf, slot.name)
        known = np.isfinite(b)
        error = np.abs(a[known] - b[known]).max(initial=0) / np.abs(b[known]).max(initial=1e-30)
        assert error <= TOLERANCE[case.dtype.name], f"{slot.name} is off by {error}"
    return {s.name: a for s, a in zip(kernel.slots, arrays, strict=True)}


@pytest.mark.parametrize("name", [n for n in CASES if n != "one key"])
def test_forward(name: str, interpreter: Interpreter) -> None:
    compare(CASES[name], forward(CASES[name]), interpreter)


@pytest.mark.parametrize("form", [f for f in FORMS if f != "forward"])
@pytest.mark.parametrize("name", ["transposed keys", "all masks"])
def test_other_forms(name: str, form: str, interpreter: Interpreter) -> None:
    compare(CASES[name], FORMS[form](CASES[name]), interpreter)


# More depth and columns than a block has, and more rows and keys.
DEEP = Attention(batch=1, queries=33, keys=40, depth=37, width=21, causal=True, window=20)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("case", [DEEP, CASES["causal, longer queries"], CASES["odd sizes"]], ids=str)
def test_small_blocks(case: Attention, form: str, interpreter: Interpreter) -> None:
    """Tails along every axis; rows of which the first blocks are masked, and rows that are so throughout."""
    compare(case, FORMS[form](case), interpreter, SMALL)


@pytest.mark.parametrize(("form", "dtype"), [*((f, float16) for f in FORMS), ("forward", bfloat16)], ids=str)
def test_16_bits(form: str, dtype: Any, interpreter: Interpreter) -> None:
    case = replace(DEEP, dtype=dtype)
    compare(case, FORMS[form](case), interpreter, SMALL)


def test_rows_masked_throughout_are_nan_as_the_formula_is(interpreter: Interpreter) -> None:
    case = replace(CASES["causal, longer queries"], safe=False)
    found = compare(case, forward(case), interpreter, SMALL)["o"].reshape(4, 21, 8)
    assert np.isnan(found[:, :12]).all() and np.isfinite(found[:, 12:]).all()


def relative(case: Attention) -> Kernel:
    """softmax as nn.softmax has it, where −inf − (−inf) is 0: rows masked throughout weigh all keys alike."""
    s = Scores(case)
    b = s.b
    off = lambda s, x, y: s.select(s.eq(x, y), s.const(0, float32), x - y)  # noqa: E731
    e = b.apply(lambda s, x: s.exp(x), b.apply(off, s.t, b.max_or_infinity(s.t, s.over("j")), name="off"), name="exp")
    u = b.dot(e, b.load(s.slot("v", case.heads * case.keys * case.width), s.value(s.c)), s.over("j"))
    o = b.apply(lambda s, x, y: x / y, u, b.sum(e, s.over("j")), name="divide")
    b.store(s.slot("o", case.heads * case.queries * case.width), s.result(s.c), o)
    return s.kernel()


@pytest.mark.parametrize("masked", [False, True])
def test_rows_masked_throughout_weigh_all_alike(masked: bool, interpreter: Interpreter) -> None:
    """There blocks are walked that masks leave out elsewhere."""
    case = Attention(batch=1, heads=2, queries=40, keys=25, causal=True, masked=masked)
    kernel = relative(case)
    (sweep,) = roles_of(kernel).sweeps
    assert roles_of(kernel).bounds_of(sweep).conditions and "again" in kernel_source(kernel).text
    found = compare(case, kernel, interpreter, SMALL)
    v = found["v"].reshape(2, 25, 8).mean(1)
    np.testing.assert_allclose(found["o"].reshape(2, 40, 8)[:, 0], v, 1e-4, 1e-5)


@pytest.mark.parametrize("form", [f for f in FORMS if f != "forward"])
def test_rows_masked_throughout_are_nan_in_other_forms(form: str, interpreter: Interpreter) -> None:
    case = replace(CASES["causal, longer queries"], safe=False)
    compare(case, FORMS[form](case), interpreter, SMALL)


def test_what_is_guarded_is_made_once() -> None:
    case = CASES["causal, longer queries"]
    for form in ("forward", "row sums"):
        assert not any(word in kernel_source(FORMS[form](case)).text for word in ("again", "whole"))


def test_maxima_that_grow_far(interpreter: Interpreter) -> None:
    """From nothing seen to large negative scores, and from those to large positive ones, block by block."""
    for safe in (False, True):
        case = Attention(batch=1, heads=1, queries=16, keys=64, bias=True, masked=True, safe=safe)
        kernel = forward(case)
        arrays = memory(case, kernel, np.random.default_rng(0))
        arrays["mask"][:] = np.arange(64) >= 16
        arrays["bias"].reshape(16, 64)[:, :48] -= 3e4
        arrays["bias"].reshape(16, 64)[:, 50] += 1e4
        got, want = ([a.copy() for a in arrays.values()] for _ in range(2))
        run_kernel(kernel, want)
        run_kernel_interpreted(kernel, got, interpreter, SMALL)
        np.testing.assert_allclose(got[-1], want[-1], 1e-5, 1e-6)


@pytest.mark.parametrize(("form", "poisoned"), [("forward", "v"), ("query gradient", "k"), ("key gradients", "q")])
def test_masked_blocks_are_not_read(form: str, poisoned: str, interpreter: Interpreter) -> None:
    """NaN there would come through: 0 · NaN is NaN."""
    case = Attention(batch=1, heads=1, queries=64, keys=64, depth=8, causal=True, window=10)
    kernel = FORMS[form](case)
    arrays = memory(case, kernel, np.random.default_rng(0))
    last = slice(48 * 8, None) if form != "key gradients" else slice(0, 16 * 8)
    arrays[poisoned][last] = np.nan
    run_kernel_interpreted(kernel, list(arrays.values()), interpreter, SMALL)
    found = arrays[kernel.slots[-1].name if form != "key gradients" else "dk"].reshape(64, 8)
    kept = found[:48] if form != "key gradients" else found[16:]
    assert np.isfinite(kept).all() and np.isnan(found).any()


# Kernels of other forms


def variance(case: Attention) -> Kernel:
    """Of each row of scores: what is summed can't follow the mean, so there are two walks."""
    s = Scores(case)
    b, keys = s.b, 1 / case.keys
    mean = b.apply(lambda s, x: x * keys, b.sum(s.t, s.over("j")), name="mean")
    off = b.apply(lambda s, x, m: (x - m) * (x - m), s.t, mean, name="square")
    b.store(s.rows("mean"), s.row, mean)
    b.store(s.rows("variance"), s.row, b.sum(off, s.over("j")))
    return s.kernel()


def norm(case: Attention) -> Kernel:
    """exp(t - max), stored: what is stored of the scores takes a walk as well."""
    s = Scores(case)
    weights = s.weights(s.b.max_or_infinity(s.t, s.over("j")))
    slot = s.slot("weights", case.heads * case.queries * case.keys)
    s.b.store(slot, s.row * case.keys + s.j, weights)
    return s.kernel()


def shared_gradients(case: Attention) -> Kernel:
    """dk and dv, summed over the heads that share keys: queries of all of them are walked along."""
    s = Scores(case)
    b = s.b
    e = s.weights(b.load(s.rows("m"), s.row))
    g = s.slot("weight", case.heads * case.queries * case.width)
    dv = b.dot(e, b.load(g, s.result(s.c)), s.over("y", "i"))
    dk = b.dot(b.apply(lambda s, x: x * 2, e, name="twice"), b.load(s.q, s.query(s.d2)), s.over("y", "i"))
    b.store(s.slot("dk", s.case.heads // s.case.group * case.keys * case.depth), s.key(s.d2), dk)
    b.store(s.slot("dv", s.case.heads // s.case.group * case.keys * case.width), s.value(s.c), dv)
    return s.kernel()


def constant_gradients(case: Attention) -> Kernel:
    """dv where all columns of g are alike: scores weigh a vector, and what comes of it is stored in every column. And
    the sum of a vector that is weighed by softmax."""
    s = Scores(case)
    b, r = s.b, s.b.load(s.rows("r"), s.row)
    total = b.dot(s.weights(b.load(s.rows("m"), s.row)), r, s.over("i"))
    place = s.head * case.keys + s.j
    b.store(s.slot("dv", case.heads * case.keys * case.width), place * case.width + s.c, total)
    return s.kernel()


def weighted_vector(case: Attention) -> Kernel:
    s = Scores(case)
    b = s.b
    e = s.weights(b.max_or_infinity(s.t, s.over("j")))
    x = b.load(s.slot("x", case.heads // case.group * case.keys), s.shared * case.keys + s.j)
    total = b.dot(e, x, s.over("j"))
    b.store(s.rows("y"), s.row, b.apply(lambda s, u, l: u / l, total, b.sum(e, s.over("j")), name="divide"))
    return s.kernel()


OTHERS = [(variance, 2), (norm, 2), (shared_gradients, 1), (constant_gradients, 1), (weighted_vector, 1)]


@pytest.mark.parametrize(("make", "sweeps"), OTHERS)
def test_other_kernels(make: Callable[[Attention], Kernel], sweeps: int, interpreter: Interpreter) -> None:
    case = Attention(batch=1, heads=4, group=2, queries=37, keys=21, depth=5, causal=make not in (variance, norm))
    kernel = make(case)
    assert len(roles_of(kernel).sweeps) == sweeps
    compare(case, kernel, interpreter, SMALL)


def double(case: Attention) -> Kernel:
    kernel = forward(case)
    values = tuple(Dot(v.inputs, v.axes, float64) if isinstance(v, Dot) else v for v in kernel.values)
    return Kernel(kernel.slots, kernel.parallel, kernel.row, kernel.contracted, values, kernel.stores)


def wide(case: Attention) -> Kernel:
    return forward(replace(case, width=300))


REFUSED = [
    (lambda case: forward(CASES["one key"]), "without an axis to walk along"), (double, "another dtype than float32"),
    (wide, "more than 256 columns"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "reason"), REFUSED)
def test_refused(make: Callable[[Attention], Kernel], reason: str) -> None:
    kernel = make(Attention())
    assert reason in str(why_refused(kernel))
    with pytest.raises(UnsupportedError, match=reason):
        kernel_source(kernel)
    assert why_refused(forward(Attention())) is None


# What the compiler makes of them


def of_size(depth: int, dtype: Any) -> Attention:
    sizes: dict[str, Any] = dict(batch=4, heads=12, queries=1024, keys=1024, depth=depth, width=depth)
    return Attention(**sizes, causal=True, safe=True, dtype=dtype)


@pytest.mark.parametrize("form", ["forward", "key gradients"])
def test_16_bits_use_tensor_cores_and_do_not_spill(form: str) -> None:
    (artifact,) = compile_source(kernel_source(FORMS[form](of_size(64, float16))))
    assert re.search(r"wgmma\.mma_async", artifact.ptx)
    assert artifact.resources.stack == 0, "a tile spills"


@pytest.mark.long
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("depth", [16, 64, 80, 128, 256])
@pytest.mark.parametrize("dtype", [float16, float32], ids=str)
def test_no_size_spills(form: str, depth: int, dtype: Any) -> None:
    (artifact,) = compile_source(kernel_source(FORMS[form](of_size(depth, dtype))))
    assert artifact.resources.stack <= 32, "a tile spills"  # some numbers of a program's own may
    assert artifact.resources.shared <= 227 * 1024
    assert bool(re.search(r"wgmma|mma\.sync", artifact.ptx)) == (dtype is float16)


@pytest.mark.gpu
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", [float32, float16, bfloat16], ids=str)
def test_on_a_gpu(form: str, dtype: Any) -> None:
    """All cases, in the blocks that the backend chooses, and some sizes of which nothing fits."""
    from graphc.backends.triton.cuda import first_device

    odd = Attention(batch=2, heads=3, queries=333, keys=517, depth=72, width=40, causal=True, bias=True, window=99)
    cases = [DEEP, odd, replace(odd, depth=130, width=256, heads=4, group=2), CASES["all masks"]]
    for case in (*cases, *(CASES.values() if dtype is float32 else ())):
        kernel = FORMS[form](replace(case, dtype=dtype))
        if why_refused(kernel) is None:
            source = kernel_source(kernel)
            agrees(replace(case, dtype=dtype), kernel, lambda a, s=source: run_source(s, a, first_device()))  # type: ignore[misc]


def test_any_device_runs_a_source(interpreter: Interpreter) -> None:
    case = CASES["odd sizes"]
    kernel = forward(case)
    agrees(case, kernel, lambda a: run_source(kernel_source(kernel), a, InterpretedDevice(interpreter)))


def test_source(golden: Callable[[str, str], None]) -> None:
    case = Attention(heads=4, group=2, queries=100, keys=100, depth=64, width=64, causal=True, dtype=float16)
    golden("triton/attention.txt", kernel_source(forward(case)).text)
