"""graphc's dataclasses mean what those of the standard library mean."""

from __future__ import annotations

import copy
import dataclasses as standard
import inspect
import pickle
import weakref
from pathlib import Path
from typing import Any, ClassVar

import pytest

import graphc
from graphc import dataclass as own

NAN = float("nan")


def plain(of: Any) -> Any:
    @of.dataclass
    class Plain:
        a: int
        b: list[int] = of.field(default_factory=list)
        c: str = "c"
        kinds: ClassVar[int] = 3

    return Plain


def frozen(of: Any) -> Any:
    @of.dataclass(frozen=True)
    class Frozen:
        a: object
        b: object = 2

    return Frozen


def slotted(of: Any) -> Any:
    @of.dataclass(frozen=True, slots=True, weakref_slot=True)
    class Slotted:
        a: object
        b: object = 2

    return Slotted


def identity(of: Any) -> Any:
    @of.dataclass(frozen=True, eq=False)
    class Identity:
        a: object
        b: object = 2

        def __repr__(self) -> str:
            return "own"

    return Identity


def derived(of: Any) -> Any:
    @of.dataclass(frozen=True)
    class Derived(frozen(of)):  # type: ignore[misc]
        b: object = 3
        c: object = 4

        def __post_init__(self) -> None:
            if self.c == 5:
                raise ValueError("five")

    return Derived


def with_own_methods(of: Any) -> Any:
    @of.dataclass(frozen=True)
    class Own:
        a: object
        b: object = 0

        def __eq__(self, other: object) -> bool:
            return True

        def __hash__(self) -> int:
            return 7

    return Own


def single(of: Any) -> Any:
    @of.dataclass(frozen=True)
    class Single:
        a: object

    return Single


def empty(of: Any) -> Any:
    @of.dataclass(frozen=True)
    class Empty:
        pass

    return Empty


CLASSES = [plain, frozen, slotted, identity, derived, with_own_methods, single, empty]
CALLS: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
    ((), {}), ((1,), {}), ((1, 2), {}), ((1,), {"b": 7}), ((NAN,), {}), ((1, 2, 5), {}), ((1,), {"d": 7}),
    (([],), {}), ((1, 2, 3, 4), {}),
]  # fmt: skip


def told(action: Any) -> Any:
    """What an action gives, or the kind of its error."""
    try:
        return action()
    except Exception as error:
        kinds = [k for k in type(error).__mro__ if k.__module__ == "builtins"]
        return kinds[0]


def behaviour(made: Any, args: tuple[Any, ...], named: dict[str, Any]) -> list[Any]:
    record = told(lambda: made(*args, **named))
    if isinstance(record, type):
        return [record]
    twin = made(*args, **named)
    return [
        repr(record).replace(".own.", "."),
        record == twin,
        record != twin,
        record == copy.copy(record),
        record == 1,
        told(lambda: hash(record) == hash(twin)),
        told(lambda: setattr(record, "a", 5)),
        told(lambda: delattr(record, "a")),
        told(lambda: setattr(record, "unknown", 5)) is None,
        told(lambda: [getattr(record, name) for name in made.__match_args__]),
        told(lambda: vars(record)),
    ]


@pytest.mark.parametrize("make", CLASSES, ids=lambda m: m.__name__)
@pytest.mark.parametrize("call", CALLS, ids=str)
def test_as_the_standard_library(make: Any, call: Any) -> None:
    assert behaviour(make(own), *call) == behaviour(make(standard), *call)


@pytest.mark.parametrize("make", CLASSES, ids=lambda m: m.__name__)
def test_signature(make: Any) -> None:
    ours, theirs = (inspect.signature(make(of)).parameters for of in (own, standard))
    assert list(ours) == list(theirs)
    assert [p.default is p.empty for p in ours.values()] == [p.default is p.empty for p in theirs.values()]


def test_replace() -> None:
    record = derived(own)(1, 2, 3)
    assert own.replace(record, b=9) == type(record)(1, 9, 3)
    assert own.field_names(record) == own.field_names(type(record)) == ("a", "b", "c")
    with pytest.raises(TypeError):
        own.replace(record, unknown=1)


def test_records_of_another_class_differ() -> None:
    assert frozen(own)(1) != frozen(own)(1)
    assert frozen(own)(1) != derived(own)(1)


def test_each_record_has_a_default_of_its_own() -> None:
    kind = plain(own)
    kind(1).b.append(3)
    assert kind(1).b == [] and not hasattr(kind, "b")


def test_weak_references_to_slots() -> None:
    record = slotted(own)(1)
    assert weakref.ref(record)() is record and not hasattr(record, "__dict__")


@own.dataclass(frozen=True, slots=True)
class Kept:
    a: int
    b: tuple[int, ...] = ()


def test_slots_are_copied_and_pickled() -> None:
    record = Kept(1, (2,))
    for twin in (pickle.loads(pickle.dumps(record)), copy.copy(record), copy.deepcopy(record)):
        assert twin == record and hash(twin) == hash(record)


def test_a_record_in_itself_has_a_text() -> None:
    record = plain(own)(1)
    record.b.append(record)
    assert repr(record).endswith("Plain(a=1, b=[...], c='c')")


def test_methods_belong_to_the_class_module() -> None:
    assert Kept.__init__.__globals__["__name__"] == __name__
    assert Kept.__init__.__qualname__ == "Kept.__init__"


def test_nothing_uses_the_slow_ones() -> None:
    core = Path(graphc.__file__).parent
    folders = [core, *(core / name for name in ("frontend", "passes", "backends"))]
    sources = {path for folder in folders for path in folder.resolve().rglob("*.py")}
    users = [path.name for path in sources if "from dataclasses" in path.read_text()]
    assert len(sources) > 200 and not users
