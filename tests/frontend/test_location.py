"""Errors show the user's frames, and graphc's own only where asked for or where the fault is graphc's."""

import pytest

from graphc.dataclass import replace
from graphc.frontend import location
from graphc.settings import Settings

from ..snippets import FILE, seen

IN_A_TRACE = """
def layer(x):
    return x + gx.ones(3)
@gx.compile
def f(x):
    return nn.relu(layer(x))
f(np.ones(2))
"""
OF_THE_USER = IN_A_TRACE.replace("return x + gx.ones(3)", "raise KeyError('mine')")
EAGER = "nn.Linear(3, 4)(gx.ones((2, 5)))"
GRADIENT = "gx.value_and_grad(lambda x: x)(np.ones(3))"


@pytest.mark.parametrize(
    ("source", "kind", "depth"),
    [
        (IN_A_TRACE, "ShapeError", 3),
        (OF_THE_USER, "KeyError", 3),
        (EAGER, "ShapeError", 1),
        (GRADIENT, "ShapeError", 1),
    ],
)
def test_only_the_users_frames_are_shown(source: str, kind: str, depth: int) -> None:
    found = seen(source)
    assert found.text.startswith(kind)
    assert found.frames == [FILE] * depth


def test_all_frames_are_shown_where_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    full = replace(Settings(), traceback="full")
    monkeypatch.setattr(location, "current_settings", lambda: full)
    assert any(file.endswith("trace.py") for file in seen(IN_A_TRACE).frames)


def test_a_fault_of_our_own_keeps_its_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = {"__name__": "graphc.passes.broken"}
    exec("def broken(*args): raise LookupError('a bug')", ours)
    monkeypatch.setattr("graphc.passes.pipeline.optimize", ours["broken"])
    found = seen("gx.compile(lambda x: x)(np.ones(2))")
    assert found.text == "LookupError: a bug"
    assert any(file.endswith("compilation.py") for file in found.frames)
