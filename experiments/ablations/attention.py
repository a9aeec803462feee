r"""An ablation of the attention on AN4: one recogniser, one budget, another attention in each row, three seeds a row.

    jaxasr sweep experiments/ablations/attention.py:attentions --workdir runs/ablations --jobs 2
    jaxasr table experiments/ablations/attention_table.py
A smaller and shorter las.py (experiments/an4) at 60 ms; searches use the attention alone. Hard attentions start soft.
"""

from collections.abc import Iterator, Mapping

from jaxasr import data, decode, nn, text, training
from jaxasr.experiment import Experiment, Split

TOKENS = text.Characters(" ABCDEFGHIJKLMNOPQRSTUVWXYZ")
SPEECH = (data.Normalize("upper"), data.Tokenize(TOKENS))
SPEEDS = (data.SpeedPerturb((0.9, 1.0, 1.1)),)
SHAPES = data.ChooseBuckets(count=4, seconds_per_batch=48.0)
EVAL_SHAPES = data.ChooseBuckets(count=2, seconds_per_batch=96.0)
DEV = data.Pipeline(data.Corpus("an4", "dev"), SPEECH, EVAL_SHAPES, shuffle_seed=0)
TEST = data.Pipeline(data.Corpus("an4", "test"), SPEECH, EVAL_SHAPES, shuffle_seed=0)
SOFT_STEPS = 1_200  # steps of soft attention before a hard one


def experiment() -> Experiment:
    """Returns the baseline row: location-aware attention."""
    return Experiment(
        model=nn.Seq2Seq(
            frontend=nn.LogMel(bins=80, vocal_tract=0.1),
            augment=nn.SpecAugment(freq_masks=2, freq_bins=27, time_masks=2, time_frames=40, time_share=0.3),
            encoder=nn.Listener(width=128, time_reduction=(3, 2, 1), dropout=0.2),
            decoder=nn.Speller(1, 128, nn.LocationAttention(128, kernel_size=31), vocab=TOKENS.size, dropout=0.2),
            ctc=nn.CtcHead(TOKENS.size),
        ),
        train_data=data.Pipeline(data.Corpus("an4", "train"), SPEECH + SPEEDS, SHAPES, shuffle_seed=1),
        objective=training.Objective(label_smoothing=0.1, ctc_weight=0.5),
        optimizer=training.Adam(training.RampHoldDecay(200, 1_400, 2_400, peak=2e-3), b2=0.98, clip_norm=5.0),
        steps=2_400,
        validation=Split(DEV, decode.Beam(4, length_norm=1.0)),
        evals={
            "dev": Split(DEV, decode.Beam(8, length_norm=1.0)),
            "test": Split(TEST, decode.Beam(8, length_norm=1.0)),
        },
        eval_every=800,
        save_every=800,
        log_every=50,
        ema_decay=0.995,
    )


def hard(focus: nn.AlignmentFn) -> nn.Attention:
    """Returns a hard attention with additive energies that is soft in the first steps."""
    return nn.AdditiveAttention(
        128, vector="normed", focus=nn.WarmStart(soft=nn.Softmax(), hard=focus, until=SOFT_STEPS)
    )


def attentions() -> Iterator[tuple[str, Mapping[str, object]]]:
    """Yields rows by name with three seeds; all rows of the first seed come first."""
    rows = {
        "location-aware": nn.LocationAttention(128, kernel_size=31),
        "additive": nn.AdditiveAttention(128),
        "dot": nn.DotAttention(128, heads=1),
        "coverage": nn.CoverageAttention(128),
        "Gaussians": nn.GmmAttention(128, components=3, pace=3.0, spread=3.0),
        "monotonic": hard(nn.Monotonic()),
        "MoChA": hard(nn.MoChA(energies=nn.AdditiveAttention(128), chunk=8)),
        "sampled": hard(nn.HardAttention(samples=2)),
        "none": nn.FixedVector(),
    }
    terms = {"sampled": (training.Reinforce(weight=1.0),), "MoChA": (training.QuantityLoss(weight=0.1),)}
    for seed in (0, 1, 2):
        for name, attention in rows.items():
            changes = {"model.decoder.attention": attention, "objective.auxiliary": terms.get(name, ())}
            yield f"{name}-{seed}", changes | {"seed": seed}
