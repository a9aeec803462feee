"""The benchmark of an experiment: training step, evaluation, loader and training loop, over devices, batches, parallelism.

Every round measures every setting once, so that other work on the machine affects all settings equally.
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
    commonest_bucket,
    evaluation_fn,
    evaluation_workload,
    search_timer,
    step_timer,
    training_workload,
)
from jaxasr.data import BoundPipeline
from jaxasr.evaluation.decode_split import evaluated_variables
from jaxasr.evaluation.language_models import NO_LMS, load_language_models
from jaxasr.experiment.experiment import Experiment
from jaxasr.records import LanguageModel
from jaxasr.scale import MeshShape, Parallelism, Placement

PARTS = ("step", "evaluation", "loader", "loop")
STEP_PARALLELISM: Mapping[str, Parallelism] = {
    "jit": "jit",
    "pmap": "pmap",
    "mesh": "mesh",
    "fsdp": "mesh",  # the state is split over the devices as well
}
ROWS = "bench.jsonl"
PICTURE = "bench.png"
PROFILE = "profile"


@dataclass(frozen=True)
class BenchPlan:
    """The settings that are measured.

    Raises:
        ValueError: a field is empty, or has a value that does not exist.
    """

    devices: tuple[int, ...] = ()  # numbers of devices; empty: one, and all there are
    parallelism: tuple[str, ...] = ("jit", "pmap", "mesh")
    batch_scale: tuple[float, ...] = (1.0,)  # factors on the examples of a batch
    benchmarks: tuple[str, ...] = PARTS
    all_shapes: bool = False  # True: steps on all batch shapes; False: on the shape that most batches have
    rounds: int = 5

    def __post_init__(self):
        choices = {"parallelism": (self.parallelism, tuple(STEP_PARALLELISM)), "benchmarks": (self.benchmarks, PARTS)}
        for option, (given, allowed) in choices.items():
            if not given or set(given) - set(allowed):
                raise ValueError(f"--{option} {','.join(given)}: one or more of {', '.join(allowed)} are needed")
        numbers = {"devices": self.devices or (1,), "batch-scale": self.batch_scale, "rounds": (self.rounds,)}
        for option, given in numbers.items():
            if not given or min(given) <= 0:
                raise ValueError(f"--{option} {','.join(map(str, given))}: numbers above 0 are needed")

    def parallelism_on(self, devices: int) -> tuple[str, ...]:
        """Returns the parallelism to measure on so many devices. jit is for one device only."""
        return tuple(name for name in self.parallelism if devices == 1 or name != "jit")

    def scaled(self, work: Workload) -> Iterator[Workload]:
        """Yields the batch in all sizes, rounded up to a multiple of every number of devices."""
        multiple = lcm(*self.devices)
        for factor in self.batch_scale:
            yield work.resized(multiple * ceil(round(work.examples * factor / multiple, 6)))


def bench_plan(options: Mapping[str, Any]) -> BenchPlan:
    """Returns the plan of the options of the command line. An option that is None keeps its default.

    Raises:
        ValueError: the benchmark of an experiment does not have such an option, or the option does not have such a value.
    """
    given = {name: value for name, value in options.items() if value is not None}
    for name in given.keys() - {field.name for field in fields(BenchPlan)}:
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
    """Measures an experiment, and yields the lines of the report.

    Rows are appended to bench.jsonl in the folder. A picture and the traces of the profiler are written there too.

    Args:
        source: the file of the experiment. The rows have the commit of its checkout.
        workers: loader processes; 0: threads.
        lms: the files or runs of the language models that the validation search fuses, by name.
        profile: whether a trace of each setting is written.

    Raises:
        ValueError: there are fewer devices than requested, or several processes.
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
    models = load_language_models(lms, experiment.tokenizer).models
    measured = list(_measurements(experiment, data, data_dir, plan, devices, models))
    failed = _run_rounds(measured, plan.rounds)
    for measurement, why in failed:
        report.append(folder / ROWS, about | failed_row(measurement, why))
        yield f"left out: {measurement}: {why}"
    measured = [measurement for measurement in measured if measurement.rounds]
    if measured:
        for measurement in measured:
            report.append(folder / ROWS, about | measurement_row(measurement, measured))
        yield table(measured)
        picture(measured, folder / PICTURE, f"{source.stem} on {scale.hardware()}")
        yield f"rows: {folder / ROWS}; picture: {folder / PICTURE}"
    if "loader" in plan.benchmarks:
        yield from _loader(data, workers, about, folder / ROWS)
    if "loop" in plan.benchmarks:
        with report.Progress(plan.rounds, "bench", "blocks of the loop") as bar:
            overhead = loop_overhead(experiment, data_dir, blocks=plan.rounds, advance=bar.advance)
        report.append(folder / ROWS, about | overhead.row())
        yield overhead.line()
    if profile:
        yield from _profile(measured, folder / PROFILE)


def _run_rounds(measured: Sequence[Measurement], rounds: int) -> list[tuple[Measurement, str]]:
    """Measures all settings in each round. Returns those that the runtime rejects (out of memory) with the reason."""
    failed: dict[int, str] = {}
    with report.Progress(rounds * len(measured), "bench", "measurements", quiet=not measured) as bar:
        for _ in range(rounds):
            for number, measurement in enumerate(measured):
                if number not in failed:
                    try:
                        measurement.rounds.append(measurement.measure())
                    except jax.errors.JaxRuntimeError as error:
                        failed[number] = str(error).partition("\n")[0]
                        measurement.rounds.clear()
                setting = measurement.setting
                bar.advance(1, now=f"{setting.part} {setting.parallelism} on {setting.devices}")
    return [(measured[number], why) for number, why in failed.items()]


def _devices(at_least: int) -> Sequence[Any]:
    """Returns the devices of this process. On a CPU, virtual devices are made if JAX is not initialised yet.

    Raises:
        ValueError: there are fewer than `at_least`, or several processes.
    """
    if jax.distributed.is_initialized():
        raise ValueError("bench measures the devices of one process; start it without others (JAXASR_COORDINATOR)")
    if at_least:
        with contextlib.suppress(RuntimeError):  # JAX is initialised: its number of devices is fixed
            jax.config.update("jax_num_cpu_devices", at_least)
    found = jax.devices()
    if len(found) < at_least:
        raise ValueError(
            f"--devices {at_least}: this process has {len(found)} x {found[0].device_kind}; ask for as many at most "
            f"(on a CPU XLA_FLAGS=--xla_force_host_platform_device_count={at_least} makes virtual ones)"
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
        bucket_ids = range(len(data.shapes)) if plan.all_shapes else [commonest_bucket(data.plan.epoch(0).bucket_ids)]
        works = [work for bucket_id in bucket_ids for work in plan.scaled(training_workload(data, bucket_id))]
        for count in plan.devices:
            for parallelism in plan.parallelism_on(count):
                layout = MeshShape(data=1, fsdp=count) if parallelism == "fsdp" else None
                step = scale.compile_step(pure, STEP_PARALLELISM[parallelism], layout=layout, devices=devices[:count])
                for work in works:
                    yield Measurement(BenchSetting("step", parallelism, count), work, step_timer(step, state, work))
    if "evaluation" in plan.benchmarks:
        call = evaluation_fn(experiment, state, lms)
        variables = evaluated_variables(experiment, state)
        works = list(plan.scaled(evaluation_workload(experiment.validation.data.open(data_dir))))
        for count in plan.devices:
            placement = Placement(MeshShape().mesh(devices[:count]))
            for work in works:
                setting = BenchSetting("evaluation", "jit" if count == 1 else "mesh", count)
                yield Measurement(setting, work, search_timer(call, placement, variables, work))


def _loader(data: BoundPipeline, workers: int, about: Mapping[str, Any], rows: Path) -> Iterator[str]:
    """Measures the loader on the training batches, beside soundfile alone."""
    if not data.shape_choice.audio:
        yield "loader: batches of transcripts alone, of which nothing is decoded"
        return
    speed = bench_loader(data, workers=workers)
    report.append(rows, {**about, "part": "loader", **{k: round(v, 4) for k, v in asdict(speed).items()}})
    yield from speed.lines()


def _profile(measured: Sequence[Measurement], folder: Path) -> Iterator[str]:
    for measurement in measured:
        setting = measurement.setting
        work = measurement.work
        name = f"{setting.part}-{setting.parallelism}-{setting.devices}-{work.examples}x{work.shape.padded_length}"
        with jax.profiler.trace(str(folder / name), create_perfetto_trace=True):
            measurement.measure()
    yield (
        f"traces of the profiler: {folder}/*/plugins/profile/*/perfetto_trace.json.gz, to open in https://ui.perfetto.dev; "
        f"or pip install xprof, and xprof --logdir {folder}/NAME"
    )
