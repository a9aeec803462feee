r"""Six BLSTMs that grow from two, with weight feedback, on LibriSpeech 960 h (Zeyer et al. 2018, arXiv:1805.03294).

    jaxasr train experiments/las_zeyer2018/las.py --workdir runs/zeyer-0
    jaxasr sweep experiments/las_zeyer2018/las.py:pretraining
The paper, without a language model: 14.4 % on dev-other, about 4.9 % on test-clean. Ours: table_1.md beside this file.
"""

from jaxasr import data, decode, nn, text, training
from jaxasr.experiment import Experiment, Split, Stage

PARTS = ("train-clean-100", "train-clean-360", "train-other-500")
SPLITS = ("dev-clean", "dev-other", "test-clean", "test-other")
TOKENS = text.SentencePiece("../mocha_chiu2018/bpe_10000.model", "3a859919", beside=__file__)
SPEECH = (data.Normalize("upper"), data.Tokenize(TOKENS))
SHAPES = data.ChooseBuckets(count=8, seconds_per_batch=200.0)
EVAL_SHAPES = data.ChooseBuckets(count=4, seconds_per_batch=400.0)
LIBRISPEECH = {
    name: data.Pipeline(data.Corpus("librispeech", name), SPEECH, EVAL_SHAPES, shuffle_seed=0) for name in SPLITS
}
TWENTIETH = 900  # batches: a twentieth of an epoch, after which the paper evaluates
CALM = ("objective.label_smoothing=0.0", "optimizer.on_plateau=None")  # while the encoder grows
GROWTH = ((10, "(1, 32)"), (15, "(1, 2, 4)"), (20, "(1, 2, 2, 2)"), (25, "(1, 2, 2, 2, 1)"))


def experiment() -> Experiment:
    """Returns six layers of 1024 at 80 ms on 40 features, a speller of 1000 with maxout, and CTC."""
    return Experiment(
        model=nn.Seq2Seq(
            frontend=nn.LogMel(bins=40, normalize="global"),
            encoder=nn.Listener(1024, (1, 2, 2, 2, 1, 1), pooling="max", dropout=0.3),
            decoder=nn.Speller(
                1,
                1000,
                nn.CoverageAttention(1024, fertility="learned"),
                vocab=TOKENS.size,
                embedding=621,
                maxout=1000,
                dropout=0.3,
            ),
            ctc=nn.CtcHead(TOKENS.size),
        ),
        train_data=data.Pipeline(
            tuple((data.Corpus("librispeech", part), 1.0) for part in PARTS), SPEECH, SHAPES, shuffle_seed=1
        ),
        objective=training.Objective(label_smoothing=0.1, ctc_weight=0.5),
        optimizer=training.Adam(
            training.RampHoldDecay(10 * TWENTIETH, 250 * TWENTIETH, 250 * TWENTIETH + 1, peak=8e-4),
            clip_norm=5.0,
            on_plateau=training.Newbob(0.9),
        ),
        steps=250 * TWENTIETH,
        validation=Split(LIBRISPEECH["dev-other"], decode.Greedy()),
        evals={name: Split(LIBRISPEECH[name], decode.Beam(12, length_norm=1.0)) for name in SPLITS},
        pretraining=tuple(
            Stage(until * TWENTIETH, (f"model.encoder.time_reduction={reduction}", *CALM))
            for until, reduction in GROWTH
        ),
        eval_every=TWENTIETH,
        save_every=TWENTIETH,
    )


def pretraining():
    """Yields six layers from the first step, and grown layer by layer; three seeds a row."""
    for seed in (0, 1, 2):
        yield f"at-once-{seed}", {"pretraining": (), "seed": seed}
        yield f"grown-{seed}", {"seed": seed}
