"""What a trace has read is never used when it has changed: after any change a compiled function agrees with the plain
one; it is traced again when something changed that it read, and only then."""

import argparse
import dataclasses
import dis
import functools
import types
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gx
from graphc import nn, optim
from graphc.driver.executable import MOST_TRACES
from graphc.frontend.guards import MOST_ITEMS
from graphc.frontend.reads import Reads

X = np.arange(4, dtype=np.float32)


class Net(nn.Module):
    """It reads an attribute of each kind."""

    offset = 0.0  # of the class
    bonus: Any
    first: Any
    layers: list[Any]

    def __init__(self) -> None:
        generator = gx.random.Generator(0)
        self.first = nn.Linear(4, 4, generator=generator)
        self.layers = [nn.Linear(4, 4, generator=generator), nn.relu]
        self.heads = {"a": nn.Linear(4, 2, generator=generator), "b": nn.Linear(4, 2, generator=generator)}
        self.nested = ([{"scale": 2.0}],)
        self.head = "a"
        self.scale = 1.0
        self.mask = np.ones(4, np.float32)
        self.shift = gx.ones(2)
        self.extra: Any = None
        self.unread = 0

    def forward(self, x: Any) -> Any:
        x = self.first(x) * self.mask
        for layer in self.layers:
            x = layer(x)
        x = self.heads[self.head](x) * self.scale * self.nested[0][0]["scale"] + self.shift + self.offset
        if getattr(self, "bonus", None) is not None:
            x = x + self.bonus
        return x if self.extra is None else self.extra(x)

    def again(self, x: Any) -> Any:
        return 3 * x


def linear(seed: int, outputs: int = 4) -> nn.Linear:
    return nn.Linear(4, outputs, generator=gx.random.Generator(seed))


CHANGES: dict[str, Callable[[Net], Any]] = {
    "a layer": lambda net: setattr(net, "first", linear(1)),
    "a parameter": lambda net: setattr(net.first, "weight", gx.Variable(np.ones((4, 4), np.float32))),
    "no bias": lambda net: setattr(net.first, "bias", None),
    "an item of a list": lambda net: net.layers.__setitem__(0, linear(2)),
    "one more": lambda net: net.layers.append(nn.tanh),
    "one less": lambda net: net.layers.pop(),
    "another order": lambda net: net.layers.reverse(),
    "another list": lambda net: setattr(net, "layers", [nn.tanh]),
    "an item of a dict": lambda net: net.heads.update(a=linear(3, 2)),
    "deep inside": lambda net: net.nested[0][0].update(scale=3.0),
    "a string": lambda net: setattr(net, "head", "b"),
    "a number": lambda net: setattr(net, "scale", 5.0),
    "an array": lambda net: setattr(net, "mask", np.zeros(4, np.float32)),
    "a tensor": lambda net: setattr(net, "shift", gx.full(2, 1.5)),
    "a function": lambda net: setattr(net, "extra", gx.exp),
    "what was not there": lambda net: setattr(net, "bonus", 7.0),
    "hiding the class": lambda net: setattr(net, "offset", 7.0),
    "another method": lambda net: setattr(net, "forward", net.again),
}


class Counted:
    def __init__(self, function: Any) -> None:
        self.traces = 0
        self.function = function
        self.compiled = gx.compile(self._call)

    def _call(self, *args: Any) -> Any:
        self.traces += 1
        return self.function(*args)

    def __call__(self, *args: Any) -> Any:
        return self.compiled(*args)


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_changes_are_seen_at_the_next_call(change: Callable[[Net], Any]) -> None:
    net = Net()
    f = Counted(lambda x: net(x))
    f(X), f(X)
    assert f.traces == 1
    change(net)
    for _ in range(2):
        np.testing.assert_allclose(f(X), net(X), rtol=1e-5)
    assert f.traces == 2
    net.unread = 1
    f(X)
    assert f.traces == 2


def test_a_value_of_the_class(monkeypatch: pytest.MonkeyPatch) -> None:
    net = Net()
    f = Counted(lambda x: net(x))
    before = f(X).numpy()
    monkeypatch.setattr(Net, "offset", 2.0)
    np.testing.assert_allclose(f(X), before + 2, rtol=1e-6)
    assert f.traces == 2


def test_what_is_as_it_was_holds_again() -> None:
    net = Net()
    f = Counted(lambda x: net(x))
    for scale in (1.0, 2.0, 1.0, 2.0, float("1.0")):
        net.scale = scale
        np.testing.assert_allclose(f(X), net(X), rtol=1e-6)
    assert f.traces == 2
    net.scale = 1  # an int is not the same as a float
    f(X)
    assert f.traces == 3


def test_variables_in_lists_are_told_apart_by_identity() -> None:
    net = Net()
    net.extra = nn.Sequential()
    net.extra.layers = [gx.Variable(1.0)]
    f = Counted(lambda x: x * net.extra.layers[0])
    f(X)
    other = gx.Variable(1.0)  # equal now
    net.extra.layers[0] = other
    f(X)
    other.assign(2.0)
    assert f(X).tolist() == (2 * X).tolist() and f.traces == 2


def test_sequential() -> None:
    net = nn.Sequential(linear(1), nn.relu)
    f = Counted(lambda x: net(x))
    f(X)
    for change in (lambda: net.layers.append(linear(2)), lambda: net.layers.__setitem__(0, linear(3))):
        change()
        np.testing.assert_allclose(f(X), net(X), rtol=1e-6)
    assert f.traces == 3


def test_large_lists_by_their_length() -> None:
    net = Net()
    net.extra = list(range(MOST_ITEMS + 1))
    f = Counted(lambda x: x * net.extra[0])
    f(X)
    net.extra.append(0)
    f(X), f(X)
    assert f.traces == 2


def test_walking_through_a_module() -> None:
    """A penalty on all parameters depends on which there are, and on which are trainable."""
    net: Any = nn.Sequential(linear(1), nn.Dropout(0.5), linear(2, 1))
    f = Counted(lambda: sum(gx.sum(p**2) for p in net.parameters()) + 0 * gx.sum(net(X)))

    def check(traces: int) -> None:
        for _ in range(2):
            expected = sum(float((p.numpy() ** 2).sum()) for p in net.parameters())
            assert f().item() == pytest.approx(expected, rel=1e-5) and f.traces == traces

    check(1)
    net[0].weight.trainable = False
    check(2)
    net[2].more = gx.Variable(np.ones(3, np.float32))
    check(3)
    del net[2].more
    check(3)  # as it was before


def test_parameters_can_be_frozen_and_thawed() -> None:
    net: Any = nn.Sequential(linear(1), linear(2, 1))
    optimizer = optim.Adam(net, lr=0.1)
    step = Counted(lambda: optimizer.minimize(gx.mean(net(X) ** 2)))

    def moved() -> list[bool]:
        before = [p.numpy() for p in optimizer.parameters]
        step()
        return [bool((p.numpy() != b).any()) for p, b in zip(optimizer.parameters, before, strict=True)]

    assert moved() == [True, True, True, True]
    net[0].weight.trainable = net[0].bias.trainable = False
    assert moved() == moved() == [False, False, True, True]
    for p in optimizer.parameters:
        p.trainable = True
    assert moved() == [True, True, True, True] and step.traces == 2
    for p in optimizer.parameters:
        p.trainable = False
    with pytest.raises(gx.TraceError, match="none of the optimizer's parameters is trainable"):
        step()


def test_options_of_an_optimizer() -> None:
    w = gx.Variable([1.0])
    optimizer = optim.SGD(w, lr=1.0, momentum=0.5)
    step = Counted(lambda: optimizer.minimize(gx.sum(w)))
    step()
    optimizer.nesterov = True
    step()
    optimizer.lr = 0.5  # a Variable's value
    step()
    assert step.traces == 2


SCALE = 2.0


def scaled(x: Any) -> Any:
    return x * SCALE


def test_numbers_in_globals_and_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    power, names = 1, ["unread"]

    def raised(x: Any) -> Any:
        return scaled(x) ** power

    def set_power(value: int) -> None:
        nonlocal power
        power = value

    class Raised(nn.Module):
        def forward(self, x: Any) -> Any:
            return raised(x) if names else x

    module = Raised()
    functions = [gx.compile(raised), gx.compile(lambda x: raised(x)), gx.compile(lambda x: module(x))]

    def check() -> None:
        for f in functions:
            assert f(X).tolist() == f(X).tolist() == ((X * SCALE) ** power).tolist()

    check()
    monkeypatch.setattr(f"{__name__}.SCALE", 3.0)
    check()
    set_power(2)
    check()
    set_power(1)
    check()


FACTOR = 2.0


class Base(nn.Module):
    def forward(self, x: Any) -> Any:
        return x * FACTOR


class Derived(Base):
    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.scale = 1.0

    def forward(self, x: Any) -> Any:
        ways = {
            "super": lambda: super(Derived, self).forward(x),
            "property": lambda: x * self.factor,
            "cached": lambda: x * self.cached,
            "static": lambda: self.times(x),
            "compiled": lambda: self.compiled(x),
            "grad": lambda: gx.grad(lambda y: gx.sum(y * y) * FACTOR / 2)(x),
            "dict": lambda: x * vars(self)["scale"] * FACTOR,
        }
        return ways[self.kind]()

    @property
    def factor(self) -> float:
        return FACTOR

    @functools.cached_property
    def cached(self) -> float:
        return FACTOR

    @staticmethod
    def times(x: Any) -> Any:
        return x * FACTOR

    @gx.compile
    def compiled(self, x: Any) -> Any:
        return x * FACTOR


@pytest.mark.parametrize("kind", ["super", "property", "static", "compiled", "grad", "dict"])
def test_functions_reached_in_many_ways(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module = Derived(kind)
    f = Counted(lambda x: module(x))
    assert f(X).tolist() == f(X).tolist() == (2 * X).tolist() and f.traces == 1
    monkeypatch.setattr(f"{__name__}.FACTOR", 3.0)
    assert f(X).tolist() == f(X).tolist() == (3 * X).tolist() and f.traces == 2
    module.scale = 2.0
    assert f(X).tolist() == module(X).tolist() and f.traces == 2 + (kind == "dict")


def test_what_a_trace_sets_itself_is_no_reason_to_trace_again() -> None:
    class Lazy(nn.Module):
        def __init__(self) -> None:
            self.mask: Any = None

        def forward(self, x: Any) -> Any:
            self.shape = x.shape
            if self.mask is None:
                self.mask = np.tri(self.shape[0], dtype=np.float32)
            return nn.Dropout(0.0)(self.mask @ x)

    net = Lazy()
    f = Counted(lambda x: net(x))
    for _ in range(4):
        assert f(X).tolist() == np.cumsum(X).tolist()
    assert f.traces == 2  # without a mask, and with one


def test_a_value_that_is_another_each_time_is_warned_of() -> None:
    net = Net()
    f = gx.compile(lambda x: x * net.scale)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for i in range(7):
            net.scale = float(i)
            f(X)
    net.scale = 7.0
    with pytest.warns(UserWarning, match=r"8th time, since Net.scale was 6.0, is 7.0.* in a gx.Variable") as seen:
        f(X)
    assert seen[0].filename == __file__
    net.scale = 8.0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        f(X)


def test_old_traces_are_forgotten() -> None:
    net = Net()
    f = Counted(lambda x: x * net.scale)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for i in range(MOST_TRACES + 5):
            net.scale = float(i)
            assert f(X).tolist() == (X * i).tolist()
    assert len(f.compiled.specializations) == MOST_TRACES
    net.scale = 6.0
    f(X)
    assert f.traces == MOST_TRACES + 5
    net.scale = 4.0  # long ago
    assert f(X).tolist() == (X * 4).tolist() and f.traces == MOST_TRACES + 6


def test_reasons(capsys: pytest.CaptureFixture[str]) -> None:
    from graphc.frontend import context
    from graphc.settings import Settings

    net = Net()
    f = gx.compile(lambda x: net(x))
    token = context._context.set(context.untraced(Settings(backend="reference", log=frozenset({"retrace"}))))
    try:
        f(X)
        net.scale = 2.0
        f(X)
        net.layers[1] = nn.Dropout(0.0)
        f(X)
        net.layers.append(nn.tanh)
        f(X)
        net.mask = np.ones(4, np.float32)
        f(X)
        net.first.weight.trainable = False
        f(X)
    finally:
        context._context.reset(token)
    reasons = [line.partition("<lambda>: ")[2] for line in capsys.readouterr().err.splitlines()[1:]]
    assert reasons[0] == "Net.scale was 1.0, is 2.0"
    assert reasons[1].startswith("Net.layers[1] was <function relu") and reasons[1].endswith(", is Dropout(p=0.0)")
    assert reasons[2:] == ["Net.layers has changed", "Net.mask was float32[4] (ndarray), is another one"]


def test_what_a_function_names_may_be_another_object(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a cell of a notebook is run again: a new model, a new helper, other data."""
    layer, offset = linear(1), np.ones(4, np.float32)
    layers = [linear(2), linear(3)]

    def total(x: Any) -> Any:
        for each in layers:
            x = each(x)
        return gx.sum(layer(x) + offset) * scaled(1.0)

    f = Counted(total)
    f.compiled = gx.compile(total)

    def check(traces: int) -> None:
        for _ in range(2):
            np.testing.assert_allclose(f(X), total(X), rtol=1e-5)
        assert len(f.compiled.specializations) == traces

    check(1)
    layer = linear(4)
    check(2)
    offset = np.zeros(4, np.float32)
    check(3)
    layers[0] = linear(5)
    check(4)
    monkeypatch.setattr(f"{__name__}.scaled", lambda x: 5 * x)
    check(5)


@dataclasses.dataclass
class Config:
    scale: float = 2.0
    sizes: list[int] = dataclasses.field(default_factory=lambda: [1, 2])
    inner: Any = None


class Slotted:
    __slots__ = ("scale",)

    def __init__(self) -> None:
        self.scale = 2.0


class Constants:
    scale = 2.0


class Derived2(Constants):
    pass


OPTIONS: dict[str, Any] = {"scale": 2.0, "more": [1, 2]}
MODULE = types.ModuleType("settings")
MODULE.scale = 2.0  # type: ignore[attr-defined]


def plain_objects() -> dict[str, tuple[Callable[[Any], Any], list[Callable[[], Any]]]]:
    """For each kind a function, and changes of what it reads."""
    config, space, slotted, sizes = Config(inner=Config()), argparse.Namespace(scale=2.0), Slotted(), [1, 2]
    instance, words = Constants(), {"a": 1.0}

    class Configured(nn.Module):
        def __init__(self) -> None:
            self.config = config

        def forward(self, x: Any) -> Any:
            return x * self.config.scale + self.config.inner.scale

    module = Configured()
    return {
        "a module's": (lambda x: x * MODULE.scale, [lambda: setattr(MODULE, "scale", 3.0)]),
        "a dataclass's": (lambda x: x * config.scale, [lambda: setattr(config, "scale", 3.0)]),
        "one of another": (lambda x: x * config.inner.scale, [
            lambda: setattr(config.inner, "scale", 4.0), lambda: setattr(config, "inner", Config(5.0))]),
        "a namespace's": (lambda x: x * space.scale, [
            lambda: setattr(space, "scale", 3), lambda: setattr(space, "scale", 3.0)]),
        "a slot": (lambda x: x * slotted.scale, [lambda: setattr(slotted, "scale", 3.0)]),
        "a class's": (lambda x: x * Constants.scale, [lambda: setattr(Constants, "scale", 3.0)]),
        "a base's": (lambda x: x * Derived2.scale, [
            lambda: setattr(Constants, "scale", 4.0), lambda: setattr(Derived2, "scale", 5.0)]),
        "its class's": (lambda x: x * instance.scale, [
            lambda: setattr(Constants, "scale", 6.0), lambda: setattr(instance, "scale", 7.0)]),
        "a module's object's": (lambda x: module(x), [
            lambda: setattr(config, "scale", 5.0), lambda: setattr(config.inner, "scale", 6.0)]),
        "a list in a cell": (lambda x: x * sum(sizes), [lambda: sizes.append(3), lambda: sizes.__setitem__(0, 5)]),
        "a dict in a cell": (lambda x: x * words["a"], [lambda: words.update(a=2.0)]),
        "a global dict": (lambda x: x * OPTIONS["scale"] + sum(OPTIONS["more"]), [
            lambda: OPTIONS.update(scale=4.0), lambda: OPTIONS["more"].append(1)]),
        "a list of an object": (lambda x: x * sum(config.sizes), [lambda: config.sizes.append(3)]),
        "items of a dict": (lambda x: x * sum(words.values()), [lambda: words.update(b=2.0)]),
        "in an inner function": (lambda x: (lambda: x * config.inner.scale)(), [
            lambda: setattr(config.inner, "scale", 8.0)]),
    }  # fmt: skip


@pytest.mark.parametrize("kind", plain_objects())
def test_what_plain_objects_hold(kind: str) -> None:
    function, changes = plain_objects()[kind]
    compiled = gx.compile(lambda x: function(x))
    for change in [lambda: None, *changes]:
        before = len(compiled.specializations)
        change()
        for _ in range(3):
            assert compiled(X).tolist() == gx.asarray(function(X)).tolist(), kind
        assert len(compiled.specializations) == before + 1, "traced once, and for the change"


class Scaled:
    """Plain, with methods that read what it holds."""

    def __init__(self) -> None:
        self.scale, self.inner = 2.0, Config()

    def run(self, x: Any) -> Any:
        return x * self.scale

    def runs(self, x: Any) -> Any:
        return self.run(x) * self.inner.scale

    def __call__(self, x: Any) -> Any:
        return self.runs(x)

    decorated = gx.compile(run)


def methods_of_plain_objects() -> dict[str, Callable[[Scaled], Callable[[Any], Any]]]:
    def named(it: Scaled) -> Callable[[Any], Any]:
        bound = it.runs
        return gx.compile(lambda x: bound(x))

    return {
        "its method": lambda it: gx.compile(it.runs),
        "a method that is compiled": lambda it: it.decorated,
        "the object": gx.compile,
        "a call of its method": lambda it: gx.compile(lambda x: it.runs(x)),
        "a call of the object": lambda it: gx.compile(lambda x: it(x)),
        "a bound method in a cell": named,
        "in the body of a loop": lambda it: gx.compile(
            lambda x: gx.scan(lambda c, _: (it.run(c), None), x, length=2)[0]),
        "an argument": lambda it: functools.partial(gx.compile(lambda it, x: x * it.scale), it),
    }  # fmt: skip


@pytest.mark.parametrize("kind", methods_of_plain_objects())
def test_what_methods_of_plain_objects_read(kind: str) -> None:
    it = Scaled()
    compiled = methods_of_plain_objects()[kind](it)
    before = compiled(X).numpy()
    it.scale = 4.0
    assert (compiled(X).numpy() == before * (4 if "loop" in kind else 2)).all()


def test_what_is_not_read_is_no_reason_to_trace_again() -> None:
    config, history, large = Config(), [0], list(range(100))

    def f(x: Any) -> Any:
        history.append(1)
        return x * config.scale + len(large)

    compiled = gx.compile(f)
    for step in range(5):
        compiled(X)
        config.inner = step
        history.clear()
        large[0] = step
    assert history == [] and len(compiled.specializations) == 1


def test_a_change_of_a_plain_object_is_told() -> None:
    config = Config()
    compiled = gx.compile(lambda x: x * config.scale)
    compiled(X)
    (found,) = compiled.specializations
    config.scale = 9.0
    broken = found.guards.broken()
    assert broken is not None and broken.told() == "config.scale was 2.0, is 9.0"


def many(x: Any) -> Any:
    for part in [X, SCALE, scaled, CHANGES, Net, np, pytest, Counted, linear, warnings, optim, GLOBALS]:
        x = [part, lambda: MOST_ITEMS]
    return x.SCALE + nn.relu(x).shape


GLOBALS = 0


@pytest.mark.parametrize("function", [many, Net.forward, test_reasons, linear])
def test_names_of_globals(function: Any) -> None:
    for code in [function.__code__, *(c for c in function.__code__.co_consts if hasattr(c, "co_code"))]:
        expected = {i.argval for i in dis.get_instructions(code) if i.opname == "LOAD_GLOBAL"}
        assert Reads([code]).global_names == expected
