"""An op's name stands once: what is declared is called as its function is, and nothing else spells it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from graphc import ops
from graphc.op import Kind, Op
from graphc.ops import declare, functions
from graphc.ops.rules import FLOATS
from graphc.scalar import Builder, Scalar

FILES = sorted(Path(ops.__file__).parent.glob("*.py"))
BODIES = ("branches.py", "loops.py", "recompute.py")  # whose checks of bodies are asked by an op's name, for messages


def test_ops_are_called_as_they_are_found() -> None:
    found = {name: op for name, op in vars(ops).items() if isinstance(op, Op)}
    assert {*found.values()} == ops.own() and all(op.name == name for name, op in found.items())


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_no_name_is_spelled_again(file: Path) -> None:
    tree, names = ast.parse(file.read_text()), {op.name for op in ops.own()}
    spelled = [n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and n.value in names]
    assert not spelled or file.name in BODIES
    made = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name) and n.func.id == "Op"]
    assert not made or file.name in ("declare.py", "cumulative.py"), "graphc's own ops are declared by the shorthand"


def test_a_unary_op_is_three_lines() -> None:
    lines = (Path(ops.__file__).parent / "transcendental.py").read_text().splitlines()
    at = lines.index("def sin(s: Builder, x: Scalar) -> Scalar:")
    assert lines[at - 1].startswith("@unary(") and lines[at + 1] == "    return s.sin(x)"
    assert not lines[at - 2] and not lines[at + 2]
    assert ops.sin.kind is Kind.ELEMENTWISE and ops.sin.scalar is not None and ops.tan.scalar is functions.tan


def test_a_second_op_of_a_name_is_refused() -> None:
    def sin(s: Builder, x: Scalar) -> Scalar:
        return s.sin(x)

    with pytest.raises(Exception, match="an op named sin is declared already"):
        declare.unary(FLOATS, lambda x: x)(sin)
