"""Every encoder, small: what tests/nn/encoders/test_interface.py holds to the interface. A new one is added to ENCODERS.

Each has dropout, reads frames of BINS bins, and has a stride of at most 8.
"""

from jaxasr.nn import ConvFront, Encoder
from tests.nn.tiny import listener

BINS = 4

ENCODERS: dict[str, Encoder] = {
    "listener, pyramid": listener(pools=(2, 3), dropout=0.4),
    "listener, front, one way": listener(pools=(1, 2), front=ConvFront((2,)), bidirectional=False, dropout=0.4),
}
