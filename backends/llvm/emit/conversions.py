"""Conversions between dtypes, for scalars and vectors alike.

In: an operand and two dtypes. Out: instructions without library calls, which keep lanes together. 16-bit floats are
their bits in registers; what they are converted to and from is float32, in which everything computes with them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphc.types import DType, float16, float32, float64, int32

from .text import vector_of

if TYPE_CHECKING:
    from .primitives import Emitter


def convert(emit: Emitter, x: str, source: DType, to: DType) -> str:
    """Float → integer truncates, saturates, and takes NaN to 0; anything → bool is x ≠ 0; integers wrap."""
    code, s, t = emit.code, emit.type(source), emit.type(to)
    if source is to:
        return x
    if _is_half(to):
        return _narrow(emit, x, source, to)
    if _is_half(source):
        return convert(emit, _widen(emit, x, source), float32, to)
    if to.is_bool:
        compare = "fcmp une" if source.is_float else "icmp ne"
        return code.let(f"{compare} {s} {x}, {emit.constant(0, source)}")
    if source.is_float and to.is_float:
        return code.let(f"{'fpext' if to.bits > source.bits else 'fptrunc'} {s} {x} to {t}")
    if source.is_float:
        return _saturate(emit, x, source, to)
    if to.is_float:
        return code.let(f"{'sitofp' if source.is_signed else 'uitofp'} {s} {x} to {t}")
    if to.bits < source.bits:
        return code.let(f"trunc {s} {x} to {t}")
    if to.bits > source.bits:
        return code.let(f"{'sext' if source.is_signed else 'zext'} {s} {x} to {t}")
    return x


def _is_half(dtype: DType) -> bool:
    return dtype.is_float and dtype.bits == 16


def _saturate(emit: Emitter, x: str, source: DType, to: DType) -> str:
    """Float → integer. `llvm.fptosi.sat` goes through scalars; clamping first keeps the lanes together."""
    code, s, t = emit.code, emit.type(source), emit.type(to)
    mantissa = 24 if source is float32 else 53
    width = to.bits - to.is_signed
    low, over = emit.number(float(to.min), source), emit.number(2.0**width, source)
    high = emit.number(2.0**width - 2.0 ** max(width - mantissa, 0), source)
    above = emit.select(code.let(f"fcmp ogt {s} {x}, {low}"), x, low, source)  # NaN becomes low
    inside = emit.select(code.let(f"fcmp olt {s} {above}, {high}"), above, high, source)
    result = code.let(f"fpto{'s' if to.is_signed else 'u'}i {s} {inside} to {t}")
    if width > mantissa:  # the largest integer is no float
        result = emit.select(code.let(f"fcmp oge {s} {x}, {over}"), emit.number(to.max, to), result, to)
    if to.is_signed:
        result = emit.select(code.let(f"fcmp uno {s} {x}, {x}"), emit.number(0, to), result, to)
    return result


def _widen(emit: Emitter, x: str, source: DType) -> str:
    """16-bit float → float32."""
    code, h, f, i = emit.code, emit.type(source), emit.type(float32), emit.type(int32)
    if source is float16 and emit.target.has_half:
        half = vector_of("half", emit.lanes)
        return code.let(f"fpext {half} {code.let(f'bitcast {h} {x} to {half}')} to {f}")
    bits = code.let(f"zext {h} {x} to {i}")
    if source is float16:
        return code.let(f"bitcast {i} {_half_to_single(emit, bits)} to {f}")
    # bfloat16 is the upper half of float32.
    return code.let(f"bitcast {i} {code.let(f'shl {i} {bits}, {emit.number(16, int32)}')} to {f}")


def _half_to_single(emit: Emitter, bits: str) -> str:
    """float16 bits → float32 bits, in integers: exponent and mantissa move to their places and the exponent's bias is
    made up for by a multiplication, which normalizes subnormal numbers too."""
    code, f, i = emit.code, emit.type(float32), emit.type(int32)
    number = emit.number
    sign = code.let(f"shl {i} {code.let(f'and {i} {bits}, {number(0x8000, int32)}')}, {number(16, int32)}")
    size = code.let(f"and {i} {bits}, {number(0x7FFF, int32)}")
    moved = code.let(f"shl {i} {size}, {number(13, int32)}")
    scaled = code.let(f"fmul {f} {code.let(f'bitcast {i} {moved} to {f}')}, {number(2.0**112, float32)}")
    special = code.let(f"or {i} {moved}, {number(0x7F800000, int32)}")  # infinity and NaN
    is_finite = code.let(f"icmp ult {i} {size}, {number(0x7C00, int32)}")
    result = emit.select(is_finite, code.let(f"bitcast {f} {scaled} to {i}"), special, int32)
    return code.let(f"or {i} {result}, {sign}")


def _narrow(emit: Emitter, x: str, source: DType, to: DType) -> str:
    """Anything → 16-bit float, by way of float32."""
    code, t, f, i = emit.code, emit.type(to), emit.type(float32), emit.type(int32)
    if source is float64:
        x = _round_to_odd(emit, x)
    elif source is not float32:
        x = convert(emit, x, source, float32)
    if to is float16 and emit.target.has_half:
        half = vector_of("half", emit.lanes)
        return code.let(f"bitcast {half} {code.let(f'fptrunc {f} {x} to {half}')} to {t}")
    bits = code.let(f"bitcast {f} {x} to {i}")
    upper = _single_to_half(emit, bits) if to is float16 else _single_to_bfloat(emit, x, bits)
    return code.let(f"trunc {i} {upper} to {t}")


def _single_to_bfloat(emit: Emitter, x: str, bits: str) -> str:
    """float32 → bfloat16 bits: the upper half, rounded to nearest, ties to even. Few machines have an instruction."""
    code, f, i, number = emit.code, emit.type(float32), emit.type(int32), emit.number
    last = code.let(f"and {i} {code.let(f'lshr {i} {bits}, {number(16, int32)}')}, {number(1, int32)}")
    rounded = code.let(f"add {i} {bits}, {code.let(f'add {i} {last}, {number(0x7FFF, int32)}')}")
    quiet = code.let(f"or {i} {bits}, {number(1 << 22, int32)}")
    nan = code.let(f"fcmp uno {f} {x}, {x}")
    return code.let(f"lshr {i} {emit.select(nan, quiet, rounded, int32)}, {number(16, int32)}")


def _single_to_half(emit: Emitter, bits: str) -> str:
    """float32 bits → float16 bits, in integers. Normal results round as they are shifted; subnormal ones are aligned
    and rounded by adding ½, whose last bit is worth as much as theirs."""
    code, f, i, number = emit.code, emit.type(float32), emit.type(int32), emit.number

    def op(name: str, a: str, b: int) -> str:
        return code.let(f"{name} {i} {a}, {number(b, int32)}")

    size = op("and", bits, 0x7FFFFFFF)
    sign = op("lshr", code.let(f"xor {i} {bits}, {size}"), 16)
    bias = code.let(f"add {i} {size}, {op('and', op('lshr', size, 13), 1)}")
    normal = op("lshr", op("add", bias, 0xFFF - (112 << 23)), 13)
    aligned = code.let(f"fadd {f} {code.let(f'bitcast {i} {size} to {f}')}, {number(0.5, float32)}")
    subnormal = op("sub", code.let(f"bitcast {f} {aligned} to {i}"), 0x3F000000)
    is_subnormal = code.let(f"icmp ult {i} {size}, {number(113 << 23, int32)}")
    result = emit.select(is_subnormal, subnormal, normal, int32)
    overflows = code.let(f"icmp uge {i} {size}, {number(0x477FF000, int32)}")
    nan = code.let(f"icmp ugt {i} {size}, {number(0x7F800000, int32)}")
    special = emit.select(nan, number(0x7E00, int32), number(0x7C00, int32), int32)
    return code.let(f"or {i} {emit.select(overflows, special, result, int32)}, {sign}")


def _round_to_odd(emit: Emitter, x: str) -> str:
    """float64 → float32 such that a second rounding, to 16 bits, gives what one alone would: where float32 is inexact
    its last bit is made 1, which stands for the bits cut off."""
    code, d, f, i = emit.code, emit.type(float64), emit.type(float32), emit.type(int32)
    near = code.let(f"fptrunc {d} {x} to {f}")
    back = code.let(f"fpext {f} {near} to {d}")
    bits = code.let(f"bitcast {f} {near} to {i}")
    # Step back where rounding went away from zero, then set the last bit.
    size, wanted = (code.intrinsic("fabs", d, (d, v)) for v in (back, x))
    mask = vector_of("i1", emit.lanes)
    away = code.let(f"zext {mask} {code.let(f'fcmp ogt {d} {size}, {wanted}')} to {i}")
    odd = code.let(f"or {i} {code.let(f'sub {i} {bits}, {away}')}, {emit.number(1, int32)}")
    inexact = code.let(f"fcmp one {d} {back}, {x}")
    return code.let(f"bitcast {i} {emit.select(inexact, odd, bits, int32)} to {f}")
