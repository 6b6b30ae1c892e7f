"""What every test shares: the `gpu` marker's meaning, golden files, and a Ctrl-C that is heard."""

import functools
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

GOLDEN = Path(__file__).parent / "golden"


@functools.cache
def why_no_gpu() -> str | None:
    try:
        from cuda.bindings import driver

        (status,) = driver.cuInit(0)
        if status != driver.CUresult.CUDA_SUCCESS:
            return f"cuInit: {status.name}"
        status, count = driver.cuDeviceGetCount()
        return None if count else "no CUDA device"
    except (ImportError, RuntimeError) as error:
        return f"no CUDA driver: {type(error).__name__}"


def pytest_configure() -> None:
    """Shells let what they start behind them ignore Ctrl-C, and so would the programs that tests interrupt."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu") and (reason := why_no_gpu()):
        pytest.skip(reason)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write what tests got into tests/golden")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """`golden("passes/mlp.txt", text)`: the text must be what the file under tests/golden says."""

    def check(name: str, text: str) -> None:
        path = GOLDEN / name
        text = text.rstrip() + "\n"
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        assert path.exists(), (
            f"there is no {path.name}: look at the text, then run with --update-golden\n{text}"
        )
        assert text == path.read_text(), f"{name} differs: run with --update-golden if it should"

    return check
