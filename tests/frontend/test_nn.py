"""Modules, layers, activations, losses and initializers, against their formulas in NumPy."""

import copy
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc as gx
from graphc import DTypeError, ShapeError, nn
from graphc.frontend.nn.module import StateError

X = np.random.default_rng(0).standard_normal((4, 6)).astype(np.float32)
Z = np.linspace(-6, 6, 25, dtype=np.float32)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


ERF = np.array([math.erf(z / math.sqrt(2)) for z in Z])

ACTIVATIONS: list[Any] = [
    (nn.relu, np.maximum(Z, 0)),
    (nn.relu6, np.clip(Z, 0, 6)),
    (nn.leaky_relu, np.where(Z > 0, Z, 0.01 * Z)),
    (nn.elu, np.where(Z > 0, Z, np.expm1(Z))),
    (nn.selu, 1.0507009873554805 * np.where(Z > 0, Z, 1.6732632423543772 * np.expm1(Z))),
    (nn.gelu, Z * (1 + ERF) / 2),
    (nn.silu, Z * sigmoid(Z)),
    (nn.mish, Z * np.tanh(np.log1p(np.exp(Z)))),
    (nn.sigmoid, sigmoid(Z)),
    (nn.log_sigmoid, np.log(sigmoid(Z))),
    (nn.softplus, np.log1p(np.exp(Z))),
    (nn.softsign, Z / (1 + abs(Z))),
    (nn.tanh, np.tanh(Z)),
    (nn.hard_sigmoid, np.clip(Z / 6 + 0.5, 0, 1)),
    (nn.hard_swish, Z * np.clip(Z / 6 + 0.5, 0, 1)),
    (nn.hard_tanh, np.clip(Z, -1, 1)),
]


# Where a function has no derivative. Those that are not here have one everywhere, also at 0.
KINKS = {
    "relu": (0,), "relu6": (0, 6), "leaky_relu": (0,), "selu": (0,), "hard_sigmoid": (-3, 3), "hard_swish": (-3, 3),
    "hard_tanh": (-1, 1),
}  # fmt: skip


@pytest.mark.parametrize(("function", "expected"), ACTIVATIONS, ids=[a[0].__name__ for a in ACTIVATIONS])
def test_activations(function: Any, expected: np.ndarray) -> None:
    np.testing.assert_allclose(function(Z), expected, rtol=1e-5, atol=1e-6)
    assert np.isnan(function(np.float32(np.nan)).item())
    huge = function(np.array([-1e30, 1e30], np.float32)).numpy()
    assert not np.isnan(huge).any()
    slope = gx.grad(lambda x: gx.sum(function(x)))(Z).numpy()
    numeric = (
        function(Z.astype(np.float64) + 1e-6).numpy() - function(Z.astype(np.float64) - 1e-6).numpy()
    ) / 2e-6
    smooth = ~np.isin(Z, KINKS.get(function.__name__, ()))
    np.testing.assert_allclose(slope[smooth], numeric[smooth], rtol=1e-3, atol=1e-4)


def test_relu_has_no_gradient_at_zero() -> None:
    assert gx.grad(nn.relu)(0.0).item() == 0


def test_hard_tanh_has_no_gradient_at_its_ends() -> None:
    x = np.array([-1, 1, 0.5, np.nan], np.float32)
    assert gx.grad(lambda x: gx.sum(nn.hard_tanh(x)))(x).tolist()[:3] == [0, 0, 1]
    assert gx.grad(lambda x: gx.sum(nn.hard_tanh(x, 0, 2)))(np.array([0, 1.0, 2])).tolist() == [0, 1, 0]
    assert nn.hard_tanh(np.array([-3, 0, 3])).tolist() == [-1, 0, 1]
    assert nn.hard_tanh(np.array([-3, 0, 3])).dtype is gx.float32


def test_softmax_and_log_softmax() -> None:
    expected = np.exp(X) / np.exp(X).sum(1, keepdims=True)
    np.testing.assert_allclose(nn.softmax(X), expected, rtol=1e-5)
    np.testing.assert_allclose(nn.softmax(X.T, axis=0), expected.T, rtol=1e-5)
    np.testing.assert_allclose(nn.log_softmax(X + 1000), np.log(expected), rtol=1e-3, atol=1e-4)
    assert nn.softmax(np.array([1e30, 0], np.float32)).tolist() == [1, 0]
    assert abs(gx.grad(lambda x: gx.sum(nn.softmax(x)))(X).numpy()).max() < 1e-6


def test_modules_for_functions() -> None:
    pairs: list[Any] = [
        (nn.ReLU(), nn.relu),
        (nn.GELU("tanh"), lambda x: nn.gelu(x, "tanh")),
        (nn.LeakyReLU(0.2), lambda x: nn.leaky_relu(x, 0.2)),
        (nn.Softmax(0), lambda x: nn.softmax(x, 0)),
    ]
    for module, function in pairs:
        assert module(X).tolist() == function(X).tolist()
    assert repr(nn.LeakyReLU(0.2)) == "LeakyReLU(negative_slope=0.2)"


def test_glu() -> None:
    np.testing.assert_allclose(nn.glu(X), X[:, :3] * sigmoid(X[:, 3:]), rtol=1e-5)


def test_linear() -> None:
    layer = nn.Linear(6, 3)
    assert (layer.weight.shape, layer.weight.name) == ((3, 6), "weight") and layer.bias is not None
    expected = X @ layer.weight.numpy().T + layer.bias.numpy()
    np.testing.assert_allclose(layer(X), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(layer(X[0]), expected[0], rtol=1e-5, atol=1e-6)
    assert layer(X.reshape(2, 2, 6)).shape == (2, 2, 3)
    assert nn.Linear(6, 3, bias=False).bias is None
    with pytest.raises(ShapeError, match=r"Linear\(6, 3\) takes 6 features"):
        layer(X.T)


def test_sizes_of_layers() -> None:
    for make in (lambda: nn.Linear(-1, 2), lambda: nn.Linear(2, -1), lambda: nn.LayerNorm(-1)):
        with pytest.raises(ShapeError, match=r"whole numbers(.|\n)*test_nn"):
            make()
    six: Any = np.int64(6)
    assert nn.LayerNorm(six)(X).shape == nn.layer_norm(X, six).shape == (4, 6)
    assert repr(nn.LayerNorm(six)) == repr(nn.LayerNorm(6))
    assert repr(nn.Linear(six, six)) == "Linear(6, 6)"


def test_layers_refuse_other_floats() -> None:
    for layer in (nn.Linear(6, 3), nn.LayerNorm(6)):
        for x in (X.astype(np.float64), X.astype(np.float16)):
            with pytest.raises(DTypeError, match="takes no other floats") as error:
                layer(x)
            assert error.value.where is not None and error.value.where.text == "layer(x)"
    assert nn.Linear(6, 3)(np.ones((2, 6), np.int64)).dtype is gx.float32
    assert nn.Linear(6, 3, dtype="float64")(X.astype(np.float64)).dtype is gx.float64


def test_initialization() -> None:
    gx.random.seed(0)
    weight = nn.Linear(100, 400).weight.numpy()
    assert abs(weight).max() <= 0.1 and abs(weight.std() - 0.1 / math.sqrt(3)) < 1e-3
    deviations = [
        (nn.init.xavier_uniform(), math.sqrt(2 / 500)),
        (nn.init.xavier_normal(2.0), 2 * math.sqrt(2 / 500)),
        (nn.init.he_uniform(), math.sqrt(2 / 100)),
        (nn.init.he_normal(1.0), 0.1),
        (nn.init.normal(0, 0.02), 0.02),
        (nn.init.zeros, 0.0),
    ]
    for init, std in deviations:
        assert abs(nn.Linear(100, 400, init=init).weight.numpy().std() - std) < 0.02 * std + 1e-9
    gx.random.seed(0)
    assert nn.Linear(100, 400).weight.numpy().tolist() == weight.tolist()
    with pytest.raises(ShapeError, match="inputs and outputs"):
        nn.parameter((3,), "float32", nn.init.he_normal())


def test_layer_norm() -> None:
    layer = nn.LayerNorm(6)
    layer.weight.assign(X[0])  # type: ignore[union-attr]
    layer.bias.assign(X[1])  # type: ignore[union-attr]
    normal = (X - X.mean(1, keepdims=True)) / np.sqrt(X.var(1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(layer(X), normal * X[0] + X[1], rtol=1e-5, atol=1e-5)
    whole = nn.LayerNorm((4, 6), elementwise_affine=False)(X)
    np.testing.assert_allclose(whole, (X - X.mean()) / np.sqrt(X.var() + 1e-5), rtol=1e-5, atol=1e-5)
    with pytest.raises(ShapeError, match="last axes"):
        layer(X.T)


def test_dropout() -> None:
    x = np.ones((100, 100), np.float32)
    layer = nn.Dropout(0.25, generator=gx.random.Generator(0))
    f = gx.compile(layer.__call__)
    kept = f(x).numpy()
    assert set(np.unique(kept)) == {0, np.float32(1 / 0.75)} and abs((kept == 0).mean() - 0.25) < 0.03
    assert f(x).tolist() != kept.tolist()
    layer.eval()
    assert f(x).tolist() == x.tolist()
    layer.train()
    layer.p = 1.0
    assert f(x).tolist() == (0 * x).tolist()
    assert nn.dropout(x, 0.0).tolist() == x.tolist()
    with pytest.raises(ValueError, match="probability"):
        nn.dropout(x, 1.5)


# Losses

LABELS = np.array([0, 5, 2, 2])


def log_softmax(x: np.ndarray) -> np.ndarray:
    return x - x.max(1, keepdims=True) - np.log(np.exp(x - x.max(1, keepdims=True)).sum(1, keepdims=True))


def test_cross_entropy() -> None:
    scores = log_softmax(X.astype(np.float64))
    costs = -scores[np.arange(4), LABELS]
    np.testing.assert_allclose(nn.cross_entropy(X, LABELS), costs.mean(), rtol=1e-6)
    np.testing.assert_allclose(nn.cross_entropy(X, LABELS, reduction="sum"), costs.sum(), rtol=1e-6)
    np.testing.assert_allclose(nn.cross_entropy(X, LABELS, reduction="none"), costs, rtol=1e-5)
    np.testing.assert_allclose(nn.cross_entropy(X.T, LABELS, axis=0), costs.mean(), rtol=1e-6)
    np.testing.assert_allclose(nn.nll_loss(scores, LABELS), costs.mean(), rtol=1e-6)
    smooth = 0.9 * costs - 0.1 * scores.mean(1)
    np.testing.assert_allclose(nn.cross_entropy(X, LABELS, label_smoothing=0.1), smooth.mean(), rtol=1e-6)


def test_cross_entropy_with_probabilities() -> None:
    scores, p = log_softmax(X), np.eye(6, dtype=np.float32)[LABELS] * 0.8 + 0.2 / 6
    np.testing.assert_allclose(nn.cross_entropy(X, p), -(p * scores).sum(1).mean(), rtol=1e-5)
    np.testing.assert_allclose(
        nn.cross_entropy(X, LABELS, label_smoothing=0.2), nn.cross_entropy(X, p), rtol=1e-5
    )


def test_cross_entropy_with_weights_and_ignored_classes() -> None:
    scores, w = log_softmax(X), np.arange(1, 7, dtype=np.float32)
    costs = -scores[np.arange(4), LABELS] * w[LABELS]
    np.testing.assert_allclose(nn.cross_entropy(X, LABELS, w), costs.sum() / w[LABELS].sum(), rtol=1e-5)
    ignoring = nn.cross_entropy(X, np.array([0, -100, 2, 2]), ignore_index=-100)
    np.testing.assert_allclose(ignoring, nn.cross_entropy(X[[0, 2, 3]], LABELS[[0, 2, 3]]), rtol=1e-5)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("loss", [nn.cross_entropy, nn.nll_loss])
def test_targets_of_minus_100_do_not_count(loss: Any, weighted: bool) -> None:
    scores, weight = log_softmax(X), np.arange(1, 7, dtype=np.float32) if weighted else None
    some, none = np.array([0, -100, 2, -100]), np.full(4, -100)
    for reduction in ("mean", "sum"):
        kept = loss(scores[[0, 2]], some[[0, 2]], weight, reduction=reduction)
        np.testing.assert_allclose(loss(scores, some, weight, reduction=reduction), kept, rtol=1e-5)
    assert loss(scores, some, weight, reduction="none").numpy()[[1, 3]].tolist() == [0, 0]
    slopes = gx.grad(loss)(scores, some, weight).numpy()
    assert not slopes[[1, 3]].any() and np.isfinite(slopes).all()
    # Nothing counts: 0 of 0 is no mean, as PyTorch has it.
    assert np.isnan(loss(scores, none, weight).item()) and loss(scores, none, weight, reduction="sum").item() == 0
    # A dtype that has no -100, and another number to ignore.
    unsigned = loss(scores, np.array([0, 5, 2, 2], np.uint8), weight, ignore_index=2)
    np.testing.assert_allclose(unsigned, loss(scores[:2], np.array([0, 5]), weight), rtol=1e-5)


def test_cross_entropy_gradient() -> None:
    p = np.exp(log_softmax(X))
    expected = (p - np.eye(6)[LABELS]) / 4
    np.testing.assert_allclose(gx.grad(nn.cross_entropy)(X, LABELS), expected, rtol=1e-4, atol=1e-6)


def test_cross_entropy_errors() -> None:
    with pytest.raises(IndexError):
        nn.cross_entropy(X, np.array([0, 1, 2, 6]))
    with pytest.raises(ShapeError, match="class number for each row"):
        nn.cross_entropy(X, LABELS[:, None])
    with pytest.raises(DTypeError, match=r"class numbers are integers[^$]*y.astype\(np.int64\)"):
        nn.cross_entropy(X, LABELS.astype(np.float32))
    with pytest.raises(DTypeError, match="class numbers"):
        nn.cross_entropy(X, LABELS > 2)
    with pytest.raises(ValueError, match="average"):
        nn.cross_entropy(X, LABELS, reduction="average")


@pytest.mark.parametrize("loss", [nn.cross_entropy, nn.nll_loss])
@pytest.mark.parametrize("dtype", ["int8", "int32", "int64"])
def test_negative_class_numbers_are_outside(loss: Any, dtype: str) -> None:
    x = np.zeros((2, 3), np.float32)
    for run in (loss, gx.compile(loss)):
        assert run(x, np.array([2, 0], dtype)).shape == ()
        for bad in (-1, -3, 3):
            with pytest.raises(IndexError):
                run(x, np.array([0, bad], dtype))


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_more_classes_than_the_class_numbers_can_name(dtype: str) -> None:
    x = np.arange(300, dtype=np.float32)[None]
    assert nn.nll_loss(x, np.array([100], dtype)).item() == -100
    if dtype == "int8":
        with pytest.raises(IndexError):
            nn.nll_loss(x, np.array([-1], dtype))


def test_an_ignored_class_may_be_negative() -> None:
    x, y = X, np.array([0, -1, 2, -1])
    expected = nn.cross_entropy(x[::2], y[::2]).item()
    np.testing.assert_allclose(nn.cross_entropy(x, y, ignore_index=-1).item(), expected, rtol=1e-6)
    slope = gx.grad(lambda x: nn.cross_entropy(x, y, np.ones(6, np.float32), ignore_index=-1))(x).numpy()
    assert not slope[1::2].any() and slope[::2].all()


def test_cross_entropy_takes_a_weight_for_each_class() -> None:
    x, classes, chances = (
        np.zeros((4, 3), np.float32),
        np.array([0, 1, 2, 0]),
        np.full((4, 3), 1 / 3, np.float32),
    )
    for y in (classes, chances):
        for shape in ((), (1,), (2,), (4,), (4, 3), (1, 3)):
            with pytest.raises(ShapeError, match="one weight for each class"):
                nn.cross_entropy(x, y, np.ones(shape, np.float32))
        assert nn.cross_entropy(x, y, np.ones(3)).dtype is gx.float32


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_binary_cross_entropy_at_the_ends(dtype: str) -> None:
    """PyTorch's gradient, (p − y) / max(p(1 − p), 1e-12); float16's smallest number is in place of 1e-12."""
    p, y = np.array([0, 0, 1, 1, 0.25], dtype), np.array([0, 1, 0, 1, 1], dtype)
    smallest = np.array(max(1e-12, np.finfo(dtype).smallest_normal), dtype)
    loss = lambda p: nn.binary_cross_entropy(p, y, "sum")  # noqa: E731
    np.testing.assert_allclose(loss(p).item(), 200 - np.log(0.25), rtol=1e-3)
    slope = gx.grad(loss)(p).numpy()
    np.testing.assert_allclose(slope, (p - y) / np.maximum(p * (1 - p), smallest), rtol=1e-3)


def test_gradients_through_saturated_probabilities() -> None:
    y = np.array([1, 0, 1], np.float32)
    loss = lambda z: nn.binary_cross_entropy(nn.sigmoid(z), y, "sum")  # noqa: E731
    z = np.array([20, -200, 0.5], np.float32)
    np.testing.assert_allclose(gx.grad(loss)(z), np.array([0, 0, -1 / (1 + np.exp(0.5))]), atol=1e-6)
    squared = gx.grad(lambda z: loss(z) ** 2)
    assert np.isfinite(gx.grad(lambda z: gx.sum(squared(z) ** 2))(z).numpy()).all()


def test_other_losses() -> None:
    y, p = X[::-1].copy(), sigmoid(X)
    d = abs(X - y)
    for got, expected in (
        (nn.mse_loss(X, y), (d**2).mean()),
        (nn.mse_loss(X, y, reduction="sum"), (d**2).sum()),
        (nn.l1_loss(X, y), d.mean()),
        (nn.smooth_l1_loss(X, y, beta=0.5), np.where(d < 0.5, d**2, d - 0.25).mean()),
        (nn.huber_loss(X, y, delta=0.5), np.where(d < 0.5, d**2 / 2, 0.5 * (d - 0.25)).mean()),
        (nn.binary_cross_entropy_with_logits(X, p), -(p * np.log(p) + (1 - p) * np.log(1 - p)).mean()),
        (nn.binary_cross_entropy(p, p), -(p * np.log(p) + (1 - p) * np.log(1 - p)).mean()),
        (nn.kl_div(X, p), (p * (np.log(p) - X)).mean()),
    ):
        np.testing.assert_allclose(got, expected, rtol=1e-5)
    assert nn.binary_cross_entropy(np.float32(0), np.float32(1)).item() == 100
    assert gx.grad(nn.binary_cross_entropy_with_logits)(0.0, np.float32(0.2)).item() == pytest.approx(0.3)
    with pytest.raises(ShapeError, match="one shape"):
        nn.mse_loss(X, y[0])


# Modules


class Net(nn.Module):
    def __init__(self) -> None:
        self.scale = gx.Variable(2.0, trainable=False)
        self.blocks = [nn.Linear(6, 6), nn.Sequential(nn.Linear(6, 2, bias=False), nn.relu)]
        self.heads = {"a": nn.Linear(2, 1)}
        self.tied = self.blocks[0]

    def forward(self, x: Any) -> gx.Tensor:
        for block in self.blocks:
            x = block(x)
        return self.heads["a"](x) * self.scale


def test_names() -> None:
    net = Net()
    names = [
        "scale",
        "blocks.0.weight",
        "blocks.0.bias",
        "blocks.1.0.weight",
        "heads.a.weight",
        "heads.a.bias",
    ]
    assert list(net.state_dict()) == names
    assert [n for n, _ in net.named_parameters()] == names[1:]
    assert len(net.modules()) == 5


def test_state() -> None:
    first, second = Net(), Net()
    assert first(X).tolist() != second(X).tolist()
    second.load_state_dict(first.state_dict())
    assert first(X).tolist() == second(X).tolist()
    state: dict[str, Any] = first.state_dict()
    with pytest.raises(StateError, match="missing: \\['scale'\\]; unknown: \\['other'\\]"):
        second.load_state_dict({**{k: v for k, v in state.items() if k != "scale"}, "other": X})
    with pytest.raises(ShapeError, match=r"heads\.a\.bias is float32\[1\]"):
        second.load_state_dict({**state, "scale": np.float32(5), "heads.a.bias": X})
    assert second.scale.item() == 2  # nothing has changed
    second.load_state_dict({"scale": np.float32(5)}, strict=False)
    assert second.scale.item() == 5


def test_save_and_load(tmp_path: Path) -> None:
    first, second = Net(), Net()
    first.save(tmp_path / "net.safetensors")
    second.load(tmp_path / "net.safetensors")
    assert first(X).tolist() == second(X).tolist()


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint64", "float16", "bfloat16", "float32", "float64"])
def test_every_dtype_in_files(dtype: str, tmp_path: Path) -> None:
    values = {
        "a.b": gx.asarray(np.array([[0, 1, 1]]), dtype=dtype),
        "scalar": gx.asarray(np.array(1), dtype=dtype),
    }
    nn.save_parameters(values, tmp_path / "file")
    loaded = nn.load_parameters(tmp_path / "file")
    assert {k: (v.type, v.tolist()) for k, v in loaded.items()} == {
        k: (v.type, v.tolist()) for k, v in values.items()
    }


def test_modes() -> None:
    net = Net()
    net.eval()
    assert not any(m.training for m in net.modules())
    assert all(m.training for m in net.train().modules())


def test_copies_are_independent() -> None:
    net = Net()
    other = copy.deepcopy(net)
    other.scale.assign(7.0)
    assert net.scale.item() == 2 and other.tied is other.blocks[0]


def test_text() -> None:
    model = nn.Sequential(nn.Linear(6, 3), nn.relu, nn.Dropout(0.1))
    assert repr(model) == "Sequential(\n  (0): Linear(6, 3)\n  (1): relu\n  (2): Dropout(p=0.1)\n)"
    count = "  # 21 parameters"
    assert str(model) == f"Sequential(\n  (0): Linear(6, 3){count}\n  (1): relu\n  (2): Dropout(p=0.1)\n){count}"
    model.parameters()[1].trainable = False
    assert str(model).endswith(")  # 18 parameters, 3 not trainable")
    assert model[1] is nn.relu and len(model) == 3


def test_modules_that_refer_to_each_other() -> None:
    parent, child = Net(), nn.Linear(2, 2)
    names = [name for name, _ in parent.named_members()]
    child.parent, child.me, parent.child = [parent], child, child
    assert [name for name, _ in parent.named_members()] == [*names, "child", "child.weight", "child.bias"]
    assert len(parent.modules()) == len({id(m) for m in parent.modules()})
    assert not parent.eval().training and not child.training
    assert "(me): ..." in repr(child) and "(parent.0): ..." in repr(parent)


def test_flatten_and_identity() -> None:
    assert nn.Flatten()(np.ones((2, 3, 4), np.float32)).shape == (2, 12)
    assert nn.Flatten(0, 1)(np.ones((2, 3, 4), np.float32)).shape == (6, 4)
    assert nn.Identity()(X) is X


def test_hard_tanh_is_flat_at_its_ends() -> None:
    x = np.array([-2, -1, 0.5, 1, 2, np.nan], np.float32)
    assert gx.grad(lambda x: gx.sum(nn.hard_tanh(x)))(x[:5]).tolist() == [0, 0, 1, 0, 0]
    np.testing.assert_array_equal(nn.hard_tanh(x).numpy(), np.clip(x, -1, 1))


def test_class_numbers_are_not_counted_from_the_end() -> None:
    scores = np.array([[0.0, 5.0], [1.0, 2.0]], np.float32)
    for loss in (nn.cross_entropy, nn.nll_loss):
        for bad in (-1, 2):
            with pytest.raises(IndexError):
                loss(scores, np.array([0, bad]))
    assert nn.cross_entropy(scores, np.array([1, -1]), ignore_index=-1).item() == pytest.approx(np.log1p(np.exp(-5)))


NAN = float("nan")
NUMBERS: list[tuple[Any, list[tuple[Any, ...]], list[tuple[Any, ...]]]] = [
    (nn.Linear, [(-1, 3), (2.5, 3), (True, 3), ("3", 3), (3, None)], [(0, 3), (np.int64(2), 3)]),
    (nn.LayerNorm, [(-1,), (2.5,), (3, -1.0), (3, NAN), (3, "x"), (3, None)], [(3,), ((2, 3), 0), (3, 1)]),
    (nn.Dropout, [(50,), (-0.1,), (NAN,), ("x",), (None,), (True,)], [(0,), (1,), (np.float32(0.5),)]),
    (nn.LeakyReLU, [("x",), (None,), (NAN,), ([0.1, 0.2],)], [(0,), (-1,), (2.5,)]),
    (nn.ELU, [("x",), (NAN,), (float("inf"),)], [(1,), (0.5,)]),
    (nn.GELU, [("sigmoid",), (True,), (None,)], [("tanh",)]),
    (nn.Softplus, [(0,), (-1.0,), ("x",), (NAN,)], [(2,)]),
    (nn.Hardtanh, [(1, -1), (1, 1), (NAN, 1), (0, float("inf"))], [(0, 6)]),
    (nn.GLU, [(1.5,), ("x",), (None,)], [(0,)]),
    (nn.Softmax, [(0.5,), ("x",), (None,)], [(1,)]),
    (nn.LogSoftmax, [(0.5,), (True,)], [(np.int64(0),)]),
    (nn.Flatten, [(0.5,), (1, "x")], [(0, 1)]),
]


@pytest.mark.parametrize(("make", "bad", "good"), NUMBERS, ids=[n[0].__name__ for n in NUMBERS])
def test_numbers_of_layers(make: Any, bad: list[tuple[Any, ...]], good: list[tuple[Any, ...]]) -> None:
    """They are checked when a layer is made, where the user's line is."""
    for arguments in good:
        make(*arguments)
    for arguments in bad:
        with pytest.raises(gx.GraphcError, match="test_nn") as error:
            make(*arguments)
        assert isinstance(error.value, ValueError)


def test_a_probability_is_checked_when_it_is_set() -> None:
    layer = nn.Dropout(0.5)
    with pytest.raises(ValueError, match=r"p is a probability, between 0 and 1(.|\n)*got: 50(.|\n)*layer.p = 50"):
        layer.p = 50
    assert layer.p == 0.5
    with pytest.raises(ValueError, match=r"between 0 and 1(.|\n)*test_nn"):
        nn.dropout(gx.ones((2,)), 1.5)
