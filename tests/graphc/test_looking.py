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


def test_a_graph_for_graphviz() -> None:
    text = f.source(X, stage="dot")
    assert text.startswith("digraph {") and text.endswith("}")
    names = [line.split()[0] for line in text.splitlines() if "label=" in line]
    edges = [line.split() for line in text.splitlines() if "->" in line]
    assert edges and all(a in names and b in names for a, _, b, *_ in edges)
    assert 'label="x\\nfloat32[4, 3]"' in text and "test_looking.py:" in text
    assert "constant" not in text  # numbers stand in the ops that take them
