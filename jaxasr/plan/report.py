"""The report of a plan in Markdown: candidates, batch shapes, communication, the whole run, scaling, assumptions."""

from collections.abc import Sequence
from dataclasses import fields

from jaxasr import tree
from jaxasr.cost.roofline import collective_s
from jaxasr.plan.fit import FILL
from jaxasr.plan.limits import MEM_FRACTION, memory_share
from jaxasr.plan.records import BucketForecast, MeshCandidate, Plan
from jaxasr.plan.scaling import first_inefficient
from jaxasr.report.tables import markdown

_GIB = 2**30
_CONVENTION = (
    "Bytes are those of the whole tensor, once for a group of devices: the sum of an all-reduce, or the result on each "
    "device. A device sends 2 (g - 1) / g of it in an all-reduce over g devices, (g - 1) / g in the others, by a ring. "
    "Loops are multiplied by their trips."
)


def render_report(plan: Plan, command: str = "") -> str:
    """Returns the report. `command` is the command line that is shown in it."""
    request = plan.request
    lines = [f"# Forecast of experiment {tree.fingerprint(plan.experiment)} on {request.topology}", ""]
    lines += [f"    {command}", ""] if command else []
    lines += [f"* {line}" for line in _about(plan)]
    lines += ["", "## Candidates", "", *_fits(plan)]
    if plan.run is not None:
        size = "examples that fill the memory" if plan.filled else f"batch x {plan.run.batch_scale:g}"
        lines += ["", f"## Batch shapes, mesh {plan.run.layout}, {size}", "", *_shapes(plan)]
        lines += ["", "## Filled memory", "", *_filled(plan)] if plan.filled else []
        lines += [
            "",
            "## Communication, in a step of the commonest shape",
            "",
            *_communication(plan),
        ]
        lines += ["", "## The run", "", *_run(plan)]
    if plan.scaling:
        lines += ["", "## Scaling", "", *_scaling(plan)]
    return "\n".join([*lines, "", "## Assumptions", "", *_assumptions(plan)]) + "\n"


def _about(plan: Plan) -> list[str]:
    where = plan.request.topology
    chip = plan.chip
    programs = [candidate.bucket.program for candidate in plan.candidates if candidate.bucket is not None]
    about = [
        f"{where.chips} chips" + (f" of {where.devices_per_chip} devices each" if where.devices_per_chip > 1 else "")
    ]
    if chip is not None:
        about[0] += (
            f", each {chip.flops_bf16 / 1e12:,.0f} TFLOP/s in bfloat16 ({chip.flops_float32 / 1e12:,.0f} in float32 as JAX "
            f"computes it), {chip.memory_bytes / _GIB:.1f} GiB ({memory_share(where):.1%} of it for JAX), "
            f"{chip.memory_bandwidth / 1e9:,.0f} GB/s, {chip.link_bandwidth / 1e9:,.0f} GB/s of links "
            f"({where.link_share:.0%} of it in this topology); {chip.source}"
        )
    if programs:
        about.append(f"{programs[0].parameters / 1e6:.1f} M parameters; products in {programs[0].dtype}")
    about.append(f"{plan.experiment.steps:,} steps; batch shapes from {plan.lengths_source}")
    return about


def _fits(plan: Plan) -> list[str]:
    header = ("mesh", "batch x", "longest shape", "GiB a device", "of", "fits", "step ms", "bound by", "amount/s", "")
    lines = markdown(header, [_candidate(plan, candidate) for candidate in plan.candidates]).splitlines()
    if plan.chosen is None:
        advice = ["a smaller batch (--batch-scale 0.5)", "a mesh with more fsdp", "more chips"]
        if plan.request.topology.platform == "cuda" and memory_share(plan.request.topology) < 0.9:
            advice.append(f"{MEM_FRACTION}=0.92, for this plan and for the run")
        return [*lines, "", f"Nothing fits: try {', '.join(advice[:-1])}, or {advice[-1]}."]
    return lines


def _candidate(plan: Plan, candidate: MeshCandidate) -> tuple[str, ...]:
    mark = "chosen" if plan.chosen is candidate else ""
    mesh = str(candidate.layout)
    size = f"{candidate.batch_scale:g}"
    bucket = candidate.bucket
    if bucket is None:
        return mesh, size, "", "", "", "no", "", "", "", candidate.rejection
    limit = None if plan.limits is None else plan.limits.memory_bytes
    shown = (mesh, size, _shape(plan, bucket))
    if bucket.program.out_of_memory:
        return *shown, "", _gib(limit), "no", "", "", "", bucket.program.out_of_memory[:160]
    fits = "" if limit is None else "yes" if bucket.fits(limit) else "no"
    step = bucket.forecast
    speed = ("", "", "") if step is None else (_ms(step.step_s), step.bound, _rate(plan, bucket, step.step_s))
    return *shown, _gib(bucket.program.memory_bytes), _gib(limit), fits, *speed, mark


def _shapes(plan: Plan) -> list[str]:
    header = (
        *(
            "shape",
            "steps",
            "padding",
            "GiB state+batch",
            "GiB temporary",
            "TFLOP",
            "unpadded",
            "GB moved",
            "FLOP/byte",
        ),
        *("kernels", "compute ms", "memory ms", "kernels ms", "link ms", "step ms", "MFU"),
    )
    rows = [_bucket(plan, bucket) for bucket in plan.buckets]
    table = markdown(header, rows).splitlines()
    loops = sorted({name for bucket in plan.buckets for name in bucket.program.unbounded_loops})
    notes = [
        "TFLOP: products of the whole batch, with and without padding. GB moved, FLOP/byte (the "
        "arithmetic intensity) and kernels: of one device, elementwise work in the bytes alone. MFU: of the padded batch, "
        "against the peak in bfloat16."
    ]
    notes += [f"Loops of unknown trips, counted once: {', '.join(loops)}."] if loops else []
    programs = [bucket.program for bucket in plan.buckets]
    notes += [f"{reason}." for reason in dict.fromkeys(program.unread for program in programs if program.unread)]
    notes += [f"FLOPs: {note}." for note in dict.fromkeys(note for program in programs for note in program.notes)]
    return [*table, "", *notes]


def _filled(plan: Plan) -> list[str]:
    """Returns the overrides of `--fit` and the share of the memory that each shape takes."""
    limit = 0 if plan.limits is None else plan.limits.memory_bytes
    rows = [
        (
            _shape(plan, bucket),
            _gib(bucket.program.memory_bytes),
            f"{bucket.program.memory_bytes / max(limit, 1):.1%}",
            "" if bucket.forecast is None else _rate(plan, bucket, bucket.forecast.step_s),
            "" if bucket.forecast is None else _mfu(plan, float(bucket.program.product_flops), bucket.forecast.step_s),
            f"{1 - bucket.real_share:.1%}",
        )
        for bucket in plan.buckets
    ]
    return [
        f"At most {FILL:.0%} of {_gib(limit)} GiB a device, by compiled programs. These overrides are for `jaxasr train`. "
        "The batches then have another size: check the schedule of the learning rate and the number of steps.",
        "",
        *(f"    '{override}'" for override in plan.overrides),
        "",
        *markdown(("shape", "GiB a device", "of the memory", "amount/s", "MFU", "padding"), rows).splitlines(),
    ]


def _bucket(plan: Plan, bucket: BucketForecast) -> tuple[str, ...]:
    program = bucket.program
    step = bucket.forecast
    shown = (
        _shape(plan, bucket),
        f"{bucket.share:.1%}",
        f"{1 - bucket.real_share:.1%}",
        _gib(program.arguments + program.results),
        _gib(program.temporaries + program.code),
        f"{program.product_flops / 1e12:,.2f}",
        f"{program.product_flops * bucket.real_share / 1e12:,.2f}",
        *(("", "", "") if program.unread else _moved(bucket)),
    )
    if program.out_of_memory:
        return *shown, "", "", "", "", "", "does not fit"
    if step is None:
        return *shown, "", "", "", "", "", ""
    parts = (step.compute_s, step.memory_s, step.kernels_s, step.link_s, step.step_s)
    return *shown, *map(_ms, parts), _mfu(plan, float(program.product_flops), step.step_s)


def _moved(bucket: BucketForecast) -> tuple[str, str, str]:
    traffic = bucket.program.traffic
    return f"{traffic.bytes / 1e9:,.1f}", f"{bucket.work.intensity:,.0f}", f"{traffic.kernels:,}"


def _communication(plan: Plan) -> list[str]:
    bucket = plan.commonest
    if bucket.program.unread:
        return [f"{bucket.program.unread}."]
    groups: dict[tuple[str, str, int], list[float]] = {}
    for collective in bucket.program.collectives:
        key = (collective.kind, "+".join(collective.axes), collective.group)
        sums = groups.setdefault(key, [0.0, 0.0, 0.0, 0.0])
        seconds = 0.0 if plan.limits is None else collective_s(collective, plan.limits, plan.assumptions)
        for column, value in enumerate((1.0, collective.bytes, collective.wire_bytes, seconds)):
            sums[column] += value * collective.times
    rows = [
        (
            kind,
            axes,
            f"{group}",
            f"{times:,.0f}",
            f"{whole / 1e6:,.2f}",
            f"{wire / 1e6:,.2f}",
            _ms(seconds) if seconds else "",
        )
        for (kind, axes, group), (times, whole, wire, seconds) in sorted(groups.items(), key=lambda item: -item[1][1])
    ]
    if not rows:
        return ["Nothing: there is one device."]
    header = ("kind", "axes", "devices", "times", "MB", "MB sent by a device", "ms")
    gradients = f"All gradients in float32 are {4 * bucket.program.parameters / 1e6:,.2f} MB. "
    return [*markdown(header, rows).splitlines(), "", gradients + _CONVENTION]


def _run(plan: Plan) -> list[str]:
    if plan.step_s is None or plan.chip is None:
        return [
            "No forecast: a shape does not fit, its program could not be read, or there are no published figures of this "
            "processor."
        ]
    seconds = plan.step_s * plan.experiment.steps
    chips = plan.request.topology.chips
    flops = sum(bucket.share * bucket.program.product_flops for bucket in plan.buckets)
    real_flops = sum(bucket.share * bucket.program.product_flops * bucket.real_share for bucket in plan.buckets)
    chip_hours = seconds / 3600 * chips
    return [
        f"* {_ms(plan.step_s)} ms a step in the mean, {plan.experiment.steps:,} steps: {seconds / 3600:,.2f} h without "
        "evaluations, checkpoints and compiling",
        f"* MFU {_mfu(plan, flops, plan.step_s)}, without padding {_mfu(plan, real_flops, plan.step_s)}; "
        f"{flops * plan.experiment.steps / 1e18:,.2f} EFLOP in all",
        f"* {chip_hours:,.0f} chip-hours"
        + (
            f", {chip_hours * plan.request.chip_hour_price:,.0f} at {plan.request.chip_hour_price:g} a chip-hour"
            if plan.request.chip_hour_price
            else ""
        ),
    ]


def _scaling(plan: Plan) -> list[str]:
    rows = [
        (
            f"{point.devices:,}",
            "" if point.strong_s is None else _ms(point.strong_s),
            "" if point.strong is None else f"{point.strong:.0%}",
            _ms(point.weak_s),
            f"{point.weak:.0%}",
        )
        for point in plan.scaling
    ]
    header = ("devices", "same batch: step ms", "efficiency", "batch grows: step ms", "efficiency ")
    share = plan.request.efficiency
    lines = []
    for which, name in (("strong", "With the same batch"), ("weak", "With a batch that grows")):
        if which == "strong" and plan.scaling[0].strong is None:
            lines.append(
                "With the same batch: not known, for nothing was compiled for fewer chips, or it did not fit there."
            )
            continue
        at = first_inefficient(plan.scaling, which, share)
        last = f"{plan.scaling[-1].devices:,}"
        lines.append(
            f"{name} the efficiency is under {share:.0%} "
            + (f"from {at:,} devices on." if at else f"nowhere up to {last} devices.")
        )
    basis = (
        "Efficiency is against the fewest devices listed. Chips beyond one slice or one pod are taken to be linked "
        "in the same way; more devices than examples are counted as if examples could be cut."
    )
    return [*markdown(header, rows).splitlines(), "", *lines, basis]


def _assumptions(plan: Plan) -> Sequence[str]:
    shown = ", ".join(f"{field.name} {getattr(plan.assumptions, field.name):g}" for field in fields(plan.assumptions))
    return [
        "* step = max(products / (flops_share x peak), bytes moved / (memory_share x bandwidth)) + kernels x kernel_s "
        "+ collectives",
        f"* {shown}; nothing here was measured on these chips",
        "* tiles that a TPU pads are in the memory and not in the bytes moved; every branch of a condition counts",
        "* a forecast is for comparing meshes, batches and machines: expect the time itself within a factor of two",
    ]


def _shape(plan: Plan, bucket: BucketForecast) -> str:
    shape = bucket.shape
    rate = plan.experiment.train_data.rate_hz
    length = f"{shape.samples / rate:g} s, " if shape.samples else ""
    return f"{shape.examples} x ({length}{shape.tokens} tokens)"


def _rate(plan: Plan, bucket: BucketForecast, step_s: float) -> str:
    shape = bucket.shape
    amount = shape.padded_length * shape.examples / step_s
    return f"{amount / plan.experiment.train_data.rate_hz:,.0f} s" if shape.samples else f"{amount:,.0f} tokens"


def _mfu(plan: Plan, flops: float, step_s: float) -> str:
    return "" if plan.chip is None else f"{plan.chip.mfu(flops / step_s, chips=plan.request.topology.chips):.1%}"


def _gib(size: int | None) -> str:
    return "" if size is None else f"{size / _GIB:.2f}"


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:,.2f}"
