r"""A streaming recogniser on synthetic speech, with chunks of 0.32 s and a look-ahead of 0.16 s.

    jaxasr prepare spoken
    jaxasr train experiments/quickstart/streaming.py --workdir runs/streaming
    arecord -t raw -f S16_LE -r 16000 | \
        jaxasr transcribe experiments/quickstart/streaming.py --workdir runs/streaming --stream -
Claim: at most 3 % word error rate on unseen voices; the words up to the first endpoint of a stream are those of the whole
utterance, and half of them come within 0.3 s of their ends. README.md has the figures.
"""

from jaxasr import data, decode, nn, text, training
from jaxasr.experiment import Experiment, Split

TOKENS = text.Characters(" 'ABCDEFGHIJKLMNOPQRSTUVWXYZ")
SPEECH = (data.Normalize("upper"), data.Tokenize(TOKENS))
SHAPES = data.ChooseBuckets(count=3, seconds_per_batch=32.0)
EVAL_SHAPES = data.ChooseBuckets(count=2, seconds_per_batch=96.0)
MOCHA = nn.MoChA(energies=nn.AdditiveAttention(64), chunk=4, stops=nn.Monotonic(bias=-1.0))


def experiment() -> Experiment:
    """Returns two layers over chunks with look-ahead at 40 ms, chunkwise attention that starts soft, and CTC."""
    focus = nn.WarmStart(soft=nn.Softmax(), hard=MOCHA, until=1_000, change="ramp")
    return Experiment(
        model=nn.Seq2Seq(
            frontend=nn.LogMel(bins=40, normalize="global"),
            augment=nn.SpecAugment(freq_masks=2, freq_bins=8, time_masks=2, time_frames=20, time_share=0.2),
            encoder=nn.LatencyControlledBlstm(width=128, time_reduction=(4, 1), chunk=32, lookahead=16, dropout=0.1),
            decoder=nn.Speller(
                1, 128, nn.AdditiveAttention(64, focus=focus), vocab=TOKENS.size, embedding=64, dropout=0.1
            ),
            ctc=nn.CtcHead(TOKENS.size),
        ),
        train_data=data.Pipeline(data.Corpus("spoken", "train"), SPEECH, SHAPES, shuffle_seed=1),
        objective=training.Objective(
            label_smoothing=0.1, ctc_weight=0.5, auxiliary=(training.CtcSynchronous(weight=0.02),)
        ),
        optimizer=training.Adam(training.RampHoldDecay(100, 2_600, 4_000, peak=3e-3), b2=0.98, clip_norm=5.0),
        steps=4_000,
        validation=Split(
            data.Pipeline(data.Corpus("spoken", "dev"), SPEECH, EVAL_SHAPES, shuffle_seed=0), decode.Greedy()
        ),
        evals={
            "test": Split(
                data.Pipeline(data.Corpus("spoken", "test"), SPEECH, EVAL_SHAPES, shuffle_seed=0), decode.Greedy()
            ),
        },
        eval_every=1_000,
        save_every=500,
        log_every=25,
        ema_decay=0.99,
    )
