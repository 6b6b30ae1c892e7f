"""Gradients of traced values and of functions. Only places the work: the rules are the ops', the pass differentiates.

Forward mode is the vjp of the vjp: v ↦ J^T v is linear, so its own vjp is J.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from graphc import ops
from graphc.brief import brief
from graphc.errors import DTypeError, ShapeError, TraceError
from graphc.hook import driver
from graphc.ir import Node, located
from graphc.types import TensorType

from . import pytree
from .arguments import bound_arguments
from .bodies import require_structure
from .context import current_frame
from .emit import ArrayLike, as_tensor, emit, frame, is_number, operation, wrap
from .exchange import native_array
from .location import user_location, with_user_line
from .nn.module import Module
from .tensor import Tensor, concrete
from .tracer import Frame
from .variable import Variable


@operation
def stop_gradient(x: ArrayLike, /) -> Tensor:
    """x, through which no gradient flows."""
    return emit(ops.stop_gradient, as_tensor(x))


@with_user_line
def gradients(loss: Tensor, wrt: Any) -> Any:
    """d loss / d wrt for traced values.

    loss: a symbolic float tensor of shape (). wrt: a pytree of symbolic tensors, Variables and modules; the result has
    its structure, with zeros where the loss does not depend on a value, and for a module a dict with the gradients of
    its trainable Variables by path.
    Raises TraceError outside of a trace, and for a Variable whose earlier value, from before an `assign`, the loss
    has used.
    """
    wrt = pytree.unflatten(wrt, [_parameters(w) if isinstance(w, Module) else w for w in pytree.leaves(wrt)])
    targets = pytree.leaves(wrt)
    found = zip(targets, _reached(loss, targets), strict=True)
    return pytree.unflatten(wrt, [_zeros(w.type) if g is None else g for w, g in found])


def _parameters(module: Module) -> dict[str, Variable]:
    """The trainable Variables by path. Raises TraceError where there are none."""
    found = dict(module.named_parameters())
    if not found:
        raise TraceError("a module to differentiate has trainable Variables", got=brief(module))
    return found


def reached_gradients(loss: Tensor, wrt: Sequence[Tensor | Variable]) -> list[Tensor | None]:
    """As `gradients` for a list, with None where the loss does not depend on a value."""
    return _reached(loss, wrt)


def _reached(loss: Tensor, wrt: Sequence[Tensor | Variable]) -> list[Tensor | None]:
    if current_frame() is None:
        raise TraceError(
            "gx.gradients takes traced values",
            hint="call it inside a compiled function, or use gx.grad on a function",
        )
    if loss is None or isinstance(loss, list | tuple | dict):
        raise ShapeError(
            "a loss is one float",
            got=brief(loss),
            hint="return it" if loss is None else "has_aux=True takes functions that return (loss, anything else)",
        )
    loss = as_tensor(loss)
    if loss.shape or not loss.dtype.is_float:
        raise ShapeError(
            "a loss is one float",
            got=str(loss.type),
            hint="take its gx.mean or gx.sum",
        )
    here = frame()
    nodes = [_target(w, here) for w in wrt]
    _check_earlier_values(loss, wrt, here)
    return _differentiate([loss], nodes, [_one(loss)])


def _target(x: Any, here: Frame) -> Node:
    if not isinstance(x, Tensor | Variable):
        raise TraceError("gradients are taken with respect to tensors and Variables", got=brief(x))
    if not x.type.dtype.is_float:
        raise DTypeError("only floats have gradients", got=str(x.type))
    return here.node(as_tensor(x))


def _check_earlier_values(loss: Tensor, wrt: Sequence[Tensor | Variable], here: Frame) -> None:
    """A Variable's gradient is that of its current value; for a loss of an earlier one zero would be wrong, and so it
    would be for a loss that takes the tensor that was assigned for the Variable."""
    assigned = [w for w in wrt if isinstance(w, Variable) and here.assigned_value(w) is not None]
    if not assigned:
        return
    used = _reaching(here.node(loss))
    for variable in assigned:
        value = here.assigned_value(variable)
        if value is not None and value in used and value.inputs and value.op is not ops.stop_gradient:
            raise TraceError(
                f"the loss used the tensor that was assigned to {variable.name}, and not {variable.name} itself",
                hint=f"read {variable.name} after assigning, or take the gradient with respect to that tensor",
            )
        if not used.isdisjoint(here.earlier_values(variable)):
            raise TraceError(
                f"the loss used the value that {variable.name} had before it was assigned; "
                "its gradient with respect to the new value says nothing about that",
                hint="take gradients before assigning, or compute the loss after",
            )


def cut_off(loss: Tensor, wrt: Sequence[Variable], but: Sequence[Variable]) -> list[tuple[Variable, Variable]]:
    """Pairs (w, v): the loss depends on w of `wrt` through what was assigned to the Variable v, where gradients stop.

    For a `wrt` that no gradient reaches; assignments to Variables in `but` do not count.
    """
    here = frame()
    used = _reaching(here.node(loss))
    spared = {id(v) for v in but}
    found = []
    for variable, leaf in here.assigned_leaves():
        if leaf in used and id(variable) not in spared:
            before = _reaching(leaf.inputs[0])
            found += [(w, variable) for w in wrt if here.read(w) in before]
    return found


def _reaching(loss: Node) -> set[Node]:
    """The nodes from which gradients may flow to the loss: those before it, up to where gradients are stopped."""
    seen, pending = {loss}, [loss]
    while pending:
        node = pending.pop()
        if node.op is not ops.stop_gradient:
            new = [i for i in node.inputs if i not in seen]
            seen.update(new)
            pending.extend(new)
    return seen


def _differentiate(
    outputs: Sequence[Tensor], wrt: Sequence[Node], cotangents: Sequence[Tensor]
) -> list[Tensor | None]:
    here = frame()
    with located(user_location()):
        found = driver().differentiate(
            [here.node(o) for o in outputs], wrt, [here.node(c) for c in cotangents]
        )
    return [None if g is None else wrap(g) for g in found]


def _one(x: Tensor) -> Tensor:
    return wrap(frame().scalar(1.0, x.dtype))


def _zeros(type_: TensorType) -> Tensor:
    with located(user_location()):
        return wrap(ops.full(0.0, type_))


def _fresh_tensor(x: Any) -> Tensor:
    """x as a node of its own, so that other uses of x are not taken for the differentiated argument."""
    tensor = as_tensor(x)
    if not tensor.dtype.is_float:
        raise DTypeError(
            "only floats have gradients",
            got=str(tensor.type),
            hint="x.astype(np.float32); argnums= says which arguments to differentiate, if not the first",
        )
    return _unchanged(tensor)


@contextmanager
def _fresh(trees: Sequence[Any]) -> Iterator[tuple[list[Any], list[Any]]]:
    """Arguments for a function, and what they are differentiated by: the same structures, with dicts for modules.

    Each value is a node of its own, so that other uses of it are not taken for the differentiated argument; inside, the
    function may be called, and modules' Variables give such nodes when they are read.
    """
    modules = [leaf for tree in trees for leaf in pytree.leaves(tree) if isinstance(leaf, Module)]
    paths = {id(m): _parameters(m) for m in modules}
    variables = {id(v): v for found in paths.values() for v in found.values()}
    here = frame()
    before = {key: here.read(v) for key, v in variables.items()}
    tensors = {key: _unchanged(wrap(node)) for key, node in before.items()}
    given, wrt = [], []
    for tree in trees:
        leaves = [x if isinstance(x, Module) else _fresh_tensor(x) for x in pytree.leaves(tree)]
        given.append(pytree.unflatten(tree, leaves))
        by_path = [
            {path: tensors[id(v)] for path, v in paths[id(x)].items()} if isinstance(x, Module) else x for x in leaves
        ]
        wrt.append(pytree.unflatten(tree, by_path))
    with here.reading([(v, here.node(tensors[key])) for key, v in variables.items()]):
        yield given, wrt
    for key, variable in variables.items():
        if here.read(variable) is not before[key]:
            raise TraceError(
                f"the function assigned to {variable.name}, by which it is differentiated",
                hint="take the gradient first, and assign then",
            )


def _unchanged(x: Tensor) -> Tensor:
    return emit(ops.reshape, x, shape=x.shape)


# Functions of functions


Function = Callable[..., Any]


def value_and_grad(
    function: Function, argnums: int | Sequence[int] = 0, *, has_aux: bool = False
) -> Function:
    """A function that gives (value, gradients with respect to the arguments `argnums`).

    The function gives a loss of shape (), or (loss, anything else) with `has_aux`. An argument may be a pytree of
    float tensors, numbers, Variables and modules; its gradient has the same structure, with a dict for each module: the
    gradients of its trainable Variables by path, as `optimizer.apply` takes them. With several argnums the gradients
    are a tuple.
    Arguments are counted as the function's signature has them, however they are passed; negative argnums count from
    the end. Raises TraceError for an argument that is not there.
    """
    numbers = (argnums,) if isinstance(argnums, int) else tuple(argnums)

    def traced(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
        positions = _positions(args, numbers)
        with _fresh([args[p] for p in positions]) as (given, wrt):
            result = function(*_replaced(args, dict(zip(positions, given, strict=True))), **kwargs)
        if has_aux and not (isinstance(result, tuple) and len(result) == 2):
            raise ShapeError("with has_aux, the function returns (loss, anything else)", got=brief(result))
        loss = result[0] if has_aux else result
        grads = gradients(loss, wrt)
        return result, grads[0] if isinstance(argnums, int) else tuple(grads)

    return _anywhere(traced, function, numbers)


def grad(function: Function, argnums: int | Sequence[int] = 0, *, has_aux: bool = False) -> Function:
    """A function that gives the gradients of a loss; see `value_and_grad`. With `has_aux`, (gradients, the rest)."""
    both = value_and_grad(function, argnums, has_aux=has_aux)

    @with_user_line
    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        value, found = both(*args, **kwargs)
        return (found, value[1]) if has_aux else found

    return call


def _positions(args: Sequence[Any], numbers: Sequence[int]) -> list[int]:
    """The arguments to differentiate, counted from the front."""
    count = len(args)
    for number in numbers:
        if not -count <= number < count:
            raise TraceError(
                "argnums are numbers of positional arguments of the call",
                got=f"argnums {number} of a call with {count} of them",
                where=user_location(),
                hint="pass the value to differentiate as an argument of the function",
            )
    return [number % count for number in numbers]


def _replaced(args: Sequence[Any], fresh: dict[int, Any]) -> list[Any]:
    return [fresh.get(i, a) for i, a in enumerate(args)]


def _anywhere(traced: Function, function: Function, numbers: Sequence[int]) -> Function:
    """`traced` where a trace is going on; elsewhere compiled, with Python numbers to differentiate made arrays."""
    compiled: list[Function] = []

    @with_user_line
    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        args, kwargs = bound_arguments(function, args, kwargs)
        positions = _positions(args, numbers)
        if current_frame() is not None:
            return traced(*args, **kwargs)
        if not compiled:
            compiled.append(driver().compile(functools.wraps(function)(traced)))
        return compiled[0](*(_as_arrays(a) if i in positions else a for i, a in enumerate(args)), **kwargs)

    return call


def _as_arrays(tree: Any) -> Any:
    return pytree.unflatten(tree, [_as_array(leaf) for leaf in pytree.leaves(tree)])


def _as_array(x: Any) -> Any:
    return concrete(native_array(float(x))) if is_number(x) else x


@with_user_line
def vjp(function: Function, *primals: Any) -> tuple[Any, Callable[[Any], tuple[Any, ...]]]:
    """(function(*primals), pullback); `pullback(cotangents)` gives a gradient for each primal.

    Cotangents have the structure of the result, the gradients that of the primals: pytrees of float tensors, with dicts
    by path for modules.
    """
    if current_frame() is None:
        return _concrete_vjp(function, _as_arrays(list(primals)))
    with _fresh(primals) as (given, wrt):
        result = function(*given)

    def pullback(cotangents: Any) -> tuple[Any, ...]:
        found = _pulled(result, pytree.leaves(wrt), cotangents)
        return tuple(pytree.unflatten(wrt, found))

    return result, pullback


def _pulled(result: Any, wrt: Sequence[Tensor], cotangents: Any) -> list[Tensor]:
    require_structure("cotangents have", cotangents, "the result", result)
    outputs = [as_tensor(r) for r in pytree.leaves(result)]
    given = [as_tensor(c) for c in pytree.leaves(cotangents)]
    if [o.type for o in outputs] != [g.type for g in given]:
        raise ShapeError(
            "cotangents have the types of the function's results",
            got=f"{', '.join(str(g.type) for g in given)} for {', '.join(str(o.type) for o in outputs)}",
        )
    here = frame()
    found = _differentiate(outputs, [here.node(w) for w in wrt], given)
    return [_zeros(w.type) if g is None else g for w, g in zip(wrt, found, strict=True)]


def _concrete_vjp(function: Function, primals: list[Any]) -> tuple[Any, Callable[[Any], tuple[Any, ...]]]:
    """On concrete values: two compiled functions, of which the second computes what it needs of the first again."""
    forward = driver().compile(function)
    backward = driver().compile(lambda primals, cotangents: vjp(function, *primals)[1](cotangents))
    return forward(*primals), lambda cotangents: tuple(backward(primals, cotangents))


@with_user_line
def jvp(function: Function, primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    """(function(*primals), its derivative in the direction of the tangents).

    Tangents have the primals' structure, with a dict by path for a module's trainable Variables.
    """
    if len(primals) != len(tangents):
        raise ShapeError(
            "jvp takes a tangent for each primal",
            got=f"{len(tangents)} for {len(primals)}",
        )
    if current_frame() is None:
        compiled = driver().compile(lambda primals, tangents: jvp(function, primals, tangents))
        found: tuple[Any, Any] = compiled(_as_arrays(list(primals)), _as_arrays(list(tangents)))
        return found
    result, pullback = vjp(function, *primals)
    # The pullback is linear in its cotangents, so their values don't matter: zeros, which dead-code elimination drops.
    probes = [_unchanged(_zeros(as_tensor(r).type)) for r in pytree.leaves(result)]
    pulled = pullback(pytree.unflatten(result, probes))
    require_structure("tangents have", tuple(tangents), "the primals", pulled)
    pushed = _pulled(pytree.leaves(pulled), probes, pytree.leaves(list(tangents)))
    return result, pytree.unflatten(result, pushed)
