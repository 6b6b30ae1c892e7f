"""What every test shares: the `gpu` marker's meaning."""

import functools

import pytest


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


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu") and (reason := why_no_gpu()):
        pytest.skip(reason)
