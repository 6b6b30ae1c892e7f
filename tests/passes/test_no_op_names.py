"""Passes choose by what ops declare, or by what follows from their declaration, never by which op it is.

Rules name the ops that they rewrite. Other passes may name what graphs are made of, sources, items and ops with bodies,
and may make nodes of any op; but nothing may be chosen by another op, or by a name.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from graphc import ops, passes
from graphc.op import Kind

FOLDER = Path(str(passes.__file__)).parent
NAMES = {op.name: op for op in ops.own()}
STRUCTURE = (Kind.SOURCE, Kind.ITEM, Kind.CONTROL)  # kinds whose ops passes know, each its own
# Passes that are rules by nature: they rewrite these ops, and say so.
REWRITTEN = {
    "batch.py": {"dot_general", "concat", "slice"},
    "batch_after.py": {"cast", "dot_general", "slice"},
    "fold.py": {"broadcast"},
    "narrow.py": {"broadcast"},
    "panels.py": {"dot_general"},
}
# Words that are no ops where they stand: names of recipes.
WORDS = {"kernel_tracer.py": {"cast", "multiply", "select"}}


def chosen_by(source: str) -> Iterator[tuple[int, str]]:
    """Where a module's source has an op without making a node of it, or its name."""
    tree = ast.parse(source)
    imported = {
        a.asname or a.name: a.name
        for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and "ops" in (n.module or "").split(".")
        for a in n.names
    }  # fmt: skip
    made = {id(n.func) for n in ast.walk(tree) if isinstance(n, ast.Call)}
    passed = {id(n.args[0]) for n in ast.walk(tree) if isinstance(n, ast.Call) and n.args and _is_reduce(n.func)}
    for n in ast.walk(tree):
        name = None
        if isinstance(n, ast.Attribute) and isinstance(n.value, ast.Name) and n.value.id == "ops":
            name = n.attr
        elif isinstance(n, ast.Name):
            name = imported.get(n.id)
        elif isinstance(n, ast.Constant) and isinstance(n.value, str):
            name = n.value
        if name in NAMES and id(n) not in made and id(n) not in passed:
            yield n.lineno, name  # type: ignore[attr-defined]


def _is_reduce(function: ast.expr) -> bool:
    """Whether it is what makes one node of many."""
    return isinstance(function, ast.Name) and function.id == "reduce"


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.py")), ids=lambda file: file.name)
def test_passes_choose_by_properties(file: Path) -> None:
    allowed = REWRITTEN.get(file.name, set()) | WORDS.get(file.name, set())
    found = [(line, name) for line, name in chosen_by(file.read_text()) if NAMES[name].kind not in STRUCTURE]
    assert not [f"{file.name}:{line} chooses by {name}" for line, name in found if name not in allowed]
    assert allowed == {name for _, name in found} & allowed, "what is listed is not there any more"


WRONG = (
    "from graphc import ops\nx = node.op is ops.permute",
    "from graphc import ops\nVIEWS = {ops.reshape, ops.permute}",
    "from graphc.ops import add as plus\nx = node.op is not plus",
    "if node.op.name == 'sum': pass",
    "match node.op.name:\n    case 'sum': pass",
)


@pytest.mark.parametrize("source", WRONG)
def test_what_is_chosen_by_an_op_is_found(source: str) -> None:
    assert list(chosen_by(source))


def test_making_nodes_is_no_choice() -> None:
    source = "from graphc import ops\nfrom graphc.ops import add\nx = ops.permute(add(a, b), axes=(1, 0))"
    assert not list(chosen_by(source))
