r"""Conformer S on LibriSpeech 960 h, no language model (Gulati et al. 2020, arXiv:2005.08100).

    jaxasr train experiments/conformer_gulati2020/conformer.py --workdir runs/S-0
    jaxasr sweep experiments/conformer_gulati2020/conformer.py:table_2
The paper (table 2): 2.7 % on test-clean, 6.3 % on test-other, with a transducer. Ours: table_2.md beside this file.
"""

from collections.abc import Mapping

from jaxasr import data, decode, nn, text, training
from jaxasr.experiment import Experiment, Split

PARTS = ("train-clean-100", "train-clean-360", "train-other-500")
SPLITS = ("dev-clean", "dev-other", "test-clean", "test-other")
TOKENS = text.SentencePiece("unigram_1000.model", "e3166224", beside=__file__)
SPEECH = (data.Normalize("upper"), data.Tokenize(TOKENS))
SHAPES = data.ChooseBuckets(count=8, seconds_per_batch=25_600.0, examples_multiple=64)
EVAL_SHAPES = data.ChooseBuckets(count=4, seconds_per_batch=800.0)
SIZES = {"S": (16, 144, 4, 320), "M": (16, 256, 4, 640), "L": (17, 512, 8, 640)}
LIBRISPEECH = {
    name: data.Pipeline(data.Corpus("librispeech", name), SPEECH, EVAL_SHAPES, shuffle_seed=0) for name in SPLITS
}


def experiment() -> Experiment:
    """Returns size S: 16 blocks of width 144 with kernels of 32 at 40 ms, one decoder LSTM of 320 with additive attention."""
    return Experiment(
        model=nn.Seq2Seq(
            frontend=nn.LogMel(bins=80, normalize="global"),
            augment=nn.SpecAugment(freq_masks=2, freq_bins=27, time_masks=10, time_frames=10_000, time_share=0.05),
            encoder=nn.Conformer(
                16, 144, 4, nn.ConvSubsampling((144, 144)), kernel_size=32, dropout=0.1, layers="scan"
            ),
            decoder=nn.Speller(1, 320, nn.AdditiveAttention(144), vocab=TOKENS.size, dropout=0.1),
        ),
        train_data=data.Pipeline(
            tuple((data.Corpus("librispeech", part), 1.0) for part in PARTS), SPEECH, SHAPES, shuffle_seed=1
        ),
        objective=training.Objective(label_smoothing=0.1),
        optimizer=training.Adam(training.Noam(width=144, warmup_steps=10_000, scale=5.0), b2=0.98, eps=1e-9, l2=1e-6),
        weight_noise=training.WeightNoise(0.075, from_step=20_000),
        steps=500_000,
        validation=Split(LIBRISPEECH["dev-other"], decode.Greedy()),
        evals={name: Split(LIBRISPEECH[name], decode.Beam(8, length_norm=1.0)) for name in SPLITS},
        eval_every=5_000,
        save_every=1_000,
    )


def of_size(size: str) -> dict[str, object]:
    """Returns the changes that give the experiment a size of the paper."""
    depth, width, heads, cell = SIZES[size]
    encoder = {"depth": depth, "width": width, "heads": heads, "subsampling.channels": (width, width)}
    decoder = {"width": cell, "attention.width": width}
    return {
        **{f"model.encoder.{name}": value for name, value in encoder.items()},
        **{f"model.decoder.{name}": value for name, value in decoder.items()},
        "optimizer.schedule.width": width,
    }


def table_2():
    """Yields the paper's sizes, three seeds a row."""
    for size in SIZES:
        for seed in (0, 1, 2):
            yield f"{size}-{seed}", of_size(size) | {"seed": seed}


def table_3():
    """Yields L to a Transformer: each row lacks one more part. The number of parameters stays (section 3.4.1)."""
    relu = {"activation": "relu"}
    no_convolution = relu | {"convolution": "none", "expansion": 4.75}
    one_feed = no_convolution | {"ffn": "one", "expansion": 9.5}
    no_distances = one_feed | {"positions": "sinusoid", "expansion": 10}
    rows = {"relu": relu, "no-convolution": no_convolution, "one-feed": one_feed, "no-distances": no_distances}
    yield from of_large({"L": {}, **rows})


def table_4():
    """Yields positions and kinds of the convolution of L."""
    positions = {"convolution-first": {"convolution": "before"}, "side-by-side": {"convolution": "beside"}}
    yield from of_large({"L": {}, **positions, "lightweight": {"filters": "lightweight"}})


def table_5():
    """Yields the feed-forward layers of L; the single one is as wide as two."""
    rows = {"single-feed": {"ffn": "one", "expansion": 8}, "full-steps": {"ffn": "full"}}
    yield from of_large({"L": {}, **rows})


def table_6():
    """Yields numbers of heads of L, which has 8."""
    yield from of_large({"L": {}, **{f"heads-{heads}": {"heads": heads} for heads in (4, 16, 32)}})


def table_7():
    """Yields kernel sizes of L's convolution, which has 32."""
    yield from of_large({"L": {}, **{f"taps-{size}": {"kernel_size": size} for size in (3, 7, 17, 65)}})


def of_large(rows: Mapping[str, Mapping[str, object]]) -> list[tuple[str, dict[str, object]]]:
    """Returns changes of L's encoder by name, three seeds a row."""
    return [
        (
            f"{name}-{seed}",
            of_size("L") | {f"model.encoder.{path}": value for path, value in row.items()} | {"seed": seed},
        )
        for name, row in rows.items()
        for seed in (0, 1, 2)
    ]
