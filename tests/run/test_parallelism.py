"""One run, one set of numbers: one device or eight, jit, pmap or any mesh, one process or several."""

import numpy as np
import pytest

from tests.compilation import DEVICES, QUICK_FLAGS
from tests.run.parallelism import STEPS
from tests.scale.multi_process import ended, several

ALL_AXES = "data 2 x fsdp 2 x tensor 2"
WAYS = {
    "jit": ("jit", ""),
    "pmap": ("pmap", ""),
    "data 8": ("mesh", ""),
    "data 4 x fsdp 2": ("mesh", "fsdp=2"),
    ALL_AXES: ("mesh", "fsdp=2,tensor=2"),
}
CODE = """
    from jaxasr.scale import hosts, use_compile_cache
    with hosts.distributed():
        use_compile_cache()
        from tests.run.parallelism import write_five_steps
        for file, how, layout in {runs!r}:
            write_five_steps(file, {data_dir!r}, how, layout)
"""


def made(folder, trained_run, runs, *, processes=1):
    """Returns the results of so many processes, which have eight devices together, by name."""
    files = {name: str(folder / f"{name}-{processes}.npz") for name in runs}
    code = CODE.format(runs=[(files[name], *way) for name, way in runs.items()], data_dir=str(trained_run.data_dir))
    flags = f"{QUICK_FLAGS} {DEVICES}={8 // processes}"
    with several(code, processes, XLA_FLAGS=flags) as started:
        for end in ended(started, 900.0):
            assert end.status == 0, end.err
    return {name: dict(np.load(file)) for name, file in files.items()}


@pytest.fixture(scope="module")
def alone(trained_run, tmp_path_factory):
    """By some ways, in one process."""
    runs = {name: WAYS[name] for name in ("jit", "pmap", ALL_AXES)}
    return made(tmp_path_factory.mktemp("ways"), trained_run, runs)


def same(found, expected):
    np.testing.assert_array_equal(found["examples"], expected["examples"])
    np.testing.assert_allclose(found["losses"], expected["losses"], rtol=2e-5)
    assert found.keys() == expected.keys()
    for path, value in expected.items():
        np.testing.assert_allclose(found[path], value, rtol=0, atol=5e-5, err_msg=path)


def test_the_steps_do_something(alone):
    assert alone["jit"]["losses"].shape == (STEPS,)
    assert alone["jit"]["losses"][-1] < alone["jit"]["losses"][0]
    moved = [
        np.abs(value - alone["jit"][f"params{path.removeprefix('ema_params')}"]).max()
        for path, value in alone["jit"].items()
        if "ema_params/" in path
    ]
    assert max(moved) > 1e-3


@pytest.mark.parametrize("way", ["pmap", ALL_AXES])
def test_eight_devices_make_the_steps_of_one(alone, way):
    same(alone[way], alone["jit"])


def test_two_processes_make_the_steps_of_one(alone, trained_run, tmp_path):
    found = made(tmp_path, trained_run, {ALL_AXES: WAYS[ALL_AXES]}, processes=2)
    same(found[ALL_AXES], alone["jit"])


@pytest.mark.slow
def test_every_other_mesh_makes_the_steps_of_one(alone, trained_run, tmp_path):
    runs = {name: way for name, way in WAYS.items() if name not in alone}
    for found in made(tmp_path, trained_run, runs).values():
        same(found, alone["jit"])


@pytest.mark.slow
def test_pmap_in_two_processes_makes_the_steps_of_one(alone, trained_run, tmp_path):
    same(made(tmp_path, trained_run, {"pmap": WAYS["pmap"]}, processes=2)["pmap"], alone["jit"])


@pytest.mark.slow
def test_four_processes_make_the_steps_of_one(alone, trained_run, tmp_path):
    """With a tensor axis that spans two processes: both read the same rows."""
    runs = {"data 8": WAYS["data 8"], "tensor 4": ("mesh", "fsdp=2,tensor=4")}
    for found in made(tmp_path, trained_run, runs, processes=4).values():
        same(found, alone["jit"])
