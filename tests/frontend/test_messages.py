"""What users are told: a table of mistakes, and what the message must say of each."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc
import graphc as gx

from ..snippets import FILE, seen

BEGIN = """
x, y, half = np.ones((4, 3), np.float32), np.array([0, 1, 2, 1]), 0.5
model = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5))
optimizer = optim.SGD(model)
kept = []
"""
KEEP = "gx.compile(lambda x: kept.append(x * 2))(x)\n"
COMPILED = "@gx.compile\ndef f(x):\n    "
CALL = "\nf(x)"
DECLARED = "f = gx.compile(lambda x: x, inputs=[gx.spec((None, 3))])\n"

# The mistake, and parts of the message in their order.
MISTAKES = [
    ("nn.cross_entropy(x, y.astype(np.float32))", "DTypeError: class numbers are integers", "y.astype(np.int64)"),
    ("nn.cross_entropy(x, y[:, None])", "ShapeError: a class number", "float32[4, 3] and int64[4, 1]", "y[..., 0]"),
    ("nn.cross_entropy(x, x, ignore_index=3)", "ArgumentError: probabilities have no class", "ignore_index=3"),
    ("gx.compile(nn.cross_entropy)(x, y - 1)", "GraphcIndexError", "got: -1"),
    ("gx.grad(lambda n: gx.sum(n * half))(y)", "DTypeError: only floats have gradients", "int64[4]", "astype"),
    ("gx.grad(lambda x: x)(x)", "ShapeError: a loss is one float", "gx.mean or gx.sum"),
    ("model[0].weight.assign(np.ones((2, 3), np.float32))", "ShapeError: a Variable keeps its shape: weight"),
    ("model[0].weight = np.ones((3, 3))", "ArgumentError: Linear.weight is a Variable", "model.weight.assign(x)"),
    ("model[0].weight -= 1", "ArgumentError: Linear.weight is a Variable", "model.weight.assign(x)"),
    ("model[0].weight = gx.Variable(np.ones((5, 3)))\nmodel(x)", "ShapeError: Linear(3, 3) has a weight of", "[5, 3]"),
    ("model[0].bias[0] = 1", "TraceError: a Variable is assigned as a whole", "bias.assign("),
    ("gx.asarray(x)[0] = 1", "TraceError: tensors are immutable", "gx.where"),
    (KEEP + "kept[0] + 1", "TraceError: a symbolic tensor means something only", "float32[4, 3] made at user.py:6"),
    (KEEP + "kept[0].numpy()", "TraceError: a symbolic tensor means something only inside", "made at user.py:6"),
    (KEEP + "gx.compile(lambda x: x)(kept[0])", "TraceError: a symbolic tensor means", "made at user.py:6"),
    (COMPILED + "return f'{gx.sum(x):.3f}'" + CALL, "TraceError: the format '.3f' needs the value", "gx.print"),
    (COMPILED + "return '%d' % gx.sum(x)" + CALL, "TraceError", "needs the value"),
    ("f'{gx.asarray(x):.3f}'", "DTypeError: the format '.3f' is for one number", "float32[4, 3]"),
    (COMPILED + "return x if gx.sum(x) > 0 else x" + CALL, "TraceError: a truth value", "bool[]", "gx.where"),
    (COMPILED + "return np.concatenate([x, x])" + CALL, "TraceError", "line 8:  return np.concatenate"),
    (DECLARED + "f()", "ArgumentError: <lambda> takes (x)", "no 'x'", "x: float32[batch, 3]"),
    (DECLARED + "f(x.astype(float))", "DTypeError: input x is declared as float32[batch, 3]", "float64", "astype"),
    (DECLARED + "f([[1.0, 2], [3]] * 1000)", "DTypeError: nested lists become an array where"),
    (DECLARED + "f(['a'] * 1000)", "TraceError: argument x is declared as an array", "a list of 1000 items"),
    ("nn.Linear(3, 3)(x.astype(float))", "DTypeError: Linear has float32 parameters", "gx.astype(x, gx.float32)"),
    ("nn.Sequential([nn.Linear(3, 3)])", "ArgumentError: Sequential takes modules", "nn.Sequential(*layers)"),
    ("optim.SGD(model.parameters)", "TraceError: an optimizer takes a module", "model.parameters() with parentheses"),
    ("optimizer.minimize(gx.asarray(1.0))", "TraceError", "inside a compiled function"),
    ("gx.compile(model, inputs=[gx.spec((4, 3))]).build('no')", "UnsupportedError", "model.eval() before"),
    (DECLARED + "f.build('.', batch=4)", "OptionError: what is built is one program file", "directory"),
    (DECLARED + "f.build('/no/x', batch=4)", "OptionError: what is built", "in a directory that does not exist"),
    ("bool(gx.asarray(x))", "ShapeError: a truth value is that of one element", "gx.any(x) or gx.all(x)"),
    ("gx.compile(nn.relu, inputs=['float32'])", "TraceError: inputs has a gx.spec for each", "'float32'", "gx.spec("),
    ("gx.bench(nn.relu, x)", "ArgumentError: args is a list", "gx.bench(fn, [x])"),
    ("gx.bench(nn.relu, [x], backends='llvm')", "ArgumentError: backends is a list of names", "['llvm']"),
    ("gx.trace(lambda x, y: x, x)", "ArgumentError: <lambda> takes (x, y)", "no 'y'"),
    ("model.save('/no/x')", "PathError: /no/x can't be written", "no folder /no"),
    ("nn.gelu(x, approximate='yes')", "OptionError: there is no such approximate", "'tanh'"),
]  # fmt: skip


@pytest.mark.parametrize("case", MISTAKES, ids=[m[0] for m in MISTAKES])
def test_a_message_names_its_cause(case: tuple[str, ...]) -> None:
    source, *parts = case
    found = seen(BEGIN + source)
    place = 0
    for part in parts:
        assert part in found.text[place:], f"{part!r} is not in {found.text}"
        place = found.text.index(part, place)
    assert f"at:  {FILE}, line " in found.text
    assert len(found.text) < 1000


def test_a_package_that_goes_on_drawing_random_numbers_is_warned_of(tmp_path: Path) -> None:
    model = graphc.nn.Sequential(graphc.nn.Linear(3, 3), graphc.nn.Dropout(0.5))
    f = graphc.compile(model, inputs=[graphc.spec((4, 3))])
    with pytest.warns(UserWarning, match=r"model.eval\(\) before, since Dropout is in training mode") as caught:
        f.build(tmp_path / "model.gx", kind="package")
    assert caught[0].filename == __file__


# Calls with a large value in a wrong place, as `{}`.
LARGE = [
    "[[1.0, 2], [3]] * 20000", "['a'] * 100000", "'a' * 100000", "set(range(100000))", "{i: i for i in range(100000)}",
    "np.arange(1000).astype(str)", "[np.ones(1000)] * 3 + [1]", "[object()] * 100000", "10 ** 100000",
]  # fmt: skip
TAKERS = [
    "gx.asarray({})", "gx.ones({})", "gx.sum({})", "gx.sum(x, axis={})", "gx.spec({})", "gx.spec((3,), {})",
    "gx.Variable({})", "nn.Linear({}, 3)", "optim.SGD({})", "gx.random.seed({})", "gx.compile(lambda x: x)(3, {})",
    "gx.compile(lambda x: gx.exp(x), inputs=[gx.spec((None, 3))])({})", "gx.asarray(x)[{}]", "gx.reshape(x, {})",
    "gx.asarray(1) == {}", "gx.one_hot(y, {})", "nn.cross_entropy(x, y, reduction={})", "model[0].weight.assign({})",
    "model.load_state_dict({})", "gx.arange({})", "gx.full((2,), {})", "nn.Dropout({})",
]  # fmt: skip


@pytest.mark.parametrize("taker", TAKERS)
def test_no_message_prints_data(taker: str) -> None:
    for value in LARGE:
        source = BEGIN + "v = " + value + "\n" + taker.replace("{}", "v")
        try:
            text = seen(source).text
        except AssertionError as nothing:
            if "nothing was raised" not in str(nothing):
                raise
        else:
            assert len(text) < 1200, f"{len(text)} characters of {text[:300]}"


async def later(x: Any) -> Any:
    return x


def yielding(x: Any) -> Any:
    yield x


LATE: list[tuple[Callable[[Any], Any], str]] = [
    (yielding, "generator"), (later, "coroutine"), (lambda x: (r for r in [x]), "generator"),
    (lambda x: {"a": map(gx.exp, [x])}, "map"), (lambda x: [x, zip([x], [x], strict=True)], "zip"), (iter, "iterator"),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore:coroutine")
@pytest.mark.parametrize(("function", "what"), LATE, ids=[what for _, what in LATE])
def test_results_that_are_computed_later(function: Callable[[Any], Any], what: str) -> None:
    """They would be traced by nobody, and give symbolic tensors or nothing."""
    for call in (gx.compile(function), lambda x: gx.trace(function, x)):
        with pytest.raises(gx.TraceError, match="not what will be computed later") as error:
            call(np.ones(3, np.float32))
        assert what in str(error.value) and "return a list or a tuple" in str(error.value)


def test_objects_with_arrays_as_arguments() -> None:
    @dataclasses.dataclass
    class Batch:
        x: np.ndarray

    with pytest.raises(gx.TraceError, match="in a dict or a NamedTuple"):
        gx.compile(lambda batch: batch.x * 2)(Batch(np.ones(3, np.float32)))


NO_LOSSES: list[tuple[Callable[[Any], Any], str]] = [
    (lambda x: (gx.sum(x), x), "has_aux=True"), (lambda x: {"loss": gx.sum(x)}, "has_aux=True"),
    (lambda x: [gx.sum(x)], "has_aux=True"), (lambda x: None, "return it"), (lambda x: x, "take its gx.mean"),
]  # fmt: skip


@pytest.mark.parametrize(("function", "hint"), NO_LOSSES)
def test_results_that_are_no_loss(function: Callable[[Any], Any], hint: str) -> None:
    x = np.ones(3, np.float32)
    for call in (gx.grad(function), gx.value_and_grad(function), gx.compile(gx.grad(function))):
        with pytest.raises(gx.ShapeError, match="a loss is one float") as error:
            call(x)
        assert hint in str(error.value) and error.value.where is not None
    with pytest.raises(gx.ShapeError, match="with has_aux, the function returns"):
        gx.grad(gx.sum, has_aux=True)(x)
