"""What a code reads, by its instructions: globals, values of the functions around it, and attributes of those."""

from __future__ import annotations

import dis
import sys
from collections.abc import Iterable, Iterator
from types import CodeType
from typing import Final

Chain = tuple[str, ...]  # a name and attributes that are read of it, one of the other: ("config", "optimizer", "lr")


class Reads:
    """`globals`, `cells`: chains that begin with names of globals, and of functions around. `variables`: attributes of
    what a variable of the function's own holds, without its name."""

    __slots__ = ("cells", "globals", "variables")

    def __init__(self, codes: Iterable[CodeType]) -> None:
        self.globals: set[Chain] = set()
        self.cells: set[Chain] = set()
        self.variables: set[Chain] = set()
        for code in codes:
            self._look_at(code)

    @property
    def global_names(self) -> set[str]:
        return {chain[0] for chain in self.globals}

    def _look_at(self, code: CodeType) -> None:
        """As `dis` finds them, in a tenth of the time."""
        names, more, home = code.co_names, 0, self.globals
        chain: Chain = ()
        text = code.co_code
        for operation, argument in zip(text[::2], text[1::2], strict=True):
            if operation == _CACHE:
                continue
            if operation == _EXTENDED:
                more = (more | argument) << 8
                continue
            if operation in _ATTRIBUTES:
                if chain or home is self.variables:
                    chain = (*chain, names[(more | argument) >> _SHIFT])
            else:
                if chain:
                    home.add(chain)
                    chain, home = (), self.globals
                if operation == _GLOBAL:
                    chain, home = (names[(more | argument) >> 1],), self.globals
                elif operation in _CELLS:
                    chain, home = (_local_names(code)[more | argument],), self.cells
                else:
                    home = self.variables if operation in _VARIABLES else self.globals
            more = 0


_CACHE: Final = dis.opmap.get("CACHE", -1)
_EXTENDED: Final = dis.EXTENDED_ARG
_GLOBAL: Final = dis.opmap["LOAD_GLOBAL"]
_CELLS: Final = frozenset(dis.opmap[n] for n in ("LOAD_DEREF", "LOAD_CLASSDEREF") if n in dis.opmap)
_ATTRIBUTES: Final = frozenset(dis.opmap[n] for n in ("LOAD_ATTR", "LOAD_METHOD") if n in dis.opmap)
_VARIABLES: Final = frozenset(o for n, o in dis.opmap.items() if n.startswith("LOAD_FAST"))
_SHIFT: Final = 1 if sys.version_info >= (3, 12) else 0  # the lowest bit says whether a method is meant


def _local_names(code: CodeType) -> Chain:
    cells = tuple([name for name in code.co_cellvars if name not in code.co_varnames])
    return code.co_varnames + cells + code.co_freevars


def codes_of(code: CodeType) -> Iterator[CodeType]:
    """The code, and that of the functions defined in it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from codes_of(constant)
