"""Every op's lowering computes what its reference computes, for every dtype that the op takes."""

import pytest

from graphc import ops
from graphc.evaluate import evaluate
from graphc.op import Kind, registry
from tests.contract.control import CONTROL
from tests.contract.lowering import run_lowering
from tests.contract.samples import MAKERS, all_samples
from tests.contract.sorts import CALLS
from tests.contract.tolerance import scale, ulps
from tests.contract.values import assert_close

# Ops that are no function of arrays: what a caller or a tuple provides.
PROVIDED = {ops.input, ops.variable, ops.item}


def test_every_op_has_samples():
    own = {op for op in registry().values() if not op.name.startswith("user_")}
    control = {op for op in own if op.kind is Kind.CONTROL}  # whose samples are graphs
    calls = {op for op in own if op.kind is Kind.CALL}  # and those of these have several results
    assert {op.name for op in own - PROVIDED - control - calls} == set(MAKERS)
    assert {op.name for op in control} == set(CONTROL)
    assert {op.name for op in calls} == set(CALLS)


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
        assert_close(got, expected, ulps(name), str(sample), scale(node, sample.arrays))
