"""The scalar primitives in LLVM: one step of a recipe, for a scalar or for a vector of lanes.

In: a `Step` and its operands. Out: instructions in a `Code`, and the operand that holds the result.
Everything is total and no instruction is given flags that would make NaN, infinity or overflow poison.
"""

from __future__ import annotations

from graphc.errors import UnsupportedError
from graphc.scalar import Number, Prim, Recipe, Step, to_bits
from graphc.types import DType, bool_, float32, float64

from ..target import Target
from .conversions import convert
from .math import Rare, expansion
from .text import Code, constant, is_constant, register_type, suffix, vector_of

_FLOAT_BINARY = {Prim.ADD: "fadd", Prim.SUB: "fsub", Prim.MUL: "fmul", Prim.DIV: "fdiv"}
_INTEGER_BINARY = {
    Prim.ADD: "add", Prim.SUB: "sub", Prim.MUL: "mul", Prim.AND: "and", Prim.OR: "or", Prim.XOR: "xor",
}  # fmt: skip
_FLOAT_INTRINSIC = {
    Prim.ABS: "fabs", Prim.FLOOR: "floor", Prim.CEIL: "ceil", Prim.TRUNC: "trunc", Prim.ROUND: "roundeven",
    Prim.SQRT: "sqrt",
}  # fmt: skip
_FLOAT_COMPARE = {Prim.EQ: "oeq", Prim.NE: "une", Prim.LT: "olt", Prim.LE: "ole"}
_INTEGER_COMPARE = {Prim.EQ: "eq", Prim.NE: "ne", Prim.LT: "lt", Prim.LE: "le"}
_LIBM = {
    Prim.EXP: "exp", Prim.EXP2: "exp2", Prim.LOG: "log", Prim.LOG2: "log2", Prim.SIN: "sin", Prim.COS: "cos",
    Prim.ERF: "erf",
}  # fmt: skip


class Emitter:
    """Emits recipes into a `Code` for a fixed number of lanes (1: scalars)."""

    def __init__(self, code: Code, target: Target, lanes: int) -> None:
        self.code = code
        self.target = target
        self.lanes = lanes

    def type(self, dtype: DType) -> str:
        return register_type(dtype, self.lanes)

    def constant(self, bits: int, dtype: DType) -> str:
        return constant(bits, dtype, self.lanes)

    def recipe(self, recipe: Recipe, inputs: tuple[str, ...]) -> tuple[str, ...]:
        """Inline a recipe. The roundings are those that it says: a product that is added to something becomes a fused
        multiply-add only in `combine`. Whether it does elsewhere would depend on its other uses, which differ between
        the places that compute a value, and all must find the same bits: so the elements that equal their maximum are
        found, and x·x − y·y is 0 where x is y."""
        flag = len(recipe.steps) == 1 and recipe.steps[0].prim is Prim.MUL
        return self._inlined(recipe, inputs, flag)

    def combine(self, recipe: Recipe, inputs: tuple[str, ...]) -> tuple[str, ...]:
        """Inline the recipe that adds a term to a running state, which nobody else computes: a product is added
        unrounded."""
        return self._inlined(recipe, inputs, len(recipe.steps) == 1)

    def _inlined(self, recipe: Recipe, inputs: tuple[str, ...], flag: bool) -> tuple[str, ...]:
        dtypes = list(recipe.params) + [s.dtype for s in recipe.steps]

        def emit(step: Step, operands: tuple[str, ...]) -> str:
            return self.step(step, operands, tuple(dtypes[i] for i in step.inputs), flag)

        return recipe.run(emit, inputs)

    def step(self, step: Step, x: tuple[str, ...], dtypes: tuple[DType, ...], contract: bool = False) -> str:
        """One primitive applied to operands of the given dtypes."""
        prim, code = step.prim, self.code
        if prim is Prim.CONST:
            assert step.bits is not None
            return self.constant(step.bits, step.dtype)
        dtype = dtypes[-1]
        t = self.type(dtype)
        flags = "contract " if contract else ""
        match prim:
            case Prim.ADD | Prim.SUB | Prim.MUL | Prim.DIV if dtype.is_float:
                return code.let(f"{_FLOAT_BINARY[prim]} {flags}{t} {x[0]}, {x[1]}")
            case Prim.ADD | Prim.SUB | Prim.MUL | Prim.AND | Prim.OR | Prim.XOR:
                return code.let(f"{_INTEGER_BINARY[prim]} {t} {x[0]}, {x[1]}")
            case Prim.QUOT:
                return code.let(f"{'sdiv' if dtype.is_signed else 'udiv'} {t} {x[0]}, {x[1]}")
            case Prim.FMA:
                return self._fma(dtype, x)
            case Prim.NEG:
                return code.let(f"fneg {t} {x[0]}")
            case Prim.NOT:
                return code.let(f"xor {t} {x[0]}, {self.constant((1 << dtype.bits) - 1, dtype)}")
            case Prim.ABS if not dtype.is_float:
                return code.intrinsic("abs", t, (t, x[0]), ("i1", "false")) if dtype.is_signed else x[0]
            case Prim.MAX | Prim.MIN:
                return self._extreme(prim, dtype, x)
            case Prim.EQ | Prim.NE | Prim.LT | Prim.LE:
                return self._compare(prim, dtype, x)
            case Prim.SHL | Prim.SHR:
                return self._shift(prim, dtype, x)
            case Prim.UMULHI:
                return self._upper_product(dtype, x)
            case Prim.SELECT:
                return self.select(x[0], x[1], x[2], dtype)
            case Prim.CAST:
                return self.cast(x[0], dtype, step.dtype)
            case Prim.BITCAST:
                same = register_type(dtype, 1) == register_type(step.dtype, 1)
                return x[0] if same else code.let(f"bitcast {t} {x[0]} to {self.type(step.dtype)}")
            case _ if prim in _FLOAT_INTRINSIC:
                return code.intrinsic(_FLOAT_INTRINSIC[prim], t, (t, x[0]))
            case _ if prim in _LIBM:
                return self._function(prim, dtype, x)
        raise UnsupportedError(f"the llvm backend has no lowering of {prim} for {dtype}")

    def _fma(self, dtype: DType, x: tuple[str, ...]) -> str:
        t = self.type(dtype)
        if (
            dtype.is_float and self.target.has_fma
        ):  # without the instruction LLVM would call fmaf for each lane
            return self.code.intrinsic("fma", t, (t, x[0]), (t, x[1]), (t, x[2]))
        kind = "f" if dtype.is_float else ""
        product = self.code.let(f"{kind}mul {t} {x[0]}, {x[1]}")
        return self.code.let(f"{kind}add {t} {product}, {x[2]}")

    def _extreme(self, prim: Prim, dtype: DType, x: tuple[str, ...]) -> str:
        """max and min. `select(a > b, a, b)` is one instruction and gives b where either is NaN, so a constant
        (never NaN) goes first; otherwise a NaN in a is put back."""
        code, t, mask = self.code, self.type(dtype), vector_of("i1", self.lanes)
        if not dtype.is_float:
            sign = "s" if dtype.is_signed else "u"
            if dtype.is_bool:
                return code.let(f"{'or' if prim is Prim.MAX else 'and'} {t} {x[0]}, {x[1]}")
            return code.intrinsic(f"{sign}{prim.text}", t, (t, x[0]), (t, x[1]))
        a, b = (x[1], x[0]) if is_constant(x[1]) else (x[0], x[1])
        test = code.let(f"fcmp {'ogt' if prim is Prim.MAX else 'olt'} {t} {a}, {b}")
        chosen = code.let(f"select {mask} {test}, {t} {a}, {t} {b}")
        if is_constant(a) and "0x7FF8" not in a:
            return chosen
        nan = code.let(f"fcmp uno {t} {a}, {a}")
        return code.let(f"select {mask} {nan}, {t} {a}, {t} {chosen}")

    def _compare(self, prim: Prim, dtype: DType, x: tuple[str, ...]) -> str:
        t = self.type(dtype)
        if dtype.is_float:
            return self.code.let(f"fcmp {_FLOAT_COMPARE[prim]} {t} {x[0]}, {x[1]}")
        ordered = prim in (Prim.LT, Prim.LE)
        sign = ("s" if dtype.is_signed else "u") if ordered else ""
        return self.code.let(f"icmp {sign}{_INTEGER_COMPARE[prim]} {t} {x[0]}, {x[1]}")

    def _shift(self, prim: Prim, dtype: DType, x: tuple[str, ...]) -> str:
        """Shifts by any amount; LLVM's are poison from the width on."""
        code, t, mask = self.code, self.type(dtype), vector_of("i1", self.lanes)
        width = self.constant(dtype.bits, dtype)
        most = self.constant(dtype.bits - 1, dtype)
        small = code.let(f"icmp ult {t} {x[1]}, {width}")
        amount = code.let(f"select {mask} {small}, {t} {x[1]}, {t} {most}")
        if prim is Prim.SHR and dtype.is_signed:
            return code.let(f"ashr {t} {x[0]}, {amount}")  # by width − 1 it leaves the sign
        shifted = code.let(f"{'shl' if prim is Prim.SHL else 'lshr'} {t} {x[0]}, {amount}")
        return code.let(f"select {mask} {small}, {t} {shifted}, {t} {self.constant(0, dtype)}")

    def _upper_product(self, dtype: DType, x: tuple[str, ...]) -> str:
        code, t, wide = self.code, self.type(dtype), vector_of(f"i{2 * dtype.bits}", self.lanes)
        a, b = (code.let(f"zext {t} {v} to {wide}") for v in x)
        product = code.let(f"mul {wide} {a}, {b}")
        amount = str(dtype.bits) if self.lanes == 1 else f"splat (i{2 * dtype.bits} {dtype.bits})"
        upper = code.let(f"lshr {wide} {product}, {amount}")
        return code.let(f"trunc {wide} {upper} to {t}")

    def cast(self, x: str, source: DType, to: DType) -> str:
        """Convert a value. Float → integer truncates, saturates, and takes NaN to 0; anything → bool is x ≠ 0."""
        return convert(self, x, source, to)

    def number(self, value: Number, dtype: DType) -> str:
        """A constant operand."""
        return self.constant(to_bits(value, dtype), dtype)

    def select(self, mask: str, a: str, b: str, dtype: DType) -> str:
        t = self.type(dtype)
        return self.code.let(f"select {vector_of('i1', self.lanes)} {mask}, {t} {a}, {t} {b}")

    def _function(self, prim: Prim, dtype: DType, x: tuple[str, ...]) -> str:
        """A transcendental function: our own recipe inlined, or libm, lane by lane, which the report shows."""
        own = expansion(prim, dtype, self.target.has_fma, self._scales(dtype))
        if own is not None:
            result, *power = self.recipe(own.usual, x)
            if own.is_power:
                return self._scaled(result, power[0], power[1], dtype)
            return result if own.rare is None else self._mended(own.rare, result, x)
        if dtype is not float64:
            raise UnsupportedError(f"the llvm backend has no {prim} for {dtype}")
        code = self.code
        code.notes.add(f"float64 {prim.text} calls libm, one element at a time")
        if self.lanes == 1:
            return code.call("double", _LIBM[prim], ("double", x[0]))
        result = "poison"
        for lane in range(self.lanes):
            element = code.let(f"extractelement {self.type(dtype)} {x[0]}, i64 {lane}")
            value = code.call("double", _LIBM[prim], ("double", element))
            result = code.let(f"insertelement {self.type(dtype)} {result}, double {value}, i64 {lane}")
        return result

    def _scales(self, dtype: DType) -> bool:
        """Whether there is an instruction for x·2ᵏ on as many lanes."""
        return self.target.has_scale and self.lanes == self.target.lanes(dtype)

    def _scaled(self, x: str, k: str, mask: str, dtype: DType) -> str:
        """x·2ᵏ, rounded once, where the mask holds, else 0: AVX-512's `vscalefps` and `vscalefpd`."""
        t, name, bits = self.type(dtype), "ps" if dtype is float32 else "pd", f"i{self.lanes}"
        where = mask if is_constant(mask) else self.code.let(f"bitcast {vector_of('i1', self.lanes)} {mask} to {bits}")
        arguments = ((t, x), (t, k), (t, "zeroinitializer"), (bits, where), ("i32", "4"))
        return self.code.call(t, f"llvm.x86.avx512.mask.scalef.{name}.512", *arguments)

    def _mended(self, rare: Rare, usual: str, x: tuple[str, ...]) -> str:
        """`usual` where it holds, else what the rare recipe gives; that is skipped where no lane needs it."""
        code, mask = self.code, vector_of("i1", self.lanes)
        (holds,) = self.recipe(rare.is_usual, x)
        fails = code.let(f"xor {mask} {holds}, {self.constant(1, bool_)}")
        before = code.block
        if self.lanes > 1:
            fails = code.call("i1", f"llvm.vector.reduce.or.{suffix(mask)}", (mask, fails))
        with code.when(fails):
            other = self._apart(rare.recipe, x)
            t = self.type(rare.recipe.dtype)
            mended = code.let(f"select {mask} {holds}, {t} {usual}, {t} {other}")
            inside = code.block
        return code.let(f"phi {t} [ {usual}, %{before} ], [ {mended}, %{inside} ]")

    def _apart(self, recipe: Recipe, x: tuple[str, ...]) -> str:
        """A recipe's result by a call: a function of its own takes no place in the loop, and is compiled once for all
        places that it is called from."""
        body, t, name = Code(), self.type(recipe.dtype), f"rare_{recipe.name}_{self.lanes}"
        types = [self.type(dtype) for dtype in recipe.params]
        names = tuple(f"%x{i}" for i in range(len(types)))
        (result,) = Emitter(body, self.target, self.lanes).recipe(recipe, names)
        body.do(f"ret {t} {result}")
        self.code.define(f"internal {t} @{name}({', '.join(map(' '.join, zip(types, names, strict=True)))})", body)
        return self.code.let(f"call {t} @{name}({', '.join(map(' '.join, zip(types, x, strict=True)))})")

    def add(self, a: str, b: str, dtype: DType) -> str:
        """a + b."""
        return self.code.let(f"{'fadd contract' if dtype.is_float else 'add'} {self.type(dtype)} {a}, {b}")

    def splat(self, x: str, dtype: DType) -> str:
        """A scalar in all lanes."""
        if self.lanes == 1:
            return x
        if is_constant(x):
            return f"splat ({register_type(dtype, 1)} {x})"
        t = self.type(dtype)
        first = self.code.let(f"insertelement {t} poison, {register_type(dtype, 1)} {x}, i64 0")
        return self.code.let(f"shufflevector {t} {first}, {t} poison, <{self.lanes} x i32> zeroinitializer")
