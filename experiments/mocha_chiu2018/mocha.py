r"""Monotonic chunkwise attention (Chiu and Raffel 2018, arXiv:1712.05382) in neural_sp's recipe for LibriSpeech 960 h.

    jaxasr train experiments/mocha_chiu2018/mocha.py --workdir runs/mocha-0
    jaxasr sweep experiments/mocha_chiu2018/mocha.py:attentions
neural_sp's README: 4.2 % on test-clean, 11.2 % on test-other with a language model. Ours: table_librispeech.md beside this.
"""

from jaxasr import data, decode, nn, text, training
from jaxasr.experiment import Experiment, Split

PARTS = ("train-clean-100", "train-clean-360", "train-other-500")
SPLITS = ("dev-clean", "dev-other", "test-clean", "test-other")
TOKENS = text.SentencePiece("bpe_10000.model", "3a859919", beside=__file__)
SPEECH = (data.Normalize("upper"), data.Tokenize(TOKENS))
SHAPES = data.ChooseBuckets(count=8, seconds_per_batch=375.0, examples_multiple=2)
EVAL_SHAPES = data.ChooseBuckets(count=4, seconds_per_batch=400.0)
LIBRISPEECH = {
    name: data.Pipeline(data.Corpus("librispeech", name), SPEECH, EVAL_SHAPES, shuffle_seed=0) for name in SPLITS
}
STOPS = nn.Monotonic(noise=1.0, bias=-4.0)
MOCHA = nn.MoChA(nn.AdditiveAttention(512), chunk=4, stops=STOPS)
ENERGY = nn.AdditiveAttention(512, vector="normed", focus=MOCHA)


def experiment() -> Experiment:
    """Returns five forward layers of 1024 at 40 ms, and a speller of 1024 with chunks of four positions."""
    return Experiment(
        model=nn.Seq2Seq(
            frontend=nn.LogMel(bins=80, normalize="global"),
            encoder=nn.Listener(1024, (1, 1, 1, 1, 1), nn.VggSubsampling((32, 32)), dropout=0.4, bidirectional=False),
            decoder=nn.Speller(1, 1024, ENERGY, vocab=TOKENS.size, embedding=512, dropout=0.4),
            ctc=nn.CtcHead(TOKENS.size),
        ),
        train_data=data.Pipeline(
            tuple((data.Corpus("librispeech", part), 1.0) for part in PARTS), SPEECH, SHAPES, shuffle_seed=1
        ),
        objective=training.Objective(label_smoothing=0.1, ctc_weight=0.3, auxiliary=(training.QuantityLoss(0.1),)),
        optimizer=training.Adam(training.RampHoldDecay(0, 93_750, 421_875, peak=1e-3, end_ratio=0.025), clip_norm=5.0),
        steps=421_875,
        validation=Split(LIBRISPEECH["dev-other"], decode.Greedy()),
        evals={name: Split(LIBRISPEECH[name], decode.Beam(10, length_norm=1.0)) for name in SPLITS},
        eval_every=9_000,
        save_every=1_500,
    )


def attentions():
    """Yields soft, hard monotonic, chunkwise from scratch and chunkwise after a soft start; three seeds a row."""
    warm = nn.WarmStart(nn.Softmax(), MOCHA, until=46_875)
    soft = {"soft": {"model.decoder.attention.focus": nn.Softmax(), "objective.auxiliary": ()}}
    hard = {"monotonic": STOPS, "mocha": MOCHA, "warm": warm}
    rows = soft | {row: {"model.decoder.attention.focus": focus} for row, focus in hard.items()}
    for row, changes in rows.items():
        for seed in (0, 1, 2):
            yield f"{row}-{seed}", changes | {"seed": seed}
