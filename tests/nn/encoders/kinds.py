"""Every encoder in small, for the tests of the interface (test_interface.py). A new encoder is added to ENCODERS.

Every encoder has dropout, reads frames of BINS bins, and has a stride of at most 8.
"""

from jaxasr.nn import (
    Chunks,
    Conformer,
    ConvSubsampling,
    Crdnn,
    Encoder,
    LatencyControlledBlstm,
    QuartzNet,
    Tds,
    TimeConvSubsampling,
    TransformerEncoder,
    VggSubsampling,
)
from tests.nn.tiny import listener

BINS = 4
VGG = VggSubsampling(channels=(2,), time_pools=(2,), bin_pools=(3,))
CRDNN_SUBSAMPLING = VggSubsampling(channels=(2,), time_pools=(3,), bin_pools=(2,), norm="layer", leak=0.01, dropout=0.3)

ENCODERS: dict[str, Encoder] = {
    "listener, pyramid": listener(time_reduction=(2, 3), dropout=0.4),
    "listener, subsampling, one way": listener(
        time_reduction=(1, 2), subsampling=ConvSubsampling((2,)), bidirectional=False, dropout=0.4
    ),
    "listener, GRU, maxima, dropped state": listener(
        time_reduction=(1, 2), cell="gru", pooling="max", dropout=0.4, dropout_over_time=True, recurrent_dropout=0.3
    ),
    "listener, VGG, skipping, projected": listener(
        time_reduction=(1, 2), subsampling=VGG, pooling="skip", projection=3, recurrent_dropout=0.4
    ),
    "latency controlled": LatencyControlledBlstm(4, (1, 2), chunk=4, lookahead=2, dropout=0.4),
    "TDS": Tds((2, 3), depths=(1, 1), strides=(2, 1), kernel_size=3, output=5, dropout=0.4),
    "QuartzNet": QuartzNet((8,), (3,), repeats=1, depth=2, first=(8, 3, 2), last=(8, 3, 2), output=4, dropout=0.2),
    "transformer, sinusoids": TransformerEncoder(1, 8, 2, subsampling=ConvSubsampling((2,)), expansion=2, dropout=0.4),
    "transformer, table of positions, convolutions over time": TransformerEncoder(
        1,
        8,
        2,
        TimeConvSubsampling((3, 8)),
        expansion=2,
        dropout=0.4,
        positions="table",
        max_positions=64,
        projection="none",
        activation="gelu",
    ),
    "transformer, rotary, causal, scanned": TransformerEncoder(
        2, 8, 2, positions="rotary", context=Chunks(1), layers="scan", expansion=2, dropout=0.4, stochastic_depth=0.3
    ),
    "conformer": Conformer(1, 8, 2, subsampling=ConvSubsampling((2,)), kernel_size=4, expansion=2, dropout=0.4),
    "conformer, chunks, remat": Conformer(
        1, 8, 2, kernel_size=3, context=Chunks(3, 1), remat="blocks", expansion=2, dropout=0.4
    ),
    "conformer, chunks, scores in blocks": Conformer(
        1, 8, 2, kernel_size=3, context=Chunks(3, 1), score_block=2, layers="scan", expansion=2, dropout=0.4
    ),
    "conformer, convolution first, one feed": Conformer(
        1, 8, 2, kernel_size=3, convolution="before", ffn="one", positions="rotary", expansion=2, dropout=0.4
    ),
    "conformer, lightweight convolution beside": Conformer(
        1, 8, 2, kernel_size=3, convolution="beside", filters="lightweight", expansion=2, dropout=0.4
    ),
    "CRDNN": Crdnn(listener(time_reduction=(1,), subsampling=CRDNN_SUBSAMPLING), dense=(4,), dropout=0.4),
}
