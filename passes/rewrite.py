"""Rewriting: rules that each replace a node by a simpler one, and the worklist that applies them to a graph.

A rule looks at a node and what it depends on, never at its users, so one walk from inputs to results reaches the
fixed point. The engine knows no op beyond which ones commute.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Hashable, Iterable, Iterator, Sequence
from enum import Enum
from functools import lru_cache
from itertools import product

from graphc import ops
from graphc.dataclass import dataclass
from graphc.errors import CompileError, DTypeError
from graphc.ir import Graph, Node, located, with_inputs
from graphc.op import Kind, Op
from graphc.types import DType, TensorType, bool_, float32, int32, uint8

from .cse import Interner

STEPS_PER_NODE = 100  # far beyond what terminating rules need


class Exactness(Enum):
    """How a rule's two sides compare."""

    BITWISE = "the same bits for all inputs, infinities and −0.0 included, except for which NaN it is"
    ROUNDING = "the same real number, rounded at other places"


@dataclass(frozen=True, eq=False)
class Rule:
    """`apply(node)` gives the replacement, a node of the same type, or None. It is asked for nodes of `ops` only,
    or of any op where `ops` is empty, and where `fits(node)`, which looks at nothing but ops and types of the node and
    its inputs, and ops of what comes first among these one's inputs: that is asked once for all nodes that are alike in
    these. `examples()` are nodes that it replaces, for tests."""

    name: str
    ops: tuple[Op, ...]
    apply: Callable[[Node], Node | None]
    exactness: Exactness
    examples: Callable[[], Iterable[Node]]
    fits: Callable[[Node], bool] = lambda node: True

    def __repr__(self) -> str:
        return f"<rule {self.name}>"


def tensor(*shape: int, dtype: DType = float32) -> Node:
    """An input, for rules' examples."""
    return ops.input(type=TensorType(dtype, shape), name="x")


# Rules written as functions


def rule(
    *of: Op,
    examples: Sequence[Callable[[], Node]],
    exactness: Exactness = Exactness.BITWISE,
    over: Sequence[Op] = (),
    kinds: Container[Kind] = frozenset(Kind),
    where: Callable[[Node], bool] | None = None,
) -> Callable[[Callable[[Node], Node | None]], Rule]:
    """Make a rule for those ops of a function from a node to its replacement or None.

    What else is known of nodes that it may replace: they have an input of one of the ops `over`, an op of one of these
    `kinds`, and `where` holds, which looks at no more than `Rule.fits` may.
    """

    def decorate(function: Callable[[Node], Node | None]) -> Rule:
        def fits(node: Node) -> bool:
            is_over = not over or any(i.op in over for i in node.inputs)
            return is_over and node.op.kind in kinds and (where is None or where(node))

        name: str = function.__name__
        return Rule(name, of, function, exactness, lambda: [make() for make in examples], fits)

    return decorate


# Rules written as two sides


Sides = Callable[..., tuple[Node, Node]]
Family = Callable[[DType], bool]


def anything(dtype: DType) -> bool:
    return True


def floats(dtype: DType) -> bool:
    return dtype.is_float


def integers(dtype: DType) -> bool:
    return dtype.is_integer


def numbers(dtype: DType) -> bool:
    return not dtype.is_bool


def identity(
    root: Op, family: Family = anything, exactness: Exactness = Exactness.BITWISE
) -> Callable[[Sides], Rule]:
    """Make a rule of a function that gives both sides of an elementwise identity: `before, after`. `root` is the op of
    `before`.

        @identity(negative)
        def double_negative(x):
            return negative(negative(x)), x

    Its parameters stand for tensors of one shape and one dtype of the `family`, but `mask` for one of bools.
    The left side is traced once for each type and matched against nodes, with either order of inputs that commute.
    """

    def decorate(sides: Sides) -> Rule:
        parameters = sides.__code__.co_varnames[: sides.__code__.co_argcount]

        @lru_cache(maxsize=256)
        def patterns(type_: TensorType) -> tuple[tuple[Node, tuple[Node, ...]], ...]:
            """The left sides for inputs of this type, each with its parameters."""
            if not family(type_.dtype):
                return ()
            variables = tuple(
                ops.input(type=type_.with_dtype(bool_) if p == "mask" else type_, name=p) for p in parameters
            )
            try:
                before, _ = sides(*variables)
            except DTypeError:
                return ()  # an op in it refuses the dtype
            return tuple((variant, variables) for variant in _commuted(before))

        def apply(node: Node) -> Node | None:
            for before, variables in patterns(node.inputs[-1].tensor_type):
                found: dict[Node, Node] = {}
                if _match(before, node, found):
                    _, after = sides(*(found[v] for v in variables))
                    return after
            return None

        def fits(node: Node) -> bool:
            type_ = node.inputs[-1].tensor_type  # of its sizes, ops depend on no more than whether there are any
            least = TensorType(type_.dtype, (1,) if type_.shape else ())
            return any(_fits(before, node) for before, _ in patterns(least))

        def examples() -> Iterator[Node]:
            for dtype in (float32, int32, uint8, bool_):
                for before, _ in patterns(TensorType(dtype, (4, 16))):
                    yield before

        name: str = sides.__name__
        return Rule(name, (root,), apply, exactness, examples, fits)

    return decorate


def _commuted(pattern: Node) -> list[Node]:
    """The pattern with the inputs of commutative ops in every order."""
    inputs = list(product(*(_commuted(i) for i in pattern.inputs)))
    if pattern.op.commutes and pattern.inputs[0] is not pattern.inputs[1]:
        inputs += [(b, a) for a, b in inputs]
    return [with_inputs(pattern, i) for i in inputs]


def _fits(pattern: Node, node: Node) -> bool:
    """Whether the node's inputs, and their first ones, have the ops that the pattern wants."""
    for p, n in zip(pattern.inputs, node.inputs, strict=True):
        if p.op is not ops.input and (p.op is not n.op or _feed(p) not in (None, ops.input, _feed(n))):
            return False
    return True


def _feed(node: Node) -> Op | None:
    """The op of its first input."""
    return node.inputs[0].op if node.inputs else None


def _match(pattern: Node, node: Node, found: dict[Node, Node]) -> bool:
    """Whether the node has the pattern's form; `found` becomes what its inputs stand for.

    Nodes are interned, so that two parts of a graph compute the same exactly if they are one node.
    """
    if pattern.op is ops.input:
        return found.setdefault(pattern, node) is node
    return (
        pattern.op is node.op
        and pattern.attrs == node.attrs
        and all(_match(p, n, found) for p, n in zip(pattern.inputs, node.inputs, strict=True))
    )


# Applying rules


class RuleSet:
    """Rules by the op of the nodes they replace."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self.rules = tuple(rules)
        self._general = tuple(r for r in self.rules if not r.ops)
        self._by_op: dict[Op, tuple[Rule, ...]] = {}
        for r in self.rules:
            for op in r.ops:
                self._by_op[op] = (*self._by_op.get(op, self._general), r)

    def fitting(self, node: Node) -> tuple[Rule, ...]:
        """The rules that may replace the node, or another one that is alike in types and ops."""
        return tuple(r for r in self._by_op.get(node.op, self._general) if r.fits(node))

    def applicable(self, node: Node) -> Rule | None:
        """The first rule that replaces the node."""
        return next((r for r in self.fitting(node) if r.apply(node) is not None), None)


def _replaced(node: Node, rules: Iterable[Rule]) -> Node | None:
    """The replacement by the first rule that has one. Raises CompileError if its type differs."""
    with located(node.loc):
        for r in rules:
            after = r.apply(node)
            if after is not None:
                if after.type != node.type:
                    raise CompileError(f"{r} changes the type of {node}", got=repr(after), where=node.loc)
                return after
    return None


def rewrite(graph: Graph, rules: RuleSet) -> Graph:
    """Apply the rules until none applies to any node. Equal nodes are made one on the way.

    Raises CompileError where rules do not come to an end.
    """
    worklist = _Worklist(
        rules, sources=(*graph.inputs, *graph.variables), steps=STEPS_PER_NODE * len(graph.nodes)
    )
    return graph.replace({node: worklist.final(node) for node in graph.nodes})


class _Worklist:
    """What has become of each node. A final node is interned, its inputs are final, and no rule applies to it."""

    def __init__(self, rules: RuleSet, sources: Iterable[Node], steps: int) -> None:
        self._rules = rules
        self._steps_left = steps
        self._interner = Interner()
        self._final: dict[Node, Node] = {s: s for s in sources}
        self._becomes: dict[Node, Node] = {}  # equal to another node, or replaced by it, but not yet final
        self._fitting: dict[Hashable, tuple[Rule, ...]] = {}  # by all that `Rule.fits` looks at

    def final(self, root: Node) -> Node:
        """The final node that computes what `root` does. Without recursion, since graphs are deep."""
        final, becomes, stack = self._final, self._becomes, [root]
        while stack:
            node = stack[-1]
            if node in final:
                stack.pop()
                continue
            if node in becomes:
                self._follow(node, stack)
                continue
            try:
                inputs = tuple([final[i] for i in node.inputs])
            except KeyError:
                stack.extend([i for i in reversed(node.inputs) if i not in final])
            else:
                self._step(node, inputs)
        return final[root]

    def _follow(self, node: Node, stack: list[Node]) -> None:
        """Finish a node whose successor is final; else see to the successor first."""
        after = self._becomes[node]
        if after in self._final:
            self._final[node] = self._final[after]
        else:
            self._count(node)
            stack.append(after)

    def _count(self, node: Node) -> None:
        self._steps_left -= 1
        if self._steps_left < 0:
            raise CompileError("rewriting does not come to an end", got=repr(node), where=node.loc)

    def _step(self, node: Node, inputs: tuple[Node, ...]) -> None:
        """One step for a node whose inputs have become these, which are final."""
        equal = self._interner.intern(node, inputs)
        if equal not in self._final and equal not in self._becomes:
            rules = self._rules_for(equal)
            applied = _replaced(equal, rules) if rules else None
            if applied is None:
                self._final[equal] = equal
            else:
                self._becomes[equal] = applied
        if equal is not node:
            self._becomes[node] = equal

    def _rules_for(self, node: Node) -> tuple[Rule, ...]:
        """The rules that may replace the node; mostly there are none."""
        inputs = node.inputs
        seen = [(i.op, i.type, i.inputs[0].op if i.inputs else None) for i in inputs]
        key = (node.op, node.type, *seen)
        found = self._fitting.get(key)
        if found is None:
            found = self._fitting[key] = self._rules.fitting(node)
        return found
