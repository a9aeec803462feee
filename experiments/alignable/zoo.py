r"""Every mechanism on one task that can be aligned: strings of tones, read up to four times the training length.

    jaxasr toy-task experiments/alignable/zoo.py:attentions      # or :encoders, :decoders
README.md beside this file has the table, and how to put a mechanism of your own into it.
"""

from collections.abc import Iterator
from dataclasses import replace

from jaxasr import data, nn, training
from jaxasr.bench import ToyTask

TONES = data.Tones(shortest=1, longest=10)
LESSON = ToyTask(
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


HARD_STEPS = 2_000
LONG_STEPS = 2_400  # of the lessons that are not learned to the last symbol in fewer
LOCATION = nn.LocationAttention(32, filters=8, kernel_size=15)
WARM = 600  # steps of soft attention before a hard one takes over
PATIENT_STEPS = 4_800  # of hard ones that are not learned to the last symbol in those
PATIENT_WARM = 1_200


def paced(lesson: ToyTask, steps: int, hold: int) -> ToyTask:
    """The lesson with so many steps, the rate falling from step `hold` on."""
    optimizer = training.Adam(training.RampHoldDecay(50, hold, steps, peak=3e-3), clip_norm=1.0)
    return replace(lesson, steps=steps, optimizer=optimizer)


def longer(lesson: ToyTask) -> ToyTask:
    """The lesson with twice the steps."""
    return paced(lesson, LONG_STEPS, 1_600)


def spelling(attention: nn.Attention, **changes: object) -> ToyTask:
    """The lesson with another attention in the same speller."""
    speller = nn.Speller(1, 48, attention, vocab=TONES.vocab, embedding=16)
    return replace(LESSON, model=replace(LESSON.model, decoder=speller), **changes)


def hard(focus: nn.AlignmentFn, *terms: training.AuxiliaryLoss, warm: bool = True) -> ToyTask:
    """The lesson for a hard attention: longer, and by default soft at the beginning."""
    focus = nn.WarmStart(soft=nn.Softmax(), hard=focus, until=WARM) if warm else focus
    return paced(_normed(focus, *terms), HARD_STEPS, 1_400)


def patient(lesson: ToyTask) -> ToyTask:
    """The lesson with four times the steps."""
    return paced(lesson, PATIENT_STEPS, PATIENT_STEPS // 2)


def patiently_hard(focus: nn.AlignmentFn, *terms: training.AuxiliaryLoss) -> ToyTask:
    """The lesson for a hard attention that needs more time, and is soft for longer."""
    return patient(_normed(nn.WarmStart(soft=nn.Softmax(), hard=focus, until=PATIENT_WARM), *terms))


def hearing(encoder: nn.Encoder, attention: nn.Attention = LOCATION) -> ToyTask:
    """The lesson with another encoder before a speller with location-aware attention."""
    speller = nn.Speller(1, 48, attention, vocab=TONES.vocab, embedding=16)
    return replace(LESSON, model=replace(LESSON.model, encoder=encoder, decoder=speller))


def writing(decoder: nn.Decoder) -> ToyTask:
    """The lesson with another decoder behind the same listener."""
    return replace(LESSON, model=replace(LESSON.model, decoder=decoder))


def attentions() -> Iterator[tuple[str, ToyTask]]:
    """A name and a lesson for every attention; the first is what times are relative to."""
    additive = nn.AdditiveAttention(32)
    yield "dot", spelling(nn.DotAttention(64, heads=1))
    yield "dot, 4 heads", longer(spelling(nn.DotAttention(64, heads=4)))
    yield "product", longer(spelling(nn.ProductAttention(32)))
    yield "additive", spelling(additive)
    yield "additive, sharpened", spelling(nn.AdditiveAttention(32, focus=nn.Softmax(temperature=0.5)))
    best = nn.WarmStart(soft=nn.Softmax(), hard=nn.Softmax(top=3), until=WARM)
    yield "additive, best 3", patient(spelling(nn.AdditiveAttention(32, focus=best)))
    yield "additive, windowed", longer(spelling(nn.AdditiveAttention(32, focus=nn.WindowedFocus(left=6, right=10))))
    advancing = nn.GaussianLocal(reach=8, width=32, centre="advancing", pace=4.0)
    yield "additive, Gaussian local", longer(spelling(nn.AdditiveAttention(32, focus=advancing)))
    yield "additive, forward", longer(spelling(nn.AdditiveAttention(32, focus=nn.ForwardAttention(reach=6))))
    yield "additive, 2 heads", spelling(nn.MultiHead(additive, 2, 64))
    yield "coverage", spelling(nn.CoverageAttention(32))
    yield "coverage, learned fertility", spelling(nn.CoverageAttention(32, fertility="learned"))
    yield "location-aware", spelling(LOCATION)
    yield "location-aware, smoothed", spelling(nn.LocationAttention(32, filters=8, kernel_size=15, focus=nn.SmoothSoftmax()))
    yield "location-aware, 2 heads", spelling(nn.MultiHead(LOCATION, 2, 64))
    yield "mixture of Gaussians", spelling(nn.GmmAttention(32, components=3, pace=4.0, spread=3.0))
    yield "monotonic", patiently_hard(nn.Monotonic())
    stops = nn.WarmStart(soft=nn.Softmax(), hard=nn.Monotonic(), until=PATIENT_WARM)
    yield "monotonic, 2 heads", patient(spelling(nn.MultiHead(nn.ProductAttention(32, focus=stops), 2, 64)))
    yield "monotonic, cold", hard(nn.Monotonic(), warm=False)
    yield "MoChA", patiently_hard(nn.MoChA(energies=additive, chunk=4), training.QuantityLoss(weight=1.0))
    yield "MILk", hard(nn.MoChA(energies=additive, chunk=0))
    yield "sampled (REINFORCE)", patiently_hard(nn.HardAttention(samples=2), training.Reinforce(weight=1.0))
    yield "sampled (REINFORCE), cold", hard(nn.HardAttention(samples=2), training.Reinforce(weight=1.0), warm=False)
    yield "Gumbel, straight-through", patiently_hard(nn.GumbelSoftmax())
    yield "latent, marginal of 4", hard(nn.LatentAttention(best=4), warm=False)
    yield "latent, Viterbi of 4", patient(_normed(nn.LatentAttention(best=4, over="max")))
    yield "fixed vector", spelling(nn.FixedVector())


def encoders() -> Iterator[tuple[str, ToyTask]]:
    """A name and a lesson for every encoder; all halve time twice, but QuartzNet once, as its paper does."""
    vgg = nn.VggSubsampling(channels=(8, 16), time_pools=(2, 2), bin_pools=(2, 2))
    crdnn_front = nn.VggSubsampling(channels=(8, 16), time_pools=(2, 2), bin_pools=(2, 2), norm="layer", leak=0.01)
    conv = nn.ConvSubsampling((8, 16))
    yield "pyramidal BLSTM", hearing(nn.Listener(width=32, time_reduction=(2, 2)))
    yield "pyramidal BLSTM, maxima", hearing(nn.Listener(width=32, time_reduction=(2, 2), pooling="max"))
    yield "pyramidal BGRU", hearing(nn.Listener(width=32, time_reduction=(2, 2), cell="gru"))
    yield "LSTM, one way", hearing(nn.Listener(width=48, time_reduction=(2, 2), bidirectional=False))
    yield "latency-controlled BLSTM", hearing(nn.LatencyControlledBlstm(32, (2, 2), chunk=20, lookahead=8))
    yield "convolutions, BLSTM", hearing(nn.Listener(width=32, time_reduction=(1,), subsampling=conv))
    yield "VGG, BLSTM", hearing(nn.Listener(width=32, time_reduction=(1,), subsampling=vgg))
    yield "CRDNN", hearing(nn.Crdnn(nn.Listener(width=32, time_reduction=(1,), subsampling=crdnn_front), dense=(48,)))
    yield "TDS", hearing(nn.Tds((4, 6), depths=(1, 1), strides=(2, 2), kernel_size=9, output=48))
    quartznet = nn.QuartzNet((48, 48), (5, 5), repeats=1, depth=2, first=(48, 5, 2), last=(48, 5, 1), output=48)
    as_far = nn.LocationAttention(32, filters=8, kernel_size=31)  # in time as LOCATION, positions being half as long
    yield "QuartzNet", longer(hearing(quartznet, as_far))
    yield "Transformer, sinusoids", hearing(nn.TransformerEncoder(2, 48, 4, subsampling=conv, expansion=2))
    yield "Transformer, rotary", hearing(nn.TransformerEncoder(2, 48, 4, subsampling=conv, positions="rotary", expansion=2))
    yield (
        "Transformer, distances",
        hearing(nn.TransformerEncoder(2, 48, 4, subsampling=conv, positions="relative", expansion=2)),
    )
    yield "Conformer", hearing(nn.Conformer(2, 48, 4, subsampling=conv, kernel_size=9, expansion=2))
    parts = nn.Conformer(2, 48, 4, subsampling=conv, kernel_size=9, convolution="beside", filters="lightweight", expansion=2)
    yield "Conformer, lightweight, side by side", hearing(parts)


def decoders() -> Iterator[tuple[str, ToyTask]]:
    """A name and a lesson for every decoder."""
    yield "LSTM speller", writing(nn.Speller(1, 48, LOCATION, vocab=TONES.vocab, embedding=16))
    yield "LSTM speller, 2 layers", writing(nn.Speller(2, 48, LOCATION, vocab=TONES.vocab, embedding=16))
    yield "GRU speller", writing(nn.Speller(1, 48, LOCATION, vocab=TONES.vocab, embedding=16, cell="gru"))
    yield (
        "Transformer decoder, dot",
        longer(writing(nn.TransformerDecoder(2, 48, 4, nn.DotAttention(48, heads=4), vocab=TONES.vocab, expansion=2))),
    )
    yield (
        "Transformer decoder, location-aware",
        writing(nn.TransformerDecoder(1, 48, 4, LOCATION, vocab=TONES.vocab, expansion=2)),
    )


def _normed(focus: nn.AlignmentFn, *terms: training.AuxiliaryLoss) -> ToyTask:
    attention = nn.AdditiveAttention(32, vector="normed", focus=focus)
    return spelling(attention, objective=training.Objective(auxiliary=terms))
