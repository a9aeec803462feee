r"""An ablation of the search on AN4: las.py's runs, decoded in other ways.

    jaxasr ngram experiments/an4/las.py runs/an4-words.arpa --order 3 --unit word
    jaxasr eval experiments/an4/searches.py --workdir runs/an4-0 --lm chars=experiments/an4/lm.py@runs/an4-lm \
        --lm words=runs/an4-words.arpa --results experiments/an4/searches.jsonl --name an4-0
Language models are trained on the 848 training transcripts alone. The weights were tuned on dev, with seed 0 (README.md).
"""

from dataclasses import replace
from pathlib import Path

from jaxasr import decode
from jaxasr.experiment import Experiment, Split, load

BEAM = decode.Beam(10, length_norm=1.0, nbest=10)
JOINT = replace(BEAM, ctc_weight=0.3)
SEARCHES = {
    "greedy": decode.Greedy(),
    "ctc": decode.CtcGreedy(),
    "beam": BEAM,
    "joint": JOINT,
    "joint-chars": replace(JOINT, scorers=(decode.LmScorer("chars", 0.1),)),
    "joint-words": replace(JOINT, scorers=(decode.LmScorer("words", 0.05),)),
    "joint-chars-internal": replace(
        JOINT,
        stop="likely",
        scorers=(decode.LmScorer("chars", 0.2), decode.InternalLm(-0.15)),  # less of one: no proof
    ),
}


def experiment() -> Experiment:
    """Returns las.py with dev and test decoded by every search; dev is for `jaxasr tune-decoding`."""
    las = load(str(Path(__file__).with_name("las.py")))
    both = [(name, search) for name in ("test", "dev") for search in SEARCHES]
    splits = {f"{name}-{search}": Split(las.evals[name].data, SEARCHES[search]) for name, search in both}
    return replace(las, evals=splits)
