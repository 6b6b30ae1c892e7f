"""Control flow of users' functions: loops and choices that are part of a program, whatever their values are.

Each function here traces what it is given in frames of its own (`bodies.py`), and makes one control op.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from graphc import ops
from graphc.brief import brief
from graphc.errors import DTypeError, ShapeError, TraceError
from graphc.ir import Graph, Node
from graphc.ops.bodies import LoopInputs
from graphc.ops.branches import branch_attrs
from graphc.schedule import LARGEST
from graphc.types import TensorType, bool_, int32, int64

from . import pytree
from .arguments import parameter_names
from .binary import add, less, maximum, minimum
from .bodies import BodyTrace, Leaves, Surroundings, array_leaf, at_once, call
from .branches import agreed
from .carries import Carries
from .checkpoints import scan_in_segments, segment_size
from .context import current_frame
from .emit import ArrayLike, as_tensor, cast, emit_items, is_number, whole
from .exchange import is_foreign_array
from .location import with_user_line
from .tensor import Tensor
from .tracer import Body
from .variable import Variable

Function = Callable[..., Any]
_STEPS = "max_steps is a whole number of steps ≥ 0"


@with_user_line
def scan(
    body: Function, init: Any, xs: Any = None, *, length: int | None = None, reverse: bool = False,
    remat: bool | int = False,
) -> tuple[Any, Any]:  # fmt: skip
    """(carry, ys) of the loop `for x in xs: carry, y = body(carry, x)`, with all y stacked: a recurrence, whose step is
    compiled once, however long it is.

    body: a function of the carry and a slice that gives the next carry and what to keep of the step, or None.
    init: the carry at the start, a pytree of arrays. Its structure, shapes and dtypes stay; Python numbers take the
        dtype that the body gives them.
    xs: a pytree of arrays. Slices run along their first axes, which are equally long; ys have such an axis, too.
        None for a body that needs no slices, with `length=`.
    reverse: slices are taken, and ys are stacked, from the end.
    remat: for gradients, keep only what is carried from one segment of about √length steps, or of so many, to the next,
        and compute the values inside of segments once more: memory for them grows with the square root of the length.

    The body sees what is around it. Variables that it assigns have the new values in the next step, and random numbers
    are new ones in each. Gradients flow through all of it, except for what Variables are assigned.
    Raises ShapeError or DTypeError for a carry that changes, which name the leaf; TraceError for what is no array.
    """
    if current_frame() is None:
        found: tuple[Any, Any] = at_once(
            lambda: scan(body, init, xs, length=length, reverse=reverse, remat=remat)
        )
        return found
    start = Leaves.of(init, parameter_names(body, 1)[0])
    return _scan("scan", body, start, Leaves.of(xs, "xs"), length, bool(reverse), remat)


def _scan(
    name: str, body: Function, start: Leaves, slices: Leaves, length: int | None, reverse: bool = False,
    remat: bool | int = False,
) -> tuple[Any, Any]:  # fmt: skip
    rows = [_stack(x, path) for x, path in zip(slices.values, slices.paths, strict=True)]
    count = _length(rows, slices.paths, length)
    carries, kept = Carries.of(name, start), Leaves.of(None, "y")

    def traced(types: Sequence[TensorType]) -> tuple[BodyTrace, Any]:
        nonlocal kept
        step = BodyTrace(body, f"{name} calls its body with the carry and a slice of xs")
        carry = step.inputs(start, types)
        step.run(carry, step.inputs(slices, [x.type.with_shape(x.shape[1:]) for x in rows]))
        if not isinstance(step.result, tuple | list) or len(step.result) != 2:
            rule = f"the body of gx.{name} gives the carry and what to keep"
            raise TraceError(rule, got=brief(step.result), hint="return carry, y; y may be None")
        kept = Leaves.of(step.result[1], "y")
        return step, step.result[0]

    step, after = carries.settled(traced)
    ys = step.nodes(kept, f"what gx.{name} stacks")
    _require_room(name, ys, count)
    body_ = step.close([*after, *ys])
    around = Surroundings([body_])
    inputs = LoopInputs(tuple(around.fixed), (*carries.tensors, *around.changing), tuple(rows))
    graph = _loop_body(around, body_, len(after))
    results = scan_in_segments(inputs, graph, count, reverse, segment_size(remat, count))
    last, stacks = len(after), len(after) + len(around.assigned)
    around.commit(results[last:stacks])
    return start.filled(results[:last]), kept.filled(results[stacks:])


def _loop_body(around: Surroundings, body: Body, carries: int) -> Graph:
    """The graph with inputs and outputs in the order of loops: Variables that are assigned are carries, too."""
    own, consts, changing = around.inputs_of(body)
    outputs = around.outputs_of(body, changing)
    last = len(outputs) - len(changing)
    return Graph(
        (*consts, *own[:carries], *changing, *own[carries:]), (), (),
        (*outputs[:carries], *outputs[last:], *outputs[carries:last]),
    )  # fmt: skip


def _stack(x: Any, path: str) -> Tensor:
    """What slices are taken of."""
    tensor = array_leaf(x, path, "the xs of gx.scan")
    if not isinstance(tensor, Tensor) or not tensor.ndim:
        raise ShapeError(
            "gx.scan takes slices along the first axes of xs, so each is an array with at least one",
            got=f"{brief(x)} at {path}", hint="gx.asarray([...]) makes an array of numbers; bodies see what is around",
        )  # fmt: skip
    return tensor


def _length(rows: Sequence[Tensor], paths: Sequence[str], length: int | None) -> int:
    """How many iterations there are. Raises ShapeError where that is not said, or said in two ways."""
    sizes = {path: x.shape[0] for path, x in zip(paths, rows, strict=True)}
    if length is not None:
        sizes["length"] = whole(length, "the length of a scan is a whole number")
    if not sizes:
        raise ShapeError("gx.scan takes xs or length=, which say how many steps there are", got="neither")
    if len(set(sizes.values())) > 1 or min(sizes.values()) < 0:
        told = ", ".join(f"{size} of {path}" for path, size in sizes.items())
        raise ShapeError("the first axes of xs, and length if given, are one number ≥ 0", got=told)
    return _countable(next(iter(sizes.values())))


def _countable(steps: int) -> int:
    """A number of steps. Raises ShapeError for more than can be counted in 64 bits."""
    if steps > int64.max:
        raise ShapeError("a loop counts its steps in 64 bits", got=brief(steps))
    return steps


def _require_room(name: str, ys: Sequence[Node], count: int) -> None:
    """Raise ShapeError where what a loop stacks is more than any memory holds."""
    for y in ys:
        if y.tensor_type.nbytes * count > LARGEST:
            raise ShapeError(
                f"gx.{name} stacks the y of all steps, in terabytes at most (2**46 bytes)",
                got=f"{y.type} for each of {count} steps", hint="give None as y, and carry what is wanted in the end",
            )  # fmt: skip


@with_user_line
def while_loop(cond: Function, body: Function, init: Any, *, max_steps: int | None = None) -> Any:
    """The carry after `while cond(carry): carry = body(carry)`.

    cond: a function of the carry that gives one bool. body: a function of the carry that gives the next one, with the
        same structure, shapes and dtypes; Python numbers in `init` take the dtype that the body gives them.
    max_steps: after so many steps the loop ends whatever `cond` says. Only then gradients flow through it: what they
        need of each step has a place in memory, and takes no time for steps that there were not.

    Functions see what is around them; the body may assign Variables, whose new values the next step finds.
    Raises ShapeError or DTypeError for a carry that changes, which name the leaf; UnsupportedError where a gradient is
    asked for without `max_steps`.
    """
    if current_frame() is None:
        return at_once(lambda: while_loop(cond, body, init, max_steps=max_steps))
    start = Leaves.of(init, parameter_names(body, 1)[0])
    return _while("while_loop", cond, body, start, max_steps)


def _while(name: str, cond: Function, body: Function, start: Leaves, max_steps: int | None) -> Any:
    most = None if max_steps is None else whole(max_steps, _STEPS)
    if most is not None and _countable(most) < 0:
        raise ShapeError(_STEPS, got=str(most))
    carries = Carries.of(name, start)

    def traced(types: Sequence[TensorType]) -> tuple[BodyTrace, Any]:
        step = BodyTrace(body, f"{name} calls its body with the carry")
        step.run(step.inputs(start, types))
        return step, step.result

    step, after = carries.settled(traced)
    test = BodyTrace(cond, "while_loop calls its cond with the carry")
    test.run(test.inputs(start, carries.types))
    (answer,) = test.nodes(Leaves.of(test.result, "the answer"), "what the cond of gx.while_loop gives")
    _require_condition(answer, test.result, "the cond of gx.while_loop gives")
    body_, cond_ = step.close(after), test.close([answer])
    if cond_.assigned:
        raise TraceError("the cond of gx.while_loop only looks: it assigns no Variable and draws no random numbers",
                         got=f"an assignment to {cond_.assigned[0].name}", hint="assign in the body")  # fmt: skip
    around = Surroundings([body_, cond_])
    own, consts, changing = around.inputs_of(cond_)
    results = emit_items(
        ops.while_loop, [*around.fixed, *carries.tensors, *around.changing],
        cond=Graph((*consts, *own, *changing), (), (), (answer,)), body=_loop_body(around, body_, len(after)),
        consts=len(consts), carries=len(after) + len(changing), max_steps=most,
    )  # fmt: skip
    around.commit(results[len(after) : len(after) + len(changing)])
    return start.filled(results[: len(after)])


def _require_condition(x: Node | Tensor, given: Any, what: str) -> None:
    """Raise DTypeError or ShapeError unless it is one bool."""
    if x.dtype is not bool_:
        raise DTypeError(f"{what} one bool", got=brief(given), hint="compare, as in x > 0")
    if x.shape:
        raise ShapeError(f"{what} one bool, of shape ()", got=brief(given), hint="gx.any(x) or gx.all(x)")


@with_user_line
def fori_loop(lower: ArrayLike, upper: ArrayLike, body: Function, init: Any, *, max_steps: int | None = None) -> Any:
    """The carry after `for i in range(lower, upper): carry = body(i, carry)`.

    lower, upper: Python integers, for a loop through which gradients flow; or integers that are computed, for one of
        `gx.while_loop`, where they do with `max_steps`. `i` is an int64.
    body: a function of i and the carry that gives the next carry, with the same structure, shapes and dtypes.

    Raises what `gx.scan` and `gx.while_loop` raise.
    """
    if current_frame() is None:
        return at_once(lambda: fori_loop(lower, upper, body, init, max_steps=max_steps))
    note = "fori_loop calls its body with i and the carry"
    carry = Leaves.of(init, parameter_names(body, 2)[1])
    rule = "a bound is a whole number"
    static = is_number(lower) and is_number(upper)
    first = as_tensor(whole(lower, rule), int64) if static else _bound(lower)
    start = Leaves((first, init), [first, *carry.values], ["i", *carry.paths])

    def stepped(pair: Any, _: Any = None) -> Any:
        return add(pair[0], 1), call(body, pair, note)

    if static:
        steps = max(0, whole(upper, rule) - whole(lower, rule))
        steps = steps if max_steps is None else min(steps, whole(max_steps, _STEPS))
        none = Leaves.of(None, "xs")
        (_, found), _ = _scan("fori_loop", lambda pair, _: (stepped(pair), None), start, none, steps)
        return found
    end = _bound(upper)
    return _while("fori_loop", lambda pair: less(pair[0], end), stepped, start, max_steps)[1]


def _bound(x: ArrayLike) -> Tensor:
    tensor = as_tensor(x, int64 if is_number(x) else None)
    if not tensor.dtype.is_integer or tensor.shape:
        raise DTypeError("the bounds of gx.fori_loop are whole numbers, of shape ()", got=brief(x))
    return cast(tensor, int64)


@with_user_line
def cond(p: ArrayLike, f: Function, g: Function, *args: Any) -> Any:
    """f(*args) if p holds, else g(*args): only one of them is run.

    p: one bool. A Python bool chooses while tracing, as `if` does. Both functions give the same structure, shapes and
    dtypes; a Python number takes the dtype that the other one gives. Functions see what is around them, and may assign
    Variables: one that only one of them assigns stays as it is if the other one runs. Gradients flow through the one
    that runs.
    Raises DTypeError or ShapeError where results differ, which name the leaf, and for what is no condition.
    """
    if isinstance(p, bool):
        return call(f if p else g, args, "cond calls it with the arguments it is given")
    if current_frame() is None:
        return at_once(lambda: cond(p, f, g, *args))
    chosen = as_tensor(p)
    _require_condition(chosen, p, "gx.cond chooses by")
    return _chosen("cond", cast(chosen, int32), (g, f), ("if p does not hold", "if p holds"), args)


@with_user_line
def switch(index: ArrayLike, branches: Sequence[Function], *args: Any) -> Any:
    """branches[index](*args), where an index that is too small or too large is the nearest branch's.

    index: one integer. A Python int chooses while tracing. Otherwise as `gx.cond`.
    """
    functions = tuple(branches)
    if not functions:
        raise TraceError("gx.switch chooses one of at least one function", got="no branches")
    if is_number(index):
        return functions[min(max(whole(index, "an index is a whole number"), 0), len(functions) - 1)](*args)
    if current_frame() is None:
        return at_once(lambda: switch(index, functions, *args))
    chosen = as_tensor(index)
    if not chosen.dtype.is_integer or chosen.shape:
        hint = "gx.cond chooses by a bool" if chosen.dtype.is_bool else None
        raise DTypeError("gx.switch chooses by one integer, of shape ()", got=brief(index), hint=hint)
    if chosen.dtype.max > int32.max:  # what a conversion would wrap
        chosen = minimum(chosen if chosen.dtype.is_unsigned else maximum(chosen, 0), len(functions) - 1)
    names = tuple(f"in branch {i}" for i in range(len(functions)))
    return _chosen("switch", cast(chosen, int32), functions, names, args)


def _chosen(name: str, index: Tensor, functions: Sequence[Function], names: Sequence[str], args: Sequence[Any]) -> Any:
    given = pytree.unflatten(tuple(args), [_given(x) for x in pytree.leaves(args)])
    traces = [BodyTrace(function, f"{name} calls it with the arguments it is given") for function in functions]
    for trace in traces:
        trace.run(*given)
    tree, results = agreed(traces, names, name)
    bodies = [trace.close(nodes) for trace, nodes in zip(traces, results, strict=True)]
    around = Surroundings(bodies)
    found = emit_items(
        ops.switch, [index, *around.fixed, *around.changing],
        **branch_attrs(tuple(_branch(around, body) for body in bodies)),
    )  # fmt: skip
    count = len(found) - len(around.assigned)
    around.commit(found[count:])
    return pytree.unflatten(tree, found[:count])


def _given(x: Any) -> Any:
    """An argument of a branch: arrays as tensors, all else as it is."""
    return as_tensor(x) if is_foreign_array(x) and not isinstance(x, Tensor | Variable) else x


def _branch(around: Surroundings, body: Body) -> Graph:
    own, fixed, changing = around.inputs_of(body)
    return Graph((*own, *fixed, *changing), (), (), around.outputs_of(body, changing))
