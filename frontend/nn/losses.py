"""Losses: what a model's outputs cost, as one number or one for each element."""

from __future__ import annotations

from enum import Enum

from graphc import ops
from graphc.brief import brief
from graphc.errors import ArgumentError, DTypeError, ShapeError, option

from ..binary import (
    add,
    divide,
    equal,
    greater,
    less,
    logical_and,
    maximum,
    multiply,
    not_equal,
    subtract,
)
from ..dtypes import finfo
from ..emit import ArrayLike, as_tensor, cast, emit, float_dtype, rounded_once, wide
from ..gradients import stop_gradient
from ..recorded import recorded
from ..reductions import mean, sum
from ..searching import take, where
from ..shapes import moveaxis
from ..tensor import Tensor
from ..unary import abs, exp, isinf, log, log1p, negative, square
from .functional import log_softmax

IGNORED = -100  # the class number that does not count, as in PyTorch


class Reduction(Enum):
    """What becomes of the costs of single elements."""

    MEAN = "mean"
    SUM = "sum"
    NONE = "none"


def _reduced(costs: Tensor, reduction: str) -> Tensor:
    match option(Reduction, reduction, "reduction"):
        case Reduction.MEAN:
            return mean(costs)
        case Reduction.SUM:
            return sum(costs)
        case Reduction.NONE:
            return costs


def _pair(input: ArrayLike, target: ArrayLike, loss: str) -> tuple[Tensor, Tensor]:
    """Both as floats of the dtype that the input computes in. Raises ShapeError unless their shapes are equal:
    broadcasting a target against an input is hardly ever meant."""
    x, y = as_tensor(input), as_tensor(target)
    if x.shape != y.shape:
        raise ShapeError(
            f"{loss} needs inputs and targets of one shape",
            got=f"{x.type} and {y.type}",
            hint=_alike(x, y),
        )
    x = wide(x)
    return x, cast(y, x.dtype)


def _alike(x: Tensor, y: Tensor) -> str:
    """How two shapes that differ in an axis of size 1 are made one."""
    if x.shape == (*y.shape, 1):
        return "input[..., 0], or target[..., None]"
    if y.shape == (*x.shape, 1):
        return "target[..., 0], or input[..., None]"
    return "reshape one of them"


def _weighed(weights: Tensor, costs: Tensor) -> Tensor:
    """weights · costs, but 0 where a weight of 0 meets an infinite cost: what has no chance, or does not count, costs
    nothing, and no gradient flows there."""
    free = logical_and(equal(weights, 0), isinf(costs))
    return multiply(weights, where(free, 0.0, costs))


@recorded
@rounded_once
def cross_entropy(
    input: ArrayLike, target: ArrayLike, weight: ArrayLike | None = None, ignore_index: int = IGNORED,
    reduction: str = "mean", label_smoothing: float = 0.0, axis: int = -1,
) -> Tensor:  # fmt: skip
    """−log of the probability that softmax gives the right class.

    input   logits, with the classes along `axis` (the last; PyTorch has them along the second).
    target  class numbers of an integer dtype, of the input's shape without that axis; or probabilities of its shape.
    weight  one for each class. The mean is then weighted with the targets' weights, as in PyTorch.
    ignore_index     targets of this class number cost nothing, and don't count in the mean, which is NaN where
                     nothing counts, as in PyTorch.
    label_smoothing  the share of each target that is spread over all classes equally.
    Other class numbers outside, negative ones too, raise IndexError at run time.

    A class that cannot be, with a logit of −inf, costs nothing where its target probability, or its weight, is 0, and
    gets no gradient; a target that gives it a chance costs inf.
    """
    x, y = as_tensor(input), as_tensor(target)
    if axis not in (-1, x.ndim - 1):
        x = moveaxis(x, axis, -1)
        y = moveaxis(y, axis, -1) if y.ndim == x.ndim else y
    scores = log_softmax(wide(x))
    weights = None if weight is None else _class_weights(scores, weight)
    if y.dtype.is_float and y.shape == scores.shape:
        if ignore_index != IGNORED:
            got = f"ignore_index={brief(ignore_index)}"
            raise ArgumentError("probabilities have no class number to ignore", got=got)
        return _with_probabilities(scores, y, weights, reduction, label_smoothing)
    return _with_classes(scores, y, weights, ignore_index, reduction, label_smoothing)


def _class_weights(scores: Tensor, weight: ArrayLike) -> Tensor:
    """Raises ShapeError unless there is one for each class: others could be taken, or broadcast, without a trace."""
    weights = as_tensor(weight)
    if weights.shape != scores.shape[-1:]:
        raise ShapeError(
            "there is one weight for each class", got=f"{weights.type} for {scores.type}"
        )
    return cast(weights, scores.dtype)


def _with_classes(
    scores: Tensor,
    y: Tensor,
    weight: Tensor | None,
    ignore_index: int,
    reduction: str,
    smoothing: float,
) -> Tensor:
    classes = _class_numbers(scores, y)
    low, high = int(classes.dtype.min), int(classes.dtype.max)
    counted = not_equal(classes, ignore_index) if low <= ignore_index <= high else None
    chosen = classes if counted is None else where(counted, classes, 0)
    costs = negative(_picked(scores, chosen))
    weights = None if weight is None else take(weight, chosen)
    if weights is not None:
        costs = _weighed(weights, costs)
    if smoothing:
        per_class = scores if weight is None else _weighed(weight, scores)
        costs = subtract(multiply(costs, 1.0 - smoothing), multiply(mean(per_class, axis=-1), smoothing))
    if counted is not None:
        costs = where(counted, costs, 0.0)
        weights = cast(counted, scores.dtype) if weights is None else where(counted, weights, 0.0)
    if weights is not None and option(Reduction, reduction, "reduction") is Reduction.MEAN:
        return divide(sum(costs), sum(weights))
    return _reduced(costs, reduction)


def _class_numbers(scores: Tensor, y: Tensor) -> Tensor:
    rows = scores.shape[:-1]
    if y.shape == (*rows, 1):
        raise ShapeError(
            "a class number for each row has no axis of size 1 behind the rows",
            got=f"{scores.type} and {y.type}",
            hint="y[..., 0]",
        )
    if y.shape != rows:
        raise ShapeError(
            "a target is a class number for each row of the input, or probabilities of its shape",
            got=f"{scores.type} and {y.type}",
            hint="the classes are along the last axis; give axis= for another",
        )
    if not y.dtype.is_integer:
        raise DTypeError(
            "class numbers are integers",
            got=str(y.type),
            hint="y.astype(np.int64), or gx.astype(y, gx.int64); probabilities have the input's shape",
        )
    return y


def _picked(scores: Tensor, classes: Tensor) -> Tensor:
    """Each row's score of its class. A class number is no index: a negative one is outside, not counted from the end,
    so that a label of −1 for "none" does not pass for the last class."""
    return emit(ops.pick, scores, classes)


def _with_probabilities(
    scores: Tensor,
    y: Tensor,
    weight: Tensor | None,
    reduction: str,
    smoothing: float,
) -> Tensor:
    y = cast(y, scores.dtype)
    if smoothing:
        y = add(multiply(y, 1.0 - smoothing), smoothing / scores.shape[-1])
    weights = y if weight is None else multiply(y, weight)
    return _reduced(negative(sum(_weighed(weights, scores), axis=-1)), reduction)


@recorded
@rounded_once
def nll_loss(
    input: ArrayLike, target: ArrayLike, weight: ArrayLike | None = None, ignore_index: int = IGNORED,
    reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """−input at the target's class, for log-probabilities with the classes along the last axis.

    target, weight, ignore_index: as in `cross_entropy`.
    """
    scores = wide(input)
    weights = None if weight is None else _class_weights(scores, weight)
    return _with_classes(scores, as_tensor(target), weights, ignore_index, reduction, 0.0)


@recorded
@rounded_once
def mse_loss(input: ArrayLike, target: ArrayLike, reduction: str = "mean") -> Tensor:
    """(input − target)²."""
    x, y = _pair(input, target, "mse_loss")
    return _reduced(square(subtract(x, y)), reduction)


@recorded
@rounded_once
def l1_loss(input: ArrayLike, target: ArrayLike, reduction: str = "mean") -> Tensor:
    """|input − target|."""
    x, y = _pair(input, target, "l1_loss")
    return _reduced(abs(subtract(x, y)), reduction)


@recorded
@rounded_once
def smooth_l1_loss(input: ArrayLike, target: ArrayLike, reduction: str = "mean", beta: float = 1.0) -> Tensor:
    """|input − target| − beta/2, and its square over 2 · beta where it is less than beta.

    Infinite distances cost inf with a slope of ±1.
    """
    x, y = _pair(input, target, "smooth_l1_loss")
    distance = abs(subtract(x, y))
    if beta == 0:
        return _reduced(distance, reduction)
    near = less(distance, beta)
    inside = where(near, distance, 0.0)  # the slope of a square that overflows would be NaN where it is not taken
    costs = where(near, divide(square(inside), 2.0 * beta), subtract(distance, beta / 2))
    return _reduced(costs, reduction)


@recorded
@rounded_once
def huber_loss(input: ArrayLike, target: ArrayLike, reduction: str = "mean", delta: float = 1.0) -> Tensor:
    """delta · smooth_l1_loss with beta = delta."""
    return multiply(smooth_l1_loss(wide(input), target, reduction, delta), delta)


@recorded
@rounded_once
def binary_cross_entropy_with_logits(input: ArrayLike, target: ArrayLike, reduction: str = "mean") -> Tensor:
    """−log of the probability that sigmoid gives the right answer; targets are probabilities of "yes".

    The gradient is sigmoid(input) − target. Both are exact also where the answer is nearly certain: an infinite logit
    costs 0 where the target agrees, and inf where it gives the other answer any chance.
    """
    x, y = _pair(input, target, "binary_cross_entropy_with_logits")
    # Both sides of 0 alike: `against` is the logit of the less likely answer, `other` that answer's probability.
    likely = greater(x, 0)
    against = where(likely, negative(x), x)
    other = where(likely, subtract(1.0, y), y)
    return _reduced(subtract(log1p(exp(against)), _weighed(other, against)), reduction)


@recorded
@rounded_once
def binary_cross_entropy(input: ArrayLike, target: ArrayLike, reduction: str = "mean") -> Tensor:
    """The same for probabilities; their logarithms are at least −100, as in PyTorch.

    So is the gradient: (p − y) / max(p · (1 − p), 1e-12), finite also where a probability is 0 or 1.
    """
    x, y = _pair(input, target, "binary_cross_entropy")
    smallest = max(1e-12, finfo(float_dtype(input)).smallest_normal)  # float16 has no 1e-12
    at_end = less(multiply(x, subtract(1.0, x)), smallest)
    # The costs at the ends have the right value and the slope that is wanted, but no logarithms to differentiate.
    fixed = stop_gradient(x)
    slope = multiply(subtract(fixed, y), 1.0 / smallest)
    end_costs = add(_binary_costs(fixed, y), multiply(subtract(x, fixed), slope))
    return _reduced(where(at_end, end_costs, _binary_costs(where(at_end, 0.5, x), y)), reduction)


def _binary_costs(x: Tensor, y: Tensor) -> Tensor:
    yes, no = maximum(log(x), -100.0), maximum(log1p(negative(x)), -100.0)
    return negative(add(multiply(y, yes), multiply(subtract(1.0, y), no)))


@recorded
@rounded_once
def kl_div(input: ArrayLike, target: ArrayLike, reduction: str = "mean") -> Tensor:
    """target · (log(target) − input), for log-probabilities as input.

    0 where the target is 0, whatever the input: −inf too. There the gradient with respect to the input is 0, and the
    one with respect to the target, which would be −inf, leaves the logarithm out.
    """
    x, y = _pair(input, target, "kl_div")
    safe = where(equal(y, 0), 1.0, y)
    return _reduced(_weighed(y, subtract(log(safe), x)), reduction)
