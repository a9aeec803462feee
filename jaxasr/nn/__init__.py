"""Parameters and their names (Flax Linen): frontend, encoders, attentions, decoders, and the recogniser they make."""

from jaxasr.nn.attention.fixed import NoAttention as NoAttention
from jaxasr.nn.attention.focus import Focus as Focus
from jaxasr.nn.attention.focus import Softmax as Softmax
from jaxasr.nn.attention.interface import Attention as Attention
from jaxasr.nn.attention.interface import Memory as Memory
from jaxasr.nn.attention.interface import Read as Read
from jaxasr.nn.attention.interface import Weighed as Weighed
from jaxasr.nn.attention.scored import AdditiveAttention as AdditiveAttention
from jaxasr.nn.attention.scored import LocationAttention as LocationAttention
from jaxasr.nn.attention.scored import ScoredAttention as ScoredAttention
from jaxasr.nn.convolution import ConvFront as ConvFront
from jaxasr.nn.decoders.interface import Decoded as Decoded
from jaxasr.nn.decoders.interface import Decoder as Decoder
from jaxasr.nn.decoders.speller import Speller as Speller
from jaxasr.nn.encoders.interface import Encoder as Encoder
from jaxasr.nn.encoders.listener import Listener as Listener
from jaxasr.nn.frontend import AddNoise as AddNoise
from jaxasr.nn.frontend import LogMel as LogMel
from jaxasr.nn.frontend import SpecAugment as SpecAugment
from jaxasr.nn.seq2seq import CtcHead as CtcHead
from jaxasr.nn.seq2seq import Recogniser as Recogniser
from jaxasr.nn.seq2seq import Seq2Seq as Seq2Seq
