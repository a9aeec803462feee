r"""The recogniser of las.py with two blocks of convolutions before its recurrent layers.

    jaxasr prepare an4 --from DIR
    jaxasr sweep experiments/an4/crdnn.py:seeds --workdir runs      # five seeds; rows: experiments/an4/results.jsonl
Data, objective, search and evaluation are those of las.py, so that the two can be compared utterance by utterance.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from jaxasr import nn, training
from jaxasr.experiment import Experiment, load


def experiment() -> Experiment:
    """Returns a CRDNN at 40 ms: convolutions, two bidirectional layers of 192, one dense layer."""
    las = load(str(Path(__file__).with_name("las.py")))
    convolutions = nn.VggSubsampling((16, 32), time_pools=(2, 2), bin_pools=(2, 2), norm="layer", leak=0.01)
    recurrent = nn.Listener(width=192, time_reduction=(1, 1), dropout=0.3, subsampling=convolutions)
    return replace(
        las,
        model=replace(las.model, encoder=nn.Crdnn(recurrent, dense=(256,), dropout=0.3)),
        optimizer=replace(las.optimizer, schedule=training.RampHoldDecay(400, 2_600, 4_400, peak=1.5e-3)),
        steps=4_400,
        eval_every=1_100,
        save_every=550,
    )


def seeds() -> Iterator[tuple[str, dict[str, int]]]:
    """Yields five seeds."""
    for seed in range(5):
        yield f"an4-crdnn-{seed}", {"seed": seed}
