"""Benchmarks: models, search, loader and the training step beside reference implementations. Nothing imports this package."""

from jaxasr.bench.benchmarks import BENCHMARKS as BENCHMARKS
from jaxasr.bench.benchmarks import benchmark as benchmark
from jaxasr.bench.loader import LoaderSpeed as LoaderSpeed
from jaxasr.bench.loader import bench_loader as bench_loader
from jaxasr.bench.loader import synthetic_speech as synthetic_speech
from jaxasr.bench.scaling import bench_experiment as bench_experiment
from jaxasr.bench.scaling import bench_plan as bench_plan
from jaxasr.bench.toy_task import Lesson as Lesson
from jaxasr.bench.toy_task import Solved as Solved
from jaxasr.bench.toy_task import examine as examine
from jaxasr.bench.toy_task import solve as solve
