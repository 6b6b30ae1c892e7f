"""The llvm backend with an object cache of its own, so that what is tested is what is compiled now."""

import pytest

from graphc.backends.llvm.backend import LLVMBackend
from graphc.settings import Settings

from .checks import Run, on


@pytest.fixture(scope="session")
def llvm(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return on(LLVMBackend(), Settings(cache_dir=str(tmp_path_factory.mktemp("objects"))))
