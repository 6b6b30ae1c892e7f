"""Kernel → Triton source: one module of text, and the launches that carry the kernel out.

The text is the same for Triton's interpreter and its compiler. Sums over parallel axes take a second launch.
"""

from __future__ import annotations

from functools import lru_cache

from graphc.errors import UnsupportedError
from graphc.kernel import Kernel, KernelKind, Slot
from graphc.types import int32

from ..kernels.sums import dots_as_sums
from .attention import lower_attention
from .attention_roles import with_rows
from .contraction import lower_contraction, uses_dot_instruction
from .launches import KernelSource, Launch, Parameter, Role
from .loop import lower_loop
from .partials import Partials
from .plan import Blocks, plan_finishing
from .recipes import Recipes
from .reduction import lower_reduction
from .scatter import lower_scatter
from .text import Lines, Names
from .values import Statements


@lru_cache(maxsize=1024)
def kernel_source(kernel: Kernel, plan: Blocks | None = None) -> KernelSource:
    """The Triton source of a kernel. Raises UnsupportedError for what the backend has no lowering of.

    `plan` replaces the block sizes that the backend would choose; for tests, and for tuning."""
    writer = _Writer()
    writer.write(kernel, plan, tuple(Parameter(Role.SLOT, n, s.dtype) for n, s in enumerate(kernel.slots)))
    return KernelSource(writer.module(), tuple(writer.launches), tuple(writer.scratch))


class _Writer:
    """Collects the device functions of one module."""

    def __init__(self) -> None:
        self.names = Names()
        self.recipes = Recipes(self.names)
        self.texts: list[str] = []
        self.launches: list[Launch] = []
        self.scratch: list[Slot] = []

    def write(self, kernel: Kernel, plan: Blocks | None, slots: tuple[Parameter, ...]) -> None:
        """Write a kernel whose slots are what `slots` says; then the kernels that finish its sums. A kernel that
        stores nothing, as of empty results, has no function."""
        if not kernel.stores:
            return
        lowered = kernel
        if kernel.kind is KernelKind.CONTRACTION and not uses_dot_instruction(kernel):
            if kernel.row:
                raise UnsupportedError(
                    "the triton backend has no kernel that both contracts and reduces rows",
                    got=str(kernel).splitlines()[0],
                    hint="store the contraction's result and reduce it in a kernel of its own",
                )
            lowered = dots_as_sums(kernel)
        elif kernel.kind is KernelKind.ATTENTION:
            lowered = with_rows(kernel)
        code = Lines()
        values = Statements(lowered, code, self.recipes)
        partials = Partials(values, slots, len(self.scratch))
        programs, plan = _lower(lowered, values, partials, plan)
        self.scratch += partials.scratch
        parameters, pointers = [*slots, *partials.parameters], [*values.slots, *partials.pointers]
        if values.reports_status:
            parameters.append(Parameter(Role.STATUS, 0, int32))
            pointers.append("status")
        name = self.names.unique(f"{kernel.kind.value}_{kernel.slots[kernel.stores[0].slot].name}")
        self.texts.append(_comment(kernel) + code.function(name, pointers))
        if programs:
            self.launches.append(Launch(name, tuple(parameters), programs, plan.warps, plan.stages))
        for finishing in partials.finishing:
            self.write(finishing.kernel, plan_finishing(finishing.kernel), finishing.slots)

    def module(self) -> str:
        head = "import triton\nimport triton.language as tl\n"
        if self.recipes.imported:
            head += (
                f"\nfrom graphc.backends.triton.functions import {', '.join(sorted(self.recipes.imported))}\n"
            )
        return "\n\n".join([head, *self.recipes.texts, *self.texts])


def _lower(kernel: Kernel, values: Statements, partials: Partials, plan: Blocks | None) -> tuple[int, Blocks]:
    match kernel.kind:
        case KernelKind.LOOP:
            return lower_loop(kernel, values, plan)
        case KernelKind.REDUCTION:
            return lower_reduction(kernel, values, partials, plan)
        case KernelKind.CONTRACTION:
            return lower_contraction(kernel, values, partials, plan)
        case KernelKind.INDEXED:
            return lower_scatter(kernel, values, plan)
        case KernelKind.ATTENTION:
            return lower_attention(kernel, values, plan)
        case KernelKind.ATTENTION:
            raise UnsupportedError("triton has no lowering of products of products")


def _comment(kernel: Kernel) -> str:
    """The kernel's own text, above what was made of it."""
    return "".join(f"# {line}\n" for line in str(kernel).splitlines())
