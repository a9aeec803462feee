"""Tests of the READMEs: their code runs, their links, commands and options exist, and their figures are those of rows."""

import argparse
import importlib.util
import re
import shutil
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr import decode, nn, report, text, training, tree
from jaxasr.bench import run_suite, train_and_test
from jaxasr.bench.toy_task import table as toy_task_table
from jaxasr.cli.main import build_parser
from jaxasr.experiment.files import load_module
from jaxasr.score import mean_interval, scaling_law
from tests.nn.attention.test_interface import LENGTHS, STEPS, read_all
from tests.nn.tiny import near, with_garbage
from tests.trained_run import TINY, spoken, trained_run

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
AN4 = ROOT / "experiments/an4"
SCALING = ROOT / "experiments/scaling"
ALIGNABLE = ROOT / "experiments/alignable"
PAGES = sorted(
    {
        *ROOT.glob("README.md"),
        *ROOT.glob("[!.]*/README.md"),
        *ROOT.glob("experiments/*/README.md"),
        ROOT / ".github/CONTRIBUTING.md",
    }
)
SUBPARSERS = next(action for action in build_parser()._actions if isinstance(action, argparse._SubParsersAction))
COMMANDS: dict[str, argparse.ArgumentParser] = SUBPARSERS.choices
FOREIGN_OPTIONS = {  # of XLA, launch/tpu_vm.sh, Docker, SkyPilot and Slurm
    *("--build-arg", "--user", "--volume", "--shm-size", "--gpus", "--env", "--num-nodes"),
    *("--xla_force_host_platform_device_count", "--dry-run"),
    *("--signal", "--nodes", "--ntasks-per-node", "--gpu-bind", "--gpus-per-task"),
}


def page_name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.fixture
def cosine(tmp_path):
    """Yields the attention of the README as a module."""
    block = next(code for code in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "CosineAttention" in code)
    path = tmp_path / "cosine.py"
    path.write_text(block)
    spec = importlib.util.spec_from_file_location("cosine", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["cosine"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["cosine"]


def test_the_attention_is_written_in_40_lines(cosine):
    assert len(Path(cosine.__file__).read_text().splitlines()) <= 40


def test_its_weights_are_the_softmax_of_cosines_and_blind_to_padding(cosine, rng):
    hidden_bsd = rng.normal(size=(3, 5, 4)).astype(np.float32)
    queries_ubd = jnp.asarray(rng.normal(size=(STEPS, 3, 6)), jnp.float32)
    module = cosine.CosineAttention(5)
    given = (jnp.asarray(hidden_bsd), jnp.asarray(LENGTHS), queries_ubd)
    (_, contexts, weights), variables = module.init_with_output(jax.random.key(0), *given, None, method=read_all)
    query, key = (np.asarray(variables["params"][name]["kernel"], float) for name in ("query", "key"))
    q_d = np.asarray(queries_ubd[0, 0], float) @ query
    keys_sd = hidden_bsd[0].astype(float) @ key
    cosines_s = keys_sd @ q_d / np.linalg.norm(keys_sd, axis=1) / np.linalg.norm(q_d)
    np.testing.assert_allclose(weights[0, 0, 0], np.exp(10 * cosines_s) / np.exp(10 * cosines_s).sum(), rtol=1e-4)
    _, *spoilt = module.apply(variables, with_garbage(hidden_bsd, LENGTHS, extra=3), *given[1:], None, method=read_all)
    near((spoilt[0], spoilt[1][..., :5]), (contexts, weights), rtol=1e-4)


def test_its_toy_task_runs(cosine, tmp_path, monkeypatch):
    path = tmp_path / "short.py"
    path.write_text(
        "from dataclasses import replace\nimport cosine\n\ndef tasks():\n    for name, task in cosine.tasks():\n"
        "        yield name, replace(task, steps=2, lengths=(2,), tones=replace(task.tones, longest=2))\n"
    )
    *_, table, _ = run_suite(f"{path}:tasks", tmp_path / "results.jsonl")
    assert "cosine" in table


@pytest.mark.slow
def test_it_learns_its_toy_task(cosine):
    (name, task), *_ = cosine.tasks()
    assert train_and_test(name, replace(task, lengths=(10,))).decode_form < 0.02


def test_its_python_trains_evaluates_and_transcribes(tmp_path, tmp_path_factory, monkeypatch, capsys):
    """The block of the README runs with an experiment that has been trained already."""
    block = next(code for code in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "jaxasr.train(" in code)
    for documented, trained in {"experiments/quickstart/spoken.py": str(TINY), '{"seed": 1}': "{}"}.items():
        assert documented in block
        block = block.replace(documented, trained)
    run = trained_run(tmp_path_factory)
    shutil.copytree(run.workdir, tmp_path / "runs/notebook")
    shutil.copytree(run.workdir, tmp_path / "runs/other", ignore=shutil.ignore_patterns("checkpoints"))
    monkeypatch.setenv("JAXASR_DATA", str(run.data_dir))
    monkeypatch.chdir(tmp_path)
    names = {"wave_n": spoken("CAD")}
    exec(block, names)
    *_, transcript, compared = capsys.readouterr().out.splitlines()
    assert transcript.startswith("CAD (Word(text='CAD', start_s=")
    assert compared.startswith("0.0 ")
    assert [row["split"] for row in names["rows"]] == ["train", "test"]
    tokens_bu = np.asarray(names["batch"].tokens_bu)
    assert names["outputs"].logits_buv.shape[:2] == (len(tokens_bu), tokens_bu.shape[1] + 1)
    assert names["hypotheses"].tokens_bwu.shape[:2] == (len(tokens_bu), 1)


def test_every_name_of_the_table_of_choices_is_there():
    section = README.partition("## What there is to choose from")[2].partition("\n## ")[0]
    names = set(re.findall(r"`([A-Z]\w+)", section))
    assert len(names) > 40
    assert not {name for name in names if not any(hasattr(package, name) for package in (nn, training, decode))}
    attentions = {
        name for name, value in vars(nn).items() if isinstance(value, type) and issubclass(value, nn.Attention)
    }
    assert attentions - names == {"Attention", "ScoredAttention", "QueryFreeAttention"}


def test_its_beam_is_one_and_every_name_of_its_section_is_there():
    section = README.partition("## Search and language models")[2].partition("\n## ")[0]
    names = {"decode": decode, "TOKENS": text.Characters(" ABCDEFGHIJKLMNOPQRSTUVWXYZ")}
    exec(section.partition("```python\n")[2].partition("```")[0], names)
    assert names["search"].scorer_names == ("attention", "ctc", "chars", "internal", "progress", "hotwords")
    mentioned = set(re.findall(r"decode\.([A-Z]\w+)", section))
    assert len(mentioned) > 8
    assert not {name for name in mentioned if not hasattr(decode, name)}


def test_it_is_no_longer_than_a_reader_has_patience():
    assert len(README.splitlines()) <= 350


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_relative_links_exist(page):
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        path, _, anchor = target.partition("#")
        if "://" in target:
            continue
        file = page.parent / path if path else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_commands_and_options_are_known_to_the_parser(page):
    """Options that follow a subcommand are options of this subcommand; others belong to any subcommand."""
    known = {option for command in COMMANDS.values() for option in command._option_string_actions}
    unknown = []
    for line in code_lines(page):
        call = re.match(r".*\bjaxasr ([a-z][\w-]*)", line)
        if call and call[1] not in COMMANDS:
            unknown.append(line)
        elif call:
            unknown += sorted(options(line[call.end() :]) - set(COMMANDS[call[1]]._option_string_actions))
        elif line.startswith("--"):
            unknown += sorted(options(line) - known - FOREIGN_OPTIONS)
    assert unknown == []


def code_lines(page: Path) -> list[str]:
    """Returns the shell lines of a page: of its fenced and indented blocks without Python, and its code spans."""
    blocks = re.split(r"^```(\w*)\n(.*?)^```$", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    fenced = [block for language, block in zip(blocks[1::3], blocks[2::3], strict=True) if language != "python"]
    prose = "\n".join(blocks[::3])
    lines = "\n".join([*fenced, *re.findall(r"^    (.*)$", prose, re.MULTILINE)]).replace("\\\n", " ").splitlines()
    spans = [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose)]
    return [line.partition(" #")[0] for line in lines if not line.startswith("#")] + spans


def options(words: str) -> set[str]:
    return {word.partition("=")[0] for word in words.split() if word.startswith("--")}


def test_the_figures_of_an4_are_those_of_its_rows():
    page = (AN4 / "README.md").read_text()
    rows = [row for row in report.read(AN4 / "results.jsonl") if row["commit"].startswith("d726274")]
    dev, test = ([row for row in rows if row["split"] == split] for split in ("dev", "test"))
    for a, b in zip(dev, test, strict=True):
        ours = f"{percent(b['wer'])} [{', '.join(map(percent, b['intervals']['wer']))}] | {percent(b['cer'])}"
        assert f"| {a['seed']} | {percent(a['wer'])} | {ours} |" in page
    over = mean_interval([row["wer"] for row in test])
    of_dev, of_test, of_cer = (percent(mean(part, key)) for part, key in ((dev, "wer"), (test, "wer"), (test, "cer")))
    over_seeds = f"**{of_test}** [{percent(over.low)}, {percent(over.high)} over seeds]"
    assert f"| mean of 3 | {of_dev} | {over_seeds} | {of_cer} |" in page


def an4_rows(name: str, split: str) -> dict[int, dict]:
    """Returns the rows of the runs an4-NAME-SEED by seed."""
    rows = [row for row in report.read(AN4 / "results.jsonl") if row["split"] == split]
    found = {row["seed"]: row for row in rows if str(row.get("name")).rpartition("-")[0] == f"an4-{name}"}
    return dict(sorted(found.items()))


def test_the_figures_of_the_flagship_are_those_of_its_rows():
    page = (AN4 / "README.md").read_text()
    dev, test = an4_rows("crdnn", "dev"), an4_rows("crdnn", "test")
    assert len(test) >= 3
    for seed, row in test.items():
        low, high = row["intervals"]["wer"]
        interval = f"[{percent(low)}, {percent(high)} over {row.get('intervals_over', 'utterances')}]"
        ours = f"{percent(row['wer'])} {interval} | {percent(row['cer'])}"
        assert f"| {seed} | {percent(dev[seed]['wer'])} | {ours} |" in page
    over = mean_interval([row["wer"] for row in test.values()])
    over_seeds = f"**{percent(mean(test.values(), 'wer'))}** [{percent(over.low)}, {percent(over.high)} over seeds]"
    of_dev = percent(mean(dev.values(), "wer"))
    assert f"| mean of {len(test)} | {of_dev} | {over_seeds} | {percent(mean(test.values(), 'cer'))} |" in page
    assert f"test {over_seeds}, dev {of_dev} | {len(test)} |" in README


@pytest.mark.parametrize("name", ["soft", "latent", "MoChA", "monotonic"])
def test_the_figures_of_hard_attention_are_those_of_its_rows(name):
    """The ratio is that of the sums over the seeds which both have."""
    page = (AN4 / "README.md").read_text()
    dev, test, soft = an4_rows(name, "dev"), an4_rows(name, "test"), an4_rows("soft", "test")
    both = test.keys() & soft.keys()
    ratio = f"{sum(test[seed]['wer'] for seed in both) / sum(soft[seed]['wer'] for seed in both):.2f}"
    errors = [" ".join(percent(row["wer"]) for row in rows.values()) for rows in (dev, test)]
    assert f" | {', '.join(map(str, test))} | {errors[0]} | {errors[1]} | {ratio} |" in page
    if name != "soft":
        assert f"{percent(mean(test.values(), 'wer'))} {name} ({ratio}" in README


def test_the_figures_of_whisper_are_those_of_its_rows():
    """Of letters and words in capitals, which the CRDNN is scored by, and in Whisper's normal form."""
    page = (AN4 / "README.md").read_text()
    rows = [row for row in report.read(AN4 / "whisper.jsonl") if row["split"] == "test"]
    for name in ("whisper", "whisper-an4-0", "whisper-an4-1", "whisper-an4-2"):
        found = {row["normalizer"]: row for row in rows if row["name"] == name}
        upper = found["upper"]
        low, high = map(percent, upper["intervals"]["wer"])
        ours = f"{percent(upper['wer'])} [{low}, {high} over speakers] | {percent(found['whisper_english']['wer'])}"
        assert f" | {ours} |" in page, (name, ours)
    tuned = [row["wer"] for row in rows if row["normalizer"] == "upper" and row["name"] != "whisper"]
    over = mean_interval(tuned)
    over_seeds = f"**{percent(sum(tuned) / 3)}** [{percent(over.low)}, {percent(over.high)} over seeds]"
    assert over_seeds in page
    assert f"test {over_seeds} | 3 |" in README


def test_the_scaling_study_is_that_of_its_rows():
    """The table, the prediction by the law without the largest run, and its outcome."""
    page = (SCALING / "README.md").read_text()
    rows = {row["name"]: row for row in report.read(SCALING / "results.jsonl")}
    for width in (32, 48, 80, 128):
        own = [rows[f"soft-{width}-{count}"] for count in (250, 500, 1_000, 2_000)]
        cers = " | ".join(percent(row["cer"]) for row in own)
        assert f"| {own[0]['parameters']:,}, {width} | {cers} |" in page
    over = ("N", "D")
    points = scaling_law.read_points([SCALING / "results.jsonl"], scaling_law.RowSelection("test", "cer"), over)
    fitted, held_out = scaling_law.hold_out_largest(points, over, 1)
    [found] = scaling_law.predict(scaling_law.fit_points(fitted, over, resamples=20), held_out)
    assert found.point.name == "soft-192-4000"
    assert f"CER {100 * found.error:.2f} %, band" in page
    assert f"**{100 * found.point.error:.2f} %**" in page
    assert f"CER {100 * found.point.error:.2f} on test, {100 * found.error:.2f} [" in README


def test_the_figures_of_its_searches_are_those_of_their_rows():
    page = (AN4 / "README.md").read_text()
    rows = report.read(AN4 / "searches.jsonl")
    for name in load_module(AN4 / "searches.py").SEARCHES:
        own = sorted((row for row in rows if row["split"] == f"test-{name}"), key=lambda row: row["seed"])
        wers = [percent(row["wer"]) for row in own]
        speeds = [row["audio_s_per_s"] for row in own]
        oracle = f" {percent(mean(own, 'oracle_wer'))}" if own[0]["search"].get("nbest") else ""
        line = f"| {' '.join(wers)} | {percent(mean(own, 'wer'))} |{oracle} | {min(speeds):.0f} to {max(speeds):.0f} |"
        assert line in page.replace("**", ""), name


@pytest.mark.parametrize("generator", ["attentions", "encoders", "decoders"])
def test_the_table_of_toy_tasks_is_of_their_rows(generator):
    done = {(row["name"], row["task"]): row for row in report.read(ALIGNABLE / "results.jsonl")}
    tasks = getattr(load_module(ALIGNABLE / "mechanisms.py"), generator)()
    rows = [done[name, tree.fingerprint(task)] | {"steps": task.steps} for name, task in tasks]
    assert toy_task_table(rows) in (ALIGNABLE / "README.md").read_text()


def mean(rows: Iterable[dict], key: str) -> float:
    return float(np.mean([row[key] for row in rows]))


def percent(share):
    return f"{100 * share:.1f}"
