"""The scalar primitives as Triton expressions.

In: a `Step` and its operands. Out: one expression, and the names of device functions that it calls (`functions.py`).
Knows nothing of tiles: every expression holds for tensors of any shape.
"""

from __future__ import annotations

import math

import numpy as np

from graphc.dataclass import dataclass
from graphc.errors import UnsupportedError
from graphc.scalar import Number, Prim, Step
from graphc.types import DType, float16, float32, int32

_TRITON_NAMES = {"bool": "int1"}


def triton_dtype(dtype: DType) -> str:
    """The Triton type of values of `dtype` in registers."""
    return f"tl.{_TRITON_NAMES.get(dtype.name, dtype.name)}"


@dataclass(frozen=True)
class Operand:
    """A name, or the literal of a constant, with its dtype."""

    text: str
    dtype: DType
    is_literal: bool = False

    @property
    def typed(self) -> str:
        """Text that has the dtype wherever it stands; a bare literal takes the other operand's."""
        return f"tl.full((), {self.text}, {triton_dtype(self.dtype)})" if self.is_literal else self.text

    @property
    def promoted(self) -> str:
        """Text for a builtin that takes bare literals for int32, or for float32 where they are normal numbers."""
        if self.dtype is int32 or (self.dtype is float32 and "e-" not in self.text):
            return self.text
        return self.typed


def literal(value: Number, dtype: DType) -> Operand:
    """The shortest text that reads back as the constant."""
    if not dtype.is_float:
        return Operand(repr(value), dtype, True)
    number = float(value)
    if not math.isfinite(number):
        return Operand(f'float("{number}")', dtype, True)
    short = str(np.float32(number)) if dtype is float32 else repr(number)
    exact = float(np.float32(float(short))) == number if dtype is float32 else True
    return Operand(short if exact else repr(number), dtype, True)


_INFIX = {
    Prim.ADD: "+", Prim.SUB: "-", Prim.MUL: "*", Prim.QUOT: "//", Prim.EQ: "==", Prim.NE: "!=", Prim.LT: "<",
    Prim.LE: "<=", Prim.AND: "&", Prim.OR: "|", Prim.XOR: "^",
}  # fmt: skip
_BUILTIN = {
    Prim.ABS: "tl.abs", Prim.FLOOR: "tl.floor", Prim.CEIL: "tl.ceil", Prim.EXP: "tl.exp", Prim.EXP2: "tl.exp2",
    Prim.LOG: "tl.log", Prim.LOG2: "tl.log2", Prim.SIN: "tl.sin", Prim.COS: "tl.cos", Prim.ERF: "tl.erf",
    Prim.SQRT: "tl.sqrt",
}  # fmt: skip


@dataclass(frozen=True)
class Expression:
    """The text of a step, and the device functions it calls."""

    text: str
    calls: tuple[str, ...] = ()


def expression(step: Step, x: tuple[Operand, ...]) -> Expression:
    """One primitive applied to operands. Raises UnsupportedError for a primitive on a dtype that it is not for."""
    if x and all(i.is_literal for i in x):
        x = (Operand(x[0].typed, x[0].dtype), *x[1:])
    dtype = x[-1].dtype
    match step.prim:
        case Prim.QUOT | Prim.ADD | Prim.SUB | Prim.MUL | Prim.EQ | Prim.NE | Prim.LT | Prim.LE:
            return Expression(f"{x[0].text} {_INFIX[step.prim]} {x[1].text}")
        case Prim.AND | Prim.OR | Prim.XOR:
            return Expression(f"{x[0].text} {_INFIX[step.prim]} {x[1].text}")
        case Prim.NEG:
            return Expression(f"-{x[0].text}")
        case Prim.NOT:
            return Expression(f"~{x[0].text}")
        case Prim.DIV if dtype is float32:  # a plain / is off by two units in the last place
            return Expression(f"tl.div_rn({x[0].typed}, {x[1].typed})")
        case Prim.DIV:
            return Expression(f"{x[0].text} / {x[1].text}")
        case Prim.FMA if dtype.is_float:
            return Expression(f"tl.fma({x[0].text}, {x[1].text}, {x[2].text})")
        case Prim.FMA:
            return Expression(f"{x[0].text} * {x[1].text} + {x[2].text}")
        case Prim.SELECT:
            if x[1].is_literal and x[2].is_literal:
                return Expression(f"tl.where({x[0].text}, {x[1].typed}, {x[2].typed})")
            return Expression(f"tl.where({x[0].text}, {x[1].text}, {x[2].text})")
        case Prim.MAX | Prim.MIN:
            return Expression(_extreme(step.prim, dtype, x))
        case Prim.SHL | Prim.SHR:
            return _shift(step.prim, dtype, x)
        case Prim.UMULHI if dtype.bits < 32:
            return Expression(
                f"umulhi_narrow({x[0].typed}, {x[1].typed}, tl.uint32, {dtype.bits})", ("umulhi_narrow",)
            )
        case Prim.UMULHI:
            return Expression(f"tl.umulhi({x[0].typed}, {x[1].typed})")
        case Prim.CAST:
            return cast(x[0], step.dtype)
        case Prim.BITCAST:
            return Expression(f"{x[0].typed}.to({triton_dtype(step.dtype)}, bitcast=True)")
        case Prim.TRUNC:
            return Expression(f"trunc({x[0].typed})", ("trunc",))
        case Prim.ROUND:
            return _round(x[0])
        case Prim.SQRT if dtype is float32:
            return Expression(f"tl.sqrt_rn({x[0].typed})")
        case Prim.EXP if dtype is float32:
            return Expression(f"exp({x[0].typed})", ("exp",))
        case _ if step.prim in _BUILTIN:
            return Expression(f"{_BUILTIN[step.prim]}({x[0].typed})")
    raise UnsupportedError(f"the triton backend has no lowering of {step.prim} for {dtype}")


def _extreme(prim: Prim, dtype: DType, x: tuple[Operand, ...]) -> str:
    if dtype.is_bool:
        return f"{x[0].text} {'|' if prim is Prim.MAX else '&'} {x[1].text}"
    nan = ", propagate_nan=tl.PropagateNan.ALL" if dtype.is_float else ""
    return f"tl.{'maximum' if prim is Prim.MAX else 'minimum'}({x[0].promoted}, {x[1].promoted}{nan})"


def _shift(prim: Prim, dtype: DType, x: tuple[Operand, ...]) -> Expression:
    """Triton leaves shifts from the width on undefined; a constant amount below it needs no care."""
    if x[1].is_literal and 0 <= int(x[1].text) < dtype.bits:
        return Expression(f"{x[0].typed} {'<<' if prim is Prim.SHL else '>>'} {x[1].text}")
    signed = prim is Prim.SHR and dtype.is_signed
    name = "shift_left" if prim is Prim.SHL else "shift_right_signed" if signed else "shift_right"
    return Expression(f"{name}({x[0].typed}, {x[1].typed}, tl.uint{dtype.bits}, {dtype.bits})", (name,))


def _round(x: Operand) -> Expression:
    mantissa = 23 if x.dtype is float32 else 52
    sign = -(1 << (x.dtype.bits - 1))
    whole = float(1 << mantissa)
    return Expression(
        f"round_half_even({x.typed}, tl.int{x.dtype.bits}, {sign}, {whole})", ("round_half_even",)
    )


def cast(x: Operand, to: DType) -> Expression:
    """Convert a value. Float → integer truncates, saturates, and takes NaN to 0; anything → bool is x ≠ 0."""
    source = x.dtype
    if source is to:
        return Expression(x.typed)
    if to.is_bool:
        return Expression(f"{x.typed} != 0")
    wide = f"{x.typed}.to(tl.float32)"
    if source.is_float and not to.is_float:
        value = wide if source.bits == 16 else x.typed
        low, high = int(to.min), int(to.max)
        limits = f"{low}, {high}, {float(low)}, {float(high + 1)}"
        return Expression(f"saturate({value}, {triton_dtype(to)}, {limits})", ("saturate",))
    # Triton converts between 32-bit and 16-bit floats only, and bfloat16 from nothing else.
    needs_step = (
        to.is_float and to.bits == 16 and not (source is float32 or (to is float16 and source is int32))
    )
    return Expression(f"{wide if needs_step else x.typed}.to({triton_dtype(to)})")
