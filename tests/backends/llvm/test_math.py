"""The llvm backend's own transcendental functions, compiled, against float64."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from graphc.backends.llvm.run.jit import emit_assembly
from graphc.backends.llvm.target import Target, describe, host_target
from graphc.scalar import Prim, Recipe, record
from graphc.types import DType, float32, float64
from tests.accuracy import samples, ulp_errors, worst
from tests.backends.llvm.recipes import compiled, loop_text

erf = np.frompyfunc(math.erf, 1, 1)

REFERENCES: dict[Prim, Callable[[np.ndarray], np.ndarray]] = {
    Prim.EXP: np.exp,
    Prim.EXP2: np.exp2,
    Prim.LOG: np.log,
    Prim.LOG2: np.log2,
    Prim.SIN: np.sin,
    Prim.COS: np.cos,
    Prim.ERF: lambda x: erf(x).astype(np.float64),
}

# Bounds in ULP, with a fused multiply-add and with one that rounds twice. With a fused one all were run over all 2³²
# float32 numbers, but erf over every 16th: 0.8913, 0.8932, 0.9403, 0.9756, 1.2528, 1.2700, 1.0937. `-m long` does that.
BOUNDS: dict[Prim, tuple[float, float]] = {
    Prim.EXP: (0.90, 1.20),
    Prim.EXP2: (0.90, 1.10),
    Prim.LOG: (0.95, 1.10),
    Prim.LOG2: (0.98, 1.90),
    Prim.SIN: (1.26, 1.50),
    Prim.COS: (1.28, 1.50),
    Prim.ERF: (1.10, 1.30),
}

# The same for float64, on samples.
DOUBLE_BOUNDS: dict[Prim, tuple[float, float]] = {
    Prim.EXP: (0.90, 1.20),
    Prim.EXP2: (0.80, 1.10),
    Prim.LOG: (0.85, 0.90),
    Prim.LOG2: (0.80, 0.85),
}

PRIMS = pytest.mark.parametrize("prim", BOUNDS, ids=str)


def recipe_of(prim: Prim, dtype: DType = float32) -> Recipe:
    return record(prim.text, lambda s, x: s.unary(prim, x), (dtype,))


def plain_x86() -> Target:
    """This machine without its vector extensions, so without a fused multiply-add."""
    host = host_target()
    if not host.is_x86:
        pytest.skip("only x86-64 has a variant without a fused multiply-add")
    return describe(host.triple, "x86-64", "")


@PRIMS
def test_vectors_are_within_their_bound(prim: Prim) -> None:
    run = compiled(recipe_of(prim))
    error, where = worst(run, REFERENCES[prim], [samples(float32, 1_200_000)], float32)
    assert error <= BOUNDS[prim][0], where


@PRIMS
def test_scalars_give_the_bits_of_vectors(prim: Prim) -> None:
    x = samples(float32, 60_000, seed=1)
    vector, scalar = compiled(recipe_of(prim))(x), compiled(recipe_of(prim), lanes=1)(x)
    np.testing.assert_array_equal(vector, scalar)


@PRIMS
def test_without_fused_multiply_add(prim: Prim) -> None:
    run = compiled(recipe_of(prim), lanes=4, target=plain_x86())
    error, where = worst(run, REFERENCES[prim], [samples(float32, 300_000, seed=2)], float32)
    assert error <= BOUNDS[prim][1], where


@PRIMS
@pytest.mark.parametrize(
    ("triple", "cpu", "features", "instruction"),
    [
        (
            "x86_64-unknown-linux-gnu",
            "skylake-avx512",
            "+avx512f,+avx512dq,+avx512vl,+fma,-prefer-256-bit",
            "zmm",
        ),
        ("aarch64-unknown-linux-gnu", "generic", "", "fmla"),
    ],
)
def test_other_machines_call_no_library(
    prim: Prim, triple: str, cpu: str, features: str, instruction: str
) -> None:
    target = describe(triple, cpu, features)
    text = emit_assembly(loop_text(recipe_of(prim), target.lanes(float32), target), target)
    assert instruction in text
    words = [line.split() for line in text.splitlines() if line.strip()]
    called = {line[1] for line in words if line[0] in ("call", "callq", "bl")}
    assert all(name.startswith("rare_") and f"{name}:" in text for name in called)


@pytest.mark.parametrize("prim", DOUBLE_BOUNDS, ids=str)
@pytest.mark.parametrize("fused", [True, False], ids=["fused", "rounded"])
def test_float64(prim: Prim, fused: bool) -> None:
    target = host_target() if fused else plain_x86()
    run = compiled(recipe_of(prim, float64), lanes=target.lanes(float64), target=target)
    error, where = worst(run, REFERENCES[prim], [samples(float64, 200_000)], float64)
    assert error <= DOUBLE_BOUNDS[prim][0 if fused else 1], where


@pytest.mark.parametrize("prim", [Prim.SIN, Prim.COS], ids=str)
def test_float64_calls_libm_for_the_rest(prim: Prim) -> None:
    error, where = worst(
        compiled(recipe_of(prim, float64)), REFERENCES[prim], [samples(float64, 10_000)], float64
    )
    assert error <= 1.0, where


@pytest.mark.long
@PRIMS
@pytest.mark.parametrize("fused", [True, False], ids=["fused", "rounded"])
def test_all_numbers(prim: Prim, fused: bool) -> None:
    """All 2³² inputs; about five minutes for each function (erf, whose reference is slow: every 16th)."""
    target = host_target() if fused else plain_x86()
    run = compiled(recipe_of(prim), lanes=target.lanes(float32), target=target)
    stride = 16 if prim is Prim.ERF else 1
    block, largest, where = stride << 16, 0.0, math.nan
    for start in range(0, 1 << 32, block):
        x = np.arange(start, start + block, stride, dtype=np.uint32).view(np.float32)
        with np.errstate(all="ignore"):
            errors = ulp_errors(run(x), REFERENCES[prim](x.astype(np.float64)))
        at = int(np.argmax(errors))
        if errors[at] > largest:
            largest, where = float(errors[at]), float(x[at])
    print(f"{prim}: {largest:.4f} ULP at {where!r}")
    assert largest <= BOUNDS[prim][0 if fused else 1], where
