"""Experiments on the corpus `tones` (tests/trained_run.py), in which every letter is a pitch: seconds on a CPU.

The command line can name them: `jaxasr train tests/tiny_experiments.py --workdir DIR`, `tests/tiny_experiments.py:restless`.
"""

from dataclasses import replace

from jaxasr import data, decode, nn, text, training
from jaxasr.experiment import Experiment, Split

TOKENS = text.Characters(" ABCD")
SPEECH = (data.Normalize("upper"), data.Tokenize(TOKENS))
SHAPES = data.Buckets(seconds=(1.0,), tokens=8, seconds_per_batch=8.0, examples_multiple=4)


def experiment() -> Experiment:
    """Overfits the eight training utterances; seven thousand parameters, one shape."""
    return Experiment(
        model=nn.Seq2Seq(
            frontend=nn.LogMel(bins=16, window_ms=40.0, hop_ms=20.0),
            encoder=nn.Listener(width=16, time_reduction=(2,)),
            decoder=nn.Speller(
                1, 16, nn.LocationAttention(16, filters=4, kernel_size=5), vocab=TOKENS.size, embedding=8
            ),
            ctc=nn.CtcHead(TOKENS.size),
        ),
        train_data=_pipeline("train"),
        objective=training.Objective(ctc_weight=0.5),
        optimizer=training.Adam(training.RampHoldDecay(20, 80, 160, peak=2e-2, end_ratio=0.1), clip_norm=5.0),
        steps=160,
        validation=Split(_pipeline("train"), decode.Greedy()),
        evals={"train": Split(_pipeline("train"), decode.Beam(3)), "test": Split(_pipeline("test"), decode.Greedy())},
        eval_every=80,
        save_every=80,
        log_every=20,
        ema_decay=0.9,
    )


def restless() -> Experiment:
    """Has everything that could be lost between two attempts of a run: randomness of every kind, gradients and metrics
    that are half accumulated, an average, feature statistics, the score of an evaluation; eight steps of four examples."""
    calm = experiment()
    return replace(
        calm,
        model=calm.model.clone(
            frontend=nn.LogMel(bins=16, window_ms=40.0, hop_ms=20.0, normalize="global"),
            encoder=nn.Listener(width=8, time_reduction=(2,), dropout=0.2),
            decoder=nn.Speller(
                1,
                8,
                nn.AdditiveAttention(8, focus=nn.HardAttention(2)),
                vocab=TOKENS.size,
                embedding=8,
                dropout=0.2,
                sampling=0.3,
            ),
            augment=nn.SpecAugment(
                freq_masks=1, freq_bins=4, time_masks=1, time_frames=10, time_share=0.3, warp_frames=3
            ),
            noise=nn.AddNoise(share=0.5, low_db=5.0, high_db=20.0),
        ),
        train_data=replace(
            calm.train_data,
            transforms=(*SPEECH, data.SpeedPerturb((0.9, 1.0, 1.1))),
            shapes=data.Buckets(seconds=(1.0,), tokens=8, seconds_per_batch=4.0, examples_multiple=4),
        ),
        objective=training.Objective(
            label_smoothing=0.1, ctc_weight=0.5, prior="unigram", auxiliary=(training.Reinforce(entropy=0.01),)
        ),
        optimizer=training.Adam(
            training.Constant(1e-2), clip_norm=1.0, accumulate_steps=2, on_plateau=training.Newbob(0.5)
        ),
        weight_noise=training.WeightNoise(0.01, from_step=2),
        steps=8,
        eval_every=4,
        save_every=4,
        log_every=4,
    )


def listening() -> Experiment:
    """Decodes streams: chunks and a look-ahead, chunkwise attention that begins soft, global normalisation."""
    calm = experiment()
    focus = nn.MoChA(energies=nn.AdditiveAttention(16), chunk=3, stops=nn.Monotonic(bias=0.0))
    attention = nn.AdditiveAttention(16, vector="normed", focus=nn.WarmStart(soft=nn.Softmax(), hard=focus, until=30))
    return replace(
        calm,
        model=calm.model.clone(
            frontend=nn.LogMel(bins=16, window_ms=40.0, hop_ms=20.0, normalize="global"),
            encoder=nn.LatencyControlledBlstm(width=16, time_reduction=(2,), chunk=4, lookahead=4),
            decoder=nn.Speller(1, 16, attention, vocab=TOKENS.size, embedding=8),
        ),
        evals={"train": calm.validation},
    )


def other_vocabulary() -> Experiment:
    """As many letters as `experiment`, in another order."""
    letters = text.Characters("DCBA ")
    calm = experiment()

    def respelt(pipeline: data.Pipeline) -> data.Pipeline:
        return replace(pipeline, transforms=(data.Normalize("upper"), data.Tokenize(letters)))

    return replace(
        calm,
        train_data=respelt(calm.train_data),
        validation=replace(calm.validation, data=respelt(calm.validation.data)),
        evals={name: replace(split, data=respelt(split.data)) for name, split in calm.evals.items()},
    )


def no_experiment() -> str:
    """Returns something that is no experiment."""
    return "not one"


def _pipeline(split: str) -> data.Pipeline:
    return data.Pipeline(data.Corpus("tones", split), SPEECH, SHAPES, shuffle_seed=1)
