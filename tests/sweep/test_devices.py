"""Devices of a machine are shared out among runs."""

import pytest

from jaxasr.sweep.devices import DevicePool


def test_every_run_has_devices_of_its_own_and_gives_them_back():
    pool = DevicePool(2, 3, {"HOME": "/x"})
    first = pool.take()
    second = pool.take()
    assert (first, second, pool.take()) == ((0, 1, 2), (3, 4, 5), None)
    assert second is not None
    assert pool.environment_of(second)["CUDA_VISIBLE_DEVICES"] == "3,4,5"
    assert pool.environment_of(second)["HOME"] == "/x"
    pool.give_back(second)
    assert pool.take() == second


@pytest.mark.parametrize("name", ["CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "TPU_VISIBLE_CHIPS"])
def test_visible_devices_are_shared_out_by_their_own_names(name):
    pool = DevicePool(2, 1, {name: "GPU-a,GPU-b"})
    taken = [pool.take(), pool.take()]
    assert [pool.environment_of(places)[name] for places in taken if places] == ["GPU-a", "GPU-b"]
    with pytest.raises(ValueError, match=rf"{name}=GPU-a,GPU-b has 2 devices, and 3 runs of 1 need 3"):
        DevicePool(3, 1, {name: "GPU-a,GPU-b"})


@pytest.mark.parametrize(("chips", "bounds"), [(1, "1,1,1"), (2, "1,2,1"), (4, "2,2,1")])
def test_chips_of_a_tpu_have_bounds(chips, bounds):
    pool = DevicePool(1, chips, {})
    found = pool.environment_of(pool.take() or ())
    assert (found["TPU_CHIPS_PER_PROCESS_BOUNDS"], found["TPU_PROCESS_BOUNDS"]) == (bounds, "1,1,1")
