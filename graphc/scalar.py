"""Scalar programs: what an op does to one element.

An op's `scalar` function is run once per dtype on a `Builder`, which records a `Recipe`: a flat, hashable list
of primitive steps. Kernels hold recipes, and a backend implements the primitives and nothing else.
Values carry their graphc dtype, since LLVM's integers have no sign.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from functools import lru_cache
from typing import Any, TypeAlias

from .cached import cached_property
from .dataclass import dataclass
from .errors import CompileError
from .types import DType, bool_, float32, float64, int32, int64, uint32, uint64

Number: TypeAlias = bool | int | float


class Prim(Enum):
    """The primitives. Each is total: nothing traps, nothing is undefined.

    Integers wrap around. Comparisons give bool. Floats follow IEEE 754 with subnormals and NaN; no primitive
    assumes that NaN or infinity is absent. `cost` is a rough count of simple instructions for one element.
    """

    CONST = ("const", 0)
    ADD = ("add", 1)
    SUB = ("sub", 1)
    MUL = ("mul", 1)
    DIV = ("div", 4)            # floats only
    QUOT = ("quot", 20)         # integers, towards zero; the divisor is not 0, and not −1 where the dividend is MIN
    FMA = ("fma", 1)            # a·b + c, rounded once where the target can, else twice
    NEG = ("neg", 1)            # floats: the sign bit flips
    ABS = ("abs", 1)            # floats: the sign bit clears; integers: |MIN| = MIN
    MAX = ("max", 2)            # NaN if either is NaN
    MIN = ("min", 2)
    FLOOR = ("floor", 1)
    CEIL = ("ceil", 1)
    TRUNC = ("trunc", 1)
    ROUND = ("round", 1)        # halves to even
    SQRT = ("sqrt", 5)          # correctly rounded
    EXP = ("exp", 10)
    EXP2 = ("exp2", 9)
    LOG = ("log", 12)
    LOG2 = ("log2", 12)
    SIN = ("sin", 16)
    COS = ("cos", 16)
    ERF = ("erf", 18)
    EQ = ("eq", 1)
    NE = ("ne", 1)              # true for NaN
    LT = ("lt", 1)
    LE = ("le", 1)
    AND = ("and", 1)            # bool and integers, bitwise
    OR = ("or", 1)
    XOR = ("xor", 1)
    NOT = ("not", 1)
    SHL = ("shl", 1)            # the amount is taken as unsigned; amounts ≥ width give 0
    SHR = ("shr", 1)            # arithmetic for signed, where amounts ≥ width give the sign; logical for unsigned
    UMULHI = ("umulhi", 2)      # upper half of the product of unsigned integers
    SELECT = ("select", 1)      # select(mask, a, b)
    CAST = ("cast", 1)          # value conversion; float → integer truncates, saturates, and takes NaN to 0
    BITCAST = ("bitcast", 0)    # same bits, other dtype of the same width

    def __init__(self, text: str, cost: int) -> None:
        self.text = text
        self.cost = cost

    def __str__(self) -> str:
        return self.text


_PACKING = {16: "<e", 32: "<f", 64: "<d"}


def to_bits(value: Number, dtype: DType) -> int:
    """The bit pattern of a number; equal patterns are the same constant (0.0 and −0.0 are not)."""
    if dtype.is_float:
        if dtype.name == "bfloat16":
            raise CompileError("scalar constants are never bfloat16: 16-bit floats compute in float32")
        number = float(value)
        if dtype is float32:   # struct refuses what rounds beyond the largest float32; IEEE gives infinity
            try:
                packed = struct.pack("<f", number)
            except OverflowError:
                packed = struct.pack("<f", math.copysign(math.inf, number))
        else:
            packed = struct.pack(_PACKING[dtype.bits], number)
        return int.from_bytes(packed, "little")
    return int(value) & ((1 << dtype.bits) - 1)


def from_bits(bits: int, dtype: DType) -> Number:
    """The number with that bit pattern."""
    if dtype.is_float:
        number: float = struct.unpack(_PACKING[dtype.bits], bits.to_bytes(dtype.bits // 8, "little"))[0]
        return number
    if dtype.is_bool:
        return bool(bits)
    return bits - (1 << dtype.bits) if dtype.is_signed and bits >> (dtype.bits - 1) else bits


@dataclass(frozen=True, slots=True)
class Step:
    """One primitive applied to earlier values of the recipe; `bits` is set for CONST only."""

    prim: Prim
    inputs: tuple[int, ...]
    dtype: DType
    bits: int | None = None

    @property
    def value(self) -> Number:
        """The number that a CONST step stands for."""
        assert self.bits is not None
        return from_bits(self.bits, self.dtype)

    def __str__(self) -> str:
        if self.prim is Prim.CONST:
            return f"{self.value} : {self.dtype}"
        return f"{self.prim}({', '.join(f'%{i}' for i in self.inputs)}) : {self.dtype}"


@dataclass(frozen=True)
class Recipe:
    """A straight-line scalar program. Numbers below `len(params)` are its parameters, later ones its steps."""

    name: str
    params: tuple[DType, ...]
    steps: tuple[Step, ...]
    results: tuple[int, ...]

    @cached_property
    def _hash(self) -> int:
        return hash((self.name, self.params, self.steps, self.results))

    def __hash__(self) -> int:
        return self._hash

    @property
    def dtypes(self) -> tuple[DType, ...]:
        """The dtypes of the results."""
        return tuple(self.dtype_of(r) for r in self.results)

    @cached_property
    def dtype(self) -> DType:
        """The dtype of the only result."""
        (dtype,) = self.dtypes
        return dtype

    def dtype_of(self, number: int) -> DType:
        n = len(self.params)
        return self.params[number] if number < n else self.steps[number - n].dtype

    @cached_property
    def cost(self) -> int:
        """Rough count of simple instructions for one element."""
        return sum(s.prim.cost for s in self.steps)

    def run(self, emit: Callable[[Step, tuple[Any, ...]], Any], inputs: Sequence[Any]) -> tuple[Any, ...]:
        """Carry the recipe out: `emit(step, inputs)` gives each step's value. How backends read recipes."""
        values = list(inputs)
        for step in self.steps:
            values.append(emit(step, tuple(values[i] for i in step.inputs)))
        return tuple(values[r] for r in self.results)

    def __str__(self) -> str:
        n = len(self.params)
        lines = [f"recipe {self.name}({', '.join(f'%{i}: {d}' for i, d in enumerate(self.params))})"]
        lines += [f"  %{n + i} = {s}" for i, s in enumerate(self.steps)]
        lines.append(f"  return {', '.join(f'%{r}' for r in self.results)}")
        return "\n".join(lines)


class Scalar:
    """A value inside a recipe that is being recorded. Operators and `Builder` methods make new ones.

    Python numbers mix in and take the dtype of the other side.
    """

    __slots__ = ("builder", "dtype", "number")

    def __init__(self, builder: Builder, number: int, dtype: DType) -> None:
        self.builder = builder
        self.number = number
        self.dtype = dtype

    def __add__(self, other: ScalarLike) -> Scalar:
        return self.builder.binary(Prim.ADD, self, other)

    def __radd__(self, other: ScalarLike) -> Scalar:
        return self.builder.binary(Prim.ADD, other, self)

    def __sub__(self, other: ScalarLike) -> Scalar:
        return self.builder.binary(Prim.SUB, self, other)

    def __rsub__(self, other: ScalarLike) -> Scalar:
        return self.builder.binary(Prim.SUB, other, self)

    def __mul__(self, other: ScalarLike) -> Scalar:
        return self.builder.binary(Prim.MUL, self, other)

    def __rmul__(self, other: ScalarLike) -> Scalar:
        return self.builder.binary(Prim.MUL, other, self)

    def __truediv__(self, other: ScalarLike) -> Scalar:
        return self.builder.binary(Prim.DIV, self, other)

    def __rtruediv__(self, other: ScalarLike) -> Scalar:
        return self.builder.binary(Prim.DIV, other, self)

    def __neg__(self) -> Scalar:
        if self.dtype.is_float:
            return self.builder.unary(Prim.NEG, self)
        return self.builder.binary(Prim.SUB, 0, self)

    def __lt__(self, other: ScalarLike) -> Scalar:
        return self.builder.compare(Prim.LT, self, other)

    def __le__(self, other: ScalarLike) -> Scalar:
        return self.builder.compare(Prim.LE, self, other)

    def __gt__(self, other: ScalarLike) -> Scalar:
        return self.builder.compare(Prim.LT, other, self)

    def __ge__(self, other: ScalarLike) -> Scalar:
        return self.builder.compare(Prim.LE, other, self)

    def __and__(self, other: ScalarLike) -> Scalar:
        return self.builder.binary(Prim.AND, self, other)

    def __or__(self, other: ScalarLike) -> Scalar:
        return self.builder.binary(Prim.OR, self, other)

    def __xor__(self, other: ScalarLike) -> Scalar:
        return self.builder.binary(Prim.XOR, self, other)

    def __invert__(self) -> Scalar:
        return self.builder.unary(Prim.NOT, self)

    def __lshift__(self, other: ScalarLike) -> Scalar:
        return self.builder.binary(Prim.SHL, self, other)

    def __rshift__(self, other: ScalarLike) -> Scalar:
        return self.builder.binary(Prim.SHR, self, other)

    def __bool__(self) -> bool:
        raise CompileError("a scalar recipe is recorded, not run: use s.select instead of `if`")


ScalarLike: TypeAlias = "Scalar | bool | int | float"


class Builder:
    """Records a recipe. Equal steps are recorded once."""

    def __init__(self, params: Sequence[DType]) -> None:
        self._dtypes: list[DType] = list(params)
        self._steps: list[Step] = []
        self._known: dict[Step, int] = {}
        self.params = tuple(Scalar(self, i, d) for i, d in enumerate(params))

    def _step(self, prim: Prim, inputs: tuple[Scalar, ...], dtype: DType, bits: int | None = None) -> Scalar:
        step = Step(prim, tuple(i.number for i in inputs), dtype, bits)
        number = self._known.get(step)
        if number is None:
            number = self._known[step] = len(self._dtypes)
            self._steps.append(step)
            self._dtypes.append(dtype)
        return Scalar(self, number, dtype)

    def const(self, value: Number, dtype: DType) -> Scalar:
        return self._step(Prim.CONST, (), dtype, to_bits(value, dtype))

    def coerce(self, x: ScalarLike, dtype: DType) -> Scalar:
        """`x` itself, or a Python number as a constant of `dtype`."""
        return x if isinstance(x, Scalar) else self.const(x, dtype)

    def _same(self, *xs: ScalarLike) -> tuple[Scalar, ...]:
        dtype = next(x.dtype for x in xs if isinstance(x, Scalar))
        same = tuple(self.coerce(x, dtype) for x in xs)
        if any(x.dtype is not dtype for x in same):
            raise CompileError("a scalar primitive needs equal dtypes", got=", ".join(str(x.dtype) for x in same))
        return same

    def unary(self, prim: Prim, x: Scalar) -> Scalar:
        return self._step(prim, (x,), x.dtype)

    def binary(self, prim: Prim, a: ScalarLike, b: ScalarLike) -> Scalar:
        a, b = self._same(a, b)
        return self._step(prim, (a, b), a.dtype)

    def compare(self, prim: Prim, a: ScalarLike, b: ScalarLike) -> Scalar:
        a, b = self._same(a, b)
        return self._step(prim, (a, b), bool_)

    def eq(self, a: ScalarLike, b: ScalarLike) -> Scalar:
        return self.compare(Prim.EQ, a, b)

    def ne(self, a: ScalarLike, b: ScalarLike) -> Scalar:
        return self.compare(Prim.NE, a, b)

    def is_nan(self, x: Scalar) -> Scalar:
        return self.compare(Prim.NE, x, x)

    def quot(self, a: ScalarLike, b: ScalarLike) -> Scalar:
        return self.binary(Prim.QUOT, a, b)

    def fma(self, a: ScalarLike, b: ScalarLike, c: ScalarLike) -> Scalar:
        a, b, c = self._same(a, b, c)
        return self._step(Prim.FMA, (a, b, c), a.dtype)

    def max(self, a: ScalarLike, b: ScalarLike) -> Scalar:
        return self.binary(Prim.MAX, a, b)

    def min(self, a: ScalarLike, b: ScalarLike) -> Scalar:
        return self.binary(Prim.MIN, a, b)

    def abs(self, x: Scalar) -> Scalar:
        return self.unary(Prim.ABS, x)

    def floor(self, x: Scalar) -> Scalar:
        return self.unary(Prim.FLOOR, x)

    def ceil(self, x: Scalar) -> Scalar:
        return self.unary(Prim.CEIL, x)

    def trunc(self, x: Scalar) -> Scalar:
        return self.unary(Prim.TRUNC, x)

    def round(self, x: Scalar) -> Scalar:
        return self.unary(Prim.ROUND, x)

    def sqrt(self, x: Scalar) -> Scalar:
        return self.unary(Prim.SQRT, x)

    def exp(self, x: Scalar) -> Scalar:
        return self.unary(Prim.EXP, x)

    def exp2(self, x: Scalar) -> Scalar:
        return self.unary(Prim.EXP2, x)

    def log(self, x: Scalar) -> Scalar:
        return self.unary(Prim.LOG, x)

    def log2(self, x: Scalar) -> Scalar:
        return self.unary(Prim.LOG2, x)

    def sin(self, x: Scalar) -> Scalar:
        return self.unary(Prim.SIN, x)

    def cos(self, x: Scalar) -> Scalar:
        return self.unary(Prim.COS, x)

    def erf(self, x: Scalar) -> Scalar:
        return self.unary(Prim.ERF, x)

    def umulhi(self, a: ScalarLike, b: ScalarLike) -> Scalar:
        return self.binary(Prim.UMULHI, a, b)

    def select(self, mask: Scalar, a: ScalarLike, b: ScalarLike) -> Scalar:
        a, b = self._same(a, b)
        return self._step(Prim.SELECT, (mask, a, b), a.dtype)

    def cast(self, x: Scalar, dtype: DType) -> Scalar:
        return x if x.dtype is dtype else self._step(Prim.CAST, (x,), dtype)

    def bitcast(self, x: Scalar, dtype: DType) -> Scalar:
        return x if x.dtype is dtype else self._step(Prim.BITCAST, (x,), dtype)

    def polynomial(self, x: Scalar, coefficients: Sequence[float]) -> Scalar:
        """Horner's scheme, highest power first."""
        result = self.coerce(coefficients[0], x.dtype)
        for c in coefficients[1:]:
            result = self.fma(result, x, c)
        return result

    def finish(self, name: str, results: Sequence[Scalar]) -> Recipe:
        """The recipe of what was recorded, without the steps that no result needs."""
        n = len(self.params)
        wanted = set()
        pending = [r.number for r in results]
        while pending:
            number = pending.pop()
            if number >= n and number not in wanted:
                wanted.add(number)
                pending.extend(self._steps[number - n].inputs)
        numbers = {i: i for i in range(n)}
        steps: list[Step] = []
        for number in sorted(wanted):
            old = self._steps[number - n]
            numbers[number] = n + len(steps)
            steps.append(Step(old.prim, tuple(numbers[i] for i in old.inputs), old.dtype, old.bits))
        params = tuple(p.dtype for p in self.params)
        return Recipe(name, params, tuple(steps), tuple(numbers[r.number] for r in results))


ScalarFunction: TypeAlias = Callable[..., Any]


@lru_cache(maxsize=4096)
def _record(
    name: str, function: ScalarFunction, params: tuple[DType, ...], attrs: tuple[tuple[str, Any], ...]
) -> Recipe:
    builder = Builder(params)
    result = function(builder, *builder.params, **dict(attrs))
    return builder.finish(name, result if isinstance(result, tuple) else (result,))


def record(
    name: str, function: ScalarFunction, params: Sequence[DType], attrs: Mapping[str, Any] | None = None
) -> Recipe:
    """Run `function(builder, *params, **attrs)` and return what it recorded. Remembered per arguments."""
    return _record(name, function, tuple(params), tuple(sorted((attrs or {}).items())))


def integer_like(dtype: DType) -> DType:
    """The signed integer as wide as a float dtype: what its bits are handled as."""
    return {float32: int32, float64: int64}[dtype]


def unsigned_like(dtype: DType) -> DType:
    """The unsigned integer as wide as a 32- or 64-bit dtype."""
    return {32: uint32, 64: uint64}[dtype.bits]
