"""Settings: read from `GRAPHC_*`, validated with the legal values in the message; and each does what it says."""

import importlib.util
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import graphc as gx
from graphc import nn
from graphc.dataclass import field_names, replace
from graphc.driver.compilation import Stage
from graphc.driver.specialization import Specialization
from graphc.frontend import context
from graphc.frontend.context import untraced
from graphc.settings import WORDS, Check, Settings, SettingsError

from ..snippets import seen


def test_defaults() -> None:
    assert Settings.from_environment({}) == Settings()
    assert Settings.from_environment({"PATH": "/bin", "XGRAPHC_CHECK": "9"}) == Settings()


def test_all_values() -> None:
    read = Settings.from_environment(
        {
            "GRAPHC_CHECK": "2",
            "GRAPHC_DUMP": "graph, llvm-ir",
            "GRAPHC_TIME": "1",
            "GRAPHC_LOG": "retrace",
            "GRAPHC_THREADS": "3",
            "GRAPHC_CACHE": "0",
            "GRAPHC_CACHE_DIR": "/somewhere",
            "GRAPHC_BACKEND": "reference",
        }
    )
    assert read == Settings(
        Check.ALL,
        frozenset({"graph", "llvm-ir"}),
        True,
        frozenset({"retrace"}),
        3,
        False,
        "/somewhere",
        "reference",
    )


@pytest.mark.parametrize(
    ("name", "value", "legal"),
    [
        ("GRAPHC_CHECK", "3", "0, 1 or 2"),
        ("GRAPHC_DUMP", "graph,assembly", "llvm-ir"),
        ("GRAPHC_LOG", "all", "retrace"),
        ("GRAPHC_THREADS", "-1", "number of threads"),
        ("GRAPHC_TIME", "yes", "0 or 1"),
        ("GRAPHC_BACKEND", "cuda", "triton"),
        ("GRAPHC_CHEK", "1", "GRAPHC_CHECK"),
    ],
)
def test_no_legal_value(name: str, value: str, legal: str) -> None:
    with pytest.raises(SettingsError, match=name) as error:
        Settings.from_environment({name: value})
    assert legal in str(error.value)


# What each setting does: told apart from its default by one small function that is compiled and called.

X = np.array([[1.0, -2.0, 3.0]], np.float32)
MODEL = nn.Sequential(nn.Linear(3, 2), nn.relu)


def called(settings: Settings, x: np.ndarray = X) -> Specialization:
    """A new function, compiled and called with these settings."""
    token = context._context.set(untraced(settings))
    try:
        f = gx.compile(lambda x: gx.sqrt(gx.sum(nn.softmax(MODEL(x)) * x[:, :1])))
        f(x)
        return f.specializations[0]
    finally:
        context._context.reset(token)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(cache_dir=str(tmp_path / "cache"))


def files(settings: Settings) -> list[str]:
    return os.listdir(settings.cache_dir) if Path(settings.cache_dir).exists() else []


def verifies(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> int:
    seen: list[object] = []
    monkeypatch.setattr("graphc.passes.pipeline.verify", seen.append)
    called(settings)
    return len(seen)


def effect_of_check(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> bool:
    counts = [verifies(replace(settings, check=check), monkeypatch) for check in Check]
    return counts[0] == 0 < counts[1] < counts[2]


def effect_of_threads(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setattr("graphc.backends.llvm.run.team.usable_threads", lambda: 4)
    with gx.using(threads=3):
        return gx.thread_count() == 3


def effect_of_cache(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> bool:
    called(replace(settings, cache=False))
    without = files(settings)
    called(settings)
    return not without and bool(files(settings))


def effect_of_traceback(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> bool:
    depths = []
    for chosen in ("user", "full"):
        told = replace(settings, traceback=chosen)
        monkeypatch.setattr("graphc.frontend.location.current_settings", lambda told=told: told)
        depths.append(len(seen("gx.compile(gx.matmul)(np.ones(2), np.ones(3))").frames))
    return depths[0] == 1 < depths[1]


def effect_of_check_nan(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> bool:
    called(settings, -X)
    with pytest.raises(FloatingPointError, match="sqrt makes the first NaN or infinity") as raised:
        called(replace(settings, check_nan=True), -X)
    return raised.value.where is not None  # type: ignore[attr-defined]


def effect_of_flush_subnormals(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> bool:
    found = []
    for flush in (False, True):
        token = context._context.set(untraced(replace(settings, flush_subnormals=flush)))
        try:
            found.append(float(gx.compile(lambda x: gx.max(x * 2))(np.full(3, 1e-40, np.float32))))
        finally:
            context._context.reset(token)
    return found[0] > 0 == found[1]


def effect_of_time(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> bool:
    return set(called(replace(settings, time=True)).compilation.seconds) >= {"optimize", "schedule", "build"}


EFFECTS: dict[str, Callable[[Settings, pytest.MonkeyPatch], bool]] = {
    "check": effect_of_check,
    "time": effect_of_time,
    "threads": effect_of_threads,
    "cache": effect_of_cache,
    "cache_dir": effect_of_cache,
    "backend": lambda s, _: called(replace(s, backend="reference")).compilation.report().backend == "reference",
    "traceback": effect_of_traceback,
    "check_nan": effect_of_check_nan,
    "flush_subnormals": effect_of_flush_subnormals,
}
SAID = {  # what a word of GRAPHC_DUMP or GRAPHC_LOG has printed
    "dump": {"passes": "-- traced", "fuse": "step 0: contraction of", **{s.value: f"-- {s.value}" for s in Stage}},
    "log": {"retrace": "its first call", "cache": "graphc: cache: 0 of 2 kernels found"},
}


def test_there_is_no_setting_and_no_word_without_a_test() -> None:
    assert set(field_names(Settings)) == {*EFFECTS, *SAID}
    assert {name: set(words) for name, words in SAID.items()} == {name: set(WORDS[name]) for name in SAID}


@pytest.mark.parametrize("name", EFFECTS)
def test_a_setting_does_something(name: str, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert EFFECTS[name](settings, monkeypatch)


@pytest.mark.parametrize(("name", "word"), [(name, word) for name, words in SAID.items() for word in words])
def test_a_word_prints_something(
    name: str, word: str, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    if word == "ptx" and importlib.util.find_spec("triton") is None:
        pytest.skip("PTX is made by Triton")
    called(settings)
    assert not capsys.readouterr().err
    called(replace(settings, cache_dir=f"{settings.cache_dir}2", **{name: frozenset({word})}))
    assert SAID[name][word] in capsys.readouterr().err


def test_the_first_line_that_makes_a_nan_is_named_and_nothing_has_changed(settings: Settings) -> None:
    """Not one whose NaN reaches no result; and the Variables are as before."""
    total = gx.Variable(np.float32(1))

    def step(x):
        masked = gx.where(x > 0, gx.log(x), 0.0)
        root = gx.sqrt(gx.sum(masked) - 100)
        total.assign(total + root)
        return root * 2

    token = context._context.set(untraced(replace(settings, check_nan=True)))
    try:
        with pytest.raises(gx.NotFiniteError, match=r"(?s)sqrt makes.*from -\d.*root = gx.sqrt"):
            gx.compile(step)(np.array([0.0, 1], np.float32))
        assert total.item() == 1
        infinite = gx.compile(lambda x: x * 2)(np.array([np.inf], np.float32))
        assert infinite.tolist() == [np.inf]  # which the caller has given
        with pytest.raises(gx.NotFiniteError, match="x holds NaN before the call"):
            gx.compile(lambda x: x * 2)(np.array([np.nan], np.float32))
    finally:
        context._context.reset(token)


def test_compile_times_are_printed(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    called(replace(settings, time=True))
    assert "graphc: build: " in capsys.readouterr().err


def test_the_line_is_found_in_bodies(settings: Settings) -> None:
    def body(c, x):
        masked = gx.where(x > 0, gx.log(x), 0.0)
        c = c - x
        return c, masked + gx.cond(c > 0, lambda: gx.sqrt(c), lambda: gx.sqrt(c + 1))

    token = context._context.set(untraced(replace(settings, check_nan=True)))
    try:
        for call in (gx.compile(lambda x: gx.scan(body, 3.0, x)), lambda x: gx.scan(body, 3.0, x)):
            with pytest.raises(gx.NotFiniteError, match=r"(?s)sqrt makes.*from -2 to -2.*lambda: gx.sqrt\(c \+ 1\)"):
                call(np.array([0, 1, 5, 1], np.float32))
    finally:
        context._context.reset(token)
