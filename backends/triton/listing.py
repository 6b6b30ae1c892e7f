"""A schedule in Triton, and in PTX, as text for people to read: each distinct kernel once, each step that runs it."""

from __future__ import annotations

from collections.abc import Callable

from graphc.schedule import CallStep, KernelStep, Schedule, Step, titled

from .calls import work_source
from .compile import DEFAULT_ARCHITECTURE, Artifact, compile_source
from .launches import KernelSource, Launch


def triton_listing(schedule: Schedule) -> str:
    """The Triton source of a schedule. Raises UnsupportedError for a kernel that has none."""
    return _listing(schedule, lambda source: source.text)


def ptx_listing(schedule: Schedule, architecture: int = DEFAULT_ARCHITECTURE) -> str:
    """The PTX of a schedule, for compute capability `architecture`, with each launch's resources."""

    def ptx(source: KernelSource) -> str:
        return "\n".join(_artifact(a) for a in compile_source(source, architecture))

    return _listing(schedule, ptx, "//")


def _artifact(artifact: Artifact) -> str:
    r = artifact.resources
    used = f"{r.registers} registers, {r.shared} bytes of shared memory, {r.stack} bytes of stack"
    return f"// {artifact.symbol}: {artifact.threads} threads a program, {used}\n{artifact.ptx}"


def _listing(schedule: Schedule, text: Callable[[KernelSource], str], mark: str = "#") -> str:
    """The steps in order, above each distinct kernel's text."""
    parts: list[str] = []
    seen: dict[KernelSource, int] = {}
    for title, step in titled(schedule):
        head = f"{mark} {title}: {' '.join(step.ops)}{_lines(step)}"
        if not isinstance(step, KernelStep | CallStep):
            parts.append(f"{head}, {step}")
            continue
        source = work_source(step.kernel if isinstance(step, KernelStep) else step.call)
        is_new = source not in seen
        first = seen.setdefault(source, len(seen))
        parts.append("\n".join([f"{head}, kernel {first}", *(f"{mark}   {_launch(x)}" for x in source.launches)]))
        if is_new:
            parts.append(text(source))
    return "\n\n".join(parts)


def _lines(step: Step) -> str:
    return f" ({', '.join(map(str, step.lines))})" if step.lines else ""


def _launch(launch: Launch) -> str:
    return f"{launch.function}[{launch.programs}] with {launch.warps} warps"
