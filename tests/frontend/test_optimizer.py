"""Groups of parameters, given gradients, and the numbers that optimizers and layers are made with."""

import copy
import os
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gx
from graphc import nn, optim

START = np.array([1.0, -2.0])


def two() -> tuple[gx.Variable, gx.Variable]:
    return gx.Variable(START, name="a"), gx.Variable(START, name="b")


def trained(optimizer: optim.Optimizer, *variables: gx.Variable, steps: int = 3) -> list[list[float]]:
    step = gx.compile(lambda: optimizer.minimize(sum(gx.sum(v**4) for v in variables)))  # type: ignore[arg-type]
    for _ in range(steps):
        step()
    return [v.tolist() for v in variables]


GROUPS: list[tuple[Any, dict[str, Any], dict[str, Any]]] = [
    (optim.SGD, {"lr": 0.01}, {"lr": 0.02}),
    (optim.SGD, {"lr": 0.01, "momentum": 0.9}, {"momentum": 0.5, "nesterov": True}),
    (optim.SGD, {"lr": 0.01, "momentum": 0.9}, {"momentum": 0.0}),
    (optim.SGD, {"lr": 0.01}, {"momentum": 0.5, "dampening": 0.25}),
    (optim.Adam, {"lr": 0.01}, {"lr": 0.1, "weight_decay": 0.5, "betas": (0.5, 0.6), "eps": 0.1}),
    (optim.AdamW, {"lr": 0.01}, {"weight_decay": 0.0}),
]


@pytest.mark.parametrize(("make", "all_", "own"), GROUPS)
def test_a_group_is_like_an_optimizer_of_its_own(make: Any, all_: dict[str, Any], own: dict[str, Any]) -> None:
    a, b = two()
    got = trained(make([{"params": [a]}, {"params": b, **own}], **all_), a, b)
    (c, d), (e, f) = two(), two()
    assert got == [trained(make(c, **all_), c)[0], trained(make(f, **{**all_, **own}), f)[0]]
    assert d is not e


def test_groups_are_changed_without_another_trace() -> None:
    a, b = two()
    optimizer = optim.SGD([{"params": a}, {"params": [b], "lr": 0.5}], lr=1.0)
    step = gx.compile(lambda: optimizer.minimize(gx.sum(a) + gx.sum(b)))
    step()
    assert (a.tolist(), b.tolist()) == ([0, -3], [0.5, -2.5])
    for group in optimizer.param_groups:
        group["lr"] *= 0.5
    step()
    assert (a.tolist(), b.tolist()) == ([-0.5, -3.5], [0.25, -2.75])
    optimizer.lr = 1.0  # of all
    step()
    assert (a.tolist(), b.tolist()) == ([-1.5, -4.5], [-0.75, -3.75])
    assert len(step.specializations) == 1 and optimizer.lr == 1.0


def test_a_group_is_like_a_dict() -> None:
    a, b = two()
    optimizer = optim.Adam([{"params": a}, {"params": b, "lr": 0.5}])
    group = optimizer.param_groups[1]
    assert group["lr"] == 0.5 and group["betas"] == (0.9, 0.999) and group["params"][0] is b and "eps" in group
    assert [*group] == ["params", "lr", "beta1", "beta2", "eps", "weight_decay"]
    assert group.get("momentum") is None
    group["betas"] = (0.5, 0.6)
    assert group["beta2"] == 0.6 and "lr=0.5" in repr(group) and repr(group) in repr(optimizer)
    with pytest.raises(optim.HyperparameterError, match=r"have lrs of their own(.|\n)*param_groups"):
        print(optimizer.lr)
    with pytest.raises(optim.HyperparameterError, match="other options") as error:
        group["momentum"] = 0.5
    assert "weight_decay" in str(error.value)
    assert optim.Adam(a).param_groups[0]["lr"] == 1e-3


@pytest.mark.parametrize(("make", "all_", "own"), GROUPS)
@pytest.mark.parametrize("steps_before", [0, 2])
def test_a_group_that_is_added_starts_anew_and_the_others_go_on(
    make: Any, all_: dict[str, Any], own: dict[str, Any], steps_before: int
) -> None:
    a, b = two()
    optimizer = make([a], **all_)
    traces = []

    @gx.compile
    def step() -> None:
        traces.append(1)
        optimizer.minimize(gx.sum(a**4) + gx.sum(b**4))

    for _ in range(steps_before):
        step()
    optimizer.add_param_group({"params": b, **own})
    assert [len(g["params"]) for g in optimizer.param_groups] == [1, 1] and optimizer.parameters == [a, b]
    for _ in range(3):
        step()
    assert len(traces) == 1 + (steps_before > 0)
    (c, _), (_, f) = two(), two()
    assert a.tolist() == trained(make(c, **all_), c, steps=steps_before + 3)[0]
    assert b.tolist() == trained(make(f, **{**all_, **own}), f)[0]

    # As if it had been made with both groups: the state fits, and training goes on as it does here.
    d, e = gx.Variable(a.numpy(), name="a"), gx.Variable(b.numpy(), name="b")
    other = make([{"params": [d]}, {"params": [e], **own}], **all_)
    assert other.names == optimizer.names
    assert other.state_dict().keys() == optimizer.state_dict().keys()
    other.load_state_dict(optimizer.state_dict())
    step()
    assert [a.tolist(), b.tolist()] == trained(other, d, e, steps=1)


def test_a_step_that_is_traced_again_for_a_group_says_so() -> None:
    source = """
import numpy as np, graphc as gx
a, b = gx.Variable(np.ones(2)), gx.Variable(np.ones(2))
opt = gx.optim.Adam(a)
step = gx.compile(lambda: opt.minimize(gx.sum(a * b)))
step()
opt.add_param_group({"params": b})
step()"""
    environment = {**os.environ, "GRAPHC_LOG": "retrace"}
    found = subprocess.run([sys.executable, "-c", source], env=environment, capture_output=True, text=True, check=True)
    assert re.search(r"Adam\._parameters was .* is ", found.stderr), found.stderr


@pytest.mark.parametrize(
    ("group", "error", "message"),
    [
        (lambda a, b: {"params": a}, gx.TraceError, "in one group of parameters only"),
        (lambda a, b: {"params": [b, a]}, gx.TraceError, "in one group of parameters only"),
        (lambda a, b: {"params": b, "lr": -1}, gx.GraphcError, "lr is a finite number"),
        (lambda a, b: {"params": b, "rate": 1}, optim.HyperparameterError, "other options"),
        (lambda a, b: {"params": b, "nesterov": True}, optim.HyperparameterError, "nesterov needs a momentum"),
        (lambda a, b: {"params": []}, gx.TraceError, "trainable Variables"),
        (lambda a, b: {"lr": 1.0}, gx.TraceError, 'a dict with "params"'),
        (lambda a, b: [b], gx.TraceError, r'add_param_group\({"params"'),
    ],
)
def test_what_can_not_be_added_changes_nothing(group: Any, error: type[Exception], message: str) -> None:
    a, b = two()
    optimizer = optim.SGD(a)
    with pytest.raises(error, match=message):
        optimizer.add_param_group(group(a, b))
    assert (len(optimizer.param_groups), optimizer.names, optimizer.parameters) == (1, ["0"], [a])
    with pytest.raises(gx.TraceError, match="outside of traces"):
        gx.compile(lambda: optimizer.add_param_group({"params": b}))()
    optimizer.add_param_group({"params": b})
    assert optimizer.names == ["0", "1"]


def test_names_and_state_of_groups() -> None:
    def made() -> tuple[Any, ...]:
        body, head = (nn.Linear(2, 2, generator=gx.random.Generator(i)) for i in (1, 2))
        optimizer = optim.Adam([{"params": body}, {"params": head, "lr": 0.5}], lr=0.1)
        step = gx.compile(lambda: optimizer.minimize(gx.mean(head(body(np.ones((1, 2), np.float32))) ** 2)))
        return body, head, optimizer, step

    body, head, optimizer, step = made()
    assert optimizer.names == ["0.weight", "0.bias", "1.weight", "1.bias"]
    step()
    state = optimizer.state_dict()
    assert {"param_groups.0.lr", "param_groups.1.beta2_power", "first_moments.1.bias"} <= state.keys()
    other_body, other_head, other, other_step = made()
    other.load_state_dict(state)
    other_body.load_state_dict(body.state_dict())
    other_head.load_state_dict(head.state_dict())
    step(), other_step()
    assert other_head.weight.tolist() == head.weight.tolist()
    before = {name: v.tolist() for name, v in other.state_dict().items()}
    with pytest.raises(KeyError, match=r"all of this Adam's names(.|\n)*first_moments.0.weight(.|\n)*test_optimizer"):
        other.load_state_dict({"lr": state["param_groups.0.lr"]})
    changed = {name: v * 0 for name, v in state.items()}
    with pytest.raises(gx.ShapeError, match=r"second_moments.1.bias is float32\[2\]"):
        other.load_state_dict(changed | {"second_moments.1.bias": gx.ones((3,))})
    assert {name: v.tolist() for name, v in other.state_dict().items()} == before
    a, b = two()
    assert optim.SGD([{"params": [a]}, {"params": [b]}]).names == ["0", "1"]
    assert optim.SGD([("first", a), ("second", b)]).names == ["first", "second"]
    assert optim.SGD(body.named_parameters()).names == ["weight", "bias"]


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (lambda a, b: {"params": [a]}, "a module or Variables, or groups of them"),
        (lambda a, b: [{"lr": 1.0}], 'a dict with "params"'),
        (lambda a, b: [{"params": a}, b], 'a dict with "params"'),
        (lambda a, b: [{"params": [a, b]}, {"params": b}], "in one group of parameters only"),
        (lambda a, b: [{"params": a, "learning_rate": 1.0}], "other options"),
        (lambda a, b: [{"params": a, "lr": -1.0}], "lr is a finite number, 0 ≤ lr"),
        (lambda a, b: [{"params": "a"}], "a module or Variables"),
        (lambda a, b: [{"params": []}], "needs trainable Variables"),
        (lambda a, b: 7, "a module or Variables"),
    ],
)
def test_what_is_no_group(groups: Any, message: str) -> None:
    with pytest.raises(gx.GraphcError, match=rf"(?s){message}.*test_optimizer"):
        optim.SGD(groups(*two()))


def test_gradients_by_name() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    optimizer = optim.SGD(model, lr=1.0)
    x = np.ones((3, 2), np.float32)

    @gx.compile
    def step(x: Any) -> Any:
        loss, grads = gx.value_and_grad(lambda m: gx.mean(m(x) ** 2))(model)
        optimizer.apply(grads)
        return grads

    before = {name: v.numpy() for name, v in model.named_parameters()}
    grads = step(x)
    assert list(grads) == optimizer.names
    for name, v in model.named_parameters():
        np.testing.assert_allclose(v.numpy(), before[name] - grads[name].numpy(), rtol=1e-6)
    with pytest.raises(gx.ShapeError, match=r"have the parameters' names(.|\n)*nonsense"):
        gx.trace(lambda: optimizer.apply({"nonsense": 1.0}))
    with pytest.raises(gx.ShapeError, match=r"its parameter's shape: 0.weight is float32\[2, 2\]"):
        gx.trace(lambda: optimizer.apply({"0.weight": gx.ones((2, 1))}))


NAN, INF = float("nan"), float("inf")
NUMBERS: list[tuple[Callable[..., Any], str, list[Any], list[Any]]] = [
    (optim.SGD, "lr", [-1, -1e-9, NAN, INF, "0.1", None, True, [0.1, 0.2], 1j], [0, 1, 1e-3, np.float32(0.1), 1e9]),
    (optim.SGD, "momentum", [-0.1, NAN, INF, "much"], [0, 0.9, 1, 1.5]),
    (optim.SGD, "dampening", [NAN, INF, "x"], [0, -1, 0.5]),
    (optim.SGD, "weight_decay", [-0.1, NAN, INF], [0, 1e-4]),
    (lambda w, nesterov: optim.SGD(w, momentum=0.9, nesterov=nesterov), "nesterov", [1, "yes", None], [True, False]),
    (optim.Adam, "lr", [-1, NAN, INF], [0, 1]),
    (optim.Adam, "betas", [(1.0, 0.9), (0.9, 1.0), (-0.1, 0.9), (0.9, NAN), (0.9, "x"), (0.9,), 0.9], [(0, 0)]),
    (optim.Adam, "eps", [-1e-8, NAN, INF], [0, 1e-3]),
    (optim.AdamW, "weight_decay", [-0.1, NAN], [0, 0.1]),
]


@pytest.mark.parametrize(
    ("make", "name", "bad", "good"), NUMBERS, ids=[f"{n[1]} of {getattr(n[0], '__name__', '')}" for n in NUMBERS]
)
def test_numbers_of_optimizers(make: Any, name: str, bad: list[Any], good: list[Any]) -> None:
    for value in good:
        make(gx.Variable(1.0), **{name: value})
    for value in bad:
        with pytest.raises(ValueError, match=r"(is a finite number|two numbers|True or False)(.|\n)*test_optimizer"):
            make(gx.Variable(1.0), **{name: value})
        optimizer = make(gx.Variable(1.0), **{name: good[0]})
        before = {k: v.tolist() for k, v in optimizer.state_dict().items()}
        with pytest.raises(ValueError, match=r"(is a finite number|two numbers|True or False)(.|\n)*test_optimizer"):
            optimizer.param_groups[0][name] = value
        assert name == "betas" or {k: v.tolist() for k, v in optimizer.state_dict().items()} == before


def test_a_copy_trains_alone() -> None:
    a, _ = two()
    optimizer = optim.Adam(a, lr=0.1)
    other = copy.deepcopy(optimizer)
    trained(other, other.parameters[0])
    assert a.tolist() == START.tolist() and optimizer.state_dict()["beta1_power"].item() == 1
