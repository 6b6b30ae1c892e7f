"""What people look at: texts that are shown as they are, also where a notebook shows what a line gives."""

import numpy as np
import pytest

import graphc as gx
from graphc import nn

X = np.ones((4, 3), np.float32)
MODEL = nn.Sequential(nn.Linear(3, 2), nn.relu)


@gx.compile
def f(x):
    return gx.sum(nn.softmax(MODEL(x)) * 3)


@pytest.mark.parametrize(
    "make",
    [
        lambda: f.report(X), lambda: f.report(X).kernels[0], lambda: f.graph(X), lambda: f.schedule(X),
        lambda: f.benchmark(X, seconds=0.001), lambda: gx.bench(f, [X], seconds=0.001), lambda: gx.trace(f, X),
    ],
)  # fmt: skip
def test_the_text_of_print_is_what_a_notebook_shows(make) -> None:
    found = make()
    assert repr(found) == str(found) and "object at" not in repr(found)


def test_kernels_are_timed_and_variables_are_as_before() -> None:
    model = nn.Sequential(nn.Linear(64, 64), nn.relu, nn.Linear(64, 8))
    optimizer = gx.optim.Adam(model)

    @gx.compile(backend="llvm")
    def step(x, y):
        loss = nn.cross_entropy(model(x), y)
        optimizer.minimize(loss)
        return loss

    before = {**model.state_dict(), **optimizer.state_dict()}
    report = step.report(gx.spec((32, 64)), gx.spec((32,), "int64"), timed=True)
    assert all(k.seconds is not None and k.seconds > 0 for k in report.kernels)
    assert str(report).count("    time: ") == len(report.kernels) and " %, " in str(report)
    assert "GFLOP/s" in str(report) and "GB/s" in str(report)
    for name, value in {**model.state_dict(), **optimizer.state_dict()}.items():
        np.testing.assert_array_equal(value, before[name])
    with pytest.raises(gx.UnsupportedError, match="the reference backend can't time"):
        gx.compile(lambda x: x, backend="reference").report(X, timed=True)


def test_a_graph_for_graphviz() -> None:
    text = f.source(X, stage="dot")
    assert text.startswith("digraph {") and text.endswith("}")
    names = [line.split()[0] for line in text.splitlines() if "label=" in line]
    edges = [line.split() for line in text.splitlines() if "->" in line]
    assert edges and all(a in names and b in names for a, _, b, *_ in edges)
    assert 'label="x\\nfloat32[4, 3]"' in text and "test_looking.py:" in text
    assert "constant" not in text  # numbers stand in the ops that take them
