"""A language model on the lines of tests/evaluation/test_evaluators.py: `jaxasr train tests/tiny_lm.py --workdir DIR`."""

from jaxasr import data, nn, text, training
from jaxasr.experiment import Experiment, Split

TOKENS = text.Characters(" ABCD")
TEXT = (data.Normalize("upper"), data.Tokenize(TOKENS))
SHAPES = data.ChooseTokenBuckets(count=2, tokens_per_batch=32)


def experiment() -> Experiment:
    """Learns eight lines by heart; three thousand parameters."""
    return Experiment(
        model=nn.LstmLm(1, 24, 8, dropout=0.1, vocab=TOKENS.size),
        train_data=_pipeline("train"),
        objective=training.Objective(),
        optimizer=training.Adam(training.Constant(2e-2), clip_norm=5.0),
        steps=60,
        validation=Split(_pipeline("train")),
        evals={"train": Split(_pipeline("train"))},
        eval_every=20,
        save_every=20,
        log_every=10,
        ema_decay=0.9,
    )


def _pipeline(split: str) -> data.Pipeline:
    return data.Pipeline(data.Corpus("lines", split), TEXT, SHAPES, shuffle_seed=1)
