"""Every module in small, for tests of what all of them must have. A new public module of `nn` belongs here."""

from dataclasses import replace

from jaxasr import nn
from tests.nn.encoders.kinds import ENCODERS as ENCODERS_UNROLLED
from tests.nn.tiny import ADDITIVE, LOCATION, VOCAB, seq2seq, speller

ENCODERS: dict[str, nn.Encoder] = ENCODERS_UNROLLED | {
    "conformer, scanned": nn.Conformer(3, 8, 2, kernel_size=3, expansion=2, layers="scan", convolution="beside")
}
STOPS = nn.AdditiveAttention(5, vector="normed", focus=nn.Monotonic())
FOCUSES: dict[str, nn.AlignmentFn] = {
    "softmax": nn.Softmax(temperature=0.5, top=3),
    "smooth": nn.SmoothSoftmax(),
    "windowed": nn.WindowedFocus(1, 2, inner=nn.GaussianLocal(2, 3, centre="advancing")),
    "local-p": nn.GaussianLocal(2, 3),
    "local-m": nn.GaussianLocal(2, 3, centre="monotonic"),
    "forward": nn.ForwardAttention(agent="learned"),
    "monotonic": nn.Monotonic(),
    "MoChA": nn.MoChA(energies=LOCATION, chunk=2),
    "sampled": nn.HardAttention(samples=2),
    "Gumbel": nn.GumbelSoftmax(),
    "warm": nn.WarmStart(soft=nn.ForwardAttention(), hard=nn.HardAttention(), until=3, change="ramp"),
    "latent": nn.LatentAttention(best=2),
}
ATTENTIONS: dict[str, nn.Attention] = {
    "location": LOCATION,
    "coverage": nn.CoverageAttention(5, fertility="learned"),
    "product": nn.ProductAttention(4),
    "dot": nn.DotAttention(4, heads=2),
    "GMM": nn.GmmAttention(4, components=2),
    "fixed": nn.FixedVector(),
    "position": nn.AlignedPosition(),
    "integrate and fire": nn.IntegrateAndFire(width=4),
    "heads of additive": nn.MultiHead(ADDITIVE, heads=2, width=4),
    "heads of location": nn.MultiHead(replace(LOCATION, vector="normed"), heads=3, width=6),
    "heads of monotonic": nn.MultiHead(nn.ProductAttention(4, focus=nn.Monotonic()), heads=2, width=4),
    "heads of MoChA": nn.MultiHead(replace(STOPS, focus=FOCUSES["MoChA"]), heads=2, width=4),
    "heads of samples": nn.MultiHead(replace(ADDITIVE, focus=nn.HardAttention(samples=2)), heads=2, width=4),
    "heads of windows": nn.MultiHead(replace(ADDITIVE, focus=FOCUSES["windowed"]), heads=2, width=4),
} | {name: replace(ADDITIVE, focus=focus) for name, focus in FOCUSES.items()}
LMS: dict[str, nn.Lm] = {
    "LSTM": nn.LstmLm(vocab=VOCAB, depth=2, width=4, embedding=3, recurrent_dropout=0.2),
    "LSTM, tied": nn.LstmLm(vocab=VOCAB, depth=1, width=4, tied=True),
    "transformer": nn.TransformerLm(vocab=VOCAB, depth=2, width=4, heads=2, expansion=2),
}
DECODERS: dict[str, nn.Decoder] = (
    {f"speller, {name}": speller(attention=attention) for name, attention in ATTENTIONS.items()}
    | {
        f"transformer, {name}": nn.TransformerDecoder(
            depth=2, width=8, heads=2, attention=attention, vocab=VOCAB, expansion=2
        )
        for name, attention in ATTENTIONS.items()
        if attention.marginalisation is None
    }
    | {
        "speller, GRU, maxout": speller(cell="gru", depth=2, maxout=6, attention=nn.FixedVector()),
        "speller, LSTM, two layers": speller(depth=2, dropout=0.3),
        "speller, own inputs": speller(sampling=0.5, attention=LOCATION),
        "speller, deep fusion": speller(fusion=nn.DeepFusion(LMS["LSTM"])),
        "speller, cold fusion": speller(fusion=nn.ColdFusion(LMS["transformer"], width=5)),
    }
)
MODELS: dict[str, nn.Seq2Seq] = {name: seq2seq(encoder=encoder) for name, encoder in ENCODERS.items()} | {
    name: seq2seq(decoder=decoder) for name, decoder in DECODERS.items()
}
