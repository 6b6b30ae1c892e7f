"""The texts of the pipeline for a whole model, the digits example: what is traced, what passes make of it, the kernels.

A change of them should be meant: look at the difference, then run with --update-golden.
"""

import inspect
import re

import pytest

import graphc as gx
from examples import digits

FIRST_LINE = inspect.getsourcelines(digits.digits)[1]


def relative(text: str) -> str:
    """With lines counted from the start of `digits`, so that what stands before it in the file may change."""
    return re.sub(r"digits\.py:(\d+)", lambda m: f"digits.py:+{int(m[1]) - FIRST_LINE}", text)


@pytest.mark.parametrize(
    ("name", "inputs"),
    [
        ("train_step", [gx.spec((128, 64)), gx.spec((128,), "int64")]),
        ("predict", [gx.spec((32, 64))]),
    ],
)
def test_stages(name, inputs, golden):
    compilation = getattr(digits.digits(), name).specialize(*inputs).compilation
    golden(f"digits/{name}.traced.txt", relative(str(compilation.traced)))
    golden(f"digits/{name}.optimized.txt", relative(str(compilation.graph)))
    golden(f"digits/{name}.schedule.txt", relative(str(compilation.schedule)))
