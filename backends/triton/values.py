"""A kernel's values as Triton statements, in the scope of a tile.

In: value numbers and a scope. Out: lines that compute them, with every load masked to the tile's points and to its
bounds. Reductions and contractions are the lowerings' own; here their results are only referred to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from graphc.errors import CompileError
from graphc.index import Axis, Bound, Floor, Gathered, Index, Mod
from graphc.kernel import (
    Apply,
    Const,
    Dot,
    Inside,
    Kernel,
    Load,
    Position,
    Reduce,
    Scan,
    Store,
)
from graphc.scalar import Recipe
from graphc.types import DType
from graphc.value import closure

from .primitives import Operand, cast, literal
from .recipes import Recipes
from .text import Lines, Names
from .tile import Scope

ALWAYS = "True"
INT32_SAFE = 1 << 30  # positions beyond it, tails of blocks included, are computed in int64


def needs_wide_index(kernel: Kernel) -> bool:
    """Whether some position in the kernel may not fit int32."""
    ends = [slot.size for slot in kernel.slots]
    ends += [a.size for a in (*kernel.parallel, *kernel.row, *kernel.contracted)]
    for index in kernel.indices:
        ends += [abs(end) for end in index.range()]
    points = 1
    for axis in (*kernel.parallel, *kernel.row):
        points *= axis.size
    return max((points, *ends)) >= INT32_SAFE


def used_axes(kernel: Kernel) -> frozenset[Axis]:
    """The axes whose coordinates are needed: those in indices, and where states are left to be joined, all."""
    if kernel.accumulates:
        return frozenset((*kernel.parallel, *kernel.row, *kernel.contracted))
    return frozenset(a for i in kernel.indices for a in i.axes)


def spans(kernel: Kernel) -> tuple[frozenset[Axis], ...]:
    """For each value, the axes that its text is a block over: those it varies over, less where a recipe ignores
    inputs (a reduction's lifted state may be a plain 1), more where it is computed from a cumulative value."""
    result: list[frozenset[Axis]] = []
    for number, value in enumerate(kernel.values):
        if isinstance(value, Apply):
            used = _parameters_used(value.recipe)
            result.append(frozenset().union(*(result[value.inputs[p]] for p in used)))
        elif isinstance(value, Scan):  # it is carried along all lines of a tile
            result.append(frozenset((*kernel.parallel, *kernel.row)))
        else:
            result.append(kernel.axes[number])
    return tuple(result)


def _parameters_used(recipe: Recipe) -> set[int]:
    """The parameters that the results depend on."""
    count, found, pending = len(recipe.params), set(), list(recipe.results)
    while pending:
        number = pending.pop()
        if number not in found:
            found.add(number)
            pending.extend(recipe.steps[number - count].inputs if number >= count else ())
    return {n for n in found if n < count}


class Statements:
    """Writes a kernel's values into `code`."""

    def __init__(self, kernel: Kernel, code: Lines, recipes: Recipes) -> None:
        self.kernel = kernel
        self.code = code
        self.recipes = recipes
        self.wide = needs_wide_index(kernel)
        self.used = used_axes(kernel)
        self.spans = spans(kernel)
        self.reports_status = kernel.gathers
        self.scan: Callable[[int, Scope], None] | None = None  # computes a cumulative value, where rows go in order
        axes = (*kernel.parallel, *kernel.row, *kernel.contracted)
        self.names = Names()
        self.slots = [self.names.unique(f"{slot.name or f's{n}'}_ptr") for n, slot in enumerate(kernel.slots)]
        for axis in axes:
            for suffix in ("", "_in", "_t", "_t_in"):
                self.names.unique(axis.name + suffix)

    # What is computed

    def needed(
        self, roots: Iterable[int], scope: Scope, want: Callable[[int], bool] = lambda number: True
    ) -> list[int]:
        """Values that `roots` depend on, themselves included, that are not in scope yet, in order, if wanted."""
        needed = closure(self.kernel.values, roots, scope.values)
        return [n for n in needed if n not in scope.values and want(n)]

    def emit(
        self, roots: Iterable[int], scope: Scope, want: Callable[[int], bool] = lambda number: True
    ) -> None:
        """Compute `roots` and what they depend on."""
        for number in self.needed(roots, scope, want):
            self._emit_one(number, scope)

    def operand(self, number: int, scope: Scope) -> Operand:
        """A value in scope."""
        value = self.kernel.values[number]
        if isinstance(value, Const):
            return literal(value.value, value.dtype)
        return Operand(scope.values[number], value.dtype)

    def apply_to(self, number: int, recipe: Recipe, names: Sequence[str], scope: Scope) -> None:
        """Define value `number` as a recipe applied to names."""
        if not recipe.steps:
            scope.values[number] = names[recipe.results[0]]
            return
        operands = tuple(Operand(n, d) for n, d in zip(names, recipe.params, strict=True))
        self.define(number, recipe.name, self.recipes.apply(recipe, operands), scope)

    def define(self, number: int, wanted: str, text: str, scope: Scope) -> str:
        """Assign a value to a new name."""
        name = self.names.unique(wanted)
        self.code.line(f"{name} = {text}")
        scope.values[number] = name
        return name

    def _emit_one(self, number: int, scope: Scope) -> None:
        value = self.kernel.values[number]
        match value:
            case Const():
                scope.values[number] = literal(value.value, value.dtype).text
            case Load(slot=slot):
                self.define(
                    number, self.kernel.slots[slot].name or f"s{slot}", self._load(value, scope), scope
                )
            case Inside(bounds=bounds):
                conditions = self.conditions(bounds, scope)
                self.define(number, "inside", " & ".join(conditions) or "tl.full((), True, tl.int1)", scope)
            case Position(index=index):
                text = self.index(index, scope, ALWAYS)
                text = text if text.isidentifier() else f"({text})"
                typed = f"{text}.to(tl.int64)" if index.terms else f"tl.full((), {text}, tl.int64)"
                self.define(number, "position", typed, scope)
            case Apply(recipe=recipe, inputs=inputs):
                text = self.recipes.apply(recipe, tuple(self.operand(i, scope) for i in inputs))
                self.define(number, recipe.name, text, scope)
            case Scan() if self.scan is not None:
                self.scan(number, scope)
            case Reduce() | Scan() | Dot():
                raise CompileError(
                    "the triton backend met a reduction before it was computed", got=str(value)
                )

    # Memory

    def _load(self, value: Load, scope: Scope) -> str:
        conditions = list(self.conditions(value.bounds, scope))
        conditions += scope.guard(value.index.axes)
        where = " & ".join(conditions)
        index = self.index(value.index, scope, where or ALWAYS)
        masked = [a for b in value.bounds if not b.always for a in b.index.axes]
        address = self.address(
            self.slots[value.slot], index, value.index.axes, (*value.index.axes, *masked), scope
        )
        mask = f", mask={where}, other=0" if where else ""
        text = f"tl.load({address}{mask})"
        return f"{text} != 0" if value.dtype.is_bool else text

    def address(
        self,
        base: str,
        index: str,
        own: Iterable[Axis],
        axes: Iterable[Axis],
        scope: Scope,
        block: bool = False,
    ) -> str:
        """Addresses of elements, shaped as a block over `axes`, of which the index varies over `own`. With `block`
        they are a block even over no axes."""
        own, axes = tuple(own), tuple(axes)
        has_shape = scope.is_block(own) and scope.shape(own) == scope.shape(axes)
        if (block or scope.is_block(axes)) and not has_shape:
            index = f"{index} + tl.zeros({scope.shape(axes)}, tl.int32)"
        return base if index == "0" else f"{base} + {index.removeprefix('0 + ')}"

    def store(self, store: Store, scope: Scope, block: Iterable[Axis] | None = None) -> None:
        """Store a value that is in scope. `block`: further axes over which its text is a block, where that is known
        to be one whatever the value varies over (results of reductions are)."""
        slot = self.kernel.slots[store.slot]
        text = self.memory_form(self.operand(store.value, scope), slot.dtype)
        axes = self.kernel.axes[store.value] | set(block or ())
        self.write(self.slots[store.slot], store.index, text, axes, scope, block is not None)

    def write(
        self,
        base: str,
        index: Index,
        text: str,
        axes: Iterable[Axis],
        scope: Scope,
        block: bool,
        start: str = "",
    ) -> None:
        """Store the block `text` over `axes` at `base[start + index]`."""
        guards = scope.guard(index.axes)
        place = self.index(index, scope, " & ".join(guards) or ALWAYS)
        if start:
            place = start if place == "0" else f"{start} + {place}"
        address = self.address(base, place, index.axes, {*axes, *index.axes}, scope, block)
        mask = f", mask={' & '.join(guards)}" if guards else ""
        self.code.line(f"tl.store({address}, {text}{mask})")

    def memory_form(self, x: Operand, dtype: DType) -> str:
        """The value as it lies in memory."""
        text = self.recipes.note(cast(x, dtype))
        return f"({text}).to(tl.uint8)" if dtype.is_bool else text

    # Indices

    def conditions(self, bounds: Iterable[Bound], scope: Scope) -> tuple[str, ...]:
        """One condition for each side of a bound that can fail."""
        result = []
        for b in bounds:
            low, high = b.index.range()
            text = self.index(b.index, scope, ALWAYS)
            if b.low > low:
                result.append(f"({text} >= {b.low})")
            if high >= b.high:
                result.append(f"({text} < {b.high})")
        return tuple(result)

    def index(self, index: Index, scope: Scope, where: str) -> str:
        """The text of an index; gathered terms are checked where `where` holds."""
        parts = []
        for term, factor in index.terms:
            text = self._term(term, scope, where)
            parts.append(text if factor == 1 else f"{text} * {factor}")
        if index.constant or not parts:
            parts.append(str(index.constant))
        return " + ".join(parts)

    def _term(self, term: object, scope: Scope, where: str) -> str:
        match term:
            case Axis():
                return scope.coordinates[term]
            case Floor(index=inner, divisor=k):
                # Triton's // truncates, so the dividend is moved to where it is not negative.
                moved = -(min(inner.range()[0], 0) // k)
                quotient = f"(({self.index(inner + moved * k, scope, where)}) // {k})"
                return f"({quotient} - {moved})" if moved else quotient
            case Mod(index=inner, divisor=k):
                moved = -(min(inner.range()[0], 0) // k)
                return f"(({self.index(inner + moved * k, scope, where)}) % {k})"
            case Gathered():
                return self._gathered(term, scope, where)
        raise CompileError(f"the triton backend knows no index term {term!r}")

    def _gathered(self, term: Gathered, scope: Scope, where: str) -> str:
        """A gathered index once it has been checked."""
        key = (term.value, term.size, where)
        known = scope.checked.get(key)
        if known is None:
            self.emit([term.value], scope)
            name = self.names.unique("at")
            self.recipes.imported.add("checked")
            value = self.operand(term.value, scope).typed
            narrow = "" if self.wide else ".to(tl.int32)"
            condition = "tl.full((), True, tl.int1)" if where == ALWAYS else where
            self.code.line(f"{name} = checked({value}, {term.size}, {condition}, status){narrow}")
            known = scope.checked[key] = name
        return known
