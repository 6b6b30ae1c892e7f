"""What the compiler did with a function, for people: steps, work, memory, times, slow paths, fusion decisions.

In: the stages of a compilation. Out: a `Report` that prints as text. It changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..dataclass import dataclass, replace
from ..decision import NO_DECISIONS, Decisions, summary
from ..errors import Location
from ..kernel import KernelKind
from ..op import Kind, registry
from ..schedule import BranchStep, CallStep, KernelStep, LoopStep, Schedule, Step, named_blocks
from ..work import flops, nbytes, slot_bytes

DEEPEST = 20  # loops in loops that are shown further to the right


@dataclass(frozen=True)
class StepReport:
    """One step. `kind` is None for what is no kernel; `what` says what it is. `depth`: how many loops and branches it
    is in; those come before it. `runs`: how often it runs in a call, a loop of unknown length counted as one.

    `plan` says how the backend lowered it, `notes` what is slow about that, `reasons` why it was not fused with its
    neighbours, `decisions` all that fusion has decided about its nodes. `prepared`: it runs only when a Variable it
    reads has changed. `seconds`: of one run by itself, with all that is in it, where that was measured."""

    kind: KernelKind | None
    what: str
    depth: int
    runs: int
    ops: tuple[str, ...]
    lines: tuple[Location, ...]
    flops: int
    nbytes: int
    plan: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    prepared: bool = False
    seconds: float | None = None
    decisions: Decisions = NO_DECISIONS

    def __str__(self) -> str:
        title = f"{self.what}{' (prepared)' if self.prepared else ''}: {_shortened(self.ops)}"
        work = f"   {_number(self.flops)}FLOP, {_number(self.nbytes)}B" if self.flops or self.nbytes else ""
        times = f", {self.runs} times" if work and self.runs > 1 else ""
        places = ", ".join(dict.fromkeys(map(str, self.lines)))
        rows = [f"{title}{work}{times}" + (f"   # {places}" if places else "")]
        if self.seconds is not None:
            rows.append(f"    time: {self._speed(self.seconds)}")
        rows += [f"    plan: {p}" for p in self.plan]
        rows += [f"    slow: {n}" for n in self.notes]
        rows += [f"    fused: {text}" for text in (summary(self.decisions),) if text]
        rows += [f"    apart: {r}" for r in self.reasons]
        return "\n".join(self.indent + row for row in rows)

    def __repr__(self) -> str:
        return str(self)

    @property
    def indent(self) -> str:
        return "  " * min(self.depth, DEEPEST)

    def _speed(self, seconds: float) -> str:
        if not seconds:
            return "less than can be measured"
        if not self.kind:
            return f"{1e6 * seconds:.3g} µs"
        rates = f"{self.flops / seconds / 1e9:.3g} GFLOP/s, {self.nbytes / seconds / 1e9:.3g} GB/s"
        return f"{1e6 * seconds:.3g} µs, {rates}"


@dataclass(frozen=True)
class Report:
    """A compiled function. `seconds` by stage; memory in bytes. `remarks`: what else is to be said, if anything."""

    backend: str
    steps: tuple[StepReport, ...]
    seconds: Mapping[str, float]
    arena_bytes: int
    prepared_bytes: int
    nodes: int
    remarks: tuple[str, ...] = ()

    @property
    def kernels(self) -> tuple[StepReport, ...]:
        """The steps that are kernels."""
        return tuple(s for s in self.steps if s.kind is not None)

    @property
    def slow_paths(self) -> tuple[str, ...]:
        """All notes: generic, unvectorized or unpacked code, calls of libm. Empty where all is well."""
        return tuple(n for s in self.steps for n in s.notes)

    def __str__(self) -> str:
        times = ", ".join(f"{name} {1e3 * s:.1f} ms" for name, s in self.seconds.items())
        rows = [
            f"{self.backend}: {self.nodes} nodes in {len(self.kernels)} kernels, "
            f"{_number(sum(s.runs * s.flops for s in self.steps))}FLOP, "
            f"{_number(sum(s.runs * s.nbytes for s in self.steps))}B",
            f"memory: {self.arena_bytes} bytes of temporaries, {self.prepared_bytes} bytes of prepared values",
            f"compile time: {times}",
            f"slow paths: {len(self.slow_paths) or 'none'}",
            *self.remarks,
        ]
        if total := sum(s.seconds or 0 for s in self.steps):
            rows.append(f"run time: {1e6 * total:.3g} µs in kernels, each measured by itself")
        rows += [_numbered(number, s, total) for number, s in enumerate(self.steps)]
        return "\n".join(rows)

    def __repr__(self) -> str:
        return str(self)


def _numbered(number: int, step: StepReport, total: float) -> str:
    text = str(step)
    indent = step.indent
    if step.seconds is not None:
        text = text.replace("    time: ", f"    time: {100 * step.seconds / (total or 1):.0f} %, ", 1)
    return f"{indent}{number}. {text.removeprefix(indent)}"


Lowered = Mapping[Any, tuple[tuple[str, ...], tuple[str, ...]]]


def schedule_report(schedule: Schedule, lowered: Lowered) -> tuple[StepReport, ...]:
    """A report for each step. `lowered` gives the plan and the notes of each kernel and call, as far as a backend has
    them."""
    prepare = _reports(schedule.prepare, lowered, True, 0, 1)
    return (*prepare, *_reports(schedule.steps, lowered, False, 0, 1))


def _reports(
    steps: Iterable[Step], lowered: Lowered, prepared: bool, depth: int, runs: int
) -> Iterator[StepReport]:
    """The steps, each followed by those inside of it."""
    for step in steps:
        where = (str(step), depth, runs, step.ops, step.lines)
        match step:
            case KernelStep(kernel=k):
                work = flops(k), nbytes(k)
                how = lowered.get(k, ((), ()))
                yield StepReport(k.kind, *where, *work, *how, step.reasons, prepared, None, step.decisions)
            case CallStep(call=call):
                work = 0, slot_bytes(call.slots)
                yield StepReport(None, *where, *work, *lowered.get(call, ((), ())), step.reasons, prepared)
            case LoopStep():
                yield StepReport(None, *where, 0, 0, prepared=prepared)
                inside = runs * (1 if step.length is None else step.length)
                for block, times in zip(step.blocks, (runs, inside, inside), strict=True):
                    yield from _reports(block, lowered, prepared, depth + 1, times)
            case BranchStep():
                yield StepReport(None, *where, 0, 0, prepared=prepared)
                for arm in step.arms:
                    yield from _reports(arm, lowered, prepared, depth + 1, runs)


def fusion_text(schedule: Schedule) -> str:
    """What became one kernel, and why the others stayed apart: a line for each kernel, one for each reason, and one for
    each decision."""
    return "\n".join((*_fused("prepare", schedule.prepare), *_fused("step", schedule.steps)))


def _fused(title: str, steps: Iterable[Step]) -> Iterator[str]:
    for number, step in enumerate(steps):
        places = ", ".join(dict.fromkeys(map(str, step.lines)))
        yield f"{title} {number}: {step} of {' '.join(step.ops)}" + (f"   # {places}" if places else "")
        if isinstance(step, KernelStep | CallStep):
            yield from (f"    apart: {reason}" for reason in step.reasons)
        if isinstance(step, KernelStep):
            yield from (f"    {decision}" for decision in step.decisions)
        for name, block in named_blocks(step):
            yield from (f"  {line}" for line in _fused(name, block))


MANY, NOTICED = 1.5, 2e-5  # times as long as without subnormal numbers, and seconds, from which on that is told


def with_times(report: Report, seconds: Sequence[float], flushed: Sequence[float]) -> Report:
    """The report with the seconds of each step but those that prepare, and those inside of others. `flushed`: what they
    take where subnormal numbers are 0."""
    left = iter(zip(seconds, flushed, strict=True))

    def timed(step: StepReport) -> StepReport:
        if step.prepared or step.depth:
            return step
        taken, without = next(left)
        notes = step.notes
        if taken > NOTICED and taken > MANY * without:
            told = "subnormal numbers, without which it takes"
            notes = (*notes, f"{told} {1e6 * without:.3g} µs: see GRAPHC_FLUSH_SUBNORMALS in the guide")
        return replace(step, seconds=taken, notes=notes)

    return replace(report, steps=tuple(map(timed, report.steps)))


SEEN_THROUGH = (Kind.VIEW, Kind.SOURCE)


def _shortened(ops: tuple[str, ...], most: int = 8) -> str:
    """Op names, without views and constants unless there is nothing else: what a reader recognizes a kernel by."""
    known = registry()
    names = [o for o in dict.fromkeys(ops) if o not in known or known[o].kind not in SEEN_THROUGH] or list(ops)
    return " ".join(names[:most]) + (f" … ({len(ops)} nodes)" if len(names) > most else "")


def _number(value: float) -> str:
    """With a decimal prefix: 1.2 M."""
    for prefix in ("", "k", "M", "G", "T"):
        if value < 1000 or prefix == "T":
            return f"{value:.3g} {prefix}"
        value /= 1000
    return str(value)
