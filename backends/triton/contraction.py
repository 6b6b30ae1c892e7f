"""Contractions: tiles of a matrix product by `tl.dot`, with everything that follows applied to the tile.

Which axes are rows (m), columns (n) and batch follows from which operand varies over them. A product that has no
rows or no columns, or whose dtype the dot instruction is not for, becomes a sum of products: a reduction.
"""

from __future__ import annotations

from graphc.dataclass import dataclass
from graphc.errors import UnsupportedError
from graphc.index import Axis, axes_size
from graphc.kernel import Apply, Dot, Kernel, Load
from graphc.scalar import Prim
from graphc.types import DType, float32

from ..kernels.sums import sum_of
from .joining import Join
from .partials import Partials
from .plan import Blocks, plan_contraction
from .primitives import cast
from .tile import Coordinates, Dim, Scope
from .values import Statements


@dataclass(frozen=True)
class Roles:
    """The parallel axes of a contraction by what they are to the product. `batch` is everything else."""

    batch: tuple[Axis, ...]
    m: tuple[Axis, ...]
    n: tuple[Axis, ...]


def roles(kernel: Kernel, dot: Dot) -> Roles:
    a, b = (kernel.axes[i] for i in dot.inputs)
    m = tuple(x for x in kernel.parallel if x in a and x not in b)
    n = tuple(x for x in kernel.parallel if x in b and x not in a)
    return Roles(tuple(x for x in kernel.parallel if x not in m and x not in n), m, n)


def uses_dot_instruction(kernel: Kernel) -> bool:
    """Whether `tl.dot` can compute the kernel's product: one, float32, with rows and columns."""
    dots = [v for v in kernel.values if isinstance(v, Dot)]
    if len(dots) != 1 or dots[0].dtype is not float32:
        return False
    if any(not kernel.dtypes[i].is_float or kernel.dtypes[i].bits > 32 for i in dots[0].inputs):
        return False
    found = roles(kernel, dots[0])
    return axes_size(found.m) > 1 and axes_size(found.n) > 1


def lower_contraction(
    kernel: Kernel, values: Statements, partials: Partials, plan: Blocks | None
) -> tuple[int, Blocks]:
    """Write the kernel's body. Returns the number of programs, and the plan it was written for."""
    number, dot = next((n, v) for n, v in enumerate(kernel.values) if isinstance(v, Dot))
    found = roles(kernel, dot)
    a, b, dtype = factors(kernel, dot)
    if plan is None:
        batch_size, m_size, n_size, k_size = map(axes_size, (found.batch, found.m, found.n, dot.axes))
        plan = plan_contraction(batch_size, m_size, n_size, k_size, narrow=dtype.bits == 16)
    batch, part = Dim("batch", found.batch), Dim("part", (Axis("part", plan.parts),))
    m, n = Dim("m", found.m, plan.outer, 0), Dim("n", found.n, plan.inner, 1)
    scope = Scope(rank=2)
    programs = Coordinates(values.code, values.used, values.wide).spread((part, batch, m, n), scope)
    partials.spread((part, batch, m, n), programs)
    name = _product(kernel, values, dot, (a, b, dtype), (m, n), scope, plan, partials.chunk(part))
    if plan.parts > 1:
        total = sum_of(0, float32, ())
        join = Join(number, "dot", (name,), total.init, total.combine, total.finish)
        partials.join_later(part, [join], kernel.parallel, scope)
        return programs, plan
    scope.values[number] = name
    values.emit(kernel.stored(kernel.stores), scope)
    for store in kernel.stores:
        if over := kernel.accumulated(store):
            partials.add(store, scope, _summed_dims(over, (m, n)))
        else:
            values.store(store, scope, (*m.axes, *n.axes) if kernel.levels[store.value] else None)
    return programs, plan


def _product(
    kernel: Kernel, values: Statements, dot: Dot, operands: tuple[int, int, DType], tile: tuple[Dim, Dim], scope: Scope,
    plan: Blocks, part: str,
) -> str:  # fmt: skip
    """Write the loop over the contracted axes; the name of the tile's sum. `part` says which of the plan's parts of
    them is this program's."""
    code, (a, b, dtype), (m, n) = values.code, operands, tile
    coordinates = Coordinates(code, values.used, values.wide)
    name = values.names.unique("dot")
    code.line(f"{name} = tl.zeros(({plan.outer}, {plan.inner}), tl.float32)")
    contracted = frozenset(dot.axes)
    values.emit(dot.inputs, scope, lambda v: not kernel.axes[v] & contracted and v not in dot.inputs)
    first, last, size = "0", str(axes_size(dot.axes)), axes_size(dot.axes)
    if plan.parts > 1:
        span = -(-size // (plan.depth * plan.parts)) * plan.depth
        first, last = "first", "last"
        code.line(f"first = {part} * {span}")
        code.line(f"last = tl.minimum(first + {span}, {size})")
    with code.block(f"for start in range({first}, {last}, {plan.depth})"):
        texts = []
        for side, (operand, place, other) in enumerate(((a, 1, m), (b, 0, n))):
            inside, depth = scope.child(), Dim("k", dot.axes, plan.depth, place)
            coordinates.place(depth, "start", inside, "" if side == 0 else "_t")
            values.emit([operand], inside)
            texts.append(dot_operand(kernel, values, operand, inside, depth, other, dtype))
        code.line(f'{name} = tl.dot({texts[0]}, {texts[1]}, {name}, input_precision="ieee")')
    return name


def factors(kernel: Kernel, dot: Dot) -> tuple[int, int, DType]:
    """The values to multiply, and the dtype to multiply them in. A widening cast of 16-bit operands is left out:
    their products are exact in float32 either way, and the tensor cores take them as they are."""
    a, b = (_before_widening(kernel, i) for i in dot.inputs)
    if kernel.dtypes[a] is kernel.dtypes[b]:
        return a, b, kernel.dtypes[a]
    return *dot.inputs, float32


def _before_widening(kernel: Kernel, number: int) -> int:
    value = kernel.values[number]
    if not isinstance(value, Apply) or value.dtype is not float32 or len(value.recipe.steps) != 1:
        return number
    if value.recipe.steps[0].prim is not Prim.CAST:
        return number
    (source,) = value.inputs
    return source if kernel.dtypes[source].is_float and kernel.dtypes[source].bits == 16 else number


def dot_operand(
    kernel: Kernel, values: Statements, number: int, scope: Scope, depth: Dim, other: Dim, dtype: DType
) -> str:
    """A block of an operand, zero beyond the contracted axes' end."""
    own = values.spans[number]
    text = values.recipes.note(cast(values.operand(number, scope), dtype))
    shape = scope.shape((*depth.axes, *other.axes))
    if scope.shape(own) != shape or not scope.is_block(own):
        text = f"tl.broadcast_to({text}, {shape})"
    guards = scope.guard(depth.axes)
    is_masked = isinstance(kernel.values[number], Load) and own.issuperset(depth.axes)
    if guards and not is_masked:
        text = f"tl.where({' & '.join(guards)}, {text}, 0.0)"
    if text.isidentifier():
        return text
    name = values.names.unique("operand")
    values.code.line(f"{name} = {text}")
    return name


def _summed_dims(over: tuple[Axis, ...], dims: tuple[Dim, Dim]) -> tuple[Dim, ...]:
    """The tile's dims that are summed as a whole."""
    for dim in dims:
        inside = [a for a in dim.axes if a in over]
        if inside and len(inside) < len(dim.axes):
            raise UnsupportedError(
                "the triton backend can't sum a product's tile over a part of its rows or columns",
                got=f"a sum over {', '.join(map(str, inside))} of {', '.join(map(str, dim.axes))}",
                hint="store the product and sum it in a kernel of its own",
            )
    return tuple(dim for dim in dims if dim.axes and set(dim.axes) <= set(over))
