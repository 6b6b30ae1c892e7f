"""Ahead of time to PTX and cubin for sm_90: without a GPU, without a driver, without PyTorch."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from graphc.backends.triton.compile import Artifact, compile_source
from graphc.backends.triton.plan import Blocks
from graphc.backends.triton.source import kernel_source
from graphc.kernel import Kernel
from graphc.types import float16

from . import kernels


def compiled(kernel: Kernel) -> tuple[Artifact, ...]:
    return compile_source(kernel_source(kernel))


@pytest.mark.parametrize(
    "name",
    [
        "softmax", "layer_norm_gradient", "transposed_sum", "argmax", "any_and_all", "convolution", "double_product",
        "product_with_sums", "divided_indices", "gather_one", "scatter_rows", "bytes_and_bools", "half_precision",
    ],
)  # fmt: skip
def test_every_kind_compiles(name: str) -> None:
    source = kernel_source(kernels.KERNELS[name]())
    artifacts = compile_source(source)
    assert [a.symbol for a in artifacts] == [x.function for x in source.launches]
    for artifact in artifacts:
        assert artifact.cubin.startswith(b"\x7fELF")
        assert ".target sm_90" in artifact.ptx
        assert 0 < artifact.resources.registers <= 255


def test_sums_in_blocks_of_blocks_compile() -> None:
    (artifact,) = compile_source(kernel_source(kernels.total(1 << 20), Blocks(1, 64)))
    assert artifact.resources.stack == 0


@pytest.mark.parametrize("kernel", [kernels.linear_gelu(256, 512, 256, float16), kernels.widened_product()])
def test_products_of_16_bits_use_tensor_cores(kernel: Kernel) -> None:
    artifact = compiled(kernel)[0]
    assert re.search(r"wgmma\.mma_async|mma\.sync", artifact.ptx)
    assert artifact.resources.stack == 0, "the tile spills"
    assert artifact.resources.shared <= 227 * 1024


def test_float32_products_stay_float32() -> None:
    """No tensor-core instruction rounds the operands to fewer bits, and the sums are fused multiply-adds."""
    artifact = compiled(kernels.linear_gelu(256, 512, 256))[0]
    assert not re.search(r"wgmma|mma\.sync|tf32", artifact.ptx)
    assert artifact.ptx.count("fma.rn.f32") > 100
    assert artifact.resources.stack == 0, "the tile spills"


def test_large_rows_are_read_in_vectors_and_do_not_spill() -> None:
    for kernel in (kernels.softmax(4096, 1024), kernels.layer_norm(4096, 1024)):
        (artifact,) = compiled(kernel)
        assert artifact.resources.stack == 0
        assert re.search(r"ld\.global\S*\.v4", artifact.ptx)
        assert re.search(r"st\.global\S*\.v4", artifact.ptx)


def test_compiling_needs_no_pytorch() -> None:
    text = (
        "import sys; from graphc.backends.triton.compile import compile_source; "
        "from graphc.backends.triton.source import kernel_source; from tests.backends.triton import kernels; "
        "compile_source(kernel_source(kernels.gather())); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", text], check=True)


def test_positions_beyond_32_bits_are_computed_in_64() -> None:
    source = kernel_source(kernels.softmax(1 << 17, 1 << 15))
    assert "pid = tl.program_id(0).to(tl.int64)" in source.text
    (artifact,) = compile_source(source)
    assert artifact.launch.programs == 1 << 17
