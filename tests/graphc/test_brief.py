"""Values in messages are short, whatever they are."""

import ast
from pathlib import Path

import numpy as np
import pytest

import graphc as gx
from graphc.brief import LONGEST, brief

VALUES = [
    (3, "3"),
    ("llvm", "'llvm'"),
    ((1, 2.5, None), "(1, 2.5, None)"),
    (np.float32(1), "np.float32(1.0)"),
    (np.ones((3, 4)), "float64[3, 4] (ndarray)"),
    (gx.ones((3, 4)), "float32[3, 4]"),
    (gx.Variable(np.ones(2)), "float64[2]"),
    ([[1, 2]] * 9, "a list of 9 items, the first [1, 2]"),
    ([np.ones(2)], "a list of 1 item, the first float64[2] (ndarray)"),
    (10**9999, "an int of thousands of digits"),
]


@pytest.mark.parametrize(("value", "text"), VALUES, ids=[text for _, text in VALUES])
def test_a_value_in_a_few_words(value: object, text: str) -> None:
    assert brief(value) == text


def test_a_long_text_is_cut() -> None:
    assert len(brief("a" * 10**6)) <= LONGEST
    assert len(str(gx.ShapeError("rule", got="a" * 10**6))) < 1000


def test_values_of_users_are_shown_briefly_everywhere() -> None:
    for path in Path(gx.__file__).parents[1].glob("[fg]*/**/*.py"):
        calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        for got in [keyword for call in calls for keyword in call.keywords if keyword.arg == "got"]:
            names = [n.func.id for n in ast.walk(got) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)]
            assert "repr" not in names, f"{path}:{got.lineno}: brief(value), which is short for every value"
