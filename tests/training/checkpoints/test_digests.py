"""Tests of digests: no change of an element is missed, and no layout of an array over devices changes its digest."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from jaxasr.training.checkpoints import digests as module
from jaxasr.training.checkpoints.digests import digests, parts_of

DTYPES = ("float32", "bfloat16", "float16", "int8", "uint8", "bool", "int64", "float64", "complex64", "uint32")


def alone(text):
    return [text]


def digest(array):
    return digests({"x": array}, alone)["x"]


def random(rng, shape, dtype):
    return np.asarray(rng.integers(0, 2, shape) if dtype == "bool" else rng.integers(-100, 100, shape)).astype(
        jnp.dtype(dtype)
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (7,), (3, 5), (2, 1, 4)])
def test_every_bit_counts(rng, shape, dtype):
    array = random(rng, shape, dtype)
    seen = {digest(array)}
    raw = bytearray(array.tobytes())
    for bit in range(8 * len(raw)):
        raw[bit // 8] ^= 1 << bit % 8
        seen.add(digest(np.frombuffer(bytes(raw), array.dtype).reshape(shape)))
        raw[bit // 8] ^= 1 << bit % 8
    assert len(seen) == 8 * len(raw) + 1


def test_elements_rows_and_blocks_in_other_places_count(rng):
    array = rng.normal(size=(6, 8)).astype(np.float32)
    others = [
        array[::-1],
        array[:, ::-1],
        array[[1, 0, 2, 3, 4, 5]],
        np.roll(array, 4, axis=1),
        np.roll(array, 1),
        -array,
    ]
    others += [np.zeros_like(array), np.where(np.arange(8) < 4, array, 0.0), np.repeat(array[:3], 2, axis=0)]
    assert len({digest(other) for other in [array, *others]}) == len(others) + 1


def test_two_signs_count(rng):
    """Sign bits are the highest ones: their factors are the only ones that lose bits."""
    array = rng.normal(size=64).astype(np.float64)
    seen = set()
    for i in range(64):
        for j in range(i):
            signs = np.ones(64)
            signs[[i, j]] = -1.0
            seen.add(digest(array * signs))
    assert len(seen) == 64 * 63 // 2


@pytest.mark.parametrize("spec", [(), ("a",), (None, "b"), ("a", "b"), (("a", "b"),), (None, None, "a")], ids=str)
def test_a_layout_over_devices_changes_nothing(rng, spec):
    mesh = jax.make_mesh((2, 2), ("a", "b"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
    array = rng.normal(size=(8, 4, 6)).astype(np.float32)
    assert digest(jax.device_put(array, NamedSharding(mesh, PartitionSpec(*spec)))) == digest(array)


def test_processes_add_the_parts_that_they_hold(rng, monkeypatch):
    """Two processes hold the rows 0:3 and 2:6 of an array; the row that both hold counts once."""
    array = rng.normal(size=(6, 4)).astype(np.float32)
    mesh = jax.make_mesh((3,), ("a",), axis_types=(jax.sharding.AxisType.Auto,), devices=jax.devices()[:3])
    parts = parts_of(jax.device_put(array, NamedSharding(mesh, PartitionSpec("a"))))
    assert list(parts) == ["0:2,0:4", "2:4,0:4", "4:6,0:4"]
    first, second = ({name: parts[name] for name in names} for names in (list(parts)[:2], list(parts)[1:]))
    monkeypatch.setattr(module, "is_spread", lambda _: True)
    monkeypatch.setattr(module, "parts_of", lambda _: dict(first))

    def exchange(text):
        assert json.loads(text) == {"x": first}
        return [text, json.dumps({"x": second})]

    assert digests({"x": None}, exchange)["x"] == f"{sum(parts.values()) % 2**64:016x}"
    other = {**second, "2:4,0:4": 1}
    with pytest.raises(ValueError, match="processes hold different values of x"):
        digests({"x": None}, lambda text: [text, json.dumps({"x": other})])
