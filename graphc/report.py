"""What the compiler did with a function, for people: kernels, work, memory, times, slow paths, fusion decisions.

In: the stages of a compilation. Out: a `Report` that prints as text. It changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from .errors import Location
from .index import axes_size
from .kernel import Apply, Dot, Kernel, KernelKind, Reduce
from .schedule import Schedule, ScheduleStep


def flops(kernel: Kernel) -> int:
    """Floating-point and integer operations of one run, counting a fused multiply-add as two and a function as its
    rough number of instructions. A value is counted once for each point of the axes that it varies over."""
    total = 0
    for number, value in enumerate(kernel.values):
        points = axes_size(kernel.axes[number])
        match value:
            case Apply(recipe=recipe):
                total += recipe.cost * points
            case Reduce(combine=combine, axes=axes):
                total += max(combine.cost, 1) * points * axes_size(axes)
            case Dot(axes=axes):
                total += 2 * points * axes_size(axes)
    return total


def nbytes(kernel: Kernel) -> int:
    """Bytes that one run must move at least: every slot read once, every result written once."""
    sizes = [slot.size * slot.dtype.itemsize for slot in kernel.slots]
    return sum(sizes[s] for s in kernel.loaded) + sum(sizes[s] for s in kernel.written)


@dataclass(frozen=True)
class KernelReport:
    """One step. `plan` says how the backend lowered it, `notes` what is slow about that, `reasons` why it was not
    fused with its neighbours. `prepared`: it runs only when a Variable it reads has changed. `seconds`: of one run by
    itself, where that was measured."""

    kind: KernelKind
    ops: tuple[str, ...]
    lines: tuple[Location, ...]
    flops: int
    nbytes: int
    plan: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    prepared: bool = False
    seconds: float | None = None

    def __str__(self) -> str:
        title = f"{self.kind.value}{' (prepared)' if self.prepared else ''}: {_shortened(self.ops)}"
        work = f"{_number(self.flops)}FLOP, {_number(self.nbytes)}B"
        places = ", ".join(dict.fromkeys(map(str, self.lines)))
        rows = [f"{title}   {work}" + (f"   # {places}" if places else "")]
        if self.seconds is not None:
            rows.append(f"    time: {self._speed(self.seconds)}")
        rows += [f"    plan: {p}" for p in self.plan]
        rows += [f"    slow: {n}" for n in self.notes]
        rows += [f"    apart: {r}" for r in self.reasons]
        return "\n".join(rows)

    def __repr__(self) -> str:
        return str(self)


    def _speed(self, seconds: float) -> str:
        if not seconds:
            return "less than can be measured"
        rates = f"{self.flops / seconds / 1e9:.3g} GFLOP/s, {self.nbytes / seconds / 1e9:.3g} GB/s"
        return f"{1e6 * seconds:.3g} µs, {rates}"


@dataclass(frozen=True)
class Report:
    """A compiled function. `seconds` by stage; memory in bytes. `remarks`: what else is to be said, if anything."""

    backend: str
    kernels: tuple[KernelReport, ...]
    seconds: Mapping[str, float]
    arena_bytes: int
    prepared_bytes: int
    nodes: int
    remarks: tuple[str, ...] = ()

    @property
    def slow_paths(self) -> tuple[str, ...]:
        """All notes: generic, unvectorized or unpacked code, calls of libm. Empty where all is well."""
        return tuple(n for k in self.kernels for n in k.notes)

    def __str__(self) -> str:
        times = ", ".join(f"{name} {1e3 * s:.1f} ms" for name, s in self.seconds.items())
        rows = [
            f"{self.backend}: {self.nodes} nodes in {len(self.kernels)} kernels, "
            f"{_number(sum(k.flops for k in self.kernels))}FLOP, {_number(sum(k.nbytes for k in self.kernels))}B",
            f"memory: {self.arena_bytes} bytes of temporaries, {self.prepared_bytes} bytes of prepared values",
            f"compile time: {times}",
            f"slow paths: {len(self.slow_paths) or 'none'}",
            *self.remarks,
        ]
        if total := sum(k.seconds or 0 for k in self.kernels):
            rows.append(f"run time: {1e6 * total:.3g} µs in kernels, each measured by itself")
            rows += [f"{number}. {self._with_share(k, total)}" for number, k in enumerate(self.kernels)]
        else:
            rows += [f"{number}. {kernel}" for number, kernel in enumerate(self.kernels)]
        return "\n".join(rows)

    def _with_share(self, kernel: KernelReport, total: float) -> str:
        share = f"    time: {100 * (kernel.seconds or 0) / total:.0f} %, "
        return str(kernel).replace("    time: ", share, 1)

    def __repr__(self) -> str:
        return str(self)


def kernel_report(
    step: ScheduleStep, plan: tuple[str, ...], notes: tuple[str, ...], prepared: bool
) -> KernelReport:
    kernel = step.kernel
    return KernelReport(
        kernel.kind, step.ops, step.lines, flops(kernel), nbytes(kernel), plan, notes, step.reasons, prepared
    )


def schedule_report(
    schedule: Schedule,
    lowered: Mapping[Kernel, tuple[tuple[str, ...], tuple[str, ...]]],
) -> tuple[KernelReport, ...]:
    """A report for each step. `lowered` gives the plan and the notes of each kernel, as far as a backend has them."""
    result = []
    for prepared, steps in ((True, schedule.prepare), (False, schedule.steps)):
        for step in steps:
            plan, notes = lowered.get(step.kernel, ((), ()))
            result.append(kernel_report(step, plan, notes, prepared))
    return tuple(result)


def fusion_text(schedule: Schedule) -> str:
    """What became one kernel, and why the others stayed apart: a line for each kernel, and one for each reason."""
    rows = []
    for prepared, steps in ((True, schedule.prepare), (False, schedule.steps)):
        for number, step in enumerate(steps):
            places = ", ".join(dict.fromkeys(map(str, step.lines)))
            title = f"{'prepare' if prepared else 'step'} {number}: {step.kernel.kind.value} of {' '.join(step.ops)}"
            rows.append(title + (f"   # {places}" if places else ""))
            rows += [f"    apart: {reason}" for reason in step.reasons]
    return "\n".join(rows)


def with_times(report: Report, seconds: Sequence[float]) -> Report:
    """The report with the seconds of each step but those that prepare."""
    left = iter(seconds)
    kernels = tuple(k if k.prepared else replace(k, seconds=next(left)) for k in report.kernels)
    return replace(report, kernels=kernels)


def _shortened(ops: tuple[str, ...], most: int = 8) -> str:
    """Op names, views last dropped: what a reader recognizes a kernel by."""
    names = [
        o for o in dict.fromkeys(ops) if o not in ("broadcast", "constant", "reshape", "permute")
    ] or list(ops)
    return " ".join(names[:most]) + (f" … ({len(ops)} nodes)" if len(names) > most else "")


def _number(value: float) -> str:
    """With a decimal prefix: 1.2 M."""
    for prefix in ("", "k", "M", "G", "T"):
        if value < 1000 or prefix == "T":
            return f"{value:.3g} {prefix}"
        value /= 1000
    return str(value)
