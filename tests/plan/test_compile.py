"""Tests of compile reports and their cache, and of the costs of the published models."""

import importlib
import importlib.util
import os
from dataclasses import replace
from pathlib import Path

import pytest

from jaxasr import cost, scale, tree
from jaxasr.data.batching.shape import Shape
from jaxasr.experiment import ExperimentRef
from jaxasr.plan import cache as plan_cache
from jaxasr.plan import report as report
from jaxasr.plan.compile import CompileJob, StepCosts, compile_job, count_costs, from_json, to_json
from tests import tiny_lm
from tests.communication import total_bytes
from tests.plan.test_planner import GOLDEN, ROOT, fake_compile

LM = str(Path(tiny_lm.__file__))


def _job(source: ExperimentRef, shape: Shape, topology: str) -> CompileJob:
    return CompileJob(source, tree.fingerprint(source.load()), shape, cost.topology(topology), scale.MeshShape())


def _lm_job(**changes: object) -> CompileJob:
    overrides: dict[str, object] = {"ema_decay": changes.pop("ema_decay")} if "ema_decay" in changes else {}
    return replace(_job(ExperimentRef(LM, overrides), Shape(0, 5, 8), "cpu:4"), **changes)


def test_a_step_compiled_here_tells_memory_flops_and_the_sum_of_its_gradients():
    found = compile_job(_lm_job())
    assert from_json(to_json(found)) == found
    assert found.arguments > 4 * 4 * found.parameters  # parameters, their average, two moments of Adam
    assert found.temporaries > 0
    assert found.product_flops > 6 * 8 * 6 * 24 * 4 * 32  # each weight of the LSTM: forward and twice backward
    assert not found.unbounded_loops
    assert found.traffic.loop_trips > 0
    communicated = total_bytes(found.collectives)
    assert set(communicated) == {("all-reduce", "data")}
    assert (
        4 * found.parameters <= communicated["all-reduce", "data"] < 4 * found.parameters + 200
    )  # and the sums of the metrics


def test_an_answer_is_kept_under_all_that_decides_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv(plan_cache.CACHE_VARIABLE, str(tmp_path))
    job = _lm_job()
    others = [
        _lm_job(shape=Shape(0, 5, 16)),
        _lm_job(topology=cost.topology("cpu:2")),
        _lm_job(layout=scale.MeshShape(fsdp=2)),
        _lm_job(ema_decay=0.0),
        _lm_job(rules=scale.Rules(((r"kernel$", (None, "fsdp")),))),
    ]
    keys = {plan_cache.key_of(other) for other in (job, *others)}
    assert len(keys) == 6
    kept = fake_compile(job)
    (tmp_path / f"{plan_cache.key_of(job)}.json").write_text(to_json(kept))
    assert plan_cache.compile_in_subprocess(job, print) == kept


WITH_A_CLASS = """\
from __future__ import annotations

from dataclasses import dataclass

from jaxasr import training
from tests import tiny_lm


@dataclass(frozen=True)
class Halved:
    rate: float

    def __call__(self, step):
        return training.Constant(self.rate / 2)(step)


def experiment():
    from dataclasses import replace

    return replace(tiny_lm.experiment(), optimizer=training.Adam(Halved(1e-2)))
"""


def test_an_experiment_of_a_file_with_a_class_is_compiled_in_another_process(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    """No other process can import the class, so the experiment itself is never pickled."""
    monkeypatch.setenv(plan_cache.CACHE_VARIABLE, str(tmp_path / "plans"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    (tmp_path / "mine.py").write_text(WITH_A_CLASS)
    source = ExperimentRef(str(tmp_path / "mine.py"), {"seed": "3"})
    found = plan_cache.compile_in_subprocess(_job(source, Shape(0, 5, 8), "cpu:1"), print)
    assert found.parameters > 0
    changed = replace(_job(source, Shape(0, 5, 8), "cpu:1"), fingerprint="00000000")
    with pytest.raises(RuntimeError, match=r"mine\.py was changed while the plan was made"):
        count_costs(changed)


@pytest.mark.slow
def test_a_process_that_fails_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv(plan_cache.CACHE_VARIABLE, str(tmp_path))
    job = _lm_job(shape=Shape(0, 5, 6))  # over four devices
    with pytest.raises(RuntimeError, match=r"no program for cpu:4, mesh data=0.*(divi|even|share)"):
        plan_cache.compile_in_subprocess(job, print)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("topology", ["v5e:2x2", "h100x8:2"])
def test_a_step_compiles_for_chips_that_are_not_here(topology: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    where = cost.topology(topology)
    module = "libtpu" if where.platform == "tpu" else "jax_plugins"
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed: pip install jax[tpu], or jax-cuda13-plugin and jax-cuda13-pjrt")
    monkeypatch.setenv(plan_cache.CACHE_VARIABLE, str(tmp_path))
    found = plan_cache.compile_in_subprocess(_lm_job(topology=where, shape=Shape(0, 5, 16)), print)
    communicated = total_bytes(found.collectives)
    assert sum(communicated.values()) >= 4 * found.parameters
    assert all("data" in axes for _, axes in communicated)
    assert found.memory_bytes > 16 * found.parameters


PUBLISHED = {
    "LAS-6-1280": ("experiments/specaugment_park2019/las_6_1280.py", Shape(196_800, 55, 512)),
    "Conformer-S": ("experiments/conformer_gulati2020/conformer.py:table_2:S-0", Shape(196_800, 79, 2_048)),
    "Conformer-M": ("experiments/conformer_gulati2020/conformer.py:table_2:M-0", Shape(196_800, 79, 2_048)),
    "Conformer-L": ("experiments/conformer_gulati2020/conformer.py:table_2:L-0", Shape(196_800, 79, 2_048)),
}


@pytest.mark.slow
def test_published_models_are_as_large_and_do_as_much_as_ever(monkeypatch: pytest.MonkeyPatch):
    """Parameters, and the FLOPs of a step on 12.3 s of speech, LibriSpeech's mean."""
    monkeypatch.chdir(ROOT)
    lines = [_line(name, reference, shape) for name, (reference, shape) in PUBLISHED.items()]
    path = GOLDEN / "plan_models.txt"
    if os.environ.get("JAXASR_RENEW_GOLDEN"):
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert lines == path.read_text(encoding="utf-8").splitlines()


def _line(name: str, reference: str, shape: Shape) -> str:
    found: StepCosts = count_costs(_job(ExperimentRef(reference), shape, "cpu:1"))
    return (
        f"{name}: {found.parameters} parameters, all-reduce of {4 * found.parameters} bytes; {shape.examples} x 12.3 s: "
        f"{found.product_flops} FLOPs of products in {found.dtype}, {found.flops} in all"
    )
