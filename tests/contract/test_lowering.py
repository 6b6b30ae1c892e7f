"""Every op's lowering computes what its reference computes, for every dtype that the op takes."""

from collections.abc import Sequence

import numpy as np
import pytest

from graphc import ops
from graphc.evaluate import evaluate
from graphc.ir import Node
from graphc.op import Kind, registry
from tests.contract.lowering import run_lowering
from tests.contract.samples import MAKERS, all_samples
from tests.contract.values import assert_close

# Ops that are no function of arrays: what a caller or a tuple provides.
PROVIDED = {ops.input, ops.variable, ops.item}

# Units in the last place that the recipe may differ from NumPy's function, where it is not 4.
ULPS: dict[str, float] = {"prod": 32}


def scale(node: Node, arrays: Sequence[np.ndarray]) -> np.ndarray | float:
    """The size of what cancelled on the way to the result; errors are relative to it."""
    sizes = [np.abs(a) for a in arrays]
    if node.op in (ops.sum, ops.dot_general):
        return evaluate(node, sizes).astype(np.float64)
    if node.op is ops.logaddexp:
        return np.maximum(*sizes).astype(np.float64)
    return 0.0


def test_every_op_has_samples():
    own = {op for op in registry().values() if not op.name.startswith("user_")}
    assert {op.name for op in own - PROVIDED} == set(MAKERS)


@pytest.mark.parametrize("name", MAKERS)
def test_lowering_is_the_reference(name):
    samples = all_samples(name)
    assert samples
    for sample in samples:
        node = sample.graph().outputs[0]
        expected = evaluate(node, sample.arrays)
        if node.op.kind is Kind.SOURCE:
            continue
        got = run_lowering(node, sample.arrays)
        assert_close(got, expected, ULPS.get(name, 4), str(sample), scale(node, sample.arrays))
