r"""The embedded default: a small listener, attender and speller on synthetic speech, minutes on two CPU cores.

    jaxasr prepare spoken
    jaxasr train experiments/quickstart/spoken.py --workdir runs/quickstart
Claim: at most 5 % word error rate on voices and word sequences that training does not have. launch/quickstart.sh runs it.
"""

from jaxasr import data, decode, nn, text, training
from jaxasr.experiment import Experiment, Split

TOKENS = text.Characters(" 'ABCDEFGHIJKLMNOPQRSTUVWXYZ")
SPEECH = (data.Normalize("upper"), data.Tokenize(TOKENS))
SHAPES = data.ChooseBuckets(count=4, seconds_per_batch=48.0)
EVAL_SHAPES = data.ChooseBuckets(count=2, seconds_per_batch=96.0)


def experiment() -> Experiment:
    """Returns two bidirectional layers at 40 ms with location-aware attention and CTC."""
    return Experiment(
        model=nn.Seq2Seq(
            frontend=nn.LogMel(bins=40),
            augment=nn.SpecAugment(freq_masks=2, freq_bins=8, time_masks=2, time_frames=20, time_share=0.2),
            encoder=nn.Listener(width=128, time_reduction=(4, 1), dropout=0.1),
            decoder=nn.Speller(
                1, 128, nn.LocationAttention(64, kernel_size=31), vocab=TOKENS.size, embedding=64, dropout=0.1
            ),
            ctc=nn.CtcHead(TOKENS.size),
        ),
        train_data=data.Pipeline(data.Corpus("spoken", "train"), SPEECH, SHAPES, shuffle_seed=1),
        objective=training.Objective(label_smoothing=0.1, ctc_weight=0.5),
        optimizer=training.Adam(training.RampHoldDecay(100, 550, 1_000, peak=3e-3), b2=0.98, clip_norm=5.0),
        steps=1_000,
        validation=Split(
            data.Pipeline(data.Corpus("spoken", "dev"), SPEECH, EVAL_SHAPES, shuffle_seed=0), decode.Greedy()
        ),
        evals={
            "test": Split(
                data.Pipeline(data.Corpus("spoken", "test"), SPEECH, EVAL_SHAPES, shuffle_seed=0),
                decode.Beam(8, length_norm=1.0, ctc_weight=0.3),
            ),
        },
        eval_every=500,
        save_every=500,
        log_every=25,
        ema_decay=0.99,
    )
