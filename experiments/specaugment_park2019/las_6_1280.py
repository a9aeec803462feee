r"""LAS-6-1280 with SpecAugment LD on LibriSpeech 960 h, schedule L, no language model (Park et al. 2019, arXiv:1904.08779).

    jaxasr train experiments/specaugment_park2019/las_6_1280.py --workdir runs/LD-0
    jaxasr sweep experiments/specaugment_park2019/las_6_1280.py:table_3
The paper (table 3): 2.8 % on test-clean, 6.8 % on test-other. Ours: table_3.md beside this file.
"""

from jaxasr import data, decode, nn, text, training
from jaxasr.experiment import Experiment, Split

PARTS = ("train-clean-100", "train-clean-360", "train-other-500")
SPLITS = ("dev-clean", "dev-other", "test-clean", "test-other")
TOKENS = text.SentencePiece("unigram_16000.model", "e4dbd054", beside=__file__)
SPEECH = (data.Normalize("upper"), data.Tokenize(TOKENS))
SHAPES = data.ChooseBuckets(count=8, seconds_per_batch=6_400.0, examples_multiple=32)
EVAL_SHAPES = data.ChooseBuckets(count=4, seconds_per_batch=800.0)
LIBRISPEECH = {
    name: data.Pipeline(data.Corpus("librispeech", name), SPEECH, EVAL_SHAPES, shuffle_seed=0) for name in SPLITS
}


def experiment() -> Experiment:
    """Returns six bidirectional layers of 1280 after two strided convolutions, two decoder layers; masking policy LD."""
    return Experiment(
        model=nn.Seq2Seq(
            frontend=nn.LogMel(bins=80, normalize="global"),
            augment=nn.SpecAugment(
                warp_frames=80, freq_masks=2, freq_bins=27, time_masks=2, time_frames=100, time_share=1.0
            ),
            encoder=nn.Listener(1280, (1, 1, 1, 1, 1, 1), subsampling=nn.ConvSubsampling((32, 32))),
            decoder=nn.Speller(2, 1280, nn.AdditiveAttention(128), vocab=TOKENS.size),
        ),
        train_data=data.Pipeline(
            tuple((data.Corpus("librispeech", part), 1.0) for part in PARTS), SPEECH, SHAPES, shuffle_seed=1
        ),
        objective=training.Objective(label_smoothing=0.1),
        optimizer=training.Adam(training.RampHoldDecay(1_000, 140_000, 320_000, peak=1e-3), clip_norm=5.0),
        weight_noise=training.WeightNoise(0.075, from_step=20_000),
        steps=320_000,
        validation=Split(LIBRISPEECH["dev-other"], decode.Greedy()),
        evals={name: Split(LIBRISPEECH[name], decode.Beam(8, length_norm=1.0)) for name in SPLITS},
        eval_every=4_000,
        save_every=1_000,
    )


def table_3():
    """Yields runs without masks and with them, three seeds a row."""
    for seed in (0, 1, 2):
        yield f"none-{seed}", {"model.augment": None, "seed": seed}
        yield f"LD-{seed}", {"seed": seed}
