"""Tests of topologies: their names, and their devices where libtpu and the CUDA plugin are installed."""

import importlib.util
import os
import subprocess
import sys

import jax
import pytest

from jaxasr.cost.topology import Topology, topology


@pytest.mark.parametrize(
    ("text", "chips", "devices", "node_chips", "nodes"),
    [
        ("v5e:16x16", 256, 1, 256, 1),
        ("v5p:4x4x4", 64, 1, 64, 1),
        ("v6e:16x16", 256, 1, 256, 1),
        ("v4:4x4x4", 64, 2, 64, 1),
        ("tpu7x:4x4x4", 64, 2, 64, 1),
        ("h100x8:8", 64, 1, 8, 8),
        ("cpu:8", 8, 1, 8, 1),
    ],
)
def test_names(text: str, chips: int, devices: int, node_chips: int, nodes: int):
    found = topology(text)
    assert str(found) == text
    assert (found.chips, found.devices_per_chip, found.node_chips) == (chips, devices, node_chips)
    assert len(found.nodes) == chips * devices
    assert len(set(found.nodes)) == nodes


@pytest.mark.parametrize(
    "text", ["v5e", "v5e:", "v5e:0x4", "v5e:4x4x4x4", "h100:8", "h100x8:2x2", "k80x8:2", "cpu:2x2", "v5e:ax4"]
)
def test_other_names_are_refused(text: str):
    with pytest.raises(ValueError, match="it is a TPU slice such as"):
        topology(text)


def test_the_processor_here_has_as_many_devices_as_were_asked_for():
    assert topology("cpu:4").devices() == jax.devices()
    with pytest.raises(ValueError, match="--xla_force_host_platform_device_count=4096"):
        topology("cpu:4096").devices()


def test_what_is_not_installed_is_named():
    for text, module, package in (("v5e:2x2", "libtpu", "libtpu"), ("h100x8:1", "jax_plugins", "jax-cuda13-plugin")):
        if importlib.util.find_spec(module) is None:
            with pytest.raises(ValueError, match=package):
                topology(text).check_known()


DESCRIBED = """
import sys
from jaxasr.cost.topology import topology
found = topology(sys.argv[1])
devices = found.devices()
print(len(devices), devices[0].platform, len({d.process_index for d in devices}))
"""


@pytest.mark.slow
@pytest.mark.parametrize("text", ["v5e:16x16", "v5p:4x4x4", "v6e:16x16", "v4:4x4x4", "tpu7x:4x4x4", "h100x8:8"])
def test_devices_are_as_many_as_the_name_says(text: str):
    found: Topology = topology(text)
    module = "libtpu" if found.platform == "tpu" else "jax_plugins"
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed: pip install jax[tpu], or jax-cuda13-plugin and jax-cuda13-pjrt")
    ended = subprocess.run(
        [sys.executable, "-c", DESCRIBED, text],
        env={**os.environ, **found.environment()},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    count, platform, hosts = ended.stdout.split()
    assert int(count) == found.chips * found.devices_per_chip
    assert platform == {"tpu": "tpu", "cuda": "gpu"}[found.platform]
    assert int(hosts) == (8 if found.platform == "cuda" else found.chips // 4)


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("v5e:2x2", 0.5),
        ("v5e:1x2", 0.25),
        ("v6e:8x16", 0.75),
        ("v5e:16x16", 1.0),
        ("v5p:2x2x1", 1 / 3),
        ("v5p:2x2x4", 0.5),
        ("v4:4x4x4", 1.0),
        ("tpu7x:4x4x8", 1.0),
        ("v5e:1x1", 1.0),
        ("h100x8:2", 1.0),
    ],
)
def test_links_are_joined_at_the_ends_of_long_axes_only(text, share):
    assert topology(text).link_share == pytest.approx(share)


@pytest.mark.parametrize(
    ("text", "chips", "other"),
    [
        ("v5e:4x4", 8, "v5e:2x4"),
        ("v5e:4x4", 64, "v5e:8x8"),
        ("v5p:2x2x1", 64, "v5p:4x4x4"),
        ("v5e:16x16", 2_048, "v5e:32x64"),
        ("h100x8:2", 64, "h100x8:8"),
        ("h100x8:2", 4, "h100x4:1"),
        ("cpu:4", 2, "cpu:2"),
    ],
)
def test_a_topology_with_another_number_of_chips(text, chips, other):
    found = topology(text).with_chips(chips)
    assert (str(found), found.chips) == (other, chips)
