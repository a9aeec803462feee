"""Benchmarks of loader, LSTM, search and training step beside reference implementations, and the synthetic alignment task."""

from jaxasr.bench.benchmarks import BENCHMARKS as BENCHMARKS
from jaxasr.bench.benchmarks import benchmark as benchmark
from jaxasr.bench.loader import LoaderThroughput as LoaderThroughput
from jaxasr.bench.loader import bench_loader as bench_loader
from jaxasr.bench.loader import synthetic_speech as synthetic_speech
from jaxasr.bench.scaling import bench_experiment as bench_experiment
from jaxasr.bench.scaling import bench_plan as bench_plan
from jaxasr.bench.toy_task import ToyResult as ToyResult
from jaxasr.bench.toy_task import ToyTask as ToyTask
from jaxasr.bench.toy_task import run_suite as run_suite
from jaxasr.bench.toy_task import train_and_test as train_and_test
