"""Tensors: immutable, exchangeable with NumPy and DLPack, and clear about what a symbolic one can't say."""

import copy
import pickle

import numpy as np
import pytest

import graphc as gx
from graphc import DTypeError, TraceError


def test_properties() -> None:
    x = gx.asarray(np.arange(6, dtype=np.int16).reshape(2, 3))
    assert (x.shape, x.dtype, x.ndim, x.size, x.nbytes, len(x)) == ((2, 3), gx.int16, 2, 6, 12, 2)
    assert [row.numpy().tolist() for row in x] == [[0, 1, 2], [3, 4, 5]]
    assert x.T.shape == (3, 2) and gx.ones((2, 3, 4)).mT.shape == (2, 4, 3)


def test_copies_what_may_change() -> None:
    array = np.zeros(3, np.float32)
    x = gx.asarray(array)
    array[0] = 1
    assert x.numpy().tolist() == [0, 0, 0]


def test_numpy_is_a_read_only_view() -> None:
    x = gx.asarray([1.0, 2.0])
    assert not x.numpy().flags.writeable
    assert np.shares_memory(x.numpy(), x.numpy())
    assert np.asarray(x).tolist() == [1, 2]
    assert np.asarray(x, np.float64).dtype == np.float64


def test_items() -> None:
    assert gx.asarray(3).item() == 3 and type(gx.asarray(True).item()) is bool
    assert (int(gx.asarray(3)), float(gx.asarray(0.5)), bool(gx.asarray(0.0))) == (3, 0.5, False)
    assert range(5)[gx.asarray(3)] == 3 and complex(gx.asarray(0.5)) == complex(gx.Variable(0.5)) == 0.5 + 0j
    assert f"{gx.asarray(0.25):.1%}" == "25.0%"
    with pytest.raises(ValueError, match="size 1"):
        gx.asarray([1, 2]).item()


def test_numpy_on_the_left() -> None:
    x = gx.asarray([1.0, 2.0])
    for result in (np.ones(2, np.float32) + x, np.float32(1) + x, np.ones(2, np.float32) @ x):
        assert isinstance(result, gx.Tensor)
    assert isinstance(np.ones(2, np.float32) < x, gx.Tensor)
    variable = gx.Variable([1.0, 2.0])
    assert isinstance(np.ones(2, np.float32) * variable, gx.Tensor)


def test_assignment_names_the_alternative() -> None:
    x = gx.asarray([1.0, 2.0])
    with pytest.raises(TraceError, match=r"gx\.where") as error:
        x[0] = 3
    assert error.value.where is not None and error.value.where.text == "x[0] = 3"
    with pytest.raises(TypeError, match=r"gx\.any"):
        assert 1 in x


def test_equality_is_elementwise_and_hash_is_identity() -> None:
    x, y = gx.asarray([1, 2]), gx.asarray([1, 3])
    assert (x == y).tolist() == [True, False] and (x != y).tolist() == [False, True]
    assert len({x, y, x}) == 2


def test_copy_and_pickle() -> None:
    x = gx.asarray(np.arange(3, dtype=np.float32))
    assert copy.copy(x) is x and copy.deepcopy(x) is x
    assert pickle.loads(pickle.dumps(x)).tolist() == [0, 1, 2]


def test_dlpack_both_ways() -> None:
    x = gx.asarray(np.arange(4, dtype=np.int32))
    assert np.from_dlpack(x).tolist() == [0, 1, 2, 3]

    class Foreign:
        def __dlpack__(self, **options: object) -> object:
            return np.ones(3, np.float32).__dlpack__()

        def __dlpack_device__(self) -> tuple[int, int]:
            return 1, 0

    assert gx.from_dlpack(Foreign()).tolist() == [1, 1, 1]
    assert (x[:3] + Foreign()).dtype is gx.float32


def test_dlpack_can_not_write_to_a_tensor() -> None:
    x = gx.asarray(np.zeros(4, np.float32))

    class Old:
        """A consumer from before DLPack 1.0, which can't be told that memory is read-only."""

        def __dlpack__(self, **options: object) -> object:
            return x.__dlpack__()

        def __dlpack_device__(self) -> tuple[int, int]:
            return x.__dlpack_device__()

    for source in (x, Old()):
        array = np.from_dlpack(source)  # type: ignore[arg-type]
        if array.flags.writeable:
            array[0] = 77
    assert x.tolist() == [0, 0, 0, 0]
    copy = np.from_dlpack(x, copy=True)
    assert not np.shares_memory(copy, x.numpy())
    if np.lib.NumpyVersion(np.__version__) >= "2.2.0":
        assert np.shares_memory(np.from_dlpack(x, copy=False), x.numpy())
    assert "dltensor_versioned" in repr(x.__dlpack__(copy=False))  # which those consumers refuse


def test_dlpack_arguments() -> None:
    x = gx.asarray(np.arange(4, dtype=np.int32))
    for version in (None, (0, 0), (1, 0), (2, 0)):
        for copied in (None, True, False):
            capsule = x.__dlpack__(max_version=version, dl_device=(1, 0), copy=copied, stream=None)
            is_new = copied is False or version in ((1, 0), (2, 0))
            assert ("versioned" in repr(capsule)) == is_new
    for wrong in ({"dl_device": (2, 0)}, {"stream": 1}):
        with pytest.raises(BufferError):
            x.__dlpack__(**wrong)
    assert gx.from_dlpack(x, copy=False) is x and gx.from_dlpack(x, device="cpu", copy=True).tolist() == x.tolist()


def test_foreign_memory_layouts() -> None:
    for array in (np.asfortranarray(np.arange(6.0).reshape(2, 3)), np.arange(12.0).reshape(2, 6)[:, ::2],
                  np.arange(6, dtype=">f8").reshape(2, 3)):  # fmt: skip
        assert gx.asarray(array).numpy().tolist() == array.tolist()
        assert (gx.asarray(array) + array).tolist() == (2 * array).tolist()


def test_conversion_is_the_same_outside_and_inside() -> None:
    array = np.array([1e10, np.nan, -1e10, -1.5])
    inside = gx.compile(lambda a: gx.astype(a, "int32"))(array)
    assert gx.asarray(array, dtype="int32").tolist() == inside.tolist() == [2**31 - 1, 0, -(2**31), -1]
    narrow = gx.asarray(array, dtype="bfloat16").numpy()
    assert gx.asarray(narrow, dtype="int16").tolist() == [2**15 - 1, 0, -(2**15), -1]
    assert gx.asarray(2, dtype="bool").numpy().shape == ()


@pytest.mark.parametrize("number", [2**63, [2**63], 2**64, [-(2**70)], 1e39, [1e39]])
def test_numbers_that_do_not_fit(number: object) -> None:
    with pytest.raises(DTypeError, match="must fit"):
        gx.asarray(number)


def test_masked_arrays_are_filled_first() -> None:
    masked = np.ma.array(np.ones(3, np.float32), mask=[True, False, False])
    for call in (gx.asarray, gx.sum, gx.compile(lambda a: a + 1)):
        with pytest.raises(DTypeError, match="filled"):
            call(masked)


def test_no_arrays() -> None:
    for value in ("text", object(), 1j, [[1, 2], [3]], np.array(["a"]), None):
        with pytest.raises(DTypeError):
            gx.asarray(value)


@pytest.mark.parametrize(
    ("ask", "instead"),
    [
        (lambda x: 1 if x[0] > 0 else 2, "gx.where"),
        (lambda x: x[0] > 0 and x[1] > 0, "& | ~"),
        (lambda x: float(x[0]), "gx.astype"),
        (lambda x: range(10)[gx.astype(x[0], "int64")], "x.shape"),
        (lambda x: x.item(), "keep it a tensor"),
        (lambda x: x.numpy(), "functions of graphc"),
        (lambda x: np.sin(np.asarray(x)), "functions of graphc"),
        (lambda x: x.tolist(), "return the tensor"),
    ],
)
def test_symbolic_tensors_have_no_value(ask: object, instead: str) -> None:
    with pytest.raises(TraceError, match=instead) as error:
        gx.trace(ask, np.ones(2, np.float32))  # type: ignore[arg-type]
    assert error.value.where is not None and error.value.where.file == __file__
    assert "lambda x:" in str(error.value)


def test_representation() -> None:
    assert repr(gx.asarray([1.0, 2.0])) == "Tensor([1., 2.], dtype=float32)"
    seen: list[str] = []
    gx.trace(lambda x: seen.append(repr(x)), np.ones(2))
    assert seen == ["Tensor(float64[2], symbolic)"]


def test_tensor_constructor_is_asarray() -> None:
    assert gx.Tensor([1, 2], dtype="float32").dtype is gx.float32
