"""Loops and branches, which the host steers, in Triton's interpreter."""

from __future__ import annotations

import numpy as np
import pytest

import graphc as gx
from graphc.backends.triton.interpret import Interpreter
from graphc.backends.triton.interpreted import interpreted_program
from graphc.errors import GraphcIndexError
from tests.passes.test_control_steps import PROGRAMS, flat


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_host_steers(name: str, interpreter: Interpreter) -> None:
    function, args = PROGRAMS[name]
    with gx.using(backend="reference"):
        expected = flat(gx.compile(function)(*args))
    run = interpreted_program(gx.compile(function).schedule(*args), interpreter).bind(())
    for a, b in zip(run([np.asarray(a) for a in args]), expected, strict=True):
        np.testing.assert_allclose(np.asarray(a).reshape(b.shape), b, rtol=2e-4, atol=2e-5)


def test_a_bad_index_ends_a_loop(interpreter: Interpreter) -> None:
    table = np.arange(3)

    def walk(i: gx.Tensor) -> gx.Tensor:
        return gx.while_loop(lambda c: c[1] >= 0, lambda c: (gx.take(table, c[0]), c[1] * 1), (i, i))[0]

    run = interpreted_program(gx.compile(walk).schedule(np.int64(7)), interpreter).bind(())
    with pytest.raises(GraphcIndexError):
        run([np.asarray(7)])
