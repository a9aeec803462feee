r"""Every mechanism on the synthetic alignment task: strings of tones, up to four times as long as in training.

    jaxasr toy-task experiments/alignable/mechanisms.py:attentions      # or :encoders, :decoders
README.md beside this file has the tables.
"""

from collections.abc import Iterator
from dataclasses import replace

from jaxasr import data, nn, training
from jaxasr.bench import ToyTask

TONES = data.Tones(shortest=1, longest=10)
TASK = ToyTask(
    model=nn.Seq2Seq(
        frontend=nn.LogMel(bins=16, rate_hz=4_000, low_hz=100.0, high_hz=1_900.0),
        encoder=nn.Listener(width=32, time_reduction=(2, 2)),
        decoder=nn.Speller(1, 48, nn.AdditiveAttention(32), vocab=TONES.vocab, embedding=16),
    ),
    objective=training.Objective(),
    optimizer=training.Adam(training.RampHoldDecay(50, 800, 1_200, peak=3e-3), clip_norm=1.0),
    tones=TONES,
    steps=1_200,
)

LOCATION = nn.LocationAttention(32, filters=8, kernel_size=15)
SOFT_STEPS = 600  # of soft attention before a hard one, of 2,000 steps
LONGER_SOFT_STEPS = 1_200  # the same, of 4,800 steps


def with_steps(task: ToyTask, steps: int, hold: int) -> ToyTask:
    """Returns the task with this number of steps; the learning rate falls from step `hold` on."""
    optimizer = training.Adam(training.RampHoldDecay(50, hold, steps, peak=3e-3), clip_norm=1.0)
    return replace(task, steps=steps, optimizer=optimizer)


def steps_2400(task: ToyTask) -> ToyTask:
    """Returns the task with 2,400 steps, for mechanisms that have errors left after 1,200."""
    return with_steps(task, 2_400, 1_600)


def steps_4800(task: ToyTask) -> ToyTask:
    """Returns the task with 4,800 steps, for mechanisms that have errors left after 2,000 or 2,400."""
    return with_steps(task, 4_800, 2_400)


def with_attention(attention: nn.Attention, **changes: object) -> ToyTask:
    """Returns the task with another attention in the same speller."""
    speller = nn.Speller(1, 48, attention, vocab=TONES.vocab, embedding=16)
    return replace(TASK, model=replace(TASK.model, decoder=speller), **changes)


def hard_2000(focus: nn.AlignmentFn, *terms: training.AuxiliaryLoss, soft_first: bool = True) -> ToyTask:
    """Returns the task of a hard attention with 2,000 steps, of which the first 600 are soft unless `soft_first` is False."""
    focus = nn.WarmStart(soft=nn.Softmax(), hard=focus, until=SOFT_STEPS) if soft_first else focus
    return with_steps(_normed(focus, *terms), 2_000, 1_400)


def hard_4800(focus: nn.AlignmentFn, *terms: training.AuxiliaryLoss) -> ToyTask:
    """Returns the task of a hard attention with 4,800 steps, of which the first 1,200 are soft."""
    return steps_4800(_normed(nn.WarmStart(soft=nn.Softmax(), hard=focus, until=LONGER_SOFT_STEPS), *terms))


def with_encoder(encoder: nn.Encoder, attention: nn.Attention = LOCATION) -> ToyTask:
    """Returns the task with another encoder before a speller with location-aware attention."""
    speller = nn.Speller(1, 48, attention, vocab=TONES.vocab, embedding=16)
    return replace(TASK, model=replace(TASK.model, encoder=encoder, decoder=speller))


def with_decoder(decoder: nn.Decoder) -> ToyTask:
    """Returns the task with another decoder behind the same listener."""
    return replace(TASK, model=replace(TASK.model, decoder=decoder))


def attentions() -> Iterator[tuple[str, ToyTask]]:
    """Yields a name and a task for every attention; the times of all are relative to the first."""
    additive = nn.AdditiveAttention(32)
    yield "dot", with_attention(nn.DotAttention(64, heads=1))
    yield "dot, 4 heads", steps_2400(with_attention(nn.DotAttention(64, heads=4)))
    yield "product", steps_2400(with_attention(nn.ProductAttention(32)))
    yield "additive", with_attention(additive)
    yield "additive, sharpened", with_attention(nn.AdditiveAttention(32, focus=nn.Softmax(temperature=0.5)))
    best = nn.WarmStart(soft=nn.Softmax(), hard=nn.Softmax(top=3), until=SOFT_STEPS)
    yield "additive, best 3", steps_4800(with_attention(nn.AdditiveAttention(32, focus=best)))
    yield (
        "additive, windowed",
        steps_2400(with_attention(nn.AdditiveAttention(32, focus=nn.WindowedFocus(left=6, right=10)))),
    )
    advancing = nn.GaussianLocal(reach=8, width=32, centre="advancing", pace=4.0)
    yield "additive, Gaussian local", steps_2400(with_attention(nn.AdditiveAttention(32, focus=advancing)))
    yield "additive, forward", steps_2400(with_attention(nn.AdditiveAttention(32, focus=nn.ForwardAttention(reach=6))))
    yield "additive, 2 heads", with_attention(nn.MultiHead(additive, 2, 64))
    yield "coverage", with_attention(nn.CoverageAttention(32))
    yield "coverage, learned fertility", with_attention(nn.CoverageAttention(32, fertility="learned"))
    yield "location-aware", with_attention(LOCATION)
    yield (
        "location-aware, smoothed",
        with_attention(nn.LocationAttention(32, filters=8, kernel_size=15, focus=nn.SmoothSoftmax())),
    )
    yield "location-aware, 2 heads", with_attention(nn.MultiHead(LOCATION, 2, 64))
    yield "mixture of Gaussians", with_attention(nn.GmmAttention(32, components=3, pace=4.0, spread=3.0))
    yield "monotonic", hard_4800(nn.Monotonic())
    stops = nn.WarmStart(soft=nn.Softmax(), hard=nn.Monotonic(), until=LONGER_SOFT_STEPS)
    yield "monotonic, 2 heads", steps_4800(with_attention(nn.MultiHead(nn.ProductAttention(32, focus=stops), 2, 64)))
    yield "monotonic, from scratch", hard_2000(nn.Monotonic(), soft_first=False)
    yield "MoChA", hard_4800(nn.MoChA(energies=additive, chunk=4), training.QuantityLoss(weight=1.0))
    yield "MILk", hard_2000(nn.MoChA(energies=additive, chunk=0))
    yield "sampled (REINFORCE)", hard_4800(nn.HardAttention(samples=2), training.Reinforce(weight=1.0))
    yield (
        "sampled (REINFORCE), from scratch",
        hard_2000(nn.HardAttention(samples=2), training.Reinforce(weight=1.0), soft_first=False),
    )
    yield "Gumbel, straight-through", hard_4800(nn.GumbelSoftmax())
    yield "latent, marginal of 4", hard_2000(nn.LatentAttention(best=4), soft_first=False)
    yield "latent, Viterbi of 4", steps_4800(_normed(nn.LatentAttention(best=4, over="max")))
    counted = training.Objective(auxiliary=(training.QuantityLoss(weight=1.0),))
    yield "integrate and fire", with_attention(nn.IntegrateAndFire(32), objective=counted)
    conv = nn.ConvSubsampling((8, 16))
    mixing = nn.TransformerEncoder(2, 48, 4, subsampling=conv, positions="relative", expansion=2)
    yield "position (Aligner)", steps_4800(with_encoder(mixing, nn.AlignedPosition()))
    yield "fixed vector", with_attention(nn.FixedVector())


def encoders() -> Iterator[tuple[str, ToyTask]]:
    """Yields a name and a task for every encoder; all halve time twice, but QuartzNet once, as in its paper."""
    vgg = nn.VggSubsampling(channels=(8, 16), time_pools=(2, 2), bin_pools=(2, 2))
    crdnn_conv = nn.VggSubsampling(channels=(8, 16), time_pools=(2, 2), bin_pools=(2, 2), norm="layer", leak=0.01)
    conv = nn.ConvSubsampling((8, 16))
    yield "pyramidal BLSTM", with_encoder(nn.Listener(width=32, time_reduction=(2, 2)))
    yield "pyramidal BLSTM, maxima", with_encoder(nn.Listener(width=32, time_reduction=(2, 2), pooling="max"))
    yield "pyramidal BGRU", with_encoder(nn.Listener(width=32, time_reduction=(2, 2), cell="gru"))
    yield "LSTM, one way", with_encoder(nn.Listener(width=48, time_reduction=(2, 2), bidirectional=False))
    yield "latency-controlled BLSTM", with_encoder(nn.LatencyControlledBlstm(32, (2, 2), chunk=20, lookahead=8))
    yield "convolutions, BLSTM", with_encoder(nn.Listener(width=32, time_reduction=(1,), subsampling=conv))
    yield "VGG, BLSTM", with_encoder(nn.Listener(width=32, time_reduction=(1,), subsampling=vgg))
    yield (
        "CRDNN",
        with_encoder(nn.Crdnn(nn.Listener(width=32, time_reduction=(1,), subsampling=crdnn_conv), dense=(48,))),
    )
    yield "TDS", with_encoder(nn.Tds((4, 6), depths=(1, 1), strides=(2, 2), kernel_size=9, output=48))
    quartznet = nn.QuartzNet((48, 48), (5, 5), repeats=1, depth=2, first=(48, 5, 2), last=(48, 5, 1), output=48)
    as_far = nn.LocationAttention(32, filters=8, kernel_size=31)  # positions are half as long
    yield "QuartzNet", steps_2400(with_encoder(quartznet, as_far))
    yield "Transformer, sinusoids", with_encoder(nn.TransformerEncoder(2, 48, 4, subsampling=conv, expansion=2))
    yield (
        "Transformer, rotary",
        with_encoder(nn.TransformerEncoder(2, 48, 4, subsampling=conv, positions="rotary", expansion=2)),
    )
    yield (
        "Transformer, distances",
        with_encoder(nn.TransformerEncoder(2, 48, 4, subsampling=conv, positions="relative", expansion=2)),
    )
    yield "Conformer", with_encoder(nn.Conformer(2, 48, 4, subsampling=conv, kernel_size=9, expansion=2))
    parts = nn.Conformer(
        2, 48, 4, subsampling=conv, kernel_size=9, convolution="beside", filters="lightweight", expansion=2
    )
    yield "Conformer, lightweight, side by side", with_encoder(parts)


def decoders() -> Iterator[tuple[str, ToyTask]]:
    """Yields a name and a task for every decoder."""
    yield "LSTM speller", with_decoder(nn.Speller(1, 48, LOCATION, vocab=TONES.vocab, embedding=16))
    yield "LSTM speller, 2 layers", with_decoder(nn.Speller(2, 48, LOCATION, vocab=TONES.vocab, embedding=16))
    yield "GRU speller", with_decoder(nn.Speller(1, 48, LOCATION, vocab=TONES.vocab, embedding=16, cell="gru"))
    yield (
        "Transformer decoder, dot",
        steps_2400(
            with_decoder(nn.TransformerDecoder(2, 48, 4, nn.DotAttention(48, heads=4), vocab=TONES.vocab, expansion=2))
        ),
    )
    yield (
        "Transformer decoder, location-aware",
        with_decoder(nn.TransformerDecoder(1, 48, 4, LOCATION, vocab=TONES.vocab, expansion=2)),
    )


def _normed(focus: nn.AlignmentFn, *terms: training.AuxiliaryLoss) -> ToyTask:
    attention = nn.AdditiveAttention(32, vector="normed", focus=focus)
    return with_attention(attention, objective=training.Objective(auxiliary=terms))
