"""How an op is declared: once, with its type rule, meaning, gradient and lowering.

Nothing else lists ops. A backend implements the kinds below and the scalar primitives, never an op by name;
so an op declared anywhere, also in a user's own program, works on every backend.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

from .dataclass import dataclass
from .errors import CompileError, Location
from .index import Bound, Index
from .ir import Node, make_node
from .scalar import Number, ScalarFunction
from .types import DType, TensorType, Type

if TYPE_CHECKING:
    from .kernel import Call


class Kind(Enum):
    """What an op's lowering is."""

    SOURCE = "source"              # input, variable, constant
    POSITION = "position"          # `position`: an element is a function of its own index (iota)
    ELEMENTWISE = "elementwise"    # `scalar`, on elements at the same index
    REDUCTION = "reduction"        # `monoid`, over the attr `axes`
    CUMULATIVE = "cumulative"      # `running`, along the attr `axis`, which stays
    VIEW = "view"                  # `pull`: each output element is an element of an input, or a fill value
    INDEXED = "indexed"            # `pull` that reads an index tensor (gather), or `push` (scatter)
    CONTRACTION = "contraction"    # `contraction`: sums of products
    CALL = "call"                  # `call`: a native function that is no loop nest
    CONTROL = "control"            # closed sub-graphs in attrs
    ITEM = "item"                  # one result of an op that has several


@dataclass(frozen=True)
class Monoid:
    """A reduction over states that are tuples of scalars.

    `lift(s, x, index)` makes a state of an element and its row-major int64 position among the reduced elements;
    `combine(s, a, b)` joins two states: associative and commutative, since every backend reassociates;
    `init(dtype)` is the neutral state as Python numbers, for elements of that dtype;
    `finish(s, state)` gives the result. Lifted states keep their dtypes through `combine`.
    """

    init: Callable[[DType], tuple[Number, ...]]
    lift: ScalarFunction
    combine: ScalarFunction
    finish: ScalarFunction


@dataclass(frozen=True)
class Running:
    """What the elements up to each place come to, as states that are tuples of scalars.

    `lift(s, *elements)` makes a state of one element of each input; `combine(s, a, b)` joins the states of places with
    those of the places behind them: associative, since backends cut rows into blocks, but in order. `init(dtype)` is
    the state of no places, neutral, as Python numbers; `finish(s, state)` gives the result.
    """

    init: Callable[[DType], tuple[Number, ...]]
    lift: ScalarFunction
    combine: ScalarFunction
    finish: ScalarFunction


@dataclass(frozen=True, slots=True)
class Piece:
    """Where output elements come from: input number `input` at `index`, where all bounds hold."""

    input: int
    index: tuple[Index, ...]
    bounds: tuple[Bound, ...] = ()


# An index tensor's element as an index: read(input number, index into it, size of the axis that it selects from).
Read: TypeAlias = Callable[[int, tuple[Index, ...], int], Index]


@dataclass(frozen=True)
class Contraction:
    """A sum over contracted axes of lhs · rhs (inputs 0 and 1).

    `sizes(*types, **attrs)` are the contracted axes' sizes;
    `operands(index, contracted, *types, **attrs)` says which elements of both inputs belong to an output index
    and an index over the contracted axes. An operand is 0 where one of its bounds fails, whatever it is computed from.
    """

    sizes: Callable[..., tuple[int, ...]]
    operands: Callable[..., tuple[Piece, Piece]]


@dataclass(frozen=True, eq=False)
class Op:
    """An operation, declared once. Calling it on nodes makes a node.

    infer       (*types, **attrs) → type; raises ShapeError or DTypeError. The only typing there is.
    reference   (*arrays, **attrs) → array: NumPy, and the op's meaning on every backend. Call it through
                `graphc.evaluate`, which widens 16-bit floats to float32 before and rounds the result after it.
    vjp         (g, y, *inputs, **attrs) → one node or None for each input, in terms of other ops; for an op with
                several results `g` is a tuple of nodes or None. None as a result means that no gradient flows.
                An op with bodies also gets `wanted`, which says for each input whether its gradient is asked for.
                Rules of elementwise and cumulative ops, reductions, views and indexed ops get 16-bit floats as float32.
                An op without a rule can't be differentiated, and says so.
    position    POSITION: (index, **attrs) → the `Index` whose value, converted to the node's dtype, is the element.
    scalar      ELEMENTWISE: (s, *scalars, **attrs) → scalar, on the recording `Builder`.
    monoid      REDUCTION.
    running     CUMULATIVE.
    pull        VIEW: (index, *types, **attrs) → pieces; the first whose bounds hold counts, else the last, whose bounds
                only guard against reading outside;
                INDEXED: (index, read, *types, **attrs) → pieces.
    inverse     VIEW that only puts its input's elements elsewhere, each in one place: (index, *types, **attrs) → the
                output index at which element `index` of input 0 is.
    in_order    VIEW whose elements are those of input 0, one after the other as there.
    push        INDEXED: (index, read, *types, **attrs) → output index that element `index` of input 1 is added to,
                on top of input 0.
    contraction CONTRACTION.
    call        CALL: (wanted, *types, **attrs) → the `Call` whose slots are the inputs, then those of the results for
                which `wanted` holds: what nobody reads, or has no elements, need not be made.
    commutes    Whether the result has the same bits when the two inputs change places.
    """

    name: str
    kind: Kind
    infer: Callable[..., Type]
    reference: Callable[..., Any] | None = None
    vjp: Callable[..., tuple[Node | None, ...]] | None = None
    position: Callable[..., Index] | None = None
    scalar: ScalarFunction | None = None
    monoid: Monoid | None = None
    running: Running | None = None
    pull: Callable[..., tuple[Piece, ...]] | None = None
    inverse: Callable[..., tuple[Index, ...]] | None = None
    in_order: bool = False
    push: Callable[..., tuple[Index, ...]] | None = None
    contraction: Contraction | None = None
    call: Callable[..., Call] | None = None
    commutes: bool = False

    def __post_init__(self) -> None:
        lowering = {
            Kind.POSITION: self.position,
            Kind.ELEMENTWISE: self.scalar,
            Kind.REDUCTION: self.monoid,
            Kind.CUMULATIVE: self.running,
            Kind.VIEW: self.pull,
            Kind.INDEXED: self.pull or self.push,
            Kind.CONTRACTION: self.contraction,
            Kind.CALL: self.call,
        }
        if lowering.get(self.kind, True) is None:
            raise CompileError(f"op {self.name} is declared {self.kind.value} but lacks the lowering of that kind")
        if self.name in _registry:
            raise CompileError(f"an op named {self.name} is declared already")
        _registry[self.name] = self

    def __call__(self, *inputs: Node, where: Location | None = None, **attrs: Any) -> Node:
        return make_node(self, inputs, attrs, where)

    def __repr__(self) -> str:
        return f"<op {self.name}>"

    def __reduce__(self) -> tuple[Callable[[str], Op], tuple[str]]:
        return find_op, (self.name,)


_registry: dict[str, Op] = {}   # filled by declarations as modules are imported, never changed after


def registry() -> Mapping[str, Op]:
    """All ops declared so far, by name: for the parser, and for tests that go through every op."""
    return MappingProxyType(_registry)


def find_op(name: str) -> Op:
    """The op of that name. Raises CompileError for an unknown one."""
    try:
        return _registry[name]
    except KeyError:
        raise CompileError(f"there is no op named {name}", hint="import the module that declares it") from None


def same_types(op: str, types: tuple[TensorType, ...]) -> TensorType:
    """The common type of an elementwise op's inputs. Raises ShapeError or DTypeError where they differ."""
    from .errors import DTypeError, ShapeError

    first = types[0]
    for t in types[1:]:
        if t.shape != first.shape:
            raise ShapeError(f"{op} needs inputs of equal shapes", got=" and ".join(map(str, types)))
        if t.dtype is not first.dtype:
            raise DTypeError(f"{op} needs inputs of equal dtypes", got=" and ".join(map(str, types)))
    return first
