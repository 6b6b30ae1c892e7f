"""`dot_general`: permutations of its inputs and of its result become axis numbers. Sums may be reassociated."""

from __future__ import annotations

from graphc.ir import Node
from graphc.ops import cast, dot_general, full_like, permute, permuted
from graphc.ops.contraction import can_give
from graphc.types import bfloat16, float32, int8, int32, uint8

from ..rewrite import Exactness, Rule, rule, tensor

Shape = tuple[int, ...]


@rule(
    dot_general,
    examples=[lambda: dot_general(tensor(2, 0), tensor(0, 3), contract=((1,), (0,)), batch=((), ()))],
)
def dot_of_nothing(node: Node) -> Node | None:
    """A sum over no elements."""
    empty = any(node.inputs[0].shape[a] == 0 for a in node.attrs["contract"][0])
    return full_like(node, 0) if empty and 0 not in node.shape else None


def _free(ndim: int, *taken: Shape) -> Shape:
    return tuple(a for a in range(ndim) if all(a not in axes for axes in taken))


@rule(
    dot_general,
    examples=[
        lambda: dot_general(
            permute(tensor(3, 2), axes=(1, 0)), tensor(3, 4), contract=((1,), (0,)), batch=((), ())
        ),
        lambda: dot_general(
            tensor(2, 3), permute(tensor(4, 3), axes=(1, 0)), contract=((1,), (0,)), batch=((), ())
        ),
        lambda: dot_general(
            permute(tensor(5, 2, 3, 6), axes=(1, 3, 0, 2)),
            tensor(2, 3, 4),
            contract=((3,), (1,)),
            batch=((0,), (0,)),
        ),
    ],
    exactness=Exactness.ROUNDING,
    over=[permute],
)
def dot_of_permute(node: Node) -> Node | None:
    """The input's axes before the permutation. Where its free axes were in another order, so are the result's."""
    for side in (0, 1):
        if node.inputs[side].op is permute:
            return _without_permute(node, side)
    return None


def _without_permute(node: Node, side: int) -> Node:
    order = node.inputs[side].attrs["axes"]
    contract, batch = list(node.attrs["contract"]), list(node.attrs["batch"])
    free = [order[a] for a in _free(len(order), contract[side], batch[side])]
    contract[side] = tuple(order[a] for a in contract[side])
    batch[side] = tuple(order[a] for a in batch[side])
    inputs = list(node.inputs)
    inputs[side] = inputs[side].inputs[0]
    product = dot_general(*inputs, **{**node.attrs, "contract": tuple(contract), "batch": tuple(batch)})
    # This side's free axes now come out ascending; put them where they were.
    ascending = sorted(free)
    first = len(batch[0]) if side == 0 else len(node.shape) - len(free)
    result = list(range(len(node.shape)))
    result[first : first + len(free)] = [first + ascending.index(a) for a in free]
    return permuted(product, tuple(result))


@rule(
    permute,
    examples=[
        lambda: permute(
            dot_general(tensor(2, 3), tensor(3, 4), contract=((1,), (0,)), batch=((), ())), axes=(1, 0)
        ),
        lambda: permute(
            dot_general(tensor(5, 2, 3), tensor(3, 5, 4), contract=((2,), (0,)), batch=((0,), (1,))),
            axes=(0, 2, 1),
        ),
    ],
    exactness=Exactness.ROUNDING,
    over=[dot_general],
)
def permute_of_dot(node: Node) -> Node | None:
    """(a b)ᵀ → bᵀ aᵀ: where the free axes of both inputs change places as blocks, so do the inputs."""
    (dot,) = node.inputs
    contract, batch = dot.attrs["contract"], dot.attrs["batch"]
    a, b = dot.inputs
    batches = len(batch[0])
    middle = batches + len(a.shape) - batches - len(contract[0])
    ndim = len(dot.shape)
    swapped = (*range(batches), *range(middle, ndim), *range(batches, middle))
    if node.attrs["axes"] != swapped:
        return None
    return dot_general(b, a, **{**dot.attrs, "contract": contract[::-1], "batch": batch[::-1]})


@rule(
    dot_general,
    examples=[
        lambda: dot_general(
            cast(tensor(2, 3, dtype=bfloat16), dtype=float32),
            cast(tensor(3, 4, dtype=bfloat16), dtype=float32),
            contract=((1,), (0,)),
            batch=((), ()),
        ),
        lambda: dot_general(
            cast(tensor(2, 3, dtype=int8), dtype=int32),
            cast(tensor(3, 4, dtype=uint8), dtype=int32),
            contract=((1,), (0,)),
            batch=((), ()),
        ),
    ],
)
def dot_of_widened(node: Node) -> Node | None:
    """Narrow numbers are multiplied as they are, and summed in the dtype that they were converted to."""
    if any(x.op is not cast for x in node.inputs):
        return None
    a, b = (x.inputs[0] for x in node.inputs)
    if a.dtype is node.dtype or not can_give(a.dtype, b.dtype, node.dtype):
        return None
    return dot_general(a, b, **{**node.attrs, "result": node.dtype})


RULES = tuple(r for r in globals().values() if isinstance(r, Rule))
