"""What a call of a compiled function is keyed by, and what it tells about its traces."""

import enum
import functools
import warnings
from typing import Any

import numpy as np
import pytest

import graphc as gx
from graphc import TraceError, nn
from graphc.frontend.arguments import is_same_static, static_key
from graphc.settings import Settings

X = np.arange(4, dtype=np.float32)


class Counted:
    """A compiled function that counts its traces."""

    def __init__(self, function: Any, **options: Any) -> None:
        self.traces = 0

        @functools.wraps(function)
        def counting(*args: Any, **kwargs: Any) -> Any:
            self.traces += 1
            return function(*args, **kwargs)

        self.compiled = gx.compile(counting, **options)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.compiled(*args, **kwargs)


def test_arrays_by_type() -> None:
    f = Counted(lambda x: x * 2)
    for _ in range(2):
        f(X), f(X + 1), f(gx.asarray(X)), f(np.asfortranarray(X)), f(np.arange(8, dtype=np.float32)[::2])
    assert f.traces == 1
    f(X[:3])
    f(X.astype(np.float64))
    assert f.traces == 3
    assert f(X[:3]).shape == (3,) and f(X).shape == (4,) and f.traces == 3


def test_values_do_not_depend_on_layout() -> None:
    f = Counted(lambda x: x * 2)
    m = np.arange(6, dtype=np.float32).reshape(2, 3)
    f(m)
    unaligned = np.frombuffer(b"\0" + m.tobytes(), np.uint8)[1:].view(np.float32).reshape(2, 3)
    for array in (
        np.asfortranarray(m),
        np.repeat(m, 2, axis=1)[:, ::2],
        m.astype(">f4"),
        unaligned,
        m[::-1][::-1],
    ):
        assert f(array).tolist() == (2 * m).tolist()
    assert f.traces == 1


def test_numpy_scalars_are_inputs() -> None:
    f = Counted(lambda x, s: x * s)
    for s in (1, 2, 3):
        assert f(X, np.float32(s)).tolist() == (X * s).tolist()
    f(X, np.asarray(4, np.float32))
    f(X, gx.asarray(5.0))
    assert f.traces == 1
    assert f(X, np.float64(2)).dtype is gx.float64 and f.traces == 2


def test_python_values_by_type_and_exact_value() -> None:
    f = Counted(lambda x, s: x + (s if isinstance(s, float) and s == s else 0))
    values = [
        1,
        True,
        1.0,
        0,
        0.0,
        -0.0,
        False,
        None,
        "1",
        b"1",
        float("nan"),
        1 + 0j,
        (1,),
        (1.0,),
        frozenset([1]),
    ]
    for _ in range(2):
        for value in values:
            f(X, value)
    assert f.traces == len(values)


class Color(enum.Enum):
    RED = 1


@pytest.mark.parametrize(
    ("a", "b"),
    [(1, True), (1, 1.0), (0.0, -0.0), (1, np.float32(1)), ("a", b"a"), ((1, 2), (1, 2.0)), (Color.RED, 1)],
)
def test_static_values_that_differ(a: object, b: object) -> None:
    assert static_key(a) != static_key(b) and not is_same_static(a, b) and is_same_static(a, a)


def test_other_objects_by_equality_and_variables_by_identity() -> None:
    v, w = gx.Variable(1.0), gx.Variable(1.0)
    f = Counted(lambda x, s: x * s if isinstance(s, gx.Variable) else x)
    for value in (Color.RED, range(3), len, v, w):
        f(X, value), f(X, value)
    assert f.traces == 5
    w.assign(3.0)
    assert f(X, w).tolist() == (3 * X).tolist() and f.traces == 5
    with pytest.raises(TraceError, match="hashable"):
        f(X, {1, 2})


def test_how_arguments_are_passed_does_not_matter() -> None:
    def function(x: Any, scale: float = 2.0, *, shift: float = 0.0) -> Any:
        return x * scale + shift

    f = Counted(function)
    results = [f(X, 3.0), f(X, scale=3.0), f(scale=3.0, x=X)]
    assert f.traces == 1 and all(r.tolist() == (3 * X).tolist() for r in results)
    assert f(X, shift=1.0).tolist() == (2 * X + 1).tolist()
    with pytest.raises(TypeError, match="unexpected keyword"):
        f(X, wrong=1)


def test_pytrees() -> None:
    f = Counted(lambda batch: {"sum": batch["x"] + batch["more"][0], "flag": batch["more"][1], "none": None})
    result = f({"x": X, "more": [X, True]})
    assert result["sum"].tolist() == (2 * X).tolist() and result["flag"] is True and result["none"] is None
    f({"more": [gx.asarray(X), True], "x": X})
    assert f.traces == 1
    f({"x": X, "more": (X, True)})
    f({"x": X, "more": [X, False]})
    assert f.traces == 3


def test_results_of_all_kinds() -> None:
    v = gx.Variable(2.0)
    model = nn.Linear(4, 1)
    f = gx.compile(lambda x: (x, [x, (v, 1, "text", None)], {"m": model, "np": np.float32(3)}))
    x, [again, (value, one, text, none)], rest = f(X)
    assert (
        x.tolist() == again.tolist() == X.tolist()
        and value.item() == 2
        and (one, text, none) == (1, "text", None)
    )
    assert rest["m"] is model and rest["np"].item() == 3 and isinstance(value, gx.Tensor)
    assert gx.compile(lambda x: None)(X) is None
    pair = gx.compile(lambda x: (x, x))(X)
    assert type(pair) is tuple and not np.shares_memory(pair[0].numpy(), pair[1].numpy())


def test_outputs_belong_to_the_caller() -> None:
    f = gx.compile(lambda x: (x, x * 2))
    x = X.copy()
    same, twice = f(x)
    f(x + 1)
    x[:] = 0
    assert same.tolist() == X.tolist() and twice.tolist() == (2 * X).tolist()


def test_static_fields_are_checked_on_each_call() -> None:
    layer = nn.Dropout(0.5)
    f = Counted(lambda x: layer(x))
    f(X), f(X)
    assert f.traces == 1
    layer.eval()
    assert f(X).tolist() == X.tolist() and f(X).tolist() == X.tolist() and f.traces == 2
    layer.train()
    f(X)
    assert f.traces == 2  # the first trace holds again
    layer.p = 0.25
    f(X)
    assert f.traces == 3


def test_flags_that_are_not_read_do_not_matter() -> None:
    layer = nn.Linear(4, 2)
    f = Counted(lambda x: layer(x))
    f(X)
    layer.eval()
    f(X)
    assert f.traces == 1


def test_declared_static_fields() -> None:
    class Scaled(nn.Module):
        power = nn.static(1)

        def forward(self, x: Any) -> Any:
            return x**self.power

    module = Scaled()
    f = Counted(module.__call__)
    assert f(X).tolist() == X.tolist()
    module.power = 2
    assert f(X).tolist() == (X**2).tolist() and f.traces == 2
    module.power = 1
    f(X)
    assert f.traces == 2
    module.power = True  # equal to 1, but not the same
    f(X)
    assert f.traces == 3


def test_captured_lists_are_followed_while_they_are_short() -> None:
    short, long = [2.0], [2.0] * 100
    f = gx.compile(lambda x: (x * short[0], x * long[0]))
    f(X)
    short[0] = long[0] = 3.0
    assert [y.tolist() for y in f(X)] == [(3 * X).tolist()] * 2  # traced again for the one, it reads the other too
    long[0] = 4.0
    assert [y.tolist() for y in f(X)] == [(3 * X).tolist()] * 2


def test_modules_are_arguments_by_identity() -> None:
    first, second = nn.Linear(4, 2), nn.Linear(4, 2)
    f = Counted(lambda m, x: m(x))
    for m in (first, second, first):
        np.testing.assert_allclose(f(m, X), m(X), rtol=1e-6)
    assert f.traces == 2


def test_methods() -> None:
    class Model(nn.Module):
        def __init__(self, factor: float) -> None:
            self.factor = gx.Variable(factor)

        @gx.compile
        def predict(self, x: Any) -> Any:
            return x * self.factor

    assert Model(2.0).predict(X).tolist() == (2 * X).tolist()
    assert Model(3.0).predict(X).tolist() == (3 * X).tolist()


def test_called_inside_a_trace_it_is_inlined() -> None:
    v = gx.Variable(0.0)

    @gx.compile
    def inner(x: Any) -> Any:
        v.assign(v + 1)
        return x + v

    outer = gx.compile(lambda x: inner(inner(x)))
    assert outer(np.float32(0)).item() == 3 and v.item() == 2
    assert not inner.specializations
    inner(X)  # so that the inner function knows these types: it must be inlined still
    graph = gx.trace(lambda: inner(X))
    assert len(graph.updates) == 1 and v.item() == 3


def test_backends_and_settings_are_part_of_the_key() -> None:
    f = Counted(lambda x: x + 1)
    f(X)
    with gx.using(threads=1):
        f(X), f(X)
        assert f.traces == 2
    f(X)
    assert f.traces == 2
    with pytest.raises(ValueError, match="no such backend"), gx.using(backend="cuda"):
        pass
    with pytest.raises(gx.UnsupportedError, match="no such backend"):
        gx.compile(lambda x: x, backend="abacus")(X)


def test_a_warning_from_the_eighth_number_on() -> None:
    f = Counted(lambda x, scale, flag: x * scale)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for i in range(7):
            f(X, float(i), True)
        for i in range(7):
            f(X, i, False)  # ints, or with another flag: these differ in more than a number
    with pytest.warns(
        UserWarning, match=r"8th value of scale .* Pass np\.float32\(scale\) or a gx\.Variable"
    ) as record:
        f(X, 7.0, True)
    assert record[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        f(X, 8.0, True)  # said once


def log_of(capsys: pytest.CaptureFixture[str], calls: Any) -> list[str]:
    from graphc.frontend import context

    settings = Settings(backend="reference", log=frozenset({"retrace"}))
    token = context._context.set(context.untraced(settings))
    try:
        calls()
    finally:
        context._context.reset(token)
    return capsys.readouterr().err.splitlines()


def test_retrace_log(capsys: pytest.CaptureFixture[str]) -> None:
    layer = nn.Dropout(0.5)

    @gx.compile
    def step(x: Any, scale: Any = 1.0) -> Any:
        return layer(x) * scale

    def calls() -> None:
        step(X), step(X)
        step(X[:3])
        step(X, 2.0)
        step(X, 3.0)
        layer.eval()
        step(X)

    name = "test_retrace_log.<locals>.step"
    assert log_of(capsys, calls) == [
        f"graphc: trace {name}(x): its first call",
        f"graphc: retrace {name}: x: float32[4] → float32[3]",
        f"graphc: retrace {name}: other settings, or arguments of another structure",
        f"graphc: retrace {name}: scale: 2.0 → 3.0",
        f"graphc: retrace {name}: Dropout.training was True, is False",
    ]
