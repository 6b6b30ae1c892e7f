"""What fusion decided can be read: in records, in a report, and in full from GRAPHC_DUMP=fuse."""

from __future__ import annotations

import numpy as np
import pytest

import graphc as gx
from graphc.costs import CPU
from graphc.decision import Decision, Decisions, Verdict
from graphc.driver.report import fusion_text
from graphc.passes.schedule import schedule
from tests import graphs

X = np.ones((64, 64), np.float32)


def gated(x: gx.Tensor, w: gx.Tensor) -> gx.Tensor:
    return gx.nn.softmax(gx.nn.relu(x @ w))


def test_each_decision_is_a_record() -> None:
    decisions = gx.compile(gated).schedule(X, X).decisions
    fused = [d for d in decisions if d.verdict is Verdict.FUSED]
    (apart, *_) = [d for d in decisions if d.verdict is Verdict.APART]
    assert any(d.consumer.op == "exp" for d in fused) and not any(d.reason for d in fused)
    assert apart.consumer.op == "max" and "reduces a contraction's result" in apart.reason
    assert apart.saved == CPU.saved(X.nbytes)
    assert "test_decision.py" in str(apart) and str(apart).startswith("apart: max[64]")


def test_groups_that_merge_save_what_both_read() -> None:
    x = graphs.source((64, 64))
    planned = schedule(graphs.graph([x], [graphs.softmax(x, 1), graphs.scaled(x, 2)]))
    merged = [d for d in planned.decisions if d.producer.op == "max" and d.consumer.op == "multiply"]
    assert len(planned.steps) == 1 and [(d.saved, d.verdict) for d in merged] == [(CPU.saved(X.nbytes), Verdict.FUSED)]


def test_a_report_counts_what_was_fused() -> None:
    report = str(gx.compile(gated).report(X, X))
    assert "    fused: " in report and "times, which saves some" in report and "    apart: max" in report


def test_a_dump_has_all_decisions(capsys: pytest.CaptureFixture[str]) -> None:
    f = gx.compile(gated)
    planned = f.schedule(X, X)
    text = fusion_text(planned)
    assert all(str(d) in text for d in planned.decisions)


def test_records_are_made_when_they_are_read() -> None:
    made = 0

    def make() -> tuple[Decision, ...]:
        nonlocal made
        made += 1
        return ()

    decisions = Decisions(make)
    hash(decisions)
    assert made == 0
    assert [*decisions, *decisions] == [] and made == 1 and decisions == Decisions()


def test_schedules_of_equal_graphs_are_equal() -> None:
    def one() -> object:
        return schedule(graphs.mlp_step())

    assert one() == one()
