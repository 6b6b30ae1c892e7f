"""`gx.print` prints at each call, on every backend, in the order of the trace."""

import numpy as np
import pytest

import graphc as gx


@pytest.mark.parametrize("backend", ["llvm", "reference"])
def test_values_are_printed_at_each_call(backend: str, capsys: pytest.CaptureFixture[str]) -> None:
    state = gx.Variable(np.float32(1))

    @gx.compile(backend=backend)
    def f(x):
        gx.print("x is", x, 3)
        state.assign(state + gx.sum(x))
        y = x * 2
        gx.print(y, state, sep=";")
        return {"y": y}

    f(np.array([1.0, 2], np.float32))
    assert capsys.readouterr().out == "x is [1. 2.] 3\n[2. 4.];4.0\n"
    result = f(np.array([0.0, 1], np.float32))
    assert capsys.readouterr().out == "x is [0. 1.] 3\n[0. 2.];5.0\n"
    assert list(result) == ["y"] and result["y"].tolist() == [0, 2]


def test_outside_of_traces_it_prints_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    gx.print("loss", gx.asarray(0.5), np.arange(2), gx.Variable([1, 2]))
    assert capsys.readouterr().out == "loss 0.5 [0 1] [1 2]\n"


def test_gradients_of_a_function_that_prints(capsys: pytest.CaptureFixture[str]) -> None:
    def loss(x):
        y = gx.sum(x * x)
        gx.print("loss", y)
        return y

    assert gx.grad(loss)(np.array([1.0, 2])).tolist() == [2, 4]
    assert capsys.readouterr().out == "loss 5.0\n"


@pytest.mark.parametrize("kind", ["program", "package"])
def test_what_is_built_does_not_print(kind: str, tmp_path) -> None:
    @gx.compile(inputs=[gx.spec((2,))])
    def f(x):
        gx.print(x)
        return x

    with pytest.raises(gx.UnsupportedError, match=r"f, which prints at test_printing\.py:47"):
        f.build(tmp_path / "f", kind=kind)
