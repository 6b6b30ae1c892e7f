"""Large weights in panels: which products read them so, that they are laid out once, and that values are the same."""

import numpy as np
import pytest

import graphc as gx
from graphc import ops
from graphc.costs import CPU, GPU
from graphc.dataclass import replace
from graphc.ir import Graph
from graphc.passes.panels import in_panels
from graphc.passes.schedule import schedule
from graphc.schedule import KernelStep, Space
from graphc.storage import Storage
from graphc.text import parse
from graphc.verify import verify
from tests.contract.values import assert_close
from tests.graphs import evaluate, random_arrays
from tests.schedule_interpreter import run_schedule

SMALL = replace(CPU, cache=64, panel=4)

PRODUCT = """graph(%x: float32[{x}]{inputs}) variables(@w: float32[{w}]{variables}) {{
  %0 = dot_general(%x, {b}) {{contract = (({i},), ({k},)), batch = ((), ())}} : float32[{y}]
  return %0
}}"""


def product(x="3, 8", w="8, 12", b="@w", i=1, k=0, y="3, 12", inputs="", variables="") -> Graph:
    return parse(PRODUCT.format(x=x, w=w, b=b, i=i, k=k, y=y, inputs=inputs, variables=variables))


PANELS = {
    "a matrix": product(),
    "a transposed one": product(w="12, 8", k=1),
    "rows over two axes": product(x="2, 3, 8", i=2, y="2, 3, 12"),
    "contracted over the first axis": product(x="8, 3", i=0),
}
NONE = {
    "one row": product(x="1, 8", y="1, 12"),
    "columns that are no whole panels": product(w="8, 10", y="3, 10"),
    "one panel": product(w="8, 4", y="3, 4"),
    "what fits the cache": product(x="3, 1", w="1, 12"),
    "an input": product(b="%b", inputs=", %b: float32[8, 12]"),
}


@pytest.mark.parametrize("name", PANELS)
def test_a_lasting_factor_is_laid_out_in_panels_once(name: str) -> None:
    graph = PANELS[name]
    changed, panels = in_panels(graph, SMALL)
    verify(changed)
    assert [p.shape for p in panels] == [(3, 8, 4)]
    inputs, variables = random_arrays(graph)
    for a, b in zip(evaluate(changed, inputs, variables), evaluate(graph, inputs, variables), strict=True):
        assert_close(a, b, 0, name)
    planned = schedule(graph, SMALL)
    (made,) = planned.in_space(Space.PREPARED)
    assert made.type.shape == (3, 8, 4) and len(planned.prepare) == 1 and len(planned.steps) == 1
    (step,) = planned.steps
    assert isinstance(step, KernelStep) and made.number in step.buffers
    (found,) = run_schedule(planned, inputs, [Storage(v, graph.variables[0].tensor_type) for v in variables])
    assert_close(found, evaluate(graph, inputs, variables)[0], 0, name)


@pytest.mark.parametrize("name", NONE)
def test_others_stay_as_they_are(name: str) -> None:
    changed, panels = in_panels(NONE[name], SMALL)
    assert not panels and str(changed) == str(NONE[name])
    assert not in_panels(PANELS["a matrix"], CPU)[1] and not in_panels(PANELS["a matrix"], GPU)[1]


def test_a_weight_that_the_call_assigns_stays_as_it_is() -> None:
    graph = product()
    updated = Graph(graph.inputs, graph.variables, (ops.negative(graph.variables[0]),), graph.outputs)
    assert not in_panels(updated, SMALL)[1]


def test_panels_follow_the_variable() -> None:
    """Large enough for this machine's costs, and laid out anew when the Variable changes."""
    rng = np.random.default_rng(0)
    w = gx.Variable(rng.standard_normal((512, 1024)).astype(np.float32))
    x = rng.standard_normal((4, 512)).astype(np.float32)

    @gx.compile(backend="llvm")
    def f(x):
        return gx.tanh(x @ w + 1)

    assert [b.type.shape for b in f.schedule(x).in_space(Space.PREPARED)] == [(16, 512, 64)]
    for _ in range(2):
        np.testing.assert_allclose(f(x).numpy(), np.tanh(x @ w.value.numpy() + 1), rtol=1e-3, atol=1e-4)
        w.assign(w.value * 0.5)
