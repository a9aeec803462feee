r"""An ablation of the encoder on AN4: one budget, one speller, another encoder of about 1.2 M parameters in each row.

    jaxasr sweep experiments/ablations/encoders.py:encoders --workdir runs/ablations --jobs 2
    jaxasr table experiments/ablations/encoders_table.py
A smaller and shorter las.py (experiments/an4), with CTC beside the attention in training and in the search.
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
SEARCH = decode.Beam(8, length_norm=1.0, ctc_weight=0.3)


def experiment() -> Experiment:
    """Returns the baseline row: a bidirectional LSTM at 30 ms."""
    return Experiment(
        model=nn.Seq2Seq(
            frontend=nn.LogMel(bins=80, vocal_tract=0.1),
            augment=nn.SpecAugment(freq_masks=2, freq_bins=27, time_masks=2, time_frames=40, time_share=0.3),
            encoder=nn.Listener(width=128, time_reduction=(3, 1, 1), dropout=0.3),
            decoder=nn.Speller(1, 128, nn.LocationAttention(128, kernel_size=31), vocab=TOKENS.size, dropout=0.3),
            ctc=nn.CtcHead(TOKENS.size),
        ),
        train_data=data.Pipeline(data.Corpus("an4", "train"), SPEECH + SPEEDS, SHAPES, shuffle_seed=1),
        objective=training.Objective(label_smoothing=0.1, ctc_weight=0.5),
        optimizer=training.Adam(training.RampHoldDecay(200, 1_400, 2_400, peak=2e-3), b2=0.98, clip_norm=5.0),
        steps=2_400,
        validation=Split(DEV, SEARCH),
        evals={"dev": Split(DEV, SEARCH), "test": Split(TEST, SEARCH)},
        eval_every=800,
        save_every=800,
        log_every=50,
        ema_decay=0.995,
    )


def encoders() -> Iterator[tuple[str, Mapping[str, object]]]:
    """Yields rows by name with three seeds, all rows of the first seed first. Self-attention has a lower learning rate."""
    conv = nn.ConvSubsampling((32, 32))
    vgg = nn.VggSubsampling(channels=(16, 32), time_pools=(2, 2), bin_pools=(2, 2))
    crdnn = nn.VggSubsampling(channels=(16, 32), time_pools=(2, 2), bin_pools=(2, 2), norm="layer", leak=0.01)
    rows = {
        "BLSTM": nn.Listener(width=128, time_reduction=(3, 1, 1), dropout=0.3),
        "BGRU": nn.Listener(width=144, time_reduction=(3, 1, 1), dropout=0.3, cell="gru"),
        "LSTM": nn.Listener(width=216, time_reduction=(3, 1, 1), dropout=0.3, bidirectional=False),
        "latency-controlled": nn.LatencyControlledBlstm(128, (3, 1, 1), chunk=48, lookahead=24, dropout=0.3),
        "VGG-BLSTM": nn.Listener(width=128, time_reduction=(1, 1), dropout=0.3, subsampling=vgg),
        "CRDNN": nn.Crdnn(
            nn.Listener(width=128, time_reduction=(1, 1), dropout=0.3, subsampling=crdnn), dense=(256,), dropout=0.3
        ),
        "TDS": nn.Tds((4, 5), depths=(2, 2), strides=(2, 2), kernel_size=9, output=256, dropout=0.2),
        "Transformer": nn.TransformerEncoder(4, 144, 4, subsampling=conv, dropout=0.1),
        "Conformer": nn.Conformer(3, 144, 4, subsampling=conv, kernel_size=15, expansion=3, dropout=0.1),
    }
    rates = {"Transformer": 1e-3, "Conformer": 1e-3}
    for seed in (0, 1, 2):
        for name, encoder in rows.items():
            changes = {"model.encoder": encoder, "optimizer.schedule.peak": rates.get(name, 2e-3)}
            yield f"{name}-{seed}", changes | {"seed": seed}
