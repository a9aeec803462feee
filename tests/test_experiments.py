"""Every experiment builds, is what its golden texts say, fits its optimizer at full size, and learns something small.

The golden texts are the experiment flattened (`tests/golden/<folder>_<name>.txt`) and its parameters' paths, shapes and
dtypes (`.params.txt`), so a review sees what a change of code does to an experiment that nobody touched.
"""

import fnmatch
import inspect
import math
import os
import shutil
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr import tree
from jaxasr.experiment import Experiment, load, variants
from jaxasr.experiment.files import load_module, module_name
from jaxasr.records import Batch
from jaxasr.run.initial_state import make_apply_fn
from jaxasr.sweep import table
from jaxasr.training import make_step, new_state

ROOT = Path(__file__).parents[1]
GOLDEN = ROOT / "tests" / "golden"
EVERY = sorted((ROOT / "experiments").glob("*/*.py"))
FILES = [path for path in EVERY if "\ndef experiment(" in path.read_text()]
TABLES = [path for path in EVERY if "\nROWS = " in path.read_text()]
RENEW = "JAXASR_RENEW_GOLDEN"
HOW = f"if that is meant, renew it and look at the diff: {RENEW}=1 python -m pytest tests/test_experiments.py -k golden"
WIDTHS = {"width", "embedding"}  # fields that can be small without another field having to follow
SMALL = 8


def name_of(path: Path) -> str:
    return f"{path.parent.name}_{path.stem}"


@pytest.fixture(params=FILES, ids=name_of)
def file(request) -> Path:
    return request.param


def test_there_are_experiments_and_each_has_its_own_name():
    assert FILES
    assert len({name_of(path) for path in FILES}) == len(FILES)


def test_golden_experiment(file):
    compare(GOLDEN / f"{name_of(file)}.txt", tree.render(load(str(file))))


def test_golden_parameters(file):
    params = jax.eval_shape(lambda: variables(load(str(file)), batch()))["params"]
    leaves, _ = jax.tree_util.tree_flatten_with_path(params)
    lines = {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}
    compare(
        GOLDEN / f"{name_of(file)}.params.txt",
        "\n".join(f"{path} {leaf.dtype}{list(leaf.shape)}" for path, leaf in lines.items()),
    )


def test_no_golden_is_left_over():
    known = {f"{name_of(path)}{suffix}" for path in FILES for suffix in (".txt", ".params.txt")}
    others = ("plan_", "hlo_", "run_", "checkpoint_")  # of tests/plan, cost/test_hlo, run and training/checkpoints
    found = {path.name for path in GOLDEN.iterdir() if not path.name.startswith(others)}
    assert found <= known, "remove those whose experiment is gone"


def test_a_step_fits_at_full_size(file):
    """Model, objective and optimizer, traced with shapes alone: the state keeps its tree, shapes and dtypes."""
    experiment = load(str(file))

    def before() -> Any:
        optimizer = experiment.optimizer.build()
        key = jax.random.key(0)
        return new_state(variables(experiment, batch()), optimizer, key, keeps_average=experiment.keeps_average)

    step = make_step(
        make_apply_fn(experiment.model),
        experiment.objective,
        experiment.optimizer.build(),
        ema_decay=experiment.ema_decay,
    )
    after, sums = jax.eval_shape(lambda: step(before(), batch()))
    assert jax.tree.map(lambda x: (x.shape, x.dtype), after) == jax.tree.map(
        lambda x: (x.shape, x.dtype), jax.eval_shape(before)
    )
    assert {"loss", "gradient_norm"} <= set(sums)


def test_a_small_one_computes_a_loss(file):
    """One forward pass in training form with narrow layers. Untrained, all tokens are about as likely."""
    experiment = load(str(file))
    paths = [path for path in tree.flatten(experiment.model) if path.rpartition(".")[2] in WIDTHS]
    assert paths, "nothing to make small"
    small = tree.override(experiment, {f"model.{path}": SMALL for path in paths})

    rng = np.random.default_rng(1)
    blank = jax.eval_shape(lambda: variables(small, batch()))
    drawn = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(0.0, 0.1, leaf.shape), leaf.dtype), blank)

    @jax.jit
    def loss(variables: Any) -> Any:
        streams = {name: jax.random.key(1) for name in ("augment", "dropout", "draw")}
        return small.objective(make_apply_fn(small.model)(variables, batch(), jnp.zeros((), int), streams), batch())

    sums = loss(drawn)
    assert all(math.isfinite(each.mean) for each in sums.values())
    assert sums["cross_entropy"].mean == pytest.approx(math.log(small.tokenizer.size), rel=0.2)


def test_conformer_l_taken_apart_keeps_its_size():
    """Gulati et al. 2020, section 3.4.1: as many parameters in every row."""
    built = variants(f"{ROOT / 'experiments/conformer_gulati2020/conformer.py'}:table_3")
    leaves = {
        name: jax.tree.leaves(jax.eval_shape(lambda each=each: variables(each, batch())))
        for name, each in built.items()
    }
    sizes = {name: sum(leaf.size for leaf in each) for name, each in leaves.items()}
    assert len(sizes) == 15
    assert all(abs(size / sizes["L-0"] - 1) < 0.005 for size in sizes.values()), sizes


def test_every_generator_yields_variants(file):
    """All of them are built; a name stands for one experiment."""
    for name in generators(file):
        built = variants(f"{file}:{name}")
        assert len({tree.fingerprint(each) for each in built.values()}) == len(built), name


@pytest.mark.parametrize("table_file", TABLES, ids=name_of)
def test_tables_are_as_they_were_rendered(table_file, tmp_path):
    for path in (table_file, table_file.with_name("results.jsonl")):
        if path.is_file():
            shutil.copy(path, tmp_path / path.name)
    golden = table_file.with_suffix(".md")
    text = table(tmp_path / table_file.name)
    assert golden.is_file(), f"{golden} is missing: jaxasr table {table_file.relative_to(ROOT)}"
    assert golden.read_text() == text + "\n", f"render it again: jaxasr table {table_file.relative_to(ROOT)}"


@pytest.mark.parametrize("table_file", TABLES, ids=name_of)
def test_the_runs_of_a_table_are_variants_of_its_folder(table_file):
    """A pattern that no generator beside it can fill would say "not run" for ever."""
    files = [file for file in FILES if file.parent == table_file.parent]
    names = [name for file in files for generator in generators(file) for name in variants(f"{file}:{generator}")]
    module = load_module(table_file)
    patterns = [pattern for row in module.ROWS for column in module.COLUMNS for pattern in row.patterns(column)]
    assert [each for each in patterns if not fnmatch.filter(names, each)] == []


def generators(file: Path) -> list[str]:
    """The file's own functions that yield."""
    functions = vars(load_module(file)).items()
    return [
        name
        for name, value in functions
        if inspect.isgeneratorfunction(value) and value.__module__ == module_name(file)
    ]


def compare(golden: Path, text: str) -> None:
    if os.environ.get(RENEW):
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(text + "\n")
    assert golden.is_file(), f"{golden.relative_to(ROOT)} is missing; {HOW}"
    lines = golden.read_text().splitlines()
    assert text.splitlines() == lines, f"{golden.relative_to(ROOT)} has another experiment; {HOW}"


def variables(experiment: Experiment, batch: Batch) -> Any:
    return experiment.model.init(jax.random.key(0), batch, step=None)


def batch() -> Batch:
    """Two utterances of noise, one of them shorter, with three and two tokens."""
    rng = np.random.default_rng(0)
    lengths_b = np.array([16_000, 9_000], np.int32)
    wave_bn = rng.integers(-3_000, 3_000, (2, 16_000)).astype(np.int16)
    wave_bn[1, 9_000:] = 0
    return Batch(
        wave_bn=jnp.asarray(wave_bn),
        sample_lengths_b=jnp.asarray(lengths_b),
        tokens_bu=jnp.array([[1, 2, 3], [2, 1, 0]]),
        token_lengths_b=jnp.array([3, 2]),
        ids_b=jnp.array([11, 12], jnp.uint32),
        valid_b=jnp.ones(2, bool),
    )
