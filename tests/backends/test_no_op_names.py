"""Backends implement scalar primitives and kinds of kernels, never an op: none is imported, none is named.

Their Python sources are parsed. An op's name is allowed where it is the name of a primitive or a word for something
else, but nothing may be chosen by it: not in a comparison, a `match`, or as the key of a table.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import graphc.backends.llvm
import graphc.backends.triton
from graphc.op import registry
from graphc.scalar import Prim

FOLDERS = [
    Path(package.__file__).parent
    for package in (graphc.backends.llvm, graphc.backends.triton)
    if package.__file__
]

# Number formats and helpers of recipes, which live beside the ops' own recipes and know no op.
ALLOWED_MODULES = {"graphc.ops.functions.formats"}
PRIMITIVES = {p.text for p in Prim}
# Words that are no ops where they stand.
WORDS = {
    "sum": "the name of a recipe, a variable or a key that adds up terms of a kernel or an index",
    "multiply": "the name of a recipe of the backend's own",
    "input": "a program's input",
    "maximum": "an instruction: llvm.maximum",
    "minimum": "an instruction: llvm.minimum",
}
# What is compared or looked up and is no op: (file, word).
CHOICES = {
    ("team.py", "max"): "the word for no limit in a control group's cpu.max",
}


def defects(source: str, file: str = "") -> Iterator[str]:
    """What in a module's source speaks of ops."""
    names = registry().keys() - {n for n in registry() if n.startswith("user_")}
    tree = ast.parse(source)
    chosen = {id(c) for node in ast.walk(tree) for c in _choices(node)}
    for node in ast.walk(tree):
        for module in _imported(node):
            if module not in ALLOWED_MODULES and module.split(".")[:2] in (
                ["graphc", "op"],
                ["graphc", "ops"],
            ):
                yield f"{file}:{node.lineno} imports {module}"  # type: ignore[attr-defined]
        if isinstance(node, ast.Constant) and node.value in names:
            word = str(node.value)
            if id(node) in chosen and (Path(file).name, word) not in CHOICES:
                yield f"{file}:{node.lineno} chooses by the name {word}"
            elif id(node) not in chosen and word not in PRIMITIVES and word not in WORDS:
                yield f"{file}:{node.lineno} names {word}"


def _imported(node: ast.AST) -> list[str]:
    """The modules that a statement imports; of `from m import x`, m.x as well, since x may be one."""
    if isinstance(node, ast.Import):
        return [a.name for a in node.names]
    if isinstance(node, ast.ImportFrom) and not node.level:
        return [node.module or ""] if node.module in ALLOWED_MODULES else [
            f"{node.module}.{a.name}" for a in node.names
        ]  # fmt: skip
    return []


def _choices(node: ast.AST) -> Iterator[ast.AST]:
    """Constants by which something is chosen."""
    match node:
        case ast.Compare():
            parts: list[ast.AST | None] = [node.left, *node.comparators]
        case ast.MatchValue():
            parts = [node.value]
        case ast.Dict():
            parts = list(node.keys)
        case ast.Subscript():
            parts = [node.slice]
        case _:
            return
    for part in parts:
        if part is not None:
            yield from (c for c in ast.walk(part) if isinstance(c, ast.Constant))


def _modules() -> list[Path]:
    return sorted(path for folder in FOLDERS for path in folder.rglob("*.py"))


@pytest.mark.parametrize("path", _modules(), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_no_op_is_named(path):
    assert not list(defects(path.read_text(), path.name))


def test_every_exception_is_needed():
    texts = {path.name: path.read_text() for path in _modules()}
    for word in WORDS:
        assert any(f'"{word}"' in text or f".{word}" in text for text in texts.values()), word
    for file, word in CHOICES:
        assert f'"{word}"' in texts[file]


@pytest.mark.parametrize(
    "text",
    [
        "from graphc import ops",
        "from graphc.ops import sum",
        "import graphc.ops.arithmetic",
        "from graphc.op import registry",
        "def f(node):\n    from graphc import ops\n    return node.op is ops.sum",
        'fast = step.ops == ("dot_general",)',
        'if recipe.name == "tanh": pass',
        'if recipe.name == "exp": pass',
        'if name in ("sigmoid", "sum"): pass',
        'match name:\n    case "softplus" | "sigmoid": pass',
        'table = {"multiply": 1}',
        'emit(table["sum"])',
        'lower("logaddexp")',
    ],
)
def test_planted_defects_are_found(text):
    assert list(defects(text))


def test_what_is_allowed():
    harmless = 'code.intrinsic("exp")\nrecord("sum", f)\nfrom graphc.ops.functions.formats import LN2'
    assert not list(defects(harmless))
    assert not list(defects('words[0] != "max"', "team.py"))
