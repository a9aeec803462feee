r"""Listen, attend and spell on AN4's 848 training utterances (0.63 h): no language model, no other data.

    jaxasr prepare an4 --from DIR
    jaxasr train experiments/an4/las.py --workdir runs/an4-0 --results experiments/an4/results.jsonl seed=0
ESPnet's split: 848 train, 100 dev (chooses the checkpoint), 130 test (decoded once, at the end). README.md has the rows.
"""

from jaxasr import data, decode, nn, text, training
from jaxasr.experiment import Experiment, Split

TOKENS = text.Characters(" ABCDEFGHIJKLMNOPQRSTUVWXYZ")
SPEECH = (data.Normalize("upper"), data.Tokenize(TOKENS))
SPEEDS = (data.SpeedPerturb((0.9, 1.0, 1.1)),)
SHAPES = data.ChooseBuckets(count=4, seconds_per_batch=48.0)
EVAL_SHAPES = data.ChooseBuckets(count=2, seconds_per_batch=96.0)


def experiment() -> Experiment:
    """Returns three bidirectional layers at 30 ms with location-aware attention and CTC; 3.1 M parameters."""
    return Experiment(
        model=nn.Seq2Seq(
            frontend=nn.LogMel(bins=80, vocal_tract=0.1),
            augment=nn.SpecAugment(freq_masks=2, freq_bins=27, time_masks=2, time_frames=40, time_share=0.3),
            encoder=nn.Listener(width=192, time_reduction=(3, 1, 1), dropout=0.3),
            decoder=nn.Speller(1, 192, nn.LocationAttention(192, kernel_size=31), vocab=TOKENS.size, dropout=0.3),
            ctc=nn.CtcHead(TOKENS.size),
        ),
        train_data=data.Pipeline(data.Corpus("an4", "train"), SPEECH + SPEEDS, SHAPES, shuffle_seed=1),
        objective=training.Objective(label_smoothing=0.1, ctc_weight=0.5),
        optimizer=training.Adam(training.RampHoldDecay(200, 3_000, 5_200, peak=2e-3), b2=0.98, clip_norm=5.0),
        steps=5_200,
        validation=Split(
            data.Pipeline(data.Corpus("an4", "dev"), SPEECH, EVAL_SHAPES, shuffle_seed=0),
            decode.Beam(10, length_norm=1.0, ctc_weight=0.3),
        ),
        evals={
            "dev": Split(
                data.Pipeline(data.Corpus("an4", "dev"), SPEECH, EVAL_SHAPES, shuffle_seed=0),
                decode.Beam(10, length_norm=1.0, ctc_weight=0.3),
            ),
            "test": Split(
                data.Pipeline(data.Corpus("an4", "test"), SPEECH, EVAL_SHAPES, shuffle_seed=0),
                decode.Beam(10, length_norm=1.0, ctc_weight=0.3),
            ),
        },
        eval_every=650,
        save_every=650,
        log_every=50,
        ema_decay=0.998,
    )
