"""What is written: transcripts made comparable, and turned into tokens and back."""

from jaxasr.text.normalize import KINDS as KINDS
from jaxasr.text.normalize import Kind as Kind
from jaxasr.text.normalize import normalize as normalize
from jaxasr.text.tokenizer import Characters as Characters
from jaxasr.text.tokenizer import SentencePiece as SentencePiece
from jaxasr.text.tokenizer import Tokenizer as Tokenizer
from jaxasr.text.tokenizer import train_sentencepiece as train_sentencepiece
