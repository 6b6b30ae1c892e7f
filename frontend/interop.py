"""NumPy's own functions on tensors: `np.exp(t)`, `array * t`, `array += t`, `np.concatenate([t, t])`.

Ufuncs that an array function stands for are that function, and give Tensors; all other functions take concrete tensors
as the arrays they are. In a trace only operators work, since NumPy can't add nodes: errors name graphc's function.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NoReturn

import numpy as np

from graphc.errors import DTypeError, TraceError

from .context import current_frame
from .location import with_user_line
from .tensor import Tensor
from .variable import Variable

# The array functions that ufuncs stand for. First what Python's operators call where a NumPy array is on the left,
# which works in traces, too.
_OPERATORS: Mapping[np.ufunc, str] = MappingProxyType(
    {
        np.add: "add",
        np.bitwise_and: "bitwise_and",
        np.bitwise_or: "bitwise_or",
        np.bitwise_xor: "bitwise_xor",
        np.divide: "divide",
        np.equal: "equal",
        np.floor_divide: "floor_divide",
        np.greater: "greater",
        np.greater_equal: "greater_equal",
        np.left_shift: "bitwise_left_shift",
        np.less: "less",
        np.less_equal: "less_equal",
        np.matmul: "matmul",
        np.multiply: "multiply",
        np.not_equal: "not_equal",
        np.power: "pow",
        np.remainder: "remainder",
        np.right_shift: "bitwise_right_shift",
        np.subtract: "subtract",
    }
)

_FUNCTIONS: Mapping[np.ufunc, str] = MappingProxyType(
    {
        np.absolute: "abs",
        np.arccos: "acos",
        np.arccosh: "acosh",
        np.arcsin: "asin",
        np.arcsinh: "asinh",
        np.arctan: "atan",
        np.arctan2: "atan2",
        np.arctanh: "atanh",
        np.cbrt: "cbrt",
        np.ceil: "ceil",
        np.copysign: "copysign",
        np.cos: "cos",
        np.cosh: "cosh",
        np.exp: "exp",
        np.exp2: "exp2",
        np.expm1: "expm1",
        np.floor: "floor",
        np.hypot: "hypot",
        np.invert: "bitwise_invert",
        np.isfinite: "isfinite",
        np.isinf: "isinf",
        np.isnan: "isnan",
        np.log: "log",
        np.log10: "log10",
        np.log1p: "log1p",
        np.log2: "log2",
        np.logaddexp: "logaddexp",
        np.maximum: "maximum",
        np.minimum: "minimum",
        np.negative: "negative",
        np.positive: "positive",
        np.reciprocal: "reciprocal",
        np.rint: "round",
        np.sign: "sign",
        np.signbit: "signbit",
        np.sin: "sin",
        np.sinh: "sinh",
        np.sqrt: "sqrt",
        np.square: "square",
        np.tan: "tan",
        np.tanh: "tanh",
        np.trunc: "trunc",
    }
)

# Names that differ from NumPy's, for errors; others are graphc's where it has them.
_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "absolute": "abs", "amax": "max", "amin": "min", "arccos": "acos", "arccosh": "acosh", "arcsin": "asin",
        "arcsinh": "asinh", "arctan": "atan", "arctan2": "atan2", "arctanh": "atanh", "around": "round",
        "column_stack": "concat", "concatenate": "concat", "cross": "linalg.cross", "diagonal": "linalg.diagonal",
        "dot": "matmul", "fmax": "maximum",
        "fmin": "minimum", "hstack": "concat", "inner": "vecdot", "invert": "bitwise_invert",
        "left_shift": "bitwise_left_shift", "matrix_power": "linalg.matrix_power",
        "nan_to_num": "where", "norm": "linalg.vector_norm", "power": "pow",
        "right_shift": "bitwise_right_shift", "rint": "round", "swapaxes": "swap_axes", "trace": "linalg.trace",
        "transpose": "permute_dims", "vstack": "concat",
    }
)  # fmt: skip

# What NumPy asks of a type only.
_OF_TYPES: Mapping[Callable[..., Any], str] = MappingProxyType(
    {np.shape: "shape", np.ndim: "ndim", np.size: "size"}
)


@with_user_line
def call_ufunc(ufunc: np.ufunc, method: str, inputs: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """What a ufunc, or one of its methods (`np.add.reduce`), gives for inputs of which one is a tensor.

    Tensors, unless `out` names arrays for the result, as `array += tensor` does: NumPy's rules for casting hold
    there. Raises TraceError for symbolic tensors unless an operator was meant, and for writing to tensors.
    """
    if method == "__call__" and not options:
        if ufunc in _OPERATORS:
            return _ours(_OPERATORS[ufunc])(*inputs)
        _reject_symbols(ufunc.__name__, inputs)
        if ufunc in _FUNCTIONS:
            return _ours(_FUNCTIONS[ufunc])(*inputs)
    outputs = options.get("out", ())
    written = inputs[:1] if method == "at" else outputs
    if any(isinstance(o, Tensor | Variable) for o in written):
        _reject_writing(ufunc.__name__)
    if outputs and any(_is_symbolic(i) for i in inputs):
        raise TraceError(
            "a NumPy array can't take values that are not known while a function is traced",
            got=f"np.{ufunc.__name__} into an array, as `a += tensor` does",
            hint="write a = a + tensor, which gives a tensor",
        )
    _reject_symbols(ufunc.__name__, (inputs, options))
    found = getattr(ufunc, method)(*_as_arrays(inputs), **_as_arrays(options))
    return found if outputs or found is None else _as_tensors(found)


@with_user_line
def call_function(function: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """What a function of NumPy's that is no ufunc gives: the tensors among its arguments are taken as the arrays they
    are, and the result is NumPy's. Raises TraceError for symbolic tensors, and for writing to tensors."""
    if function in _OF_TYPES and len(args) == 1 and not options:
        return getattr(args[0], _OF_TYPES[function])
    _reject_symbols(function.__name__, (args, options))
    if isinstance(options.get("out"), Tensor | Variable):
        _reject_writing(function.__name__)
    plain, named = _as_arrays(args), _as_arrays(options)
    if plain is args and named is options:
        return NotImplemented  # a tensor inside of what is not looked into: asking again would never end
    return function(*plain, **named)


def _is_symbolic(x: Any) -> bool:
    """Whether it has no value now; in a trace no Variable has one."""
    return x.is_symbolic if isinstance(x, Tensor) else isinstance(x, Variable) and current_frame() is not None


def _reject_symbols(name: str, x: Any) -> None:
    """Raise TraceError where nested lists, tuples and dicts hold a symbolic tensor."""
    if isinstance(x, list | tuple):
        for i in x:
            _reject_symbols(name, i)
    elif isinstance(x, dict):
        _reject_symbols(name, tuple(x.values()))
    elif _is_symbolic(x):
        ours = _counterpart(name)
        raise TraceError(
            f"NumPy's {name} needs the values of a tensor, which are not known while a function is traced",
            got=f"a symbolic {x.type}",
            hint=f"use {ours}" if ours else "use the functions of graphc, or return the tensor and convert then",
        )


def _counterpart(name: str) -> str | None:
    """What to call instead of NumPy's function of this name, if there is something."""
    ours = _NAMES.get(name, name)
    return f"gx.{ours}" if "." in ours or callable(_ours(ours)) else None


def _ours(name: str) -> Any:
    """The function of graphc's with this name."""
    import graphc

    return getattr(graphc, name, None)


def _reject_writing(name: str) -> NoReturn:
    raise TraceError(
        f"tensors are immutable: np.{name} can't write its result to one",
        hint="leave out `out`, and keep state in a gx.Variable: v.assign(...)",
    )


def _as_arrays(x: Any) -> Any:
    """With NumPy's views in place of tensors, in nested lists, tuples and dicts; x itself where there are none."""
    if isinstance(x, Tensor | Variable):
        return x.numpy()
    if isinstance(x, list | tuple):
        items = tuple(map(_as_arrays, x))
        if all(a is b for a, b in zip(items, x, strict=True)):
            return x
        return items if isinstance(x, tuple) else list(items)
    if isinstance(x, dict):
        values = {k: _as_arrays(v) for k, v in x.items()}
        return x if all(values[k] is x[k] for k in x) else values
    return x


def _as_tensors(found: Any) -> Any:
    """NumPy's results as Tensors; those of a dtype that graphc does not have as they are."""
    from .creation import asarray

    if isinstance(found, tuple):
        return tuple(map(_as_tensors, found))
    try:
        return asarray(found)
    except DTypeError:
        return found
