"""A plan as Markdown: what fits, what it takes, what the chips say to each other, the whole run, where it stops."""

from collections.abc import Sequence
from dataclasses import fields

from jaxasr import tree
from jaxasr.cost.roofline import collective_s
from jaxasr.plan.planner import BucketForecast, MeshCandidate, Plan
from jaxasr.plan.scaling import first_inefficient
from jaxasr.report.tables import markdown

_GIB = 2**30
_CONVENTION = (
    "Bytes are those of the whole tensor, once for a group of devices: what is summed, or what each ends up with. A device "
    "sends 2 (g - 1) / g of it in an all-reduce over g devices, (g - 1) / g in the others, by a ring. Loops are multiplied "
    "by their trips."
)


def render_report(plan: Plan, command: str = "") -> str:
    """The report."""
    asked = plan.request
    lines = [f"# {asked.topology}: what {tree.fingerprint(plan.experiment)} takes there", ""]
    lines += [f"    {command}", ""] if command else []
    lines += [f"* {each}" for each in _about(plan)]
    lines += ["", "## What fits", "", *_fits(plan)]
    if plan.chosen is not None:
        lines += [
            "",
            f"## Batch shapes, mesh {plan.chosen.layout}, batch x {plan.chosen.batch_scale:g}",
            "",
            *_shapes(plan),
        ]
        lines += ["", "## What the devices say to each other, in a step of the commonest shape", "", *_communication(plan)]
        lines += ["", "## The run", "", *_run(plan)]
    if plan.scaling:
        lines += ["", "## Where it stops scaling", "", *_scaling(plan)]
    return "\n".join([*lines, "", "## Assumptions", "", *_assumptions(plan)]) + "\n"


def _about(plan: Plan) -> list[str]:
    where, chip = plan.request.topology, plan.chip
    found = [each.bucket.program for each in plan.candidates if each.bucket is not None]
    about = [
        f"{where.chips} chips" + (f" of {where.devices_per_chip} devices each" if where.devices_per_chip > 1 else "")
    ]
    if chip is not None:
        about[0] += (
            f", each {chip.flops_bf16 / 1e12:,.0f} TFLOP/s in bfloat16 ({chip.flops_float32 / 1e12:,.0f} in float32 as JAX "
            f"computes it), {chip.memory_bytes / _GIB:.1f} GiB, {chip.memory_bandwidth / 1e9:,.0f} GB/s, "
            f"{chip.link_bandwidth / 1e9:,.0f} GB/s of links ({chip.source})"
        )
    if found:
        about.append(f"{found[0].parameters / 1e6:.1f} M parameters; products in {found[0].dtype}")
    about.append(f"{plan.experiment.steps:,} steps; batch shapes from {plan.lengths_source}")
    return about


def _fits(plan: Plan) -> list[str]:
    header = ("mesh", "batch x", "longest shape", "GiB a device", "of", "fits", "step ms", "bound by", "amount/s", "")
    lines = markdown(header, [_candidate(plan, each) for each in plan.candidates]).splitlines()
    if plan.chosen is None:
        return [
            *lines,
            "",
            "Nothing fits: try a smaller batch (--batch-scale 0.5), a mesh with more fsdp, or more chips.",
        ]
    return lines


def _candidate(plan: Plan, each: MeshCandidate) -> tuple[str, ...]:
    mark = "chosen" if plan.chosen is each else ""
    mesh, size = str(each.layout), f"{each.batch_scale:g}"
    bucket = each.bucket
    if bucket is None:
        return mesh, size, "", "", "", "no", "", "", "", each.rejection
    limit = None if plan.limits is None else plan.limits.memory_bytes
    shown = (mesh, size, _shape(plan, bucket))
    if bucket.program.out_of_memory:
        return *shown, "", _gib(limit), "no", "", "", "", bucket.program.out_of_memory[:160]
    fits = "" if limit is None else "yes" if bucket.fits(limit) else "no"
    ahead = bucket.forecast
    speed = ("", "", "") if ahead is None else (_ms(ahead.step_s), ahead.bound, _rate(plan, bucket, ahead.step_s))
    return *shown, _gib(bucket.program.memory_bytes), _gib(limit), fits, *speed, mark


def _shapes(plan: Plan) -> list[str]:
    header = (
        *("shape", "steps", "padding", "GiB state+batch", "GiB temporary", "TFLOP", "useful", "GB moved", "FLOP/byte"),
        *("kernels", "compute ms", "memory ms", "kernels ms", "link ms", "step ms", "MFU"),
    )
    rows = [_bucket(plan, each) for each in plan.buckets]
    table = markdown(header, rows).splitlines()
    endless = sorted({name for each in plan.buckets for name in each.program.unbounded_loops})
    notes = [
        "TFLOP: products of the whole batch as padded, and what is left of them without padding. GB moved, FLOP/byte (the "
        "arithmetic intensity) and kernels: of one device, elementwise work in the bytes alone. MFU: of the padded batch, "
        "against the peak in bfloat16."
    ]
    notes += [f"Loops of unknown trips, counted once: {', '.join(endless)}."] if endless else []
    return [*table, "", *notes]


def _bucket(plan: Plan, each: BucketForecast) -> tuple[str, ...]:
    found, ahead = each.program, each.forecast
    shown = (
        _shape(plan, each),
        f"{each.share:.1%}",
        f"{1 - each.real_share:.1%}",
        _gib(found.arguments + found.results),
        _gib(found.temporaries + found.code),
        f"{found.product_flops / 1e12:,.2f}",
        f"{found.product_flops * each.real_share / 1e12:,.2f}",
        f"{found.traffic.bytes / 1e9:,.1f}",
        f"{each.work.intensity:,.0f}",
        f"{found.traffic.kernels:,}",
    )
    if found.out_of_memory:
        return *shown, "", "", "", "", "", "does not fit"
    if ahead is None:
        return *shown, "", "", "", "", "", ""
    parts = (ahead.compute_s, ahead.memory_s, ahead.kernels_s, ahead.link_s, ahead.step_s)
    return *shown, *map(_ms, parts), _mfu(plan, float(found.product_flops), ahead.step_s)


def _communication(plan: Plan) -> list[str]:
    bucket = plan.commonest
    groups: dict[tuple[str, str, int], list[float]] = {}
    for each in bucket.program.collectives:
        sums = groups.setdefault((each.kind, "+".join(each.axes), each.group), [0.0, 0.0, 0.0, 0.0])
        seconds = 0.0 if plan.limits is None else collective_s(each, plan.limits, plan.assumptions)
        for place, value in enumerate((1.0, each.bytes, each.wire_bytes, seconds)):
            sums[place] += value * each.times
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
    header = ("kind", "axes", "devices", "times", "MB", "MB sent by each", "ms")
    gradients = f"All gradients in float32 are {4 * bucket.program.parameters / 1e6:,.2f} MB. "
    return [*markdown(header, rows).splitlines(), "", gradients + _CONVENTION]


def _run(plan: Plan) -> list[str]:
    if plan.step_s is None or plan.chip is None:
        return ["No forecast: a shape does not fit, or there are no published figures of this processor."]
    seconds, chips = plan.step_s * plan.experiment.steps, plan.request.topology.chips
    flops = sum(each.share * each.program.product_flops for each in plan.buckets)
    useful = sum(each.share * each.program.product_flops * each.real_share for each in plan.buckets)
    chip_hours = seconds / 3600 * chips
    return [
        f"* {_ms(plan.step_s)} ms a step in the mean, {plan.experiment.steps:,} steps: {seconds / 3600:,.2f} h without "
        "evaluations, checkpoints and compiling",
        f"* MFU {_mfu(plan, flops, plan.step_s)}, of useful products {_mfu(plan, useful, plan.step_s)}; "
        f"{flops * plan.experiment.steps / 1e18:,.2f} EFLOP in all",
        f"* {chip_hours:,.0f} chip-hours"
        + (f", {chip_hours * plan.request.chip_hour_price:,.0f} at {plan.request.chip_hour_price:g} a chip-hour" if plan.request.chip_hour_price else ""),
    ]


def _scaling(plan: Plan) -> list[str]:
    rows = [
        (
            f"{each.devices:,}",
            "" if each.strong_s is None else _ms(each.strong_s),
            "" if each.strong is None else f"{each.strong:.0%}",
            _ms(each.weak_s),
            f"{each.weak:.0%}",
        )
        for each in plan.scaling
    ]
    header = ("devices", "same batch: step ms", "efficiency", "batch grows: step ms", "efficiency ")
    share = plan.request.efficiency
    told = []
    for which, name in (("strong", "With the same batch"), ("weak", "With a batch that grows")):
        if which == "strong" and plan.scaling[0].strong is None:
            told.append(
                "With the same batch: not known, for nothing was compiled for fewer chips, or it did not fit there."
            )
            continue
        at = first_inefficient(plan.scaling, which, share)
        last = f"{plan.scaling[-1].devices:,}"
        told.append(
            f"{name} the efficiency is under {share:.0%} "
            + (f"from {at:,} devices on." if at else f"nowhere up to {last} devices.")
        )
    basis = (
        "Efficiency is against the fewest devices listed. Chips beyond one slice or one pod are taken to be linked "
        "in the same way; more devices than examples are counted as if examples could be cut."
    )
    return [*markdown(header, rows).splitlines(), "", *told, basis]


def _assumptions(plan: Plan) -> Sequence[str]:
    shown = ", ".join(f"{each.name} {getattr(plan.assumptions, each.name):g}" for each in fields(plan.assumptions))
    return [
        "* step = max(products / (flops_share x peak), bytes moved / (memory_share x bandwidth)) + kernels x kernel_s "
        "+ collectives",
        f"* {shown}; nothing here was measured on these chips",
        "* tiles that a TPU pads are in the memory and not in the bytes moved; every branch of a condition counts",
        "* a forecast is for comparing meshes, batches and machines: expect the time itself within a factor of two",
    ]


def _shape(plan: Plan, bucket: BucketForecast) -> str:
    shape, rate = bucket.shape, plan.experiment.train_data.rate_hz
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
