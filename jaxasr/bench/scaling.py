"""What an experiment takes on this machine: training step, watched search and loader, over devices, batch sizes and ways.

Every round measures every setting once, so that whatever else the machine does falls on all of them alike.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from math import ceil, lcm
from pathlib import Path
from typing import Any

import jax

from jaxasr import report, scale, tree
from jaxasr.bench.loader import bench_loader
from jaxasr.bench.overhead import loop_overhead
from jaxasr.bench.report import BenchSetting, Measurement, failed_row, measurement_row, picture, table
from jaxasr.bench.workloads import (
    Workload,
    build_step,
    commonest_shape,
    evaluation_fn,
    evaluation_workload,
    search_timer,
    step_timer,
    training_workload,
)
from jaxasr.data import BoundPipeline
from jaxasr.evaluation.decode_split import evaluated_variables
from jaxasr.evaluation.language_models import NO_LMS, language_models
from jaxasr.experiment.experiment import Experiment
from jaxasr.records import LanguageModel
from jaxasr.scale import How, Layout, Placement

PARTS = ("step", "evaluation", "loader", "loop")
PARALLELISM: Mapping[str, How] = {
    "jit": "jit",
    "pmap": "pmap",
    "mesh": "mesh",
    "fsdp": "mesh",
}  # fsdp: the state is split too
ROWS, PICTURE, PROFILE = "bench.jsonl", "bench.png", "profile"


@dataclass(frozen=True)
class BenchPlan:
    """What is measured.

    Raises:
        ValueError: nothing, or what there is not.
    """

    devices: tuple[int, ...] = ()  # none: one, and all there are
    parallelism: tuple[str, ...] = ("jit", "pmap", "mesh")
    batch_scale: tuple[float, ...] = (1.0,)  # of the examples of the plan's batches
    benchmarks: tuple[str, ...] = PARTS
    all_shapes: bool = False  # of training; False: the one that most batches have
    rounds: int = 5

    def __post_init__(self):
        for option, asked, there in (("how", self.parallelism, tuple(PARALLELISM)), ("only", self.benchmarks, PARTS)):
            if not asked or set(asked) - set(there):
                raise ValueError(f"--{option} {','.join(asked)}: one or more of {', '.join(there)} are needed")
        numbers = {"devices": self.devices or (1,), "batch-scale": self.batch_scale, "rounds": (self.rounds,)}
        for option, given in numbers.items():
            if not given or min(given) <= 0:
                raise ValueError(f"--{option} {','.join(map(str, given))}: numbers above 0 are needed")

    def parallelism_on(self, devices: int) -> tuple[str, ...]:
        """jit is for one device."""
        return tuple(way for way in self.parallelism if devices == 1 or way != "jit")

    def scaled(self, work: Workload) -> Iterator[Workload]:
        """The batch in its sizes, rounded up to what each number of devices can share out evenly."""
        multiple = lcm(*self.devices)
        for each in self.batch_scale:
            yield work.resized(multiple * ceil(round(work.examples * each / multiple, 6)))


def bench_plan(options: Mapping[str, Any]) -> BenchPlan:
    """The plan of a command's options, of which those that are None are left out.

    Raises:
        ValueError: an option that a benchmark of an experiment does not have, or one with a value that it can't have.
    """
    given = {name: value for name, value in options.items() if value is not None}
    for name in given.keys() - {each.name for each in fields(BenchPlan)}:
        raise ValueError(f"bench EXPERIMENT has no option --{name.replace('_', '-')}")
    return BenchPlan(**given)


def bench_experiment(
    experiment: Experiment,
    data_dir: Path,
    folder: Path,
    *,
    source: Path,
    plan: BenchPlan = BenchPlan(),
    workers: int = 0,
    lms: Mapping[str, str] = NO_LMS,
    profile: bool = False,
) -> Iterator[str]:
    """Measures; leaves rows (bench.jsonl, appended), a picture and where asked traces of the profiler in the folder.

    Args:
        source: the experiment's file, whose checkout the rows name.
        workers: loader processes; 0: threads.
        lms: where the language models are that the watched search fuses, by name.
        profile: leaves a trace of each setting.

    Raises:
        ValueError: there are fewer devices than asked for, or several processes.
        FileNotFoundError: the data is not prepared.
    """
    devices = _devices(max(plan.devices, default=0))
    plan = replace(plan, devices=plan.devices or tuple(sorted({1, len(devices)})))
    data = experiment.train_data.open(data_dir)
    about = {
        **report.provenance(source.resolve().parent),
        "hardware": asdict(scale.hardware()),
        "experiment": tree.fingerprint(experiment),
    }
    yield (
        f"experiment {about['experiment']} on {scale.hardware()}; batches of the plan, their examples repeated where "
        f"there are more than the plan's; fresh parameters, so that searches go to their limits; medians of {plan.rounds}"
    )
    models = language_models(lms, experiment.tokenizer).models
    measured = list(_measurements(experiment, data, data_dir, plan, devices, models))
    refused = _run_rounds(measured, plan.rounds)
    for each, why in refused:
        report.append(folder / ROWS, about | failed_row(each, why))
        yield f"left out: {each}: {why}"
    measured = [each for each in measured if each.rounds]
    if measured:
        for each in measured:
            report.append(folder / ROWS, about | measurement_row(each, measured))
        yield table(measured)
        picture(measured, folder / PICTURE, f"{source.stem} on {scale.hardware()}")
        yield f"rows: {folder / ROWS}; picture: {folder / PICTURE}"
    if "loader" in plan.benchmarks:
        yield from _loader(data, workers, about, folder / ROWS)
    if "loop" in plan.benchmarks:
        with report.Progress(plan.rounds, "bench", "blocks of the loop") as bar:
            share = loop_overhead(experiment, data_dir, blocks=plan.rounds, advance=bar.advance)
        report.append(folder / ROWS, about | share.row())
        yield share.line()
    if profile:
        yield from _profile(measured, folder / PROFILE)


def _run_rounds(measured: Sequence[Measurement], rounds: int) -> list[tuple[Measurement, str]]:
    """Measures in turn; what the runtime refuses (too much for the memory) is done with, and comes back with the reason."""
    refused: dict[int, str] = {}
    with report.Progress(rounds * len(measured), "bench", "measurements", quiet=not measured) as bar:
        for _ in range(rounds):
            for number, each in enumerate(measured):
                if number not in refused:
                    try:
                        each.rounds.append(each.measure())
                    except jax.errors.JaxRuntimeError as error:
                        refused[number] = str(error).partition("\n")[0]
                        each.rounds.clear()
                bar.advance(1, now=f"{each.setting.part} {each.setting.parallelism} on {each.setting.devices}")
    return [(measured[number], why) for number, why in refused.items()]


def _devices(at_least: int) -> Sequence[Any]:
    """Those of this process, so many at least; on a CPU they are made, if JAX has not begun yet.

    Raises:
        ValueError: there are not so many, or other processes have some.
    """
    if jax.distributed.is_initialized():
        raise ValueError("bench measures the devices of one process; start it without others (JAXASR_COORDINATOR)")
    if at_least:
        with contextlib.suppress(RuntimeError):  # JAX has begun: it has the devices that it has
            jax.config.update("jax_num_cpu_devices", at_least)
    found = jax.devices()
    if len(found) < at_least:
        raise ValueError(
            f"--devices {at_least}: this process has {len(found)} x {found[0].device_kind}; ask for as many at most (on a CPU "
            f"XLA_FLAGS=--xla_force_host_platform_device_count={at_least} makes virtual ones)"
        )
    return found


def _measurements(
    experiment: Experiment,
    data: BoundPipeline,
    data_dir: Path,
    plan: BenchPlan,
    devices: Sequence[Any],
    lms: Mapping[str, LanguageModel],
) -> Iterator[Measurement]:
    pure, state = build_step(experiment, data)
    if "step" in plan.benchmarks:
        places = range(len(data.shapes)) if plan.all_shapes else [commonest_shape(data.plan.epoch(0).bucket_ids)]
        works = [each for place in places for each in plan.scaled(training_workload(data, place))]
        for count in plan.devices:
            for way in plan.parallelism_on(count):
                layout = Layout(data=1, fsdp=count) if way == "fsdp" else None
                step = scale.compile_step(pure, PARALLELISM[way], layout=layout, devices=devices[:count])
                for work in works:
                    yield Measurement(BenchSetting("step", way, count), work, step_timer(step, state, work))
    if "evaluation" in plan.benchmarks:
        call, variables = evaluation_fn(experiment, state, lms), evaluated_variables(experiment, state)
        works = list(plan.scaled(evaluation_workload(experiment.validation.data.open(data_dir))))
        for count in plan.devices:
            placement = Placement(Layout().mesh(devices[:count]))
            for work in works:
                setting = BenchSetting("evaluation", "jit" if count == 1 else "mesh", count)
                yield Measurement(setting, work, search_timer(call, placement, variables, work))


def _loader(data: BoundPipeline, workers: int, about: Mapping[str, Any], rows: Path) -> Iterator[str]:
    """The loader on the batches of training, beside soundfile alone."""
    if not data.shape_choice.audio:
        yield "loader: batches of transcripts alone, of which nothing is decoded"
        return
    speed = bench_loader(data, workers=workers)
    report.append(rows, {**about, "part": "loader", **{k: round(v, 4) for k, v in asdict(speed).items()}})
    yield from speed.lines()


def _profile(measured: Sequence[Measurement], folder: Path) -> Iterator[str]:
    for each in measured:
        setting = each.setting
        name = f"{setting.part}-{setting.parallelism}-{setting.devices}-{each.work.examples}x{each.work.shape.padded_length}"
        with jax.profiler.trace(str(folder / name), create_perfetto_trace=True):
            each.measure()
    yield (
        f"traces of the profiler: {folder}/*/plugins/profile/*/perfetto_trace.json.gz, to open in https://ui.perfetto.dev; "
        f"or pip install xprof, and xprof --logdir {folder}/NAME"
    )
