"""What a run says of the machine it ran on."""

import os
from dataclasses import asdict

import jax

from jaxasr.scale import hosts
from jaxasr.scale.hosts import Hardware, hardware, is_first


def test_the_hardware_is_described():
    found = hardware()
    assert (found.platform, found.devices, found.processes) == ("cpu", len(jax.devices()), 1)
    assert found.kind
    assert 1 <= found.cores <= (os.cpu_count() or 1)
    assert set(asdict(found)) == {"platform", "kind", "devices", "processes", "cores"}
    assert is_first()


def test_it_reads_as_a_line():
    assert str(Hardware("gpu", "NVIDIA H100", 8, 1, 96)) == "8 x NVIDIA H100 (gpu), 96 host cores"
    assert str(Hardware("tpu", "TPU v5e", 16, 4, 112)) == "16 x TPU v5e (tpu) in 4 processes, 112 host cores"


def test_the_processor_is_read_from_linuxs_list_and_else_is_the_architecture(tmp_path, monkeypatch):
    listed = tmp_path / "cpuinfo"
    monkeypatch.setattr(hosts, "_CPUINFO", listed)
    monkeypatch.setattr(hosts.platform, "machine", lambda: "riscv64")
    assert hosts.cpu_info("model name") == "riscv64"
    listed.write_text("processor\t: 0\nmodel name\t: A Fast One: 3 GHz\nflags\t\t: a b\n\nprocessor\t: 1\nflags : c\n")
    assert hosts.cpu_info("model name") == "A Fast One: 3 GHz"
    assert hosts.cpu_info("flags") == "a b"
