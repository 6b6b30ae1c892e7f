"""Calls and the signatures they should fit: an ArgumentError that shows the signature where they don't.

Knows the argument names of other frameworks, and what they are called here.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from graphc.errors import ArgumentError

# For each word that people try, what it may be called here: the first that the function has.
RENAMED: dict[str, tuple[str, ...]] = {
    "dim": ("axis", "axes", "start_axis"), "dims": ("axes", "axis", "shape"), "axis": ("axes",), "axes": ("axis",),
    "keepdim": ("keepdims",), "ddof": ("correction",), "unbiased": ("correction",), "size": ("shape",),
    "learning_rate": ("lr",), "params": ("parameters",), "b1": ("betas",), "b2": ("betas",), "beta1": ("betas",),
    "beta2": ("betas",), "epsilon": ("eps",), "min": ("min_val",), "max": ("max_val",), "a_min": ("min",),
    "a_max": ("max",), "start_dim": ("start_axis",), "end_dim": ("end_axis",), "use_bias": ("bias",),
    "units": ("out_features",), "features": ("out_features",), "rate": ("p",), "labels": ("target",),
    "logits": ("input",), "targets": ("target",), "repeats": ("repetitions",),
    "init_val": ("init",), "init_value": ("init",),
    "f": ("body",), "fn": ("body",), "body_fun": ("body",), "body_fn": ("body",), "cond_fun": ("cond",),
    "cond_fn": ("cond",), "carry": ("init",), "initializer": ("init",), "maximum_iterations": ("max_steps",),
    "lo": ("lower",), "hi": ("upper",), "inputs": ("xs",), "pred": ("p",), "true_fun": ("f",), "false_fun": ("g",),
    "true_fn": ("f",), "false_fn": ("g",), "combine_fn": ("body",),
    "scale": ("std",), "loc": ("mean",),
    "minval": ("low",), "maxval": ("high",), "stddev": ("std",),
}  # fmt: skip

# Options that have no like here.
REMARKS = {
    "out": "results are new tensors", "inplace": "tensors are immutable: take the result",
    "requires_grad": "nothing needs marking: ask for gradients with gx.grad, or optimizer.minimize(loss)",
    "device": "gx.using(backend=...) says where work is done",
    "size_average": "reduction= is 'mean', 'sum' or 'none'", "reduce": "reduction= is 'mean', 'sum' or 'none'",
    "amsgrad": "this version has no AMSGrad", "foreach": "all updates are one program anyway",
    "fused": "all updates are one program anyway", "maximize": "minimize(-loss)",
    "fullgraph": "a function is one graph always", "dynamic": "sizes are static: one trace for each",
    "mode": "there are no modes", "static_argnums": "Python numbers, strings and flags are static by themselves",
    "static_argnames": "Python numbers, strings and flags are static by themselves",
    "donate_argnums": "state that changes is a gx.Variable, updated in place", "jit_compile": "that is what it does",
    "unroll": "a body is compiled once, and is not repeated in the program",
    "_split_transpose": "what its gradient needs is found by itself",
    "order": "arrays are C-contiguous", "seed": "gx.random.seed(n), or generator=gx.random.Generator(n)",
    "key": "generator=gx.random.Generator(seed)", "rngs": "generator=gx.random.Generator(seed)",
}  # fmt: skip



def own_signature(function: Callable[..., Any]) -> inspect.Signature | None:
    """What a call must fit; None where Python does not know.

    A function that wraps another one, as `functools.wraps` has it, may add arguments, so its own signature counts. The
    wrappers of graphc's add none, and are looked through.
    """
    while hasattr(function, "__wrapped__") and _module(function).partition(".")[0] == "graphc":
        function = function.__wrapped__
    try:
        return inspect.signature(function, follow_wrapped=False)
    except (TypeError, ValueError):
        return None


def _module(function: Callable[..., Any]) -> str:
    """The module that a function was written in; `__module__` would be that of what it wraps."""
    name: str = getattr(function, "__globals__", {}).get("__name__", "")
    return name


def check_call(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], note: str = "") -> None:
    """Raise ArgumentError unless the call fits the function's signature. `note` goes below, in the place of a hint."""
    signature = own_signature(function)
    if signature is None:
        return
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        problem = str(error)
    else:
        return
    is_method = next(iter(signature.parameters), "") == "self"
    name = getattr(function, "__qualname__", type(function).__qualname__)
    name = name.removesuffix(".__init__").rpartition(">.")[2]
    takes_any = any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values())
    unknown = [] if takes_any else [word for word in kwargs if word not in signature.parameters]
    replacements = list(filter(None, (_replacement(word, signature) for word in unknown)))
    raise ArgumentError(
        f"{name} takes {_text(signature, is_method)}",
        got=problem.replace("missing a required argument: ", "no ").removeprefix("got "),
        hint=note or ", ".join(replacements) or _too_many(problem, name, signature),
    ) from None


def _text(signature: inspect.Signature, is_method: bool) -> str:
    """The parameters without their annotations: "(x, /, *, axis=None)"."""
    plain = [p.replace(annotation=inspect.Parameter.empty) for p in signature.parameters.values()]
    return str(inspect.Signature(plain[1:] if is_method else plain)).replace("(/, ", "(")


_SEQUENCES = {
    "shape": "a shape is one tuple: {}{}(2, 3))", "axes": "axes are one tuple: {}{}(1, 0))",
    "arrays": "arrays are one list: {}{}[x, y])",
}  # fmt: skip


def _too_many(problem: str, name: str, signature: inspect.Signature) -> str | None:
    """What to do with positional arguments beyond the last: make a sequence of them, or give them by name."""
    parameters = list(signature.parameters.values())
    plain = [p.name for p in parameters if p.kind not in (p.KEYWORD_ONLY, p.VAR_KEYWORD)]
    named = [f"{p.name}=" for p in parameters if p.kind is p.KEYWORD_ONLY]
    if "too many positional" not in problem:
        return None
    by_name = f"{', '.join(named)} {'is' if len(named) == 1 else 'are'} given by name" if named else None
    if plain and plain[-1] in _SEQUENCES:
        others = "".join(f"{p}, " for p in plain[:-1] if p != "self")
        one = _SEQUENCES[plain[-1]].format(f"{name}(", others)
        return f"{one}; {by_name}" if by_name else one
    return by_name


def _replacement(name: str, signature: inspect.Signature) -> str | None:
    from difflib import get_close_matches

    known = list(signature.parameters)
    found = next((new for new in RENAMED.get(name, ()) if new in known and new != name), None)
    if found is None and name in REMARKS:
        return REMARKS[name]
    if found is None:
        found = next(iter(get_close_matches(name, known, 1)), None)
    return found and f"{found}="
