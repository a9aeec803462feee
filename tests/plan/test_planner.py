"""Tests of `jaxasr plan`: candidates, choice, report and cache, with a fake compiler except in a few tests.

tests/cost/test_collectives.py compares what is read from compiled programs with theory.
"""

import importlib
import importlib.util
import os
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from jaxasr import cost, data, scale
from jaxasr.cost.collectives import Collective
from jaxasr.cost.roofline import Assumptions, Limits, ProgramWork
from jaxasr.cost.traffic import Traffic
from jaxasr.experiment import ExperimentRef
from jaxasr.plan import Plan, PlanRequest, plan
from jaxasr.plan import report as report
from jaxasr.plan.compile import CompileJob, CompileReport
from jaxasr.plan.scaling import extrapolate_scaling, first_inefficient
from jaxasr.plan.synthetic_lengths import synthetic_lengths
from tests.trained_run import TINY

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden"
SHAPES = data.Buckets(seconds=(12.5, 24.5), tokens=400, seconds_per_batch=784.0, examples_multiple=4)
STEPS = 1_000_000
SOURCE = ExperimentRef(str(TINY), {"train_data.shapes": SHAPES, "steps": STEPS})
PARAMETERS = 1_000_000
MODULE = importlib.import_module("jaxasr.plan.planner")  # `jaxasr.plan.plan` is its function


def fake_compile(job: CompileJob, log_fn: object = None) -> CompileReport:
    """Returns a made-up report: 1 GiB for 64 rows of 24.5 s, the state split over fsdp, out of memory above 70 GiB."""
    del log_fn
    devices = job.topology.chips
    samples = job.shape.samples * job.shape.examples / devices
    needed = int(16 * PARAMETERS / job.layout.fsdp + 2**30 * samples / (64 * 24.5 * 16_000))
    gathered = Collective("all-gather", ("fsdp",), job.layout.fsdp, 4 * PARAMETERS, 1)
    summed = Collective(
        "all-reduce", ("data",), devices // job.layout.fsdp, 4 * PARAMETERS, 1, nodes=job.topology.dims[0]
    )
    return CompileReport(
        arguments=needed // 4,
        temporaries=needed - needed // 4,
        results=0,
        code=0,
        product_flops=int(1e6 * job.shape.samples * job.shape.examples),
        flops=int(2e6 * job.shape.samples * job.shape.examples),
        parameters=PARAMETERS,
        dtype="bfloat16",
        traffic=Traffic(int(1e8 + 1e3 * samples), kernels=5_000, loop_trips=100),
        collectives=(gathered, summed) if job.layout.fsdp > 1 else (summed,),
        unbounded_loops=(),
        compile_s=1.0,
        out_of_memory="RESOURCE_EXHAUSTED: it needs more" if needed > 70 * 2**30 else "",
    )


@pytest.fixture
def _compiler(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(MODULE, "synthetic_lengths", partial(synthetic_lengths, utterances=400))
    monkeypatch.setattr(MODULE, "compile_in_subprocess", fake_compile)
    monkeypatch.setattr(cost.Topology, "check_known", lambda self: None)


def _planned(**options: object) -> Plan:
    request = PlanRequest(cost.topology("h100x8:2"), **options)  # pyright: ignore[reportArgumentType]
    return plan(SOURCE, request, Path("nowhere"), log_fn=lambda line: None)


@pytest.mark.usefixtures("_compiler")
def test_meshes_and_batches_are_tried_and_the_fastest_that_fits_is_chosen():
    planned = _planned(batch_scales=(1.0, 2.0))
    tried = [(candidate.layout.fsdp, candidate.batch_scale) for candidate in planned.candidates]
    assert {candidate.layout.data * candidate.layout.fsdp for candidate in planned.candidates} == {16}
    assert tried == [(1, 1.0), (8, 1.0), (16, 1.0), (1, 2.0), (8, 2.0), (16, 2.0)]
    assert planned.chosen is planned.candidates[3]  # twice the batch pays once for kernels and gradients
    assert [bucket.shape.examples for bucket in planned.buckets] == [112, 64]
    assert sum(bucket.share for bucket in planned.buckets) == pytest.approx(1.0)


@pytest.mark.usefixtures("_compiler")
def test_examples_become_as_many_as_can_be_shared_out():
    planned = _planned(layouts=(scale.MeshShape(),))
    assert {shape.examples for candidate in planned.candidates for shape in candidate.shapes} == {
        48,
        32,
    }  # of 62 and 32 before
    with_tensor = _planned(layouts=(scale.MeshShape(tensor=16),))
    assert [shape.examples for shape in with_tensor.candidates[0].shapes] == [60, 32]


@pytest.mark.usefixtures("_compiler")
def test_a_batch_that_cannot_be_shared_out_says_why():
    planned = _planned(batch_scales=(0.1,))
    assert planned.chosen is None
    assert all("cannot hold examples_multiple = 16" in candidate.rejection for candidate in planned.candidates)
    assert "Nothing fits" in report.render_report(planned)


@pytest.mark.usefixtures("_compiler")
def test_what_does_not_fit_is_not_chosen(monkeypatch: pytest.MonkeyPatch):
    def greedy(job: CompileJob, log_fn: object) -> CompileReport:
        return replace(fake_compile(job), temporaries=100 * 2**30 // job.layout.fsdp, out_of_memory="")

    monkeypatch.setattr(MODULE, "compile_in_subprocess", greedy)
    planned = _planned()
    assert [candidate.bucket is not None and candidate.bucket.fits(80 * 10**9) for candidate in planned.candidates] == [
        False,
        True,
        True,
    ]
    assert planned.chosen is not None
    assert planned.chosen.layout.fsdp > 1


@pytest.mark.usefixtures("_compiler")
def test_the_report_is_its_golden():
    """The whole report is compared. JAXASR_RENEW_GOLDEN=1 rewrites the file; check its diff."""
    text = report.render_report(
        _planned(batch_scales=(1.0, 2.0), chip_hour_price=2.5), "jaxasr plan tiny.py --topology h100x8:2"
    )
    path = GOLDEN / "plan_report.txt"
    if os.environ.get("JAXASR_RENEW_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


@pytest.mark.usefixtures("_compiler")
def test_the_cost_of_a_run_by_hand():
    planned = _planned(layouts=(scale.MeshShape(),), chip_hour_price=2.0, with_scaling=False)
    step_s = planned.step_s
    assert step_s is not None
    by_hand = sum(bucket.share * bucket.forecast.step_s for bucket in planned.buckets if bucket.forecast is not None)
    assert step_s == pytest.approx(by_hand)
    hours = step_s * STEPS / 3600
    assert f"{hours * 16:,.0f} chip-hours, {hours * 32:,.0f} at 2 a chip-hour" in report.render_report(planned)


LIMITS = Limits(flops=1e12, memory_bytes=1, memory_bandwidth=1e9, link_bandwidth=1e9)
PERFECT = Assumptions(flops_share=1.0, memory_share=1.0, link_share=1.0, kernel_s=0.0, collective_s=0.0)


def test_scaling_by_hand():
    """On 4 devices 5 MB, on 16 devices 2 MB: 1 MB is fixed and 16 MB are shared out."""
    work = ProgramWork(flops=0.0, memory_bytes=2e6, kernels=0, collectives=())
    points = extrapolate_scaling(work, 16, (replace(work, memory_bytes=5e6), 4), lambda devices: LIMITS, PERFECT)
    assert [point.devices for point in points[:4]] == [4, 8, 16, 32]
    assert [point.strong_s for point in points[:4]] == pytest.approx([5e-3, 3e-3, 2e-3, 1.5e-3])
    assert [point.strong for point in points[:3]] == pytest.approx([1.0, 5 / 6, 5 / 8])
    assert first_inefficient(points, "strong", 0.5) == 32
    assert [point.weak for point in points] == pytest.approx([1.0] * len(points))
    assert first_inefficient(points, "weak", 0.5) is None


def test_scaling_goes_through_what_was_compiled_where_more_chips_move_less_than_their_share():
    """On 4 devices 12 MB, on 16 devices 2 MB: nothing is fixed beyond."""
    work = ProgramWork(flops=0.0, memory_bytes=2e6, kernels=0, collectives=())
    points = extrapolate_scaling(work, 16, (replace(work, memory_bytes=12e6), 4), lambda devices: LIMITS, PERFECT)
    assert [point.strong_s for point in points[:5]] == pytest.approx([12e-3, 16e-3 / 3, 2e-3, 1e-3, 0.5e-3])
    more = extrapolate_scaling(work, 16, (replace(work, memory_bytes=1e6), 4), lambda devices: LIMITS, PERFECT)
    assert [point.strong_s for point in more[:5]] == pytest.approx([1e-3, 5e-3 / 3, 2e-3, 2e-3, 2e-3])


def test_a_growing_batch_pays_for_its_collectives_alone():
    summed = Collective("all-reduce", ("data",), 2, 1_000_000, 1)
    work = ProgramWork(flops=1e9, memory_bytes=0.0, kernels=0, collectives=(summed,))
    points = extrapolate_scaling(work, 2, None, lambda devices: LIMITS, PERFECT)
    assert points[0].weak_s == pytest.approx(1e-3 + 1e-3)  # 2 (2 - 1) / 2 of 1 MB
    assert points[1].weak_s == pytest.approx(1e-3 + 1.5e-3)
    assert points[1].weak == pytest.approx(2 / 2.5)
    assert points[0].strong is None
