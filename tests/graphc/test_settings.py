"""Settings: read from `GRAPHC_*`, validated with the legal values in the message."""

import pytest

from graphc.settings import Check, Settings, SettingsError


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


def test_only_what_changes_code_is_in_the_key() -> None:
    assert Settings(check=Check.ALL, time=True).code_key == Settings().code_key
    assert Settings(fast_codegen=True).code_key != Settings().code_key
