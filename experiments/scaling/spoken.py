r"""A scaling study on synthetic speech: four sizes of the quickstart's model and four amounts of data.

    jaxasr prepare spoken train=4000 dev=200 test=1000 --data-dir DIR
    jaxasr sweep experiments/scaling/spoken.py:soft --data-dir DIR --workdir runs/scaling      # then :largest
    jaxasr fit-scaling experiments/scaling/results.jsonl --split test --metric cer --runs 'soft-*' --picture soft.png
Claim: the law of the 16 soft runs predicts a larger model on more data. README.md has the prediction and the outcome.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from jaxasr import data, decode, training
from jaxasr.experiment import Experiment, load

WIDTHS = (32, 48, 80, 128)
SHARES = (1 / 16, 1 / 8, 1 / 4, 1 / 2)  # of 4,000 utterances, 1.9 h
STEPS = 1_600
SEARCH = decode.Beam(4, length_norm=1.0, ctc_weight=0.3)
SHAPES = data.Buckets((1.9, 2.5, 5.0), (48, 56, 64), seconds_per_batch=48.0)


def experiment() -> Experiment:
    """Returns the quickstart with 1,600 steps, shapes that depend on no share of the data, and a beam of 4 with CTC."""
    quickstart = load(str(Path(__file__).parent.with_name("quickstart") / "spoken.py"))
    return replace(
        quickstart,
        train_data=replace(quickstart.train_data, shapes=SHAPES),
        optimizer=replace(quickstart.optimizer, schedule=training.RampHoldDecay(100, 900, STEPS, peak=3e-3)),
        steps=STEPS,
        validation=replace(quickstart.validation, search=SEARCH),
        evals={"test": replace(quickstart.evals["test"], search=SEARCH)},
        eval_every=400,
        save_every=400,
        selection_metric="cer",
    )


def soft() -> Iterator[tuple[str, Mapping[str, object]]]:
    """Yields every size with every amount of data, the smallest first."""
    for width in WIDTHS:
        for share in SHARES:
            yield f"soft-{width}-{round(4_000 * share)}", _changes(width, share)


def largest() -> Iterator[tuple[str, Mapping[str, object]]]:
    """Yields the point that the law of the others predicts: 1.5 times the width and twice the data."""
    yield "soft-192-4000", _changes(192, 1.0)


def _changes(width: int, share: float) -> dict[str, object]:
    kept = (*experiment().train_data.transforms, data.KeepShare(share))
    return {
        "model.encoder.width": width,
        "model.decoder.width": width,
        "train_data.transforms": kept,
    }
