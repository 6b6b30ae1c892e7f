"""Names that users try lead on to what there is."""

import pickle
import re

import numpy as np
import pytest

import graphc as gx
from graphc import nn, optim
from graphc.frontend.vocabulary import WORDS
from graphc.frontend.words import Owner

from ..snippets import FILE, seen

MODEL = nn.Sequential(nn.Linear(2, 2))
FUNCTION = gx.compile(lambda x: x)

# What the places stand for, and what hints call them.
HELD = {
    Owner.GX: gx, Owner.NN: nn, Owner.INIT: nn.init, Owner.OPTIM: optim, Owner.RANDOM: gx.random,
    Owner.LINALG: gx.linalg, Owner.TENSOR: gx.ones((2, 2)), Owner.MODULE: MODEL, Owner.OPTIMIZER: optim.Adam(MODEL),
    Owner.FUNCTION: FUNCTION,
}  # fmt: skip
NAMED = {
    "gx": gx, "nn": nn, "optim": optim, "np": np, "model": MODEL, "optimizer": HELD[Owner.OPTIMIZER], "fn": FUNCTION,
    "x": HELD[Owner.TENSOR], "v": gx.Variable(1.0), "p": gx.Variable(1.0),
}  # fmt: skip
CHAIN = re.compile(r"\b(gx|nn|optim|np|model|optimizer|fn|x|v|p)((?:\.[a-zA-Z]\w*)+)")


@pytest.mark.parametrize("place", Owner, ids=lambda place: place.name)
def test_the_table_is_about_names_that_are_missing_and_leads_to_names_that_exist(place):
    for word, text in WORDS[place].items():
        assert not hasattr(HELD[place], word), f"{place.value} has {word} now: its entry in WORDS can go"
        for root, path in CHAIN.findall(text):
            found = NAMED[root]
            for name in path[1:].split("."):
                assert hasattr(found, name), f"the hint for {word} names {root}{path}"
                found = getattr(found, name)


BEGIN = "x = gx.ones((2, 3))\nmodel = nn.Sequential(nn.Linear(2, 2))\n"

NAMES = [
    ("gx.cat([x, x])", "gx has no cat", "gx.concat"),
    ("gx.relu(x)", "gx has no relu", "nn.relu"),
    ("gx.Adam(model)", "gx has no Adam", "optim.Adam"),
    ("gx.uniform((2,))", "gx has no uniform", "gx.random.uniform"),
    ("gx.arrange(3)", "gx has no arrange", "gx.arange"),
    ("nn.Embedding(10, 3)", "nn has no Embedding", "gx.take(table, ids, axis=0)"),
    ("nn.sigmod(x)", "nn has no sigmod", "nn.sigmoid"),
    ("nn.init.xavier_uniform_(x)", "nn.init has no xavier_uniform_", "nn.init.xavier_uniform()"),
    ("optim.Adamw(model)", "optim has no Adamw", "optim.AdamW"),
    ("gx.random.randn(3)", "gx.random has no randn", "gx.random.normal(shape)"),
    ("gx.linalg.svd(x)", "gx.linalg has no svd", "NumPy"),
    ("x.mean()", "a Tensor has no mean", "gx.mean(x)"),
    ("x.softmax()", "a Tensor has no softmax", "nn.softmax(x)"),
    ("x.add_(1)", "a Tensor has no add_", "tensors are immutable: x = gx.add(x)"),
    ("x.shap", "a Tensor has no shap", ".shape"),
    ("gx.Variable(1.0).backward()", "a Variable has no backward", "gx.grad(fn)(x)"),
    ("model.cuda()", "Sequential has no cuda", "gx.using(backend=...)"),
    ("model.paramters()", "Sequential has no paramters", ".parameters"),
    ("optim.SGD(model).learning_rate = 0.1", "SGD has no learning_rate", "optimizer.lr"),
    ("model.trainable = False", "Sequential has no trainable", "p.trainable = False"),
    ("gx.Variable(1.0).value = 2.0", "a Variable has no value to set", "v.assign(x)"),
    ("optim.SGD(model).step()", "SGD has no step", "optimizer.minimize(loss)"),
    ("gx.compile(abs).lower(x)", "a compiled function has no lower", "fn.source("),
    ("from graphc.nn import Conv2d", "nn has no Conv2d", "no convolutions"),
]


@pytest.mark.parametrize(("source", "rule", "leads"), NAMES, ids=[rule for _, rule, _ in NAMES])
def test_a_name_that_is_missing_leads_on(source, rule, leads):
    found = seen(BEGIN + source)
    is_import = source.startswith("from")
    assert isinstance(found.error, ImportError if is_import else AttributeError)
    assert f": {rule}\n" in found.text and leads in found.text
    assert f"at:  {FILE}, line 3:  {source}" in found.text
    assert found.frames == [FILE]


def test_names_are_missing_as_python_has_it():
    x = HELD[Owner.TENSOR]
    assert not hasattr(gx, "cat") and not hasattr(x, "mean") and not hasattr(MODEL, "cuda")
    assert getattr(x, "__array_interface__", None) is None


def test_a_property_that_fails_keeps_its_own_error():
    found = seen("""
class Model(nn.Module):
    @property
    def width(self):
        return self.sizes[0]
Model().width
""")
    assert "Model has no sizes" in found.text and found.frames == [FILE, FILE]


ARGUMENTS = [
    ("gx.sum(x, dim=0)", "sum takes (x, /, *, axis=None", "an unexpected keyword argument 'dim'", "axis="),
    ("gx.mean(x, keepdim=True)", "mean takes", "'keepdim'", "keepdims="),
    ("nn.Linear(3)", "Linear takes (in_features, out_features", "no 'out_features'", ""),
    ("nn.Linear(3, 4, use_bias=False)", "Linear takes", "'use_bias'", "bias="),
    ("optim.Adam(model, learning_rate=1)", "Adam takes (parameters", "'learning_rate'", "lr="),
    ("gx.compile(fullgraph=True)", "compile takes", "'fullgraph'", "a function is one graph always"),
    ("nn.Linear(2, 2, device='cuda')", "Linear takes", "'device'", "gx.using(backend=...)"),
    ("model(x, x)", "Sequential.forward takes (x)", "too many positional arguments", ""),
    ("gx.ones(2, 3)", "ones takes (shape", "too many positional arguments", "a shape is one tuple: ones((2, 3))"),
    ("gx.random.normal(loc=1, size=3)", "normal takes (shape, *, mean", "no 'shape'", "mean=, shape="),
    ("gx.permute_dims(x, 1, 0)", "permute_dims takes", "too many", "axes are one tuple: permute_dims(x, (1, 0))"),
    ("gx.concat(x, x)", "concat takes", "too many", "arrays are one list: concat([x, y])"),
    ("gx.mean(x, 0)", "mean takes", "too many", "axis=, keepdims= are given by name"),
    ("gx.compile(lambda a, b: a)(x)", "<lambda> takes (a, b)", "no 'b'", ""),
    ("gx.compile(lambda a, b: a, inputs=[gx.spec((2, 3)), None])(x)", "<lambda> takes (a, b)", "no 'b'",
     "its inputs are declared as a: float32[2, 3], b: anything"),
]  # fmt: skip


@pytest.mark.parametrize(("source", "rule", "got", "leads"), ARGUMENTS, ids=[source for source, *_ in ARGUMENTS])
def test_arguments_that_do_not_fit_lead_on(source, rule, got, leads):
    found = seen(BEGIN + source)
    assert found.text.startswith(f"ArgumentError: {rule}") and leads in found.text
    assert f"got: {got}" in found.text or got in found.text
    assert f"at:  {FILE}, line 3:  {source}" in found.text
    assert found.frames == [FILE]


def test_names_of_protocols_are_not_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """NumPy asks for several at each conversion, which takes less than a microsecond otherwise."""
    monkeypatch.setattr("graphc.frontend.words.hint", lambda *_: pytest.fail("a hint was looked for"))
    monkeypatch.setattr("graphc.frontend.words.present", lambda *_: pytest.fail("the stack was walked"))
    x = HELD[Owner.TENSOR]
    assert np.asarray(x).shape == (2, 2) and np.exp(x).shape == (2, 2)
    assert not hasattr(x, "_repr_html_") and not hasattr(gx, "__wrapped__") and not hasattr(MODEL, "_ipython_display_")


def test_hints_are_looked_for_when_they_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks `hasattr` wants to know no more."""
    monkeypatch.setattr("graphc.frontend.words.hint", lambda *_: pytest.fail("a hint was looked for"))
    assert not any(hasattr(held, "foo") for held in HELD.values())
    monkeypatch.undo()
    with pytest.raises(gx.UnknownNameError) as caught:
        HELD[Owner.TENSOR].mean()
    assert pickle.loads(pickle.dumps(caught.value)).hint == caught.value.hint == "gx.mean(x)"
