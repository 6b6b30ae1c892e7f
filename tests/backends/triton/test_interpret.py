"""The interpreting process: what it reports, and that it goes on."""

import numpy as np
import pytest

from graphc.backends.triton.control import BoundLaunch, Region
from graphc.backends.triton.interpret import Interpreter
from graphc.backends.triton.launches import Launch
from graphc.errors import CompileError
from graphc.types import float32

HEAD = "import triton\nimport triton.language as tl\n\n\n@triton.jit\ndef double(x_ptr):\n"
DOUBLE = HEAD + "    i = tl.arange(0, 4)\n    tl.store(x_ptr + i, 2 * tl.load(x_ptr + i))\n"
LAUNCH = BoundLaunch(0, Launch("double", (), 1, 4, 1), (Region(0, 0, float32),))


def run(text: str, interpreter: Interpreter) -> np.ndarray:
    array = np.ones(4, np.float32)
    interpreter.run([text], [LAUNCH], [array.view(np.uint8)])
    return array


def test_a_source_that_fails_is_reported_and_the_next_one_runs(interpreter: Interpreter) -> None:
    with pytest.raises(CompileError, match="no_such_function"):
        run(HEAD + "    tl.no_such_function(x_ptr)\n", interpreter)
    np.testing.assert_array_equal(run(DOUBLE, interpreter), 2)


def test_a_process_that_ends_is_reported_and_replaced() -> None:
    with Interpreter() as interpreter:
        with pytest.raises(CompileError, match="ended before it answered"):
            run("import os\nos._exit(1)\n", interpreter)
        np.testing.assert_array_equal(run(DOUBLE, interpreter), 2)
