"""What lists, dicts and plain objects hold that a trace has read, noted as guards: the items of containers, and the
attributes of modules of Python, of classes, and of objects such as a dataclass or an `argparse.Namespace`.
"""

from __future__ import annotations

import sys
from enum import EnumMeta
from types import BuiltinFunctionType, FunctionType, MemberDescriptorType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any, Final

from .guards import MISSING, MOST_ITEMS, ClassValue, Contents, Count, Globals, Slot, items_of

if TYPE_CHECKING:
    from .reads import Chain
    from .tracer import Frame

FEW_ITEMS: Final = 16  # of lists and dicts that hold no state: comparing more costs more than a call should
WRITING: Final = frozenset({"append", "extend", "insert", "add", "update", "clear", "setdefault"})  # and do not read


class Fields:
    """Follows names as code does: `config.optimizer.lr` is three values, of which each that may be another is noted.

    Attributes are looked for where they lie, in an instance's dict, its slots, or its class: no code of users runs. So
    properties are not followed, nor objects that compute their attributes. `methods`: those that chains named, with the
    objects that they are for, which are yet to be followed.
    """

    def __init__(self, root: Frame) -> None:
        self._root = root
        self.methods: list[tuple[Any, FunctionType]] = []
        self._shared: dict[int, Globals] = {}

    def note(self, names: Any, name: str, value: object, prefix: str = "") -> None:
        """A value among those of a namespace."""
        if not is_fixed(value):
            self._shared.setdefault(id(names), Globals(names, {}, prefix)).values[name] = value

    def follow(self, value: Any, chain: Chain) -> None:
        """The attributes of a chain; `value` is what its first name stands for."""
        text = chain[0]
        for number, name in enumerate(chain[1:], 1):
            if isinstance(value, list | dict | set):
                if name not in WRITING:
                    self._contents(text, value)
                return
            value = self._attribute(value, name, ".".join(chain[:number]) + ".")
            if value is MISSING:
                return
            text = ".".join(chain[: number + 1])
        self._contents(text, value)
        call = type(value).__call__ if callable(value) else None
        if isinstance(value, MethodType) and isinstance(value.__func__, FunctionType):
            self.methods.append((value.__self__, value.__func__))
        elif isinstance(call, FunctionType) and _is_plain(value):
            self.methods.append((value, call))

    def _contents(self, text: str, value: Any) -> None:
        if isinstance(value, list | dict | set) and (_holds_state(value) or _count(value) <= FEW_ITEMS):
            watch_items(self._root, text, value)

    def _attribute(self, owner: Any, name: str, prefix: str) -> Any:
        """The attribute, noted; MISSING where it is not to be followed."""
        if not _is_plain(owner):
            return MISSING
        names = getattr(owner, "__dict__", None)
        if isinstance(owner, type) or names is None or name not in names:
            return self._of_class(owner, names, name, prefix)
        self.note(names, name, names[name], prefix)
        return names[name]

    def _of_class(self, owner: Any, names: Any, name: str, prefix: str) -> Any:
        kind = owner if isinstance(owner, type) else type(owner)
        found = next((c.__dict__[name] for c in kind.__mro__ if name in c.__dict__), MISSING)
        if isinstance(found, MemberDescriptorType) and kind is not owner:
            value = getattr(owner, name, MISSING)
            self._root.guards[id(owner), name] = Slot(owner, name, value)
            return value
        if isinstance(found, FunctionType) and kind is not owner:
            self.methods.append((owner, found))
        if found is MISSING or hasattr(type(found), "__get__"):
            return MISSING
        if not is_fixed(found):
            self._root.guards[id(kind), name] = ClassValue(kind, name, found)
            if kind is not owner and names is not None:  # which may get one of its own
                self.note(names, name, MISSING, prefix)
        return found

    def finish(self) -> None:
        """Make all that was noted guards."""
        self._root.guards |= {(key, "globals"): guard for key, guard in self._shared.items() if guard.values}


def watch_items(root: Frame, text: str, value: Any) -> None:
    """Note what lists and dicts hold, and those inside of them."""
    pending = [(text, value)]
    while pending:
        text, value = pending.pop()
        if isinstance(value, list | dict | set) and (key := (id(value), "")) not in root.guards:
            small = len(value) <= MOST_ITEMS
            root.guards[key] = Contents(text, value, items_of(value)) if small else Count(text, value, len(value))
        elif not isinstance(value, tuple):
            continue
        if len(value) <= MOST_ITEMS:
            pairs = value.items() if isinstance(value, dict) else enumerate(value)
            pending += [(f"{text}[{k!r}]", item) for k, item in pairs if isinstance(item, list | dict | tuple | set)]


def is_fixed(value: object) -> bool:
    """Whether it is nothing that one would replace: a Python module, a class, a function of a library."""
    if isinstance(value, ModuleType | type | BuiltinFunctionType):
        return True
    return isinstance(value, FunctionType) and is_of_library(value)


def is_of_library(function: FunctionType) -> bool:
    return _top(function.__globals__.get("__name__")) in ("graphc", "numpy")


def _top(name: object) -> str:
    return str(name).partition(".")[0]


def _is_plain(owner: Any) -> bool:
    """Whether its attributes are those that it and its class hold, and are not noted as they are read; libraries are
    taken as they are."""
    from .operators import Operators
    from .watch import Watched

    kind = type(owner)
    if isinstance(owner, ModuleType):
        home = _top(owner.__dict__.get("__name__"))
    else:
        home = _top((owner if isinstance(owner, type) else kind).__module__)
    if home in ("graphc", "numpy") or (home in sys.stdlib_module_names and isinstance(owner, ModuleType | type)):
        return False
    if isinstance(owner, Watched | Operators | FunctionType | EnumMeta):
        return False
    return not isinstance(kind.__getattribute__, FunctionType)


def _holds_state(container: Any) -> bool:
    from .variable import Variable
    from .watch import Watched

    items = container.values() if isinstance(container, dict) else container
    return len(container) <= MOST_ITEMS and any(isinstance(x, Watched | Variable) for x in items)


def _count(container: Any) -> int:
    """How many items it holds, with those of containers inside of it; at least."""
    count, pending = 0, [container]
    while pending and count <= FEW_ITEMS:
        container = pending.pop()
        count += len(container)
        if count <= FEW_ITEMS:
            pending += [x for x in items_of(container) if isinstance(x, list | dict | set | tuple)]
    return count
