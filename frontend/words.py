"""The words that people try: names of other frameworks, and what graphc has in their place (`vocabulary.py`).

In: where a name was looked for, and the name. Out: what to try, or None.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any, NoReturn

from graphc.errors import UnknownImportError, UnknownNameError

from .location import present, user_frame, with_user_line
from .owners import SPELLED
from .owners import Owner as Owner


def hint(place: Owner, name: str, own: Iterable[str]) -> str | None:
    """What to try instead of a name that is not there; `own`: the names that are."""
    from difflib import get_close_matches

    from .vocabulary import WORDS

    found = WORDS[place].get(name)
    if found is None and place in (Owner.TENSOR, Owner.MODULE, Owner.OPTIMIZER, Owner.FUNCTION):
        found = _as_function(name) if place is Owner.TENSOR else None
    elif found is None:
        found = _elsewhere(name)
    if found is None and (close := get_close_matches(name, [n for n in own if n[:1] != "_"], 1, 0.75)):
        found = f"{SPELLED[place]}.{close[0]}" if place in SPELLED else f".{close[0]}"
    return found


def _as_function(name: str) -> str | None:
    """A method of other frameworks' tensors that is a function here; with a last underscore, one that writes."""
    from .vocabulary import IMMUTABLE

    plain = name.removesuffix("_")
    for home in (Owner.GX, Owner.NN):
        if callable(vars(sys.modules[home.value]).get(plain)) and plain.islower():
            called = f"{SPELLED[home]}.{plain}(x)"
            return called if plain == name else f"tensors are immutable: x = {called}"
    return IMMUTABLE if plain != name else None


def _elsewhere(name: str) -> str | None:
    """The same name in another module, or in another case."""
    for home, spelled in SPELLED.items():
        known = {n.lower(): n for n in vars(sys.modules[home.value]) if n[:1] != "_"}
        if (found := known.get(name.lower())) is not None:
            return f"{spelled}.{found}"
    return None


def leading_on(function: Callable[[Any, str], Any]) -> Callable[[Any, str], Any]:
    """A `__getattr__` that shows the user's line only.

    Names that begin with an underscore get a bare AttributeError at once: NumPy, notebooks and others look for those
    of their protocols in whatever they meet, NumPy at each conversion.
    """

    @functools.wraps(function)
    def __getattr__(self: Any, name: str) -> Any:
        if name[:2] == "__":
            raise AttributeError(name)
        if name[:1] == "_" and not hasattr(type(self), name):
            raise AttributeError(f"{type(self).__name__} has no {name}")
        try:
            return function(self, name)
        except Exception as error:
            present(error)
            raise

    return __getattr__


def unknown(place: Owner, name: str, what: str, own: Callable[[], Iterable[str]]) -> NoReturn:
    """Raise UnknownNameError for an attribute that `what` does not have; `own` gives those that it has."""
    raise UnknownNameError(f"{what} has no {name}", hint=lambda: hint(place, name, own()))


def names_of(own: Iterable[str], kind: type) -> list[str]:
    """The names of an instance: its own, and those of its class."""
    return [*own, *dir(kind)]


def unknown_in(place: Owner) -> Callable[[str], Any]:
    """A module's `__getattr__`. It does as `unknown`, but `from graphc.nn import Name` needs an ImportError, since
    Python replaces any AttributeError there by one of its own that says nothing."""

    @with_user_line
    def __getattr__(name: str) -> Any:
        if name[:1] == "_":
            raise AttributeError(f"{SPELLED[place]} has no {name}")
        try:
            unknown(place, name, SPELLED[place], lambda: vars(sys.modules[place.value]))
        except UnknownNameError as error:
            if _is_import_from(user_frame()):
                raise UnknownImportError(error.rule, hint=error.hint) from None
            raise

    return __getattr__


def _is_import_from(frame: FrameType | None) -> bool:
    """Whether the frame is carrying out `from module import name`."""
    from opcode import opname

    return frame is not None and opname[frame.f_code.co_code[frame.f_lasti]] == "IMPORT_FROM"
