"""What the Variables of a compiled function are called outside of it: a specialization in, a name for each out.

A Variable is called by its path in the module or optimizer that the function has read it from, as in `state_dict`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ..arrays import METADATA
from ..frontend.nn.module import Module
from ..frontend.optim import Optimizer

if TYPE_CHECKING:
    from .specialization import Specialization


def names_in_common(functions: Sequence[tuple[str, Specialization]]) -> dict[int, str]:
    """A name for each Variable of several named functions, by its identity, all different. Where functions call
    different Variables alike, the function's name goes before: "predict.0.weight"."""
    names: dict[int, str] = {}
    for function, found in functions:
        taken = {*names.values()}
        for variable, name in zip(found.variables, variable_names(found), strict=True):
            names.setdefault(id(variable), f"{function}.{name}" if name in taken else name)
    return dict(zip(names, _told_apart(list(names.values())), strict=True))


def variable_names(found: Specialization) -> list[str]:
    """A name for each Variable, in order, all different: "0.weight", "lr", "first_moments.0.weight".

    Where two modules have the same path, the name by which the function knows each goes before: "critic.0.weight".
    """
    roots = _roots(found.guards.owners)
    paths = [dict(root.named_variables()) for root in roots]
    count = Counter(name for named in paths for name in named)
    known = _known_names(found.arguments.function)
    names: dict[int, str] = {}
    for root, named in zip(roots, paths, strict=True):
        prefix = known.get(id(root))
        for name, variable in named.items():
            full = f"{prefix}.{name}" if prefix and count[name] > 1 else name
            names.setdefault(id(variable), full)
    return _told_apart([names.get(id(v), v.name) for v in found.variables])


def _roots(owners: Sequence[Any]) -> list[Module | Optimizer]:
    """Modules that are in no other of them, and optimizers."""
    modules = [o for o in owners if isinstance(o, Module)]
    below = {id(m) for module in modules for m in module.modules()[1:]}
    roots = [m for m in modules if id(m) not in below]
    return [*(roots or modules), *(o for o in owners if isinstance(o, Optimizer))]


def _known_names(function: Callable[..., Any]) -> dict[int, str]:
    """The names of objects in a function's cells and globals, by identity."""
    code = getattr(function, "__code__", None)
    if code is None:
        return {}
    names = function.__globals__
    found = {id(names[name]): name for name in code.co_names if name in names}
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        try:
            found[id(cell.cell_contents)] = name
        except ValueError:  # it is empty
            continue
    return found


def _told_apart(names: Sequence[str]) -> list[str]:
    """The names, with a number where one is met again."""
    found: dict[str, None] = {}
    for name in names:
        number, new = 1, name
        while new in found or new == METADATA:  # a name that no array in a file can have
            number += 1
            new = f"{name}'{number}"
        found[new] = None
    return list(found)
