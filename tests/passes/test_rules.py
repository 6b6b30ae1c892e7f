"""Every rewrite rule against itself: both sides of its examples, on random numbers and on edge cases."""

from typing import Any

import numpy as np
import pytest

from graphc.evaluate import evaluate_graph
from graphc.ir import Graph, Node, topological_order
from graphc.ops import input
from graphc.passes.cse import cse
from graphc.passes.rewrite import Exactness, Rule, RuleSet, rewrite
from graphc.passes.rules import scores
from graphc.passes.simplify import RULES, simplify
from graphc.types import TensorType
from graphc.verify import verify
from tests.contract.values import assert_close, ordinary, special

EXAMPLES = [
    pytest.param(rule, example, id=f"{rule.name}-{i}")
    for rule in (*RULES.rules, *scores.RULES)
    for i, example in enumerate(rule.examples())
]


def _rounds(example: Any) -> bool:
    rule: Rule = example.values[0]
    return rule.exactness is Exactness.ROUNDING


def graph_of(example: Node) -> Graph:
    inputs = tuple(n for n in topological_order([example]) if n.op is input)
    return Graph(inputs, (), (), (example,))


def edge_cases(type_: TensorType, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.choice(special(type_.dtype), type_.shape)


def same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    """Which NaN it is does not count."""
    assert a.dtype == b.dtype and a.shape == b.shape
    if a.dtype.kind != "f":
        return bool(np.array_equal(a, b))
    return bool(np.all((a.view(f"u{a.itemsize}") == b.view(f"u{b.itemsize}")) | (np.isnan(a) & np.isnan(b))))


def run(graph: Graph, arrays: list[np.ndarray]) -> np.ndarray:
    outputs, _ = evaluate_graph(graph, arrays)
    return np.ascontiguousarray(outputs[0])


def test_every_rule_has_examples():
    assert [rule.name for rule in RULES.rules if not list(rule.examples())] == []


@pytest.mark.parametrize("rule, example", EXAMPLES)
def test_both_sides_agree(rule: Rule, example: Node):
    before = cse(graph_of(example))
    (root,) = before.outputs
    replacement = rule.apply(root)
    assert replacement is not None, f"the rule does not apply to its own example\n{before}"
    after = Graph(before.inputs, (), (), (replacement,))
    verify(after)
    for seed in range(8):
        make = edge_cases if seed % 2 and rule.exactness is Exactness.BITWISE else None
        arrays = [
            make(i.tensor_type, seed) if make else ordinary(i.dtype, i.shape, seed) for i in before.inputs
        ]
        expected, got = run(before, arrays), run(after, arrays)
        if rule.exactness is Exactness.BITWISE:
            assert same_bits(got, expected), (
                f"{rule.name}: {got} instead of {expected} for {arrays}\n{before}\n{after}"
            )
        else:
            assert_close(got, expected, 16, rule.name, scale=1.0)


@pytest.mark.parametrize("rule, example", EXAMPLES)
def test_a_rule_fits_where_it_applies(rule: Rule, example: Node):
    (root,) = cse(graph_of(example)).outputs
    assert root.op in rule.ops if rule.ops else True
    assert rule.fits(root)


# Rules that spare a detour beyond the range of numbers: what was infinite, or 0, on the way there is so no more.
SPARING = {"scaled_twice"}
# Sums of scores are of weights, which are 1 at most: their rules are for no others.


@pytest.mark.parametrize("rule, example", [e for e in EXAMPLES if _rounds(e) and e.values[0] not in scores.RULES])
def test_no_edge_is_lost_by_rounding(rule: Rule, example: Node):
    """Near the ends of the numbers, and at infinity and NaN, a rule may move a result by its rounding only."""
    before = cse(graph_of(example))
    replacement = rule.apply(before.outputs[0])
    assert replacement is not None
    after = Graph(before.inputs, (), (), (replacement,))
    if not before.outputs[0].dtype.is_float:
        return
    for seed in range(24):
        arrays = [far_numbers(i.tensor_type, seed) for i in before.inputs]
        expected, got = (run(g, arrays).astype(np.float64) for g in (before, after))
        info = np.finfo(before.outputs[0].dtype.numpy)
        with np.errstate(all="ignore"):
            near = np.abs(got - expected) <= 16 * info.eps * np.abs(expected) + 2 * info.smallest_subnormal
            at_end = (np.abs(expected) > info.max / 2) & (np.abs(got) > info.max / 2)
        same = near | at_end & (np.sign(got) == np.sign(expected)) | np.isnan(got) & np.isnan(expected)
        if rule.name in SPARING:
            same |= ~np.isfinite(expected) | (expected == 0)
        assert same.all(), f"{rule.name}: {got[~same]} instead of {expected[~same]} for {arrays}"


def far_numbers(type_: TensorType, seed: int) -> np.ndarray:
    """Edge cases, and both signs of numbers spread over all exponents. Along the last axis all are alike but for
    their signs, so that in sums nothing is lost beside what is larger."""
    rng = np.random.default_rng(seed)
    if not type_.dtype.is_float:
        return rng.choice(special(type_.dtype), type_.shape)
    info = np.finfo(type_.dtype.numpy)
    spread = 2.0 ** rng.uniform(info.minexp - info.nmant, info.maxexp - 1, 40)
    values = np.concatenate([spread, -spread, special(type_.dtype).astype(np.float64)]).astype(
        type_.dtype.numpy
    )
    return rng.choice(values, type_.shape)


@pytest.mark.parametrize("rule, example", EXAMPLES)
def test_a_rule_comes_to_an_end(rule: Rule, example: Node):
    once = rewrite(graph_of(example), RuleSet([rule]))
    assert str(rewrite(once, RuleSet([rule]))) == str(once)


@pytest.mark.parametrize("rule, example", EXAMPLES)
def test_all_rules_together_come_to_an_end(rule: Rule, example: Node):
    once = simplify(graph_of(example))
    assert str(simplify(once)) == str(once)
