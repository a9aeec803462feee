"""The subcommand that lists what is on this machine: prepared corpora and runs."""

import argparse
from collections.abc import Iterator
from pathlib import Path

from jaxasr.cli.arguments import data_dir_argument
from jaxasr.cli.command import Command

_DEPTH = 3  # folders below --runs in which runs are found
_SHOWN = ("wer", "cer", "perplexity")  # of a row


def declare_list(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `jaxasr list`."""
    parser.add_argument(
        "--runs", type=Path, default=Path("runs"), help="the folder below which runs are found (default: runs)"
    )
    data_dir_argument(parser)


def list_all(options: argparse.Namespace) -> int:
    """Prints the prepared corpora and the runs with the best row of each split."""
    print(f"corpora in {options.data_dir}:")
    print("\n".join(_corpora(options.data_dir)) or "  none; `jaxasr prepare --help` has examples")
    print(f"\nruns in {options.runs}:")
    print("\n".join(_runs(options.runs)) or "  none; `jaxasr train --help` has examples")
    return 0


def _corpora(data_dir: Path) -> Iterator[str]:
    from jaxasr.data.prepared import dataset_info

    for path in sorted(data_dir.glob(f"*/{dataset_info.VERSION}/{dataset_info.INFO_FILE}")):
        try:
            splits = dataset_info.read(path.parent).splits
        except ValueError as error:
            yield f"  {path.parents[1].name}: {error}"
            continue
        counts = ", ".join(f"{name} {info.examples:,}" for name, info in splits.items())
        size = sum(shard.size_bytes for info in splits.values() for shard in info.shards)
        yield f"  {path.parents[1].name}: {counts} utterances, {size / 1e6:,.1f} MB"


def _runs(folder: Path) -> Iterator[str]:
    from jaxasr.experiment import Workdir
    from jaxasr.training import saved_steps

    depths = ["*/" * depth for depth in range(_DEPTH)]
    found = {path.parent for depth in depths for path in folder.glob(f"{depth}experiment.txt")}
    for path in sorted(found):
        workdir = Workdir(path)
        steps = saved_steps(workdir.checkpoints)
        yield f"  {path}: {f'step {max(steps):,}' if steps else 'no checkpoint'}"
        yield from (f"    {line}" for line in _best_rows(path / "results.jsonl"))


def _best_rows(path: Path) -> Iterator[str]:
    """Yields the best row of each split: the one with the lowest word error rate or perplexity."""
    from jaxasr.report import results

    best: dict[str, tuple[float, str]] = {}
    for row in results.read(path) if path.is_file() else []:
        scores = {name: row[name] for name in _SHOWN if isinstance(row.get(name), int | float)}
        if not scores:
            continue
        shown = ", ".join(
            f"{name} {score:.2f}" if name == "perplexity" else f"{name.upper()} {score:.2%}"
            for name, score in scores.items()
        )
        split = str(row.get("split"))
        ranked = (next(iter(scores.values())), f"{split}: {shown}")
        best[split] = min(best.get(split, ranked), ranked)
    for _, line in best.values():
        yield line


COMMANDS = (
    Command(
        "list",
        "Lists the prepared corpora and the runs with the best row of each split.",
        declare_list,
        list_all,
        ("jaxasr list", "jaxasr list --runs /data/runs --data-dir /data/prepared"),
    ),
)
