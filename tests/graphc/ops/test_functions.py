"""The scalar recipes of `graphc.ops.functions`, compiled, against NumPy in a wider format."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from graphc import ops
from graphc.backends.llvm.run.jit import emit_assembly
from graphc.backends.llvm.target import describe, host_target
from graphc.ops import error_integral, functions
from graphc.scalar import Recipe, record
from graphc.types import DType, float32, float64, int8, int32, int64, uint8, uint32
from tests.accuracy import pairs, samples, specials, ulp_errors, wide, worst
from tests.backends.llvm.recipes import compiled, loop_text


@dataclass(frozen=True)
class Case:
    """A function, its reference, and its largest errors in ULP: of float32 (measured over all 2³² numbers where it
    takes one, as `-m long` does) and of float64 (over some 10⁵), rounded up."""

    reference: Callable[..., np.ndarray]
    single: float
    double: float
    inputs: int = 1


def sigmoid(x: np.ndarray) -> np.ndarray:
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1) / (1 + e)


CASES: dict[str, Case] = {
    "acos": Case(np.arccos, 1.30, 1.25),
    "acosh": Case(np.arccosh, 2.50, 2.50),
    "asin": Case(np.arcsin, 2.35, 2.30),
    "asinh": Case(np.arcsinh, 2.00, 1.95),
    "atan": Case(np.arctan, 1.85, 2.25),
    "atan2": Case(np.arctan2, 2.00, 2.80, inputs=2),
    "atanh": Case(np.arctanh, 2.45, 2.20),
    "cbrt": Case(np.cbrt, 1.00, 1.00),
    "cosh": Case(np.cosh, 1.50, 1.60),
    "expm1": Case(np.expm1, 1.50, 1.95),
    "hypot": Case(np.hypot, 1.00, 1.00, inputs=2),
    "log10": Case(np.log10, 1.75, 1.60),
    "log1p": Case(np.log1p, 1.60, 1.60),
    "pow": Case(np.power, 0.55, 0.95, inputs=2),
    "reciprocal": Case(np.reciprocal, 0.50, 0.50),
    "rsqrt": Case(lambda x: 1 / np.sqrt(x), 1.50, 1.50),
    "sigmoid": Case(sigmoid, 2.45, 2.40),
    "sinh": Case(np.sinh, 2.30, 2.50),
    "tan": Case(np.tan, 3.00, 2.00),
    "tanh": Case(np.tanh, 2.60, 2.50),
}

# As exact as NumPy is in the same format: every bit agrees.
EXACT: dict[str, Callable[..., np.ndarray]] = {
    "absolute": np.abs, "ceil": np.ceil, "floor": np.floor, "trunc": np.trunc,
    "copysign": np.copysign, "floor_divide": ops.arithmetic._floor_divide, "isfinite": np.isfinite, "isinf": np.isinf,
    "isnan": np.isnan, "maximum": np.maximum, "minimum": np.minimum, "remainder": np.remainder, "round": np.rint,
    "sign": np.sign, "signbit": np.signbit, "square": np.square,
}  # fmt: skip

OTHERS = {"erfc", "logaddexp", "normal_cdf"}  # in tests of their own


def erfc(x: np.ndarray) -> np.ndarray:
    """Right to a part in 10¹², of float64."""
    return error_integral.erfc(x, np.dtype(np.float32))


# Of float32 the two are measured over all numbers as well.
TAILS = {
    "erfc": Case(erfc, 4.90, math.nan),
    "normal_cdf": Case(lambda x: 0.5 * erfc(-x * math.sqrt(0.5)), 4.90, math.nan),
}


def test_every_function_has_a_bound() -> None:
    assert set(functions.__all__) == {*CASES, *EXACT, *OTHERS}


BOTH = pytest.mark.parametrize("dtype", [float32, float64], ids=str)


def recipe_of(name: str, dtype: DType) -> Recipe:
    function = getattr(functions, name)
    count = function.__code__.co_argcount - 1
    return record(name, function, (dtype,) * count)


def inputs_of(case: Case, dtype: DType, count: int) -> tuple[np.ndarray, ...]:
    return (samples(dtype, count),) if case.inputs == 1 else pairs(dtype, count)


def same_bits(got: np.ndarray, want: np.ndarray) -> np.ndarray:
    """Where two arrays agree, signs of zeros included; all NaN are alike."""
    if got.dtype.kind != "f":
        return got == want
    return ((got == want) & (np.signbit(got) == np.signbit(want))) | (np.isnan(got) & np.isnan(want))


@pytest.mark.parametrize("name", CASES)
@BOTH
def test_error_is_within_its_bound(name: str, dtype: DType) -> None:
    case = CASES[name]
    count, bound = (1_000_000, case.single) if dtype is float32 else (150_000, case.double)
    run = compiled(recipe_of(name, dtype))
    error, where = worst(run, case.reference, inputs_of(case, dtype, count), dtype)
    assert error <= bound, where


@pytest.mark.parametrize("name", EXACT)
@BOTH
def test_bits_are_numpys(name: str, dtype: DType) -> None:
    recipe = recipe_of(name, dtype)
    xs = (samples(dtype, 300_000),) if len(recipe.params) == 1 else pairs(dtype, 300_000)
    got = compiled(recipe)(*xs)
    with np.errstate(all="ignore"):
        same = same_bits(got, EXACT[name](*xs))
    wrong = int(np.argmin(same))
    assert same.all(), [x[wrong] for x in xs]


@BOTH
@pytest.mark.parametrize("name", ["remainder", "floor_divide"])
def test_division_next_to_multiples(name: str, dtype: DType) -> None:
    rng = np.random.default_rng(3)
    b = samples(dtype, 200_000)
    with np.errstate(all="ignore"):
        a = (b * rng.integers(-(2**20), 2**20, b.size)).astype(dtype.numpy)
        a = np.nextafter(a, rng.choice([-np.inf, 0, np.inf], a.size).astype(dtype.numpy))
        want = EXACT[name](a, b)
    same = same_bits(compiled(recipe_of(name, dtype))(a, b), want)
    wrong = int(np.argmin(same))
    assert same.all(), (a[wrong], b[wrong])


@pytest.mark.parametrize("dtype", [int8, uint8, int32, uint32, int64], ids=str)
@pytest.mark.parametrize("name", ["floor_divide", "remainder", "sign", "maximum", "minimum"])
def test_integers_are_numpys(name: str, dtype: DType) -> None:
    a, b = integer_pairs(dtype)
    recipe = recipe_of(name, dtype)
    xs = (a, b)[: len(recipe.params)]
    with np.errstate(all="ignore"):
        want = EXACT[name](*xs)
    np.testing.assert_array_equal(compiled(recipe, lanes=4)(*xs), want)


def integer_pairs(dtype: DType) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of random numbers and of the ends of the range, zeros as divisors and MIN / −1 among them."""
    rng = np.random.default_rng(0)
    low, high = int(dtype.min), int(dtype.max)
    ends = [low, low + 1, 0, 1, 2, 3, 7, high - 1, high] + ([-1, -2, -7] if dtype.is_signed else [])
    grid = [g.ravel() for g in np.meshgrid(*[np.array(ends, dtype.numpy)] * 2)]
    a, b = (np.concatenate([g, rng.integers(low, high, 5000, dtype.numpy, endpoint=True)]) for g in grid)
    return a, b


@pytest.mark.parametrize("dtype", [int8, uint8, int32, int64], ids=str)
def test_integer_powers_wrap(dtype: DType) -> None:
    x, n = integer_pairs(dtype)
    got = compiled(recipe_of("pow", dtype), lanes=4)(x, n)
    want = [integer_power(int(a), int(b)) & ((1 << dtype.bits) - 1) for a, b in zip(x, n, strict=True)]
    np.testing.assert_array_equal(got.astype(f"u{dtype.itemsize}"), np.array(want, f"u{dtype.itemsize}"))


def integer_power(x: int, n: int) -> int:
    """xⁿ modulo 2⁶⁴; a negative power is 1/xⁿ towards zero, and 0 of 0."""
    if n < 0:
        return x ** (n & 1) if abs(x) == 1 else 0
    return pow(x, n, 1 << 64)


def test_powers_follow_c() -> None:
    """The special cases of C's Annex F, which NumPy follows too."""
    special = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        0.5,
        -0.5,
        2.0,
        -2.0,
        3.0,
        -3.0,
        math.inf,
        -math.inf,
        math.nan,
        1e30,
        -1e30,
    ]
    for dtype in (float32, float64):
        x, y = (g.ravel().astype(dtype.numpy) for g in np.meshgrid(special, special))
        with np.errstate(all="ignore"):
            want = np.power(x, y)
        got = compiled(recipe_of("pow", dtype))(x, y)
        same = same_bits(got, want) | np.isclose(got, want, rtol=1e-6, atol=0)
        assert same.all(), (x[~same], y[~same])


def test_powers_of_float32_are_exact_where_they_can_be() -> None:
    x, n = (g.ravel().astype(np.float32) for g in np.meshgrid(np.arange(1, 65), np.arange(-3, 9)))
    exact = x.astype(np.float64) ** n
    representable = exact.astype(np.float32) == exact
    got = compiled(recipe_of("pow", float32))(x, n)
    np.testing.assert_array_equal(got[representable], exact[representable])


@BOTH
def test_erfc(dtype: DType) -> None:
    """Against Python's, which is of float64: 1 ULP of its own is granted there."""
    rng = np.random.default_rng(0)
    last = 10.5 if dtype is float32 else 26.0  # beyond, float64's reference is subnormal
    x = np.concatenate(
        [rng.uniform(-6, 6, 20_000), rng.uniform(0, last, 20_000), [0.0, math.inf, -math.inf, math.nan]]
    )
    x = x.astype(dtype.numpy)
    want = np.array([math.erfc(v) for v in x.tolist()], np.float64)
    errors = ulp_errors(
        compiled(recipe_of("erfc", dtype))(x), want if dtype is float32 else want.astype(np.longdouble)
    )
    assert errors.max() <= (4.9 if dtype is float32 else 8.0), x[np.argmax(errors)]


@BOTH
def test_normal_cdf(dtype: DType) -> None:
    """Against the op's reference, which is of float64: 1 ULP of its own is granted there."""
    rng = np.random.default_rng(0)
    last = 14.3 if dtype is float32 else 38.5
    x = np.concatenate([rng.uniform(-last, 6, 200_000), rng.uniform(-1, 1, 50_000), specials(dtype)]).astype(
        dtype.numpy
    )
    assert ops.normal_cdf.reference is not None
    want = ops.normal_cdf.reference(x.astype(np.float64)).astype(wide(dtype))
    errors = ulp_errors(compiled(recipe_of("normal_cdf", dtype))(x), want)
    assert errors.max() <= (4.9 if dtype is float32 else 8.0), x[np.argmax(errors)]


def test_normal_cdf_in_many_digits() -> None:
    """Both ends of the lower half of float64, and what lies between, as 50 digits give it."""
    x = np.array([-38.0, -30.0, -20.0, -10.0, -5.5, -2.0, -1.0])
    want = [
        2.88542835100396e-316, 4.906713927148187e-198, 2.7536241186062337e-89, 7.619853024160525e-24,
        1.8989562465887718e-08, 0.02275013194817921, 0.15865525393145705,
    ]  # fmt: skip
    for found in (compiled(recipe_of("normal_cdf", float64))(x), ops.normal_cdf.reference(x)):  # type: ignore[misc]
        np.testing.assert_allclose(found, want, rtol=8e-16)


@BOTH
def test_logaddexp(dtype: DType) -> None:
    """Where logarithms cancel, errors are measured against the larger input."""
    a, b = pairs(dtype, 200_000)
    with np.errstate(all="ignore"):
        got, want = compiled(recipe_of("logaddexp", dtype))(a, b), np.logaddexp(a.astype(np.longdouble), b)
        sizes = [np.where(np.isfinite(v), np.abs(v), 0) for v in (a, b, want)]
        size = np.maximum.reduce(sizes).astype(dtype.numpy)
        error = np.abs(got - want) / np.spacing(size)
        finite = np.isfinite(want.astype(dtype.numpy))
        assert same_bits(got, want.astype(dtype.numpy))[~finite].all()
    assert error[finite].max() <= 3.5


@pytest.mark.parametrize("name", [*CASES, *sorted(OTHERS)])
def test_without_fused_multiply_add(name: str) -> None:
    """float32 does not lean on it: half an ULP more at most, one for log10 and the tails."""
    host = host_target()
    if not host.is_x86:
        pytest.skip("only x86-64 has a variant without a fused multiply-add")
    plain = describe(host.triple, "x86-64", "")
    recipe = recipe_of(name, float32)
    fused, rounded = compiled(recipe), compiled(recipe, lanes=4, target=plain)
    xs = (samples(float32, 50_000),) if len(recipe.params) == 1 else pairs(float32, 50_000)
    case = (CASES | TAILS).get(name)
    if case is None:
        ordinary = np.logical_and.reduce([np.abs(x) < 4 for x in xs])
        np.testing.assert_allclose(fused(*xs)[ordinary], rounded(*xs)[ordinary], rtol=2e-6, atol=2e-6)
    else:
        error, where = worst(rounded, case.reference, xs, float32)
        assert error <= case.single + (1.0 if name in ("log10", *TAILS) else 0.5), where


@pytest.mark.parametrize(
    ("triple", "cpu", "features"),
    [
        ("x86_64-unknown-linux-gnu", "skylake-avx512", "+avx512f,+avx512dq,+avx512vl,+fma,-prefer-256-bit"),
        ("aarch64-unknown-linux-gnu", "generic", ""),
    ],
)
def test_other_machines_call_no_library(triple: str, cpu: str, features: str) -> None:
    target = describe(triple, cpu, features)
    for name in (*CASES, *EXACT, *OTHERS):
        text = emit_assembly(loop_text(recipe_of(name, float32), target.lanes(float32), target), target)
        calls = {
            line.split()[1] for line in text.splitlines() if line.split()[:1] in (["call"], ["callq"], ["bl"])
        }
        own = {line.split(":")[0] for line in text.splitlines() if line.startswith("rare_")}
        assert calls <= own, (name, calls)


# Vector instructions of a loop's body for float32 on AVX-512, its load and store included.
COUNTS = {"sigmoid": 17, "tanh": 20, "normal_cdf": 35, "erfc": 35}


@pytest.mark.parametrize("name", COUNTS)
def test_instructions_of_activations(name: str) -> None:
    features = "+avx512f,+avx512dq,+avx512vl,+fma,-prefer-256-bit"
    target = describe("x86_64-unknown-linux-gnu", "skylake-avx512", features)
    text = emit_assembly(loop_text(recipe_of(name, float32), 16, target), target)
    body = text[text.rindex("LBB0_", 0, text.rindex("\tj")) :]
    moves = ("vmovaps", "vbroadcastss", "vpbroadcastd")  # of registers, which cost nothing, and of constants
    words = [line.split()[0] for line in body.splitlines() if "zmm" in line]
    assert sum(word not in moves for word in words) <= COUNTS[name]


@pytest.mark.long
@pytest.mark.parametrize("name", [n for n, c in (CASES | TAILS).items() if c.inputs == 1])
def test_all_float32(name: str) -> None:
    """All 2³² inputs; minutes for each function."""
    run, case = compiled(recipe_of(name, float32)), (CASES | TAILS)[name]
    block = 1 << 16
    largest, where = 0.0, tuple[float, ...]()
    for start in range(0, 1 << 32, block):
        x = np.arange(start, start + block, dtype=np.uint32).view(np.float32)
        error, at = worst(run, case.reference, [x], float32)
        if error > largest:
            largest, where = error, at
    print(f"{name}: {largest:.4f} ULP at {where}")
    assert largest <= case.single, where
