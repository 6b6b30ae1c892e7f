"""Storages: where contents are, when they move, and who shares what."""

from __future__ import annotations

import gc
import weakref
from operator import setitem

import numpy as np
import pytest

from graphc.backends.triton.interpret import Interpreter
from graphc.backends.triton.interpreted import InterpretedDevice
from graphc.devices import opened
from graphc.storage import WRITE, Replica, Storage, in_one_step, write_all
from graphc.types import TensorType, float32

TYPE = TensorType(float32, (3,))


def device() -> InterpretedDevice:
    """Memory only: no kernel runs, so no interpreter starts."""
    return InterpretedDevice(Interpreter())


def storage(*values: float) -> Storage:
    return Storage(np.array(values, np.float32), TYPE)


def held(replica: Replica) -> list[float]:
    found = np.empty(3, np.float32)
    replica.device.download(replica.block, found)
    return list(found)


def store(target: Storage, replica: Replica, *values: float) -> None:
    """What a program on the device does when it writes."""
    block, new = replica.block, np.array(values, np.float32)
    upload = replica.device.upload
    assert in_one_step([(target, replica.version)], [(upload, block, new), *target.written(replica, replica.version)])


def test_contents_move_when_they_are_asked_for() -> None:
    gpu, x = device(), storage(1, 2, 3)
    assert not gpu.uploads and x.device is None
    first = x.on(gpu)
    assert held(first) == [1, 2, 3] and x.on(gpu) is first and gpu.uploads == [12]
    x.write(np.array([4, 5, 6], np.float32))
    assert gpu.uploads == [12] and x.version == WRITE
    second = x.on(gpu)
    assert held(second) == [4, 5, 6] and second.block is first.block and gpu.uploads == [12, 12]


def test_what_a_device_writes_stays_there_until_it_is_read() -> None:
    gpu, x = device(), storage(1, 2, 3)
    memory = x.array
    store(x, x.writable_on(gpu), 7, 8, 9)
    assert x.is_away and x.device is gpu and x.version == WRITE and not gpu.downloads
    assert x.on(gpu).version == x.version and len(gpu.uploads) == 2  # the second is the writing itself
    assert x.array.tolist() == [7, 8, 9] and x.array is memory and gpu.downloads == [12]
    assert not x.is_away and x.device is gpu
    x.write(np.zeros(3, np.float32))
    assert x.device is None and held(x.on(gpu)) == [0, 0, 0]


def test_overwriting_on_the_host_reads_nothing_back() -> None:
    gpu, x = device(), storage(1, 2, 3)
    store(x, x.writable_on(gpu), 7, 8, 9)
    x.write(np.array([4, 5, 6], np.float32))
    assert not x.is_away and x.array.tolist() == [4, 5, 6] and not gpu.downloads


def test_from_device_to_device_by_way_of_the_host() -> None:
    a, b, x = device(), device(), storage(1, 2, 3)
    store(x, x.writable_on(a), 7, 8, 9)
    assert held(x.on(b)) == [7, 8, 9] and a.downloads == [12] and b.uploads == [12]
    store(x, x.writable_on(b), 1, 1, 1)
    assert held(x.on(a)) == [1, 1, 1]


def test_a_snapshot_shares_memory_until_the_next_write() -> None:
    gpu, x = device(), storage(0, 0, 0)
    store(x, x.writable_on(gpu), 7, 8, 9)
    a, b = x.snapshot(), x.snapshot()
    assert a.on(gpu) is b.on(gpu) and a.on(gpu).block is x.on(gpu).block and not gpu.copies
    store(x, x.writable_on(gpu), 1, 1, 1)
    assert gpu.copies == [12] and held(x.on(gpu)) == [1, 1, 1]
    assert a.array.tolist() == b.array.tolist() == [7, 8, 9]
    c = x.snapshot()
    del c
    gc.collect()
    store(x, x.writable_on(gpu), 2, 2, 2)
    assert gpu.copies == [12]  # nobody held the last one


def test_a_snapshot_survives_what_the_host_writes() -> None:
    gpu, x = device(), storage(0, 0, 0)
    store(x, x.writable_on(gpu), 7, 8, 9)
    kept = x.snapshot()
    x.write(np.ones(3, np.float32))
    assert held(x.on(gpu)) == [1, 1, 1] and kept.array.tolist() == [7, 8, 9]


def test_memory_on_a_device_lives_as_long_as_someone_holds_it() -> None:
    gpu, x = device(), storage(1, 2, 3)
    replica = x.on(gpu)
    memory = weakref.ref(replica.block.owner)
    result = Storage.of_replica(Replica(gpu, replica.block, 0), TYPE)
    del x, replica
    gc.collect()
    assert memory() is not None and result.array.tolist() == [1, 2, 3]
    del result
    gc.collect()
    assert memory() is None


@pytest.mark.parametrize("is_away", [False, True])
def test_whoever_writes_in_between_is_not_overwritten(is_away: bool) -> None:
    gpu, x, y = device(), storage(1, 2, 3), storage(0, 0, 0)
    if is_away:
        store(x, x.writable_on(gpu), 1, 2, 3)
    seen = [(x, x.version), (y, y.version)]
    y.write(np.ones(3, np.float32))
    assert not write_all([(x, np.zeros(3, np.float32))], seen)
    assert x.array.tolist() == [1, 2, 3]
    assert write_all([(x, np.zeros(3, np.float32))], [(y, y.version)]) and not x.array.any()


def test_one_step_gives_answers_or_does_nothing() -> None:
    x = storage(1, 2, 3)
    done: dict[int, int] = {}
    calls = [(setitem, done, 1, 2), (len, "abc")]
    assert in_one_step([(x, x.version)], calls) == [None, 3] and done == {1: 2}
    assert in_one_step([(x, x.version), (x, x.version + 1)], [(setitem, done, 1, 3)]) is None and done == {1: 2}


def test_over_takes_the_memory_itself() -> None:
    array = np.zeros(3, np.float32)
    x = Storage.over(array)
    x.write(np.ones(3, np.float32))
    assert x.array is array and array.all() and np.asarray(x) is not None


def test_devices_are_found_by_name() -> None:
    gpu = device()
    assert opened("interpreted") is gpu and opened("cuda:7") is None
