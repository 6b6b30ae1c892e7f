"""Settings: read once from `GRAPHC_*`, validated, passed along explicitly.

None changes generated code; one that did would be a part of the caches' keys.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from enum import IntEnum

from .brief import brief
from .dataclass import dataclass, field_names
from .errors import GraphcError


class Check(IntEnum):
    """How much is verified on the way."""

    NONE = 0      # nothing beyond the type rules that made the nodes
    GRAPH = 1     # the finished graph, before and after all passes
    ALL = 2       # between all passes, and LLVM's verifier on each module


class SettingsError(GraphcError, ValueError):
    """A `GRAPHC_*` variable has no legal value."""


@dataclass(frozen=True)
class Settings:
    """All settings. `check`: GRAPHC_CHECK=0|1|2. `dump`: stages to print, GRAPHC_DUMP=fuse,llvm-ir.
    `time`: print compile times, GRAPHC_TIME=1. `log`: topics, GRAPHC_LOG=retrace. `threads`: GRAPHC_THREADS,
    0 for as many as the process may use. `cache`: GRAPHC_CACHE=0|1. `cache_dir`: GRAPHC_CACHE_DIR.
    `traceback`: GRAPHC_TRACEBACK=user|full, whether errors show graphc's own frames. `check_nan`: GRAPHC_CHECK_NAN=1,
    raise where a result is NaN or infinite, and name the line that made it. `flush_subnormals`:
    GRAPHC_FLUSH_SUBNORMALS=1, compiled code on CPUs takes floats too small for all their digits for 0."""

    check: Check = Check.NONE
    dump: frozenset[str] = frozenset()
    time: bool = False
    log: frozenset[str] = frozenset()
    threads: int = 0
    cache: bool = True
    cache_dir: str = ""
    backend: str = "llvm"
    traceback: str = "user"
    check_nan: bool = False
    flush_subnormals: bool = False

    @staticmethod
    def from_environment(environment: Mapping[str, str] | None = None) -> Settings:
        """Read `GRAPHC_*`. Raises SettingsError that lists the legal values."""
        env = os.environ if environment is None else environment
        known = {f"GRAPHC_{name.upper()}": name for name in field_names(Settings)}
        values: dict[str, object] = {}
        for name, text in env.items():
            if name in known:
                values[known[name]] = _parse(name, known[name], text)
            elif name.startswith("GRAPHC_"):
                raise SettingsError(f"there is no setting {name}", hint=f"use one of {', '.join(sorted(known))}")
        return Settings(**values)  # type: ignore[arg-type]


BACKENDS = ("reference", "llvm", "triton")

WORDS: dict[str, tuple[str, ...]] = {
    "dump": ("graph", "dot", "passes", "fuse", "schedule", "llvm-ir", "asm", "triton", "ptx"),
    "log": ("retrace", "cache"),
    "backend": BACKENDS,
    "traceback": ("user", "full"),
}


def _parse(variable: str, name: str, text: str) -> object:
    """The value of one setting from its text."""
    if name in ("dump", "log"):
        words = frozenset(w.strip() for w in text.split(",") if w.strip())
        _require(words <= set(WORDS[name]), variable, text, "a comma-separated list of " + ", ".join(WORDS[name]))
        return words
    if name in ("backend", "traceback"):
        _require(text in WORDS[name], variable, text, " or ".join(WORDS[name]))
        return text
    if name == "check":
        _require(text in ("0", "1", "2"), variable, text, "0, 1 or 2")
        return Check(int(text))
    if name == "threads":
        _require(text.isdigit(), variable, text, "a number of threads, or 0 for all")
        return int(text)
    if name == "cache_dir":
        return text
    _require(text in ("0", "1"), variable, text, "0 or 1")
    return text == "1"


def _require(legal: bool, variable: str, text: str, values: str) -> None:
    if not legal:
        raise SettingsError(f"{variable} has no legal value", got=brief(text), hint=values)
