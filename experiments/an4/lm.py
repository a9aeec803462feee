r"""A character language model on the 848 transcripts that las.py is trained on.

    jaxasr train experiments/an4/lm.py --workdir runs/an4-lm --results experiments/an4/lm_results.jsonl
    jaxasr eval experiments/an4/searches.py --workdir runs/an4-0 --splits test-joint-chars \
        --lm chars=experiments/an4/lm.py@runs/an4-lm
Its vocabulary is las.py's, so that a search can fuse the two. dev chooses the checkpoint; test is read once, at the end.
"""

from jaxasr import data, nn, text, training
from jaxasr.experiment import Experiment, Split

TOKENS = text.Characters(" ABCDEFGHIJKLMNOPQRSTUVWXYZ")
TEXT = (data.Normalize("upper"), data.Tokenize(TOKENS))
SHAPES = data.ChooseTokenBuckets(count=3, tokens_per_batch=1_000)
EVAL_SHAPES = data.ChooseTokenBuckets(count=1, tokens_per_batch=8_000)


def experiment() -> Experiment:
    """Returns one LSTM layer with dropout 0.5, because 848 sentences are few."""
    return Experiment(
        model=nn.LstmLm(1, 256, dropout=0.5, recurrent_dropout=0.3, vocab=TOKENS.size),
        train_data=data.Pipeline(data.Corpus("an4", "train"), TEXT, SHAPES, shuffle_seed=1),
        objective=training.Objective(),
        optimizer=training.Adam(training.RampHoldDecay(50, 600, 1_200, peak=4e-3), clip_norm=1.0),
        steps=1_200,
        validation=Split(data.Pipeline(data.Corpus("an4", "dev"), TEXT, EVAL_SHAPES, shuffle_seed=0)),
        evals={
            "dev": Split(data.Pipeline(data.Corpus("an4", "dev"), TEXT, EVAL_SHAPES, shuffle_seed=0)),
            "test": Split(data.Pipeline(data.Corpus("an4", "test"), TEXT, EVAL_SHAPES, shuffle_seed=0)),
        },
        eval_every=100,
        save_every=100,
        log_every=20,
        ema_decay=0.99,
    )
