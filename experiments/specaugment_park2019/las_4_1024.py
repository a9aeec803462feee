r"""LAS-4-1024 with SpecAugment on LibriSpeech 960 h, schedule B, no language model (Park et al. 2019, arXiv:1904.08779).

    jaxasr train experiments/specaugment_park2019/las_4_1024.py --workdir runs/LB-full-0
    jaxasr sweep experiments/specaugment_park2019/las_4_1024.py:table_6
The paper (table 6): 3.7 % on test-clean, 10.0 % on test-other. Ours: table_6.md beside this file.
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
    """Returns four bidirectional layers of 1024 after two strided convolutions, two decoder layers; masking policy LB."""
    return Experiment(
        model=nn.Seq2Seq(
            frontend=nn.LogMel(bins=80, normalize="global"),
            augment=nn.SpecAugment(
                warp_frames=80, freq_masks=1, freq_bins=27, time_masks=1, time_frames=100, time_share=1.0
            ),
            encoder=nn.Listener(1024, (1, 1, 1, 1), subsampling=nn.ConvSubsampling((32, 32))),
            decoder=nn.Speller(2, 1024, nn.AdditiveAttention(128), vocab=TOKENS.size),
        ),
        train_data=data.Pipeline(
            tuple((data.Corpus("librispeech", part), 1.0) for part in PARTS), SPEECH, SHAPES, shuffle_seed=1
        ),
        objective=training.Objective(label_smoothing=0.1),
        optimizer=training.Adam(training.RampHoldDecay(500, 20_000, 80_000, peak=1e-3), clip_norm=5.0),
        weight_noise=training.WeightNoise(0.075, from_step=10_000),
        steps=80_000,
        validation=Split(LIBRISPEECH["dev-other"], decode.Greedy()),
        evals={name: Split(LIBRISPEECH[name], decode.Beam(8, length_norm=1.0)) for name in SPLITS},
        eval_every=2_000,
        save_every=1_000,
    )


def table_2():
    """Yields sizes, schedules (B and D) and policies, three seeds a row."""
    schedule = "optimizer.schedule"
    twice = {
        "steps": 160_000,
        f"{schedule}.ramp_until": 1_000,
        f"{schedule}.hold_until": 40_000,
        f"{schedule}.decay_until": 160_000,
    }
    schedules = {"B": {}, "D": twice | {"weight_noise.from_step": 20_000}}
    masks = {"model.augment.freq_masks": 2, "model.augment.time_masks": 2}
    policies = {"none": {"model.augment": None}, "LB": {}, "LD": masks}
    for depth, width, schedule in ((4, 1024, "B"), (4, 1024, "D"), (6, 1024, "D"), (6, 1280, "D")):
        size = {
            "model.encoder.time_reduction": (1,) * depth,
            "model.encoder.width": width,
            "model.decoder.width": width,
        }
        for policy, changes in policies.items():
            row = f"{depth}x{width}-{schedule}-{policy}"
            for seed in (0, 1, 2):
                name = "LB-full" if row == "4x1024-B-LB" else row  # table 6 has it as well
                yield f"{name}-{seed}", size | schedules[schedule] | changes | {"seed": seed}


def table_6():
    """Yields the ablation of the policy, three seeds a row."""
    rows = {"full": {}, "no-warp": {"warp_frames": 0}, "no-freq": {"freq_masks": 0}, "no-time": {"time_masks": 0}}
    for row, changes in rows.items():
        for seed in (0, 1, 2):
            yield (
                f"LB-{row}-{seed}",
                {f"model.augment.{name}": value for name, value in changes.items()} | {"seed": seed},
            )
