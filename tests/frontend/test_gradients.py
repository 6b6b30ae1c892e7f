"""gx.gradients, grad, value_and_grad, vjp, jvp: placing the work that the differentiate pass does."""

from typing import Any

import numpy as np
import pytest

import graphc as gx
from graphc import DTypeError, ShapeError, TraceError, nn
from graphc.frontend import pytree

X = np.array([0.5, -1.0, 2.0], np.float32)


def test_gradients_of_traced_values() -> None:
    w = gx.Variable([1.0, 2.0, 3.0])

    @gx.compile
    def f(x: gx.Tensor) -> Any:
        y = x * w
        loss = gx.sum(y * y)
        return gx.gradients(loss, {"w": w, "x": [x], "y": y, "loss": loss})

    got = f(X)
    np.testing.assert_allclose(got["w"], 2 * X * X * w.numpy())
    np.testing.assert_allclose(got["x"][0], 2 * X * w.numpy() ** 2)
    np.testing.assert_allclose(got["y"], 2 * X * w.numpy())
    assert got["loss"].item() == 1


def test_zeros_where_nothing_is_reached() -> None:
    f = gx.compile(lambda x, y: gx.gradients(gx.sum(x), (x, y)))
    assert [g.tolist() for g in f(X, X)] == [[1, 1, 1], [0, 0, 0]]


def test_grad_everywhere() -> None:
    f = gx.grad(lambda x: gx.sum(x**3))
    for got in (f(X), f(gx.asarray(X)), gx.compile(f)(X)):
        np.testing.assert_allclose(got, 3 * X**2, rtol=1e-6)


def test_grad_of_grad() -> None:
    f = lambda x: x**3  # noqa: E731
    assert gx.grad(f)(2.0).item() == 12
    assert gx.grad(gx.grad(f))(2.0).item() == 12
    assert gx.grad(gx.grad(gx.grad(f)))(2.0).item() == 6


def test_only_the_argument_is_differentiated() -> None:
    """Where the function also reaches the same value through its closure, that is a constant."""

    @gx.compile
    def f(x: gx.Tensor) -> gx.Tensor:
        return gx.grad(lambda a: gx.sum(a * x))(x)

    assert f(X).tolist() == X.tolist()


def test_arguments_and_structures() -> None:
    f = lambda p, x, y: gx.sum(p["w"] * x) + p["b"] * y  # noqa: E731
    p = {"w": gx.asarray(X), "b": 2.0}
    grads = gx.grad(f)(p, X, 3.0)
    assert grads["w"].tolist() == X.tolist() and grads["b"].item() == 3
    both = gx.grad(f, argnums=(1, 2))(p, X, 3.0)
    assert both[0].tolist() == X.tolist() and both[1].item() == 2
    assert gx.grad(f, argnums=-1)(p, X, 3.0).item() == 2


def test_value_and_grad_with_more() -> None:
    f = lambda x: (gx.sum(x * x), {"twice": x * 2})  # noqa: E731
    (loss, more), grads = gx.value_and_grad(f, has_aux=True)(X)
    assert (
        loss.item() == 5.25
        and more["twice"].tolist() == (2 * X).tolist()
        and grads.tolist() == (2 * X).tolist()
    )
    assert gx.grad(f, has_aux=True)(X)[0].tolist() == (2 * X).tolist()


@pytest.mark.parametrize("around", [lambda f: f, gx.compile], ids=["outside", "traced"])
def test_arguments_by_name(around: Any) -> None:
    """argnums count the function's arguments, not those that a call happens to pass by position."""
    f = lambda a, b: gx.sum(a * a) + 3 * gx.sum(b)  # noqa: E731
    assert around(lambda a, b: gx.grad(f, argnums=1)(a, b=b))(X, X).tolist() == [3, 3, 3]
    assert around(lambda a, b: gx.grad(f)(b=b, a=a))(X, X).tolist() == (2 * X).tolist()
    assert around(lambda a, b: gx.grad(f, argnums=-1)(a, b=b))(X, X).tolist() == [3, 3, 3]
    both = around(lambda a, b: gx.value_and_grad(f, argnums=(1, 0))(a=a, b=b)[1])(X, X)
    assert [g.tolist() for g in both] == [[3, 3, 3], (2 * X).tolist()]


@pytest.mark.parametrize("around", [lambda f: f, gx.compile], ids=["outside", "traced"])
def test_arguments_that_are_not_there(around: Any) -> None:
    f = lambda a, b: gx.sum(a * a) + gx.sum(b)  # noqa: E731
    for number in (2, -3):
        with pytest.raises(TraceError, match=rf"argnums {number} of a call with 2(.|\n)*test_gradients"):
            around(lambda x, number=number: gx.grad(f, argnums=number)(x, x))(X)
    with pytest.raises(TraceError, match="argnums 0 of a call with 0"):
        around(lambda x: gx.grad(lambda: gx.sum(gx.asarray(X)))())(X)


def test_vjp_everywhere() -> None:
    f = lambda x, y: (x * y, gx.sum(y))  # noqa: E731

    def run(x: Any, y: Any) -> Any:
        result, pullback = gx.vjp(f, x, y)
        return result, pullback((gx.asarray(X), gx.asarray(2.0)))

    for (product, total), (gx_, gy) in (run(X, X + 1), gx.compile(run)(X, X + 1)):
        assert product.tolist() == (X * (X + 1)).tolist() and total.item() == (X + 1).sum()
        assert gx_.tolist() == (X * (X + 1)).tolist() and gy.tolist() == (X * X + 2).tolist()


def test_jvp_is_the_derivative_along_a_direction() -> None:
    f = lambda x, y: gx.sin(x) * y  # noqa: E731
    value, slope = gx.jvp(f, (X, X), (np.ones(3, np.float32), X))
    np.testing.assert_allclose(value, np.sin(X) * X, rtol=1e-6)
    np.testing.assert_allclose(slope, np.cos(X) * X + np.sin(X) * X, rtol=1e-5)
    traced = gx.compile(lambda x: gx.jvp(f, (x, x), (gx.ones(3), x))[1])(X)
    np.testing.assert_allclose(traced, slope, rtol=1e-6)


def test_hessian_vector_product_forward_over_reverse() -> None:
    f = lambda x: gx.sum(x**4) / 12 + gx.sum(x) ** 2 / 2  # noqa: E731
    v = np.array([1.0, 2.0, 3.0], np.float32)
    _, got = gx.jvp(gx.grad(f), (X,), (v,))
    np.testing.assert_allclose(got, X**2 * v + v.sum(), rtol=1e-5)


def test_stop_gradient() -> None:
    assert gx.grad(lambda x: gx.sum(gx.stop_gradient(x) * x))(X).tolist() == X.tolist()
    assert gx.stop_gradient(gx.asarray(X)).tolist() == X.tolist()


def test_gradients_at_the_ends_of_ranges() -> None:
    x = np.array([-2.0, -1.0, 0.0, 1.0, 2.0], np.float32)
    assert gx.grad(lambda x: gx.sum(gx.clip(x, -1, 1)))(x).tolist() == [0, 1, 1, 1, 0]
    assert gx.grad(lambda x: gx.sum(gx.abs(x)))(x).tolist() == [-1, -1, 0, 1, 1]


def flat(tree: Any) -> list[Any]:
    return [leaf.tolist() for leaf in pytree.leaves(tree)]


class Scaled(nn.Module):
    def __init__(self) -> None:
        self.first = nn.Linear(3, 2, generator=gx.random.Generator(0))
        self.parts = {"scale": gx.Variable([2.0, 3.0]), "fixed": gx.Variable([1.0, 1.0], trainable=False)}

    def forward(self, x: Any) -> Any:
        return self.first(x) * self.parts["scale"] * self.parts["fixed"]


@pytest.mark.parametrize("around", [lambda f: f, gx.compile], ids=["outside", "traced"])
def test_modules_as_arguments(around: Any) -> None:
    model, other = Scaled(), gx.Variable([1.0, 2.0])
    loss = lambda m, x: gx.sum(m["net"](x) * m["other"][0])  # noqa: E731
    argument = {"net": model, "other": [other]}

    value, grads = around(lambda x: gx.value_and_grad(loss)(argument, x))(X)
    y = model(X).numpy()
    np.testing.assert_allclose(value, (y * other.numpy()).sum(), rtol=1e-5)
    assert list(grads) == ["net", "other"]
    assert list(grads["net"]) == ["first.weight", "first.bias", "parts.scale"]
    np.testing.assert_allclose(grads["other"][0], y, rtol=1e-5)
    np.testing.assert_allclose(grads["net"]["first.bias"], [2, 6], rtol=1e-5)
    np.testing.assert_allclose(grads["net"]["first.weight"], np.outer([2, 6], X), rtol=1e-5)
    np.testing.assert_allclose(grads["net"]["parts.scale"], y / [2, 3] * [1, 2], rtol=1e-5)

    both = around(lambda x: gx.grad(lambda x, m: gx.sum(m(x)), argnums=(0, 1))(x, model))(X)
    np.testing.assert_allclose(both[0], model.first.weight.numpy().T @ [2, 3], rtol=1e-5)
    assert flat(both[1]["first.bias"]) == [[2, 3]]


def test_what_a_function_has_of_a_module_from_before_is_a_constant() -> None:
    layer = nn.Linear(3, 1, bias=False, generator=gx.random.Generator(0))

    @gx.compile
    def f(x: gx.Tensor) -> Any:
        before = layer(x)
        inner = gx.grad(lambda m: gx.sum(m(x) * before))(layer)
        return inner, gx.gradients(gx.sum(layer(x) * before), layer), before

    inner, outer, before = f(X)
    np.testing.assert_allclose(inner["weight"], [before.item() * X], rtol=1e-6)
    np.testing.assert_allclose(outer["weight"], [2 * before.item() * X], rtol=1e-6)


def test_gradients_of_gradients_of_a_module() -> None:
    layer = nn.Linear(3, 1, bias=False)
    square = lambda m: gx.sum(m(X)) ** 2 / 2  # noqa: E731
    slope = lambda m: gx.sum(gx.grad(square)(m)["weight"])  # noqa: E731
    np.testing.assert_allclose(gx.grad(slope)(layer)["weight"], [X * X.sum()], rtol=1e-5)


def test_modules_that_assign() -> None:
    class Counting(nn.Module):
        def __init__(self) -> None:
            self.weight, self.mean = gx.Variable(2.0), gx.Variable(0.0, trainable=False)

        def forward(self, x: Any) -> Any:
            self.mean.assign(gx.sum(x))
            return gx.sum(x) * self.weight + self.mean

    def assigning(m: Any) -> Any:
        m.weight.assign(m.weight * 2)
        return m.weight * m.weight

    module = Counting()
    assert gx.grad(lambda m, x: m(x))(module, X)["weight"].item() == 1.5 and module.mean.item() == 1.5
    with pytest.raises(TraceError, match="assigned to weight, by which it is differentiated"):
        gx.grad(assigning)(module)


def test_directions_of_modules() -> None:
    model = Scaled()
    direction = {name: gx.ones(v.shape) for name, v in model.named_parameters()}
    value, slope = gx.jvp(lambda m: gx.sum(m(X)), (model,), (direction,))
    expected = sum(float(g.numpy().sum()) for g in gx.grad(lambda m: gx.sum(m(X)))(model).values())
    assert slope.item() == pytest.approx(expected, rel=1e-5)
    value, pullback = gx.vjp(lambda m: m(X), model)
    np.testing.assert_allclose(value, model(X), rtol=1e-6)
    assert pullback(gx.ones(2))[0]["first.bias"].tolist() == [2, 3]
    with pytest.raises(ShapeError, match=r"tangents have the structure(.|\n)*another leaf at \[0\]\['nothing'\]"):
        gx.jvp(lambda m: gx.sum(m(X)), (model,), (direction | {"nothing": 1.0},))
    with pytest.raises(ShapeError, match="cotangents have the structure"):
        pullback((gx.ones(2), gx.ones(2)))


def test_a_module_without_parameters() -> None:
    with pytest.raises(TraceError, match="has trainable Variables"):
        gx.grad(lambda m, x: gx.sum(m(x)))(nn.Dropout(0.5), X)


def test_errors() -> None:
    with pytest.raises(TraceError, match="traced values"):
        gx.gradients(gx.asarray(1.0), gx.asarray(1.0))
    with pytest.raises(ShapeError, match="one float"):
        gx.grad(lambda x: x)(X)
    with pytest.raises(ShapeError, match="one float"):
        gx.grad(lambda x: gx.astype(gx.sum(x), "int32"))(X)
    with pytest.raises(DTypeError, match="only floats") as error:
        gx.grad(lambda n: gx.sum(n * 1.0))(np.arange(3))
    assert error.value.where is not None and error.value.where.file == __file__
    with pytest.raises(ShapeError, match="cotangents"):
        gx.vjp(lambda x: x, X)[1](gx.ones(2))
    with pytest.raises(ShapeError, match="a tangent for each"):
        gx.jvp(lambda x: x, (X,), ())
